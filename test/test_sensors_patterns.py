"""Sparse points, low resolution and masks that hide depth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sensor models need PyTorch")

from frame_sets import write_set  # noqa: E402
from sensor_scenes import NEVER, generator, mixed, scene_of, wall  # noqa: E402

from depth_completion_ros.frame import RgbdFrame  # noqa: E402
from depth_completion_ros.geometry import depth_on_rgb_grid  # noqa: E402
from depth_completion_ros.training import sensors  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize("pattern", [sensors.Pattern.UNIFORM, sensors.Pattern.GRADIENT, sensors.Pattern.CORNER])
def test_sparse_patterns_have_the_given_number_of_points(pattern):
    scene = mixed(number=4)
    depth = sensors.SparsePoints(pattern, count=(500, 500))(scene, generator())
    assert ((depth > 0).sum(dim=(1, 2, 3)) == 500).all()
    every = sensors.SparsePoints(pattern, count=(4096, 4096))(scene, generator())
    assert torch.equal(every > 0, scene.depth > 0)


def test_sparse_points_are_exact_except_for_noise_and_outliers():
    scene = mixed()
    depth = sensors.SparsePoints(outliers=NEVER, sigma=NEVER)(scene, generator())
    assert torch.equal(depth[depth > 0], scene.depth[depth > 0])
    scene = wall(2.0, number=8)
    depth = sensors.SparsePoints(count=(2000, 2000), outliers=(0.05, 0.05), sigma=(0.002, 0.002))(scene, generator())
    wrong = (depth[depth > 0] / 2 - 1).abs() > 0.01
    assert wrong.float().mean() == pytest.approx(0.05, abs=0.01)
    assert (depth[depth > 0][~wrong] / 2 - 1).std() == pytest.approx(0.002, rel=0.1)


def test_grid_points_are_evenly_spaced():
    depth = sensors.SparsePoints(sensors.Pattern.GRID, count=(144, 144))(wall(2.0, number=8), generator())
    for sample in depth[:, 0] > 0:
        rows, columns = sample.any(dim=1).nonzero().flatten(), sample.any(dim=0).nonzero().flatten()
        assert (rows.diff() == 8).all() and (columns.diff() == 8).all()
        assert sample.sum() == len(rows) * len(columns) == 144


def test_gradient_and_corner_points_follow_the_image():
    """The image shows a bright square, with gradients on its outline and corners at its corners."""
    scene = wall(2.0, number=4)
    scene.image[..., 24:72, 24:72] = 1.0
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    outline = torch.minimum((rows - 23.5).abs().minimum((rows - 71.5).abs()), torch.tensor(99.0)) < 2
    outline |= (columns - 23.5).abs().minimum((columns - 71.5).abs()) < 2
    inside = (rows > 20) & (rows < 75) & (columns > 20) & (columns < 75)
    points = sensors.SparsePoints(sensors.Pattern.GRADIENT, count=(200, 200))(scene, generator()) > 0
    assert (points & (outline & inside)).sum() > 0.7 * points.sum()
    corner = ((rows - 23.5).abs().minimum((rows - 71.5).abs()) < 5) & (
        (columns - 23.5).abs().minimum((columns - 71.5).abs()) < 5
    )
    points = sensors.SparsePoints(sensors.Pattern.CORNER, count=(20, 20))(scene, generator()) > 0
    assert (points & corner).sum() > 0.7 * points.sum()


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.7, 8.0])
def test_low_resolution_depth_is_at_the_same_pixels_as_in_the_completer(factor):
    height, width = 96, 128
    scene = scene_of(torch.full((1, 1, height, width), 2.0))
    sensor = sensors.LowResolution(lambda scene, _: scene.depth, factor=(factor, factor), area=0.0, sigma=NEVER)
    depth = sensor(scene, generator())[0, 0].numpy()
    coarse = np.full((round(height / factor), round(width / factor)), 2.0, np.float32)
    expected = depth_on_rgb_grid(RgbdFrame(rgb=np.zeros((height, width, 3), np.uint8), depth=coarse))
    assert np.array_equal(depth > 0, np.isfinite(expected))


def test_low_resolution_means_of_blocks_mix_surfaces_and_centres_do_not():
    depth = torch.full((1, 1, 64, 64), 1.0)
    depth[..., 30:] = 3.0
    scene = scene_of(depth)

    def values(area: float) -> torch.Tensor:
        sensor = sensors.LowResolution(lambda scene, _: scene.depth, factor=(8.0, 8.0), area=area, sigma=NEVER)
        measured = sensor(scene, generator())
        return measured[measured > 0].unique()

    assert torch.equal(values(0.0), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(values(1.0), torch.tensor([1.0, 1.5, 3.0]))  # columns 24..31: six of 1 m, two of 3 m


def test_hole_masks_are_crops_of_the_given_masks():
    """At scale 1, each crop equals a part of the mask or of the flipped mask."""
    mask = torch.zeros(1, 60, 80, dtype=torch.bool)
    mask[:, 20:40, 10:50] = True
    crops = sensors.HoleMasks(mask, scale=(1.0, 1.0))(torch.zeros(16, 1, 30, 30), generator())[:, 0]
    matches = [
        torch.equal(crop, source[y : y + 30, x : x + 30])
        for crop in crops
        for source in (mask[0], mask[0].flip(1))
        for y in range(31)
        for x in range(51)
        if crop.any() and not crop.all()
    ]
    partly = sum(bool(crop.any() and not crop.all()) for crop in crops)
    assert partly > 6 and sum(matches) >= partly


def test_hole_masks_that_are_smaller_than_the_image_are_enlarged():
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[:, :, 20:] = True
    large = sensors.HoleMasks(mask, scale=(1.0, 1.0))(torch.zeros(20, 1, 120, 120), generator())
    assert ((large.float().mean(dim=(1, 2, 3)) - 0.5).abs() < 0.05).all()  # the whole mask


def test_hole_masks_are_read_from_folders_of_real_frames(tmp_path):
    depth = write_set(tmp_path / "set", count=2)["depth"]
    masks = sensors.HoleMasks.from_folders([tmp_path / "set"])
    assert np.array_equal(masks.masks.numpy(), np.stack([depth == 0] * 2))
    mask = masks(torch.zeros(3, 1, 20, 20), generator())
    assert mask.shape == (3, 1, 20, 20) and mask.dtype == torch.bool


def test_contiguous_blocks_are_contiguous_and_hide_less_than_half_of_the_image():
    hidden = sensors.contiguous_blocks(torch.zeros(200, 1, 96, 96), generator())
    assert 0.05 < hidden.float().mean() < 0.4
    pieces = [cv2.connectedComponentsWithStats(mask.numpy().astype(np.uint8))[2][1:, 4] for mask in hidden[:, 0]]
    sizes = np.concatenate(pieces)
    assert sizes[sizes >= 20].sum() > 0.99 * sizes.sum()


def test_missing_borders_touch_the_border_and_stay_within_their_width():
    hidden = sensors.missing_border(torch.zeros(100, 1, 100, 100), generator(), width=(0.0, 0.1))
    assert not hidden[:, :, 10:90, 10:90].any()
    assert hidden[:, 0, 0, 50].float().mean() == pytest.approx(0.5, abs=0.15)
