"""What planes adds to the filling of holes: planes along edges, and of measurements, that its features tell."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.planes import Fit, _Level  # noqa: E402

torch.set_num_threads(1)

RIGHT, TRUST = 0, 2  # of what a fit chooses


def a_grey_wall(left, right):
    """16 x 24 cells of one colour, of which the first and the last column are measured."""
    measured = torch.zeros(1, 1, 16, 24)
    measured[..., 0] = measured[..., -1] = 1
    value = torch.zeros(1, 1, 16, 24)
    value[..., 0], value[..., -1] = left, right
    return _Level(value, measured, torch.zeros(1, 3, 16, 24), torch.zeros(1, 1, 16, 24))


def test_an_edge_predicted_from_features_separates_cells_of_equal_colour():
    fit, features = Fit(1), torch.zeros(1, 1, 16, 24)
    features[..., 16] = 1  # between columns 15 and 16
    smooth, _ = fit(features, a_grey_wall(-0.2, 0.2))
    with torch.no_grad():
        fit.choice.weight[RIGHT] = 2.0
    parted, _ = fit(features, a_grey_wall(-0.2, 0.2))
    assert smooth[..., 15].mean() > 0.05
    assert parted[..., 15].mean() < -0.15
    assert parted[..., 16].mean() > 0.15


def test_measurements_that_features_distrust_have_no_weight():
    fit, features = Fit(1), torch.zeros(1, 1, 16, 24)
    features[..., -1] = 1
    with torch.no_grad():
        fit.choice.weight[TRUST] = -5.0
    depth, _ = fit(features, a_grey_wall(-0.2, 0.2))
    torch.testing.assert_close(depth[..., 8:16], torch.full((1, 1, 16, 8), -0.2), rtol=0, atol=1e-3)


def test_planes_end_a_quarter_beyond_what_was_measured():
    """Which is the furthest that training tells anything of: a slope would reach the sky."""
    wall, columns = a_grey_wall(0, 0), torch.arange(24.0)
    wall.measured = (columns < 4).float().expand(1, 1, 16, 24)
    wall.value = 0.1 * columns * wall.measured
    depth, _ = Fit(1)(torch.zeros(1, 1, 16, 24), wall)
    assert depth.max().item() == pytest.approx(0.3 + 0.2, abs=1e-3)
