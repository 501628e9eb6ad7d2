"""The steps along colour with which the filling of holes goes to finer grids, against loops."""

from __future__ import annotations

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.along_colour import doubled, spread_near  # noqa: E402

torch.set_num_threads(1)


def test_without_colour_doubling_is_a_bilinear_resize():
    x, guide = torch.randn(2, 1, 5, 7), torch.zeros(2, 3, 10, 14)
    expected = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(doubled(x, guide[..., ::2, ::2], guide), expected, rtol=1e-5, atol=1e-5)


def test_doubling_equals_a_loop_over_pixels_and_the_four_cells_around_each():
    torch.manual_seed(0)
    x, coarse, guide = torch.randn(1, 1, 3, 4), 0.1 * torch.rand(1, 2, 3, 4), 0.1 * torch.rand(1, 2, 6, 8)
    expected = torch.empty(1, 1, 6, 8)
    for row, column in product(range(6), range(8)):
        total = weight = 0.0
        for y, x_offset in product((0, row % 2 * 2 - 1), (0, column % 2 * 2 - 1)):
            i, j = min(max(row // 2 + y, 0), 2), min(max(column // 2 + x_offset, 0), 3)
            unlike = (guide[0, :, row, column] - coarse[0, :, i, j]).abs().sum()
            share = (0.25 if y else 0.75) * (0.25 if x_offset else 0.75) * (torch.exp(-unlike / 0.06) + 1e-3)
            total, weight = total + share * x[0, 0, i, j], weight + share
        expected[0, 0, row, column] = total / weight
    torch.testing.assert_close(doubled(x, coarse, guide), expected)


def test_doubling_keeps_an_edge_where_colour_has_one():
    """The edge lies in the middle of a column of cells, which is of neither side."""
    depth, guide = torch.tensor([1.0, 1.0, 1.5, 2.0, 2.0]).expand(1, 1, 5, 5), torch.zeros(1, 3, 10, 10)
    guide[..., 5:] = 0.5
    coarse = torch.nn.functional.avg_pool2d(guide, 2)
    row = doubled(depth, coarse, guide)[0, 0, 5]
    blurred = doubled(depth, 0 * coarse, 0 * guide)[0, 0, 5]
    assert (row[:4] - 1).abs().max() < 0.01 and (row[6:] - 2).abs().max() < 0.01
    assert blurred[3] > 1.1 and blurred[6] < 1.9


def test_spreading_once_equals_a_loop_over_rows_then_columns():
    torch.manual_seed(0)
    value, guide = torch.randn(1, 1, 4, 5), 0.1 * torch.rand(1, 3, 4, 5)
    known = (torch.rand(1, 1, 4, 5) < 0.5).float()

    def link(y, x, other_y, other_x):
        if (y, x) == (other_y, other_x):
            return 1.0
        return 0.3 * torch.exp(-(guide[0, :, y, x] - guide[0, :, other_y, other_x]).abs().sum() / 0.06)

    expected = torch.empty(1, 1, 4, 5)
    for y, x in product(range(4), range(5)):
        total = reach = 0.0
        for i, j in product(range(max(y - 1, 0), min(y + 2, 4)), range(max(x - 1, 0), min(x + 2, 5))):
            weight = link(y, x, i, x) * link(i, x, i, j) * known[0, 0, i, j]
            total, reach = total + weight * value[0, 0, i, j], reach + weight
        expected[0, 0, y, x] = total / (reach + 1e-3)
    torch.testing.assert_close(spread_near(value, known, guide, 1), expected)


def test_spreading_reaches_as_far_as_it_is_repeated():
    value, known, guide = torch.full((1, 1, 9, 9), 7.0), torch.zeros(1, 1, 9, 9), torch.zeros(1, 3, 9, 9)
    known[..., 4, 4] = 1
    reached = spread_near(value, known, guide, 2)[0, 0] > 0
    assert reached.sum() == 25 and reached[2:7, 2:7].all()
