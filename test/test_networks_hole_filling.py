"""The hole filling whose result every network corrects."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.hole_filling import HoleFilling, axial_sum, axial_weights, fit_planes  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(params=[False, True], ids=["fast", "fine"])
def fill(request):
    return HoleFilling(request.param)


@pytest.mark.parametrize("coloured", [False, True])
def test_measured_pixels_are_unchanged_and_filled_pixels_stay_in_their_range(fill, coloured):
    torch.manual_seed(0)
    value, measured = torch.randn(2, 1, 64, 96), (torch.rand(2, 1, 64, 96) < 0.01).float()
    filled, distance = fill(value * measured, measured, torch.rand(2, 3, 64, 96) if coloured else None)
    assert torch.equal(filled[measured > 0], value[measured > 0])
    for one, known, full in zip(value, measured, filled, strict=True):
        assert full.min() >= one[known > 0].min() - 1e-5 and full.max() <= one[known > 0].max() + 1e-5
    assert distance.shape == (2, 1, 8, 12) and (distance > 0).all()


def test_one_measured_corner_fills_a_whole_vga_image(fill):
    measured = torch.zeros(1, 1, 480, 640)
    measured[..., 0, 0] = 1
    filled, distance = fill(measured * 0.7, measured)
    torch.testing.assert_close(filled, torch.full_like(filled, 0.7), rtol=1e-4, atol=0)
    assert distance[0, 0, -1, -1] == distance.max()


def test_nothing_measured_gives_zero(fill):
    filled, distance = fill(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    assert (filled == 0).all() and torch.isfinite(distance).all()


def test_distance_grows_away_from_the_measurements_up_to_a_limit(fill):
    measured = torch.zeros(1, 1, 64, 640)
    measured[..., :4] = 1
    row = fill(torch.zeros_like(measured), measured)[1][0, 0, 4]
    assert (row[:20].diff() > 0).all() and row.max() == row[-1] == pytest.approx(4, abs=0.01)


def test_a_slanted_plane_continues_through_a_hole_and_beyond_the_measured_area(fill):
    """The error is at most 2 % of the plane's range. Means of neighbours could not achieve this."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(192.0), indexing="ij")
    plane = (0.004 * x - 0.002 * y).view(1, 1, 128, 192)
    measured = torch.ones(1, 1, 128, 192)
    measured[..., 40:88, 64:128] = 0
    filled, _ = fill(plane * measured, measured)
    assert (filled - plane).abs().max() < 0.02 * (plane.max() - plane.min())


def test_depth_changes_at_the_colour_edge_and_not_in_the_middle_of_a_hole(fill):
    value, measured = torch.zeros(1, 1, 64, 128), torch.zeros(1, 1, 64, 128)
    measured[..., :32] = measured[..., -32:] = 1
    value[..., -32:] = 1
    image = torch.zeros(1, 3, 64, 128)
    image[..., 80:] = 0.8  # the middle of the hole is column 64
    guided, plain = fill(value, measured, image)[0], fill(value, measured)[0]
    between = slice(68, 77)
    assert guided[0, 0, :, between].mean() < 0.2 < plain[0, 0, :, between].mean()


def slow_weights(guide, distance_scale):
    """Return the weights between all cells, (H, W, H, W), computed with loops along rows and then columns."""
    height, width = guide.shape[-2:]

    def path(a, b):  # between two cells of one line
        (ya, xa), (yb, xb) = a, b
        cells = [(y, x) for y in range(min(ya, yb), max(ya, yb) + 1) for x in range(min(xa, xb), max(xa, xb) + 1)]
        steps = [
            (guide[0, :, p[0], p[1]] - guide[0, :, q[0], q[1]]).abs().sum() / 0.1 + 1 / distance_scale
            for p, q in pairwise(cells)
        ]
        return torch.exp(-min(sum(steps, torch.zeros(())), torch.tensor(30.0)))

    found = torch.empty(height, width, height, width)
    for y, x, row, column in product(range(height), range(width), range(height), range(width)):
        found[y, x, row, column] = path((row, column), (row, x)) * path((row, x), (y, x))
    return found


def test_axial_sum_equals_a_brute_force_loop():
    torch.manual_seed(0)
    guide, x = 0.1 * torch.rand(1, 3, 4, 5), torch.randn(1, 2, 4, 5)
    expected = torch.einsum("yxrc,nkrc->nkyx", slow_weights(guide, 3.0), x)
    torch.testing.assert_close(axial_sum(x, *axial_weights(guide, 3.0)), expected, rtol=1e-4, atol=1e-5)


def test_planes_equal_least_squares():
    """At each cell, the plane equals NumPy's solution of the weighted equations with the penalty on slopes."""
    torch.manual_seed(0)
    guide, value = 0.1 * torch.rand(1, 3, 4, 5), torch.randn(1, 1, 4, 5)
    known = torch.rand(1, 1, 4, 5) * (torch.rand(1, 1, 4, 5) < 0.7)  # measurements have different weights
    answer = fit_planes(value * (known > 0), known, *axial_weights(guide, 5.0))
    rows, columns = np.mgrid[:4, :5]
    every_weight = slow_weights(guide, 5.0)
    for y, x in product(range(4), range(5)):
        weight = (every_weight[y, x] * known[0, 0]).numpy().ravel()
        weight = weight / weight.sum()
        equations = np.stack([np.ones(20), (columns - x).ravel(), (rows - y).ravel()], axis=1)
        squares = equations.T @ (weight[:, None] * equations) + np.diag([0, 0.5, 0.5])
        solution = np.linalg.solve(squares, equations.T @ (weight * value.numpy().ravel()))
        assert answer[0, 0, y, x].item() == pytest.approx(solution[0], abs=1e-4)
