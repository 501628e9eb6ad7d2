"""Colour-guided refinement to refine grids in the hole filling equals plain loops."""

from __future__ import annotations

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.along_colour import joint_bilateral_upsample, refine, refine_once  # noqa: E402

torch.set_num_threads(1)


def test_upsampling_with_a_grey_image_is_a_bilinear_resize():
    x, guide = torch.randn(2, 1, 5, 7), torch.zeros(2, 3, 10, 14)
    expected = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    dense, similarity = joint_bilateral_upsample(x, guide[..., ::2, ::2], guide)
    torch.testing.assert_close(dense, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(similarity, torch.full_like(similarity, 1.001))


def test_upsampling_equals_a_loop_over_pixels_and_the_four_cells_around_each():
    torch.manual_seed(0)
    x, coarse, guide = torch.randn(1, 1, 3, 4), 0.1 * torch.rand(1, 2, 3, 4), 0.1 * torch.rand(1, 2, 6, 8)
    expected, similarity = torch.empty(2, 1, 1, 6, 8)
    for row, column in product(range(6), range(8)):
        total = weight = 0.0
        for y, x_offset in product((0, row % 2 * 2 - 1), (0, column % 2 * 2 - 1)):
            i, j = min(max(row // 2 + y, 0), 2), min(max(column // 2 + x_offset, 0), 3)
            unlike = (guide[0, :, row, column] - coarse[0, :, i, j]).abs().sum()
            share = (0.25 if y else 0.75) * (0.25 if x_offset else 0.75) * (torch.exp(-unlike / 0.08) + 1e-3)
            total, weight = total + share * x[0, 0, i, j], weight + share
        expected[0, 0, row, column], similarity[0, 0, row, column] = total / weight, weight
    torch.testing.assert_close(joint_bilateral_upsample(x, coarse, guide), (expected, similarity))


def test_upsampling_keeps_an_edge_that_is_visible_in_colour():
    """The edge lies in the middle of a column of cells, whose colour is between both sides."""
    depth, guide = torch.tensor([1.0, 1.0, 1.5, 2.0, 2.0]).expand(1, 1, 5, 5), torch.zeros(1, 3, 10, 10)
    guide[..., 5:] = 0.5
    coarse = torch.nn.functional.avg_pool2d(guide, 2)
    row = joint_bilateral_upsample(depth, coarse, guide)[0][0, 0, 5]
    blurred = joint_bilateral_upsample(depth, 0 * coarse, 0 * guide)[0][0, 0, 5]
    assert (row[:4] - 1).abs().max() < 0.01 and (row[6:] - 2).abs().max() < 0.01
    assert blurred[3] > 1.1 and blurred[6] < 1.9


def test_farther_cells_of_the_same_colour_have_more_weight_than_near_cells_across_an_edge():
    """The lower part of an object is two pixels wide and covers half of two cells; its upper part covers both cells."""
    guide = torch.zeros(1, 3, 10, 16)
    guide[:, :, :4, 4:8], guide[:, :, 4:, 5:7] = 0.5, 0.5
    coarse = torch.nn.functional.avg_pool2d(guide, 2)
    depth, unknown = 1 + 2 * coarse[:, :1], torch.zeros(1, 1, 10, 16)
    alone = joint_bilateral_upsample(depth, coarse, guide)[0][0, 0, 6]
    row = refine(depth, coarse, guide, unknown, unknown, 3)[0, 0, 6]
    assert alone[5:7].max() < 1.6
    torch.testing.assert_close(row, 1 + 2 * guide[0, 0, 6], rtol=0, atol=0.05)


@pytest.mark.parametrize(("steps", "radius"), [(1, 1), (2, 3), (3, 7)])
def test_interpolated_residuals_equal_a_loop_over_cells(steps, radius):
    """With a coarse grid of zeros, the known values are the residuals."""
    torch.manual_seed(0)
    value, guide = torch.randn(1, 1, 12, 20), 0.2 * torch.rand(1, 3, 12, 20)
    known = (torch.rand(1, 1, 12, 20) < 0.2).float()
    colours = guide[0]

    def weight(steps_apart):
        return torch.exp(-steps_apart.abs().sum() / 0.08 - len(steps_apart.T) / 2)

    expected = torch.empty(1, 1, 12, 20)
    for y, x in product(range(12), range(20)):
        total = weights = 0.0
        for i, j in product(range(max(y - radius, 0), min(y + radius, 11) + 1), range(20)):
            if abs(j - x) <= radius and known[0, 0, i, j]:
                down = colours[:, min(y, i) : max(y, i) + 1, x].diff(dim=1)
                right = colours[:, i, min(x, j) : max(x, j) + 1].diff(dim=1)
                each = weight(down) * weight(right)
                total, weights = total + each * value[0, 0, i, j], weights + each
        expected[0, 0, y, x] = total / (weights + 1e-3)
    zeros = torch.zeros(1, 1, 6, 10)
    interpolated = refine(zeros, torch.nn.functional.avg_pool2d(guide, 2), guide, value, known, steps)
    torch.testing.assert_close(interpolated, expected, rtol=1e-4, atol=1e-5)


def test_single_step_equals_a_loop_over_the_nine_pixels_around_each():
    """The result is a mean of upsampled values, weighted by similarity, and known values with ten times the weight."""
    torch.manual_seed(0)
    coarse, guide = torch.randn(1, 1, 4, 5), 0.2 * torch.rand(1, 2, 8, 10)
    coarse_guide, known = torch.nn.functional.avg_pool2d(guide, 2), (torch.rand(1, 1, 8, 10) < 0.3).float()
    value = torch.randn(1, 1, 8, 10) * known
    dense, similarity = joint_bilateral_upsample(coarse, coarse_guide, guide)
    expected = torch.empty(1, 1, 8, 10)
    for y, x in product(range(8), range(10)):
        total = weights = 0.0
        for i, j in product(range(max(y - 1, 0), min(y + 2, 8)), range(max(x - 1, 0), min(x + 2, 10))):
            # Values are summed along rows first and along columns last.
            unlike = (guide[0, :, i, j] - guide[0, :, i, x]).abs() + (guide[0, :, i, x] - guide[0, :, y, x]).abs()
            each = torch.exp(-unlike.sum() / 0.08 - (abs(i - y) + abs(j - x)) / 2)
            shares = similarity[0, 0, i, j], 10 * known[0, 0, i, j]
            total = total + each * (shares[0] * dense[0, 0, i, j] + shares[1] * value[0, 0, i, j])
            weights = weights + each * sum(shares)
        expected[0, 0, y, x] = total / weights
    torch.testing.assert_close(refine_once(coarse, coarse_guide, guide, value, known), expected, rtol=1e-4, atol=1e-5)


def test_one_measurement_shifts_the_upsampled_slope_around_it():
    slope = torch.linspace(1, 2, 8).expand(1, 1, 8, 8)
    guide, known = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    plain = refine(slope, guide[..., ::2, ::2], guide, known, known, 3)
    known[..., 8, 8] = 1
    moved = refine(slope, guide[..., ::2, ::2], guide, plain + 0.5, known, 3) - plain
    assert (moved[..., 5:12, 5:12] > 0.4).all() and moved[0, 0, 8, 8] == pytest.approx(0.5, abs=1e-2)
