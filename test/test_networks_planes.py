"""Plane fitting in ``planes`` uses edges and weights of measurements that are predicted from features."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.planes import PlaneFitting, _Level  # noqa: E402

torch.set_num_threads(1)

EDGE_LEFT, WEIGHT = 0, 2  # output channels of PlaneFitting.choice


def grey_wall(left, right):
    """Return 16 x 24 cells of one colour whose first and last columns are measured."""
    measured = torch.zeros(1, 1, 16, 24)
    measured[..., 0] = measured[..., -1] = 1
    value = torch.zeros(1, 1, 16, 24)
    value[..., 0], value[..., -1] = left, right
    return _Level(value, measured, torch.zeros(1, 3, 16, 24), torch.zeros(1, 1, 16, 24))


def test_an_edge_predicted_from_features_separates_cells_of_equal_colour():
    fit, features = PlaneFitting(1), torch.zeros(1, 1, 16, 24)
    features[..., 16] = 1  # between columns 15 and 16
    smooth, _ = fit(features, grey_wall(-0.2, 0.2))
    with torch.no_grad():
        fit.choice.weight[EDGE_LEFT] = 2.0
    separated, _ = fit(features, grey_wall(-0.2, 0.2))
    assert smooth[..., 15].mean() > 0.05
    assert separated[..., 15].mean() < -0.15
    assert separated[..., 16].mean() > 0.15


def test_measurements_with_a_predicted_weight_of_zero_are_ignored():
    fit, features = PlaneFitting(1), torch.zeros(1, 1, 16, 24)
    features[..., -1] = 1
    with torch.no_grad():
        fit.choice.weight[WEIGHT] = -5.0
    depth, _ = fit(features, grey_wall(-0.2, 0.2))
    torch.testing.assert_close(depth[..., 8:16], torch.full((1, 1, 16, 8), -0.2), rtol=0, atol=1e-3)


def test_fitted_depth_exceeds_the_measured_range_by_a_quarter_at_most():
    wall, columns = grey_wall(0, 0), torch.arange(24.0)
    wall.measured = (columns < 4).float().expand(1, 1, 16, 24)
    wall.value = 0.1 * columns * wall.measured
    depth, _ = PlaneFitting(1)(torch.zeros(1, 1, 16, 24), wall)
    assert depth.max().item() == pytest.approx(0.3 + 0.2, abs=1e-3)
