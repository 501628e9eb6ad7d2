"""Pictures of depth: colours mean what the legend says, and what is missing looks like nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_completion_ros.preview import (
    MISSING,
    colour_confidence,
    colour_depth,
    colour_range,
    panel,
    save_animation,
    save_picture,
    smooth_range,
)


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of RGB (N, 3) uint8."""
    return cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0, :, 0]


def test_missing_depth_is_grey_and_measured_depth_is_not():
    depth = np.float32([[np.nan, 0, -1, np.inf, 1, 2, 4]])
    picture = colour_depth(depth, (1, 4))
    np.testing.assert_array_equal(picture[0, :4], np.tile(MISSING, (4, 1)))
    everything = colour_depth(np.linspace(0.1, 9, 500, dtype=np.float32)[None], (1, 4))[0].astype(int)
    assert np.abs(everything - MISSING).sum(axis=1).min() > 40


def test_colours_darken_steadily_with_distance_and_stop_at_the_limits():
    depth = np.geomspace(1, 4, 100, dtype=np.float32)
    steps = np.diff(lightness(colour_depth(depth[None], (1, 4))[0]))
    assert (steps < 0.2).all() and steps.sum() < -50
    np.testing.assert_array_equal(
        colour_depth(np.float32([[0.2, 90]]), (1, 4)), colour_depth(depth[None, [0, -1]], (1, 4))
    )


def test_colours_do_not_depend_on_the_unit():
    """Log colours: the same scene twice as large gets the same picture."""
    depth = np.random.default_rng(1).uniform(0.5, 5, (20, 30)).astype(np.float32)
    near, far = colour_range(depth)
    twice = colour_range(2 * depth)
    np.testing.assert_allclose(twice, (2 * near, 2 * far), rtol=1e-6)
    np.testing.assert_array_equal(colour_depth(depth, (near, far)), colour_depth(2 * depth, twice))


def test_confidence_brightens():
    steps = np.diff(lightness(colour_confidence(np.linspace(0, 1, 100, dtype=np.float32)[None])[0]))
    assert (steps > -0.2).all() and steps.sum() > 50


def test_a_few_wild_values_do_not_spoil_the_range():
    depth = np.full((100, 100), 2.0, np.float32)
    depth[:50] = 3.0
    depth[0, :10] = 1000
    depth[1, :10] = np.nan
    near, far = colour_range(depth)
    assert 1.5 < near < 2 and 3 < far < 3.5


@pytest.mark.parametrize("depth", [np.full((4, 4), np.nan, np.float32), np.full((4, 4), 2, np.float32)])
def test_there_is_a_range_for_an_empty_and_for_a_flat_frame(depth):
    near, far = colour_range(depth)
    assert 0 < near < far


def test_the_range_of_an_animation_moves_slowly_towards_the_scene():
    limits = smooth_range(None, (1, 2))
    assert limits == (1, 2)
    following = smooth_range(limits, (2, 4))
    assert 1 < following[0] < 1.5 and 2 < following[1] < 3
    for _ in range(100):
        following = smooth_range(following, (2, 4))
    np.testing.assert_allclose(following, (2, 4), rtol=1e-3)


@pytest.mark.parametrize("raw_shape", [(48, 64), (12, 16), (480, 640)])
def test_the_panel_contains_all_four_pictures(raw_shape):
    rgb = np.full((48, 64, 3), (10, 200, 30), np.uint8)
    raw = np.full(raw_shape, np.nan, np.float32)
    raw[:, : raw_shape[1] // 2] = 1.0
    depth = np.full((48, 64), 2.0, np.float32)
    confidence = np.full((48, 64), 0.5, np.float32)
    picture = panel(rgb, raw, depth, confidence, (1, 2), width=640)
    assert picture.shape[1] == 640 and picture.dtype == np.uint8
    quarters = [picture[y, x] for y in (150, 400) for x in (220, 540)]
    np.testing.assert_array_equal(quarters[0], (10, 200, 30))
    np.testing.assert_array_equal(quarters[1], MISSING)
    np.testing.assert_array_equal(picture[150, 350], colour_depth(np.float32([[1]]), (1, 2))[0, 0])
    np.testing.assert_array_equal(quarters[2], colour_depth(np.float32([[2]]), (1, 2))[0, 0])
    np.testing.assert_array_equal(quarters[3], colour_confidence(np.float32([[0.5]]))[0, 0])


def test_the_panel_shows_classical_completion_if_it_is_given():
    depth = np.full((48, 64), 2.0, np.float32)
    rgb, limits = np.zeros((48, 64, 3), np.uint8), (1.0, 4.0)
    picture = panel(rgb, depth, 2 * depth, depth, limits, width=960, classical=depth / 2)
    middles = [picture[y, x] for y in (140, 380) for x in (160, 480, 800)]
    for value, pixel in zip((2, 1, 4), middles[1:4], strict=True):
        np.testing.assert_array_equal(pixel, colour_depth(np.float32([[value]]), limits)[0, 0])


def test_single_lidar_points_are_seen_in_the_panel():
    """One point in a hundred, in a picture shown at a third of its size: at least as many pixels are coloured."""
    depth = np.full((300, 2000), 2.0, np.float32)
    raw = np.full_like(depth, np.nan)
    raw[5::10, 5::10] = 2.0
    picture = panel(np.zeros((300, 2000, 3), np.uint8), raw, depth, depth, (1, 4), width=1296)
    right_top = picture[40:120, 680:1260]
    seen = (np.abs(right_top.astype(int) - MISSING).sum(axis=2) > 40).mean()
    assert 0.01 <= seen < 0.5


@pytest.mark.parametrize("shape", [(3000, 2), (2, 3000), (1, 1)])
def test_a_picture_of_a_very_narrow_image_is_of_moderate_size(shape):
    depth = np.full(shape, 2.0, np.float32)
    picture = panel(np.zeros((*shape, 3), np.uint8), depth, depth, depth / 4, (1.0, 4.0), width=960)
    height, width, _ = picture.shape
    assert width == 960 and height < 4 * width
    colour = colour_depth(depth[:1, :1], (1.0, 4.0))[0, 0]
    assert (picture == colour).all(axis=2).any(), "the completed depth is in the picture"


@pytest.mark.parametrize("far", [1.3, 7.0, 80.0])
def test_a_panel_of_any_range_has_its_legend(far):
    depth = np.full((48, 64), 1.0, np.float32)
    with_legend = panel(np.zeros((48, 64, 3), np.uint8), depth, depth, depth, (1.0, far), width=640)
    text = with_legend[-22:-8, :320].max(axis=(1, 2))
    assert text.max() > 150, "labels in metres stand below the bar"


def test_an_animation_reads_back_with_all_its_frames_times_and_colours(tmp_path):
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (120, 120, 120), (10, 10, 10)]
    times = [100, 33, 34, 500, 40]
    save_animation(tmp_path / "a.webp", [np.full((97, 129, 3), colour, np.uint8) for colour in colours], times)
    read, animation = cv2.imreadanimation(str(tmp_path / "a.webp"))
    assert read and list(np.ravel(animation.durations)) == times
    assert len(animation.frames) == len(colours)
    for frame, colour in zip(animation.frames, colours, strict=True):
        assert frame.shape[:2] == (97, 129)
        np.testing.assert_allclose(frame[40, 60, 2::-1], colour, atol=12)


def test_a_saved_picture_is_read_back_exactly(tmp_path):
    rgb = np.random.default_rng(1).integers(0, 255, (5, 7, 3), np.uint8)
    save_picture(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], rgb)
