"""The LiDAR model: positions of its points, occlusion from its own viewpoint, noise and errors."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="sensor models need PyTorch")

from sensor_scenes import box, generator, lidar, wall  # noqa: E402

from depth_completion_ros.training import sensors  # noqa: E402

torch.set_num_threads(1)


def test_lidar_without_offset_and_noise_measures_exact_depth():
    scene = box(2.0, 6.0, size=128)
    depth = lidar()(scene, generator())
    hit = depth > 0
    assert hit.sum() > 200
    torch.testing.assert_close(depth[hit], scene.depth[hit])


@pytest.mark.parametrize(("beams", "columns"), [(8, 400), (16, 720), (32, 1000)])
def test_lidar_has_the_given_beams_and_columns(beams, columns):
    sensor = lidar(beams=(beams, beams), columns=(columns, columns), up=(12.0, 12.0), down=(-12.0, -12.0))
    focal = 300.0
    hit = sensor(wall(5.0, size=201, focal=focal), generator())[0, 0] > 0
    middle = hit[:, 90:111].any(dim=1).nonzero().flatten()
    assert len(middle) == beams
    elevation = torch.rad2deg(torch.atan((100 - middle) / focal)).flip(0)
    expected = torch.linspace(-12, 12, beams)
    assert (elevation - expected).abs().max() < 0.3
    spacing = hit[middle[beams // 2], 50:150].nonzero().flatten().diff().float().mean()
    assert spacing == pytest.approx(focal * 2 * math.pi / columns, rel=0.06)


def test_lidar_range_noise_has_the_given_standard_deviation():
    depth = lidar(sigma=(0.025, 0.025))(wall(5.0, number=4, focal=400.0), generator())
    assert (depth[depth > 0] - 5).std() == pytest.approx(0.025, rel=0.1)


def leaks(sensor: sensors.Lidar) -> float:
    """Return the share of points in the image of the box that have the depth of the wall behind it."""
    scene = box(2.0, 8.0, size=128, number=16, focal=150.0)
    depth = sensor(scene, generator())
    on_box = (scene.depth < 5) & (depth > 0)
    return float((depth[on_box] > 5).float().mean())


def test_lidar_beside_the_camera_leaks_background_through_the_foreground():
    assert leaks(lidar()) == 0
    assert leaks(lidar(offset=(0.3, 0.3, 0.0))) > 0.02


def test_lidar_offset_does_not_change_the_depth_of_a_wall():
    """Points that both the LiDAR and the camera see have the right depth."""
    depth = lidar(offset=(0.1, 0.1, 0.1))(wall(4.0, number=8), generator())
    assert (depth[depth > 0] - 4).abs().max() < 1e-3


@pytest.mark.parametrize(
    "fault", [{"misrotation": (0.5, 0.5)}, {"misplacement": (0.05, 0.05)}, {"rolling": (0.2, 0.2)}]
)
def test_lidar_miscalibration_and_rolling_shutter_displace_points(fault):
    assert leaks(lidar(**fault)) > 0.001


def test_lidar_has_the_given_share_of_outliers():
    depth = lidar(outliers=(0.05, 0.05))(wall(4.0, number=16, focal=400.0), generator())
    seen = depth[depth > 0]
    wrong = (seen - 4).abs() > 0.02
    assert wrong.float().mean() == pytest.approx(0.05, abs=0.012)
    assert seen.min() >= 1.99 and seen.max() <= 8.01
