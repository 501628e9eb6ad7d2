"""The memory recalls what earlier frames measured, forgets what has changed, and starts anew where it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moving_scene import HEIGHT, INTRINSICS, PERIOD_S, WIDTH, frame, holes, pose, view

from depth_completion_ros import odometry, temporal
from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.errors import InputError
from depth_completion_ros.frame import Distortion, RgbdFrame
from depth_completion_ros.profiles import load_profile
from depth_completion_ros.smoothing import DepthSmoother
from depth_completion_ros.temporal import TemporalMemory, TemporalSettings

PROFILE = load_profile("kinect")
SIDE = 1.1  # a place of the box at the side, where it covers less than a fifth of the image [m]


def shown(number: int, camera: np.ndarray, box_x: float | None = None, share: float = 0.3) -> tuple[RgbdFrame, ...]:
    """A frame with holes, and the same frame without."""
    rgb, depth, _ = view(camera, box_x)
    return (
        frame(number, rgb, np.where(holes(number, share), np.float32(0), depth), camera),
        frame(number, rgb, depth, camera),
    )


def memory(motion: str, **settings: float) -> tuple[TemporalMemory, list[str]]:
    lines: list[str] = []
    return TemporalMemory(TemporalSettings(motion, **settings), lines.append), lines


def pan(number: int) -> np.ndarray:
    return pose(0.01 * number, 0.004 * number)


@pytest.mark.parametrize(
    ("motion", "path"), [("static", lambda n: pose()), ("tf", pan), ("odometry", pan), ("auto", pan)]
)
def test_holes_are_filled_with_what_earlier_frames_measured(motion, path):
    if motion == "odometry" and not odometry.available():
        pytest.skip("this OpenCV has no odometry")
    kept, lines = memory(motion)
    for number in range(8):
        holey, whole = shown(number, path(number))
        recalled = kept.recall(holey, PROFILE).recalled
    missing = holey.depth == 0
    filled = missing & (recalled.depth > 0)
    assert filled.sum() > 0.9 * missing.sum()
    assert np.array_equal(recalled.depth > 0, filled)  # nothing where the frame itself measures
    # A cell is one pixel of the floor, on which neighbours differ by up to 5 cm.
    assert np.abs(recalled.depth - whole.depth)[filled].mean() < 0.02
    assert recalled.age[filled].min() >= 0.99 * PERIOD_S and recalled.age[filled].max() <= 7.01 * PERIOD_S
    assert (recalled.sigma[filled] > PROFILE.measurement_sigma(recalled.depth[filled])).all()
    assert lines == []


def test_a_point_is_forgotten_at_its_greatest_age():
    kept, _ = memory("static", max_age=0.1)
    whole = shown(0, pose())[1]
    kept.recall(whole, PROFILE)
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[40:80, 60:100] = True
    filled = []
    for number in range(1, 6):
        holey = frame(number, whole.rgb, np.where(hole, np.float32(0), whole.depth), pose())
        filled.append(int((kept.recall(holey, PROFILE).recalled.depth > 0).sum()))
    assert filled == [1600, 1600, 1600, 0, 0]


def test_what_has_gone_is_not_recalled():
    """A box has stood before the wall. It leaves at once, and half of the place where it stood is not measured."""
    kept, _ = memory("static")
    for number in range(5):
        kept.recall(shown(number, pose(), box_x=SIDE, share=0.0)[1], PROFILE)
    rgb, depth, _ = view(pose())
    place = view(pose(), SIDE)[2]
    hole = place & (np.indices(place.shape).sum(axis=0) // 6 % 2 == 0)
    recalled = kept.recall(frame(5, rgb, np.where(hole, np.float32(0), depth), pose()), PROFILE).recalled
    ghosts = hole & (recalled.depth > 0) & (np.abs(recalled.depth - depth) > 0.1)
    assert hole.sum() > 500
    assert ghosts.sum() < 0.005 * hole.size


def test_what_comes_is_not_filled_with_what_lies_behind_it():
    kept, _ = memory("static")
    for number in range(5):
        kept.recall(shown(number, pose(), share=0.0)[1], PROFILE)
    rgb, depth, box = view(pose(), SIDE)
    recalled = kept.recall(frame(5, rgb, np.where(box, np.float32(0), depth), pose()), PROFILE).recalled
    assert (box & (recalled.depth > 0)).sum() < 0.02 * box.sum()


def test_a_wall_is_not_recalled_through_a_dark_object_that_is_too_close_to_be_measured():
    kept, _ = memory("static")
    whole = shown(0, pose())[1]
    dark = (whole.rgb // 6).astype(np.uint8)
    kept.recall(frame(0, dark, whole.depth, pose()), PROFILE)
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[40:80, 60:100] = True
    with_hole = np.where(hole, np.float32(0), whole.depth)
    empty = kept.recall(frame(1, dark, with_hole, pose()), PROFILE).recalled
    assert (empty.depth[hole] > 0).all(), "the wall itself is recalled"
    object_in_front = np.where(hole[..., None], dark + np.uint8(14), dark)
    recalled = kept.recall(frame(2, object_in_front, with_hole, pose()), PROFILE).recalled
    assert not recalled.depth.any()


def test_what_was_hidden_is_recalled_when_it_appears_again():
    """A wall is measured, a box passes before it, and where the box was, nothing is measured."""
    kept, _ = memory("static")
    rgb, depth, _ = view(pose())
    kept.recall(frame(0, rgb, depth, pose()), PROFILE)
    with_box = shown(1, pose(), box_x=SIDE, share=0.0)[1]
    kept.recall(with_box, PROFILE)
    place = view(pose(), SIDE)[2]
    place[: HEIGHT // 2] = False  # in the other half, the frame shows that the box has gone
    recalled = kept.recall(frame(2, rgb, np.where(place, np.float32(0), depth), pose()), PROFILE).recalled
    filled = place & (recalled.depth > 0)
    assert filled.sum() > 0.5 * place.sum()
    assert (np.abs(recalled.depth - depth)[filled] < 0.1).mean() > 0.99


@given(st.sampled_from([(60, 80), (61, 83), (480, 640), (481, 641), (720, 960)]), st.floats(0, 1))
def test_any_size_and_density_is_recalled_on_the_grid_of_the_image(size, density):
    kept, _ = memory("static")
    rng = np.random.default_rng(0)
    depth = np.full(size, 2.0, np.float32)
    rgb = np.full((*size, 3), 90, np.uint8)
    kept.recall(RgbdFrame(rgb, depth, stamp_ns=1_000_000_000), PROFILE)
    holey = np.where(rng.random(size) < density, depth, np.float32(np.nan))
    recalled = kept.recall(RgbdFrame(rgb, holey, stamp_ns=1_033_000_000), PROFILE).recalled
    assert recalled.depth.shape == recalled.sigma.shape == recalled.age.shape == size
    assert not recalled.depth[np.isfinite(holey)].any()
    np.testing.assert_allclose(recalled.depth[recalled.depth > 0], 2.0, rtol=1e-5)


def test_points_move_through_the_distortion_of_a_raw_image():
    lens = replace(INTRINSICS, distortion=Distortion((-0.2, 0.05, 0.0, 0.0, 0.0)))
    kept, _ = memory("tf")
    rgb, depth = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.full((HEIGHT, WIDTH), 2.0, np.float32)
    kept.recall(replace(frame(0, rgb, depth, pose()), intrinsics=lens), PROFILE)
    holey = replace(frame(1, rgb, np.where(holes(1), np.float32(0), depth), pose(0.05)), intrinsics=lens)
    recalled = kept.recall(holey, PROFILE).recalled
    missing = (holey.depth == 0) & (np.indices(depth.shape)[1] < WIDTH - 12)  # the camera moves to the right
    assert (recalled.depth[missing] > 0).mean() > 0.9


def test_measurements_are_averaged_over_time():
    kept, _ = memory("static")
    rng = np.random.default_rng(0)
    rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for number in range(20):
        noisy = (2 + 0.01 * rng.standard_normal((HEIGHT, WIDTH))).astype(np.float32)
        kept.recall(frame(number, rgb, noisy, pose()), PROFILE)
    hole = holes(0, 0.5)
    recalled = kept.recall(frame(20, rgb, np.where(hole, np.float32(0), np.float32(2)), pose()), PROFILE).recalled
    assert recalled.depth[hole].std() < 0.005


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda f: replace(f, stamp_ns=f.stamp_ns - 10**9), "before"),
        (lambda f: replace(f, stamp_ns=f.stamp_ns - round(PERIOD_S * 1e9)), "the same stamp"),
        (lambda f: replace(f, stamp_ns=f.stamp_ns + 5 * 10**9), "no frame for 5.0 s"),
        (lambda f: replace(f, frame_id="other"), "frame_id has changed"),
        (lambda f: replace(f, intrinsics=replace(INTRINSICS, fx=200.0)), "calibration has changed"),
        (lambda f: replace(f, camera_pose=pose(100.0)), "moved 100 m"),
        (lambda f: replace(f, camera_pose=pose(0.0, np.radians(20))), "does not fit"),
    ],
    ids=["time jump", "equal stamps", "gap", "other frame", "other calibration", "teleport", "wrong pose"],
)
def test_the_memory_starts_anew_and_says_why(change, line):
    kept, lines = memory("tf")
    kept.recall(shown(0, pose(), 0.3)[1], PROFILE)
    assert kept.recall(change(shown(1, pose(), 0.3)[0]), PROFILE).recalled is None
    assert len(lines) == 1 and line in lines[0], lines


@pytest.mark.parametrize(("motion", "fix"), [("static", "to tf or odometry"), ("tf", "check the stamps")])
def test_recalled_depth_that_does_not_fit_is_reported_with_a_fix(motion, fix):
    kept, lines = memory(motion)
    kept.recall(shown(0, pose())[1], PROFILE)
    turned = shown(1, pose(0.0, np.radians(20)))[0]
    assert kept.recall(replace(turned, camera_pose=pose()), PROFILE).recalled is None
    assert len(lines) == 1 and "does not fit" in lines[0] and fix in lines[0]


def test_another_image_size_starts_the_memory_anew():
    kept, lines = memory("static")
    for number, size in enumerate([(60, 80), (120, 160)]):
        rgb, depth = np.zeros((*size, 3), np.uint8), np.ones(size, np.float32)
        recalled = kept.recall(RgbdFrame(rgb, depth, stamp_ns=10**9 + number), PROFILE).recalled
    assert recalled is None
    assert "image size" in lines[0]


@pytest.mark.parametrize(
    "wrong", [None, np.full((4, 4), np.nan), np.eye(3), 2 * np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0])]
)
def test_a_frame_without_a_valid_pose_is_completed_alone_and_the_next_one_recalls(wrong):
    kept, lines = memory("tf")
    kept.recall(shown(0, pan(0))[1], PROFILE)
    assert kept.recall(replace(shown(1, pan(1))[0], camera_pose=wrong), PROFILE).recalled is None
    assert "in temporal.fixed_frame is not known" in lines[0]
    holey, whole = shown(2, pan(2))
    recalled = kept.recall(holey, PROFILE).recalled
    filled = recalled.depth > 0
    assert filled.any() and np.abs(recalled.depth - whole.depth)[filled].mean() < 0.02


def test_a_frame_without_camera_info_is_completed_alone_with_a_fix():
    kept, lines = memory("tf")
    assert kept.recall(replace(shown(0, pose())[0], intrinsics=None), PROFILE).recalled is None
    assert "camera_info" in lines[0] and "temporal.motion to static" in lines[0]


def test_off_changes_nothing():
    kept, lines = memory("off")
    for number in range(2):
        holey = shown(number, pose())[0]
        assert kept.recall(holey, PROFILE) is holey
    assert lines == []


def test_auto_needs_no_pose_and_says_nothing_without_one(monkeypatch):
    monkeypatch.setattr(temporal, "_CAN_ESTIMATE", False)
    kept, lines = memory("auto")
    for number in range(2):
        assert kept.recall(replace(shown(number, pose())[0], camera_pose=None), PROFILE).recalled is None
    assert lines == []


def test_frames_that_cannot_be_aligned_start_the_memory_anew():
    if not odometry.available():
        pytest.skip("this OpenCV has no odometry")
    kept, lines = memory("odometry")
    kept.recall(shown(0, pose())[1], PROFILE)
    empty = frame(1, np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32), None)
    assert kept.recall(empty, PROFILE).recalled is None
    assert "odometry cannot align" in lines[0]


def test_a_completed_frame_says_what_was_measured_and_what_was_recalled():
    completer = DepthCompleter("kinect", "classical")
    kept, _ = memory("static")
    kept.recall(shown(0, pose())[1], PROFILE)
    holey, whole = shown(1, pose())
    alone, recalled = completer.complete(holey), completer.complete(kept.recall(holey, PROFILE))
    assert np.array_equal(recalled.measured, holey.depth > 0)
    assert not (recalled.measured & recalled.recalled).any() and recalled.recalled.any()
    assert alone.recalled is None
    hole = recalled.recalled
    assert np.abs(recalled.depth - whole.depth)[hole].mean() < 0.5 * np.abs(alone.depth - whole.depth)[hole].mean()


def test_a_frame_without_any_depth_is_completed_from_memory():
    completer = DepthCompleter("kinect", "classical")
    kept, _ = memory("static")
    whole = shown(0, pose())[1]
    kept.recall(whole, PROFILE)
    empty = frame(1, whole.rgb, np.zeros((HEIGHT, WIDTH), np.float32), pose())
    completed = completer.complete(kept.recall(empty, PROFILE))
    assert not completed.measured.any() and completed.recalled.all()
    np.testing.assert_allclose(completed.depth, whole.depth, rtol=0.05)


def test_depth_in_another_unit_is_still_reported_as_such():
    completer = DepthCompleter("kinect", "classical")
    kept, _ = memory("static")
    rgb, depth, _ = view(pose())
    with pytest.raises(InputError, match=r"depth\.unit"):
        completer.complete(kept.recall(frame(0, rgb, depth * 1000, pose()), PROFILE))


def test_confidence_of_recalled_depth_falls_with_its_age():
    completer = DepthCompleter("kinect", "classical")
    kept, _ = memory("static")
    rgb, depth, hole = np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 2, np.float32), np.zeros((60, 80), bool)
    hole[20:40, 30:50] = True
    kept.recall(RgbdFrame(rgb, depth, stamp_ns=10**9), PROFILE)
    confidence = []
    for number in range(1, 20):
        holey = RgbdFrame(rgb, np.where(hole, np.float32(0), depth), stamp_ns=10**9 + number * 50_000_000)
        confidence.append(completer.complete(kept.recall(holey, PROFILE)).confidence[hole].mean())
    assert (np.diff(confidence) < 0).all()


def smoothed(frames: list[RgbdFrame], smoothing: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Depth of the frames completed one by one: alone, and with memory and smoothing."""
    completer, smoother = DepthCompleter("kinect", "classical"), DepthSmoother()
    kept, _ = memory("static")
    alone, steady = [], []
    for each in frames:
        alone.append(completer.complete(each).depth.copy())
        recalled = kept.recall(each, PROFILE)
        completed = completer.complete(recalled)
        smoother.smooth(completed, recalled, smoothing)
        steady.append(completed.depth.copy())
    return alone, steady


def noisy_frames(count: int, hole: np.ndarray) -> list[RgbdFrame]:
    rng = np.random.default_rng(0)
    rgb, depth, _ = view(pose())
    noisy = [depth + 0.01 * rng.standard_normal(depth.shape).astype(np.float32) for _ in range(count)]
    return [frame(n, rgb, np.where(hole, np.float32(0), each), pose()) for n, each in enumerate(noisy)]


def test_filled_depth_of_a_static_scene_is_three_times_as_steady():
    hole = holes(0, 0.4)
    alone, steady = smoothed(noisy_frames(40, hole), "filled")
    flicker = [np.std(depth[15:], axis=0) for depth in (alone, steady)]
    assert flicker[1][hole].mean() < flicker[0][hole].mean() / 3
    np.testing.assert_array_equal(flicker[1][~hole], flicker[0][~hole])  # measured pixels are left as they are


@pytest.mark.parametrize(("smoothing", "factor"), [("all", 0.5), ("off", 1.0)])
def test_measured_depth_is_smoothed_only_if_wanted(smoothing, factor):
    hole = holes(0, 0.4)
    alone, steady = smoothed(noisy_frames(30, hole), smoothing)
    flicker = [np.std(depth[15:], axis=0)[~hole].mean() for depth in (alone, steady)]
    assert flicker[1] <= factor * flicker[0]


def test_what_moves_is_not_smeared():
    frames = [shown(n, pose(), box_x=-1 + 0.05 * n)[0] for n in range(30)]
    truth = [view(pose(), -1 + 0.05 * n)[1] for n in range(30)]
    results = smoothed(frames, "all")[1], smoothed(frames, "off")[1]
    errors = [np.sqrt(np.mean([np.square(a - b) for a, b in zip(depth, truth, strict=True)])) for depth in results]
    assert errors[0] < 1.05 * errors[1]
