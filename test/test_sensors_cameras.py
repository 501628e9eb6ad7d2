"""Structured light, time of flight and stereo follow their formulas."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="sensor models need PyTorch")

from sensor_scenes import ALWAYS, NEVER, box, fold, generator, kinect, scene_of, stereo, tof, wall  # noqa: E402

from depth_completion_ros.training.scene_batch import SceneBatch  # noqa: E402

torch.set_num_threads(1)


# Structured light.


@pytest.mark.parametrize(("z", "angle"), [(1.0, 0.0), (2.0, 0.0), (3.5, 0.0), (1.0, 80.0), (2.0, 70.0)])
def test_kinect_noise_with_quantisation_equals_the_formula_of_nguyen(z, angle):
    depth = kinect()(wall(z, number=8, angle=angle), generator())
    theta = math.radians(angle)
    sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2 + 0.0001 / math.sqrt(z) * (theta / (math.pi / 2 - theta)) ** 2
    assert (depth - z).std() == pytest.approx(sigma, rel=0.1)
    assert abs((depth - z).mean()) < 0.3 * sigma


def test_kinect_disparity_is_rounded_to_an_eighth_of_a_pixel():
    """The steps of depth are 2.9 mm at 1 m, 11.6 mm at 2 m and 46 mm at 4 m."""
    for z, step in ((1.0, 0.0029), (2.0, 0.0116), (4.0, 0.0464)):
        values = kinect()(wall(z, number=4), generator()).unique()
        eighths = 8 * 575 * 0.075 / values
        assert (eighths - eighths.round()).abs().max() < 1e-3
        assert values.diff().min() == pytest.approx(step, rel=0.1)


@pytest.mark.parametrize(("near", "far", "focal"), [(1.0, 3.0, 300.0), (0.8, 1.2, 400.0), (1.0, 3.0, 150.0)])
def test_kinect_shadow_is_on_the_left_and_as_wide_as_the_parallax(near, far, focal):
    """The width is that in pixels of the image, at any resolution."""
    hole = kinect()(box(near, far, focal=focal), generator())[0, 0, 48] == 0
    width = focal * 0.075 * (1 / near - 1 / far)
    columns = hole.nonzero().flatten()
    # The shadow in the first columns of the image would depend on surfaces outside of the image.
    assert abs(len(columns) - width) <= 1.5
    assert columns.max() == 23 and columns.min() == 24 - len(columns)


def test_kinect_closes_narrow_shadows():
    """The shadow is 5 pixels wide."""
    scene = box(1.0, 3.0, focal=100.0)
    open_shadow, closed = (kinect(narrowest_shadow=(width, width))(scene, generator()) for width in (4.0, 6.0))
    assert (open_shadow[0, 0, 48, 19:24] == 0).all() and (closed > 0).all()


def test_kinect_shadow_of_a_thin_pole_is_no_wider_than_the_pole():
    depth = torch.full((1, 1, 8, 120), 3.0)
    depth[..., 80:83] = 1.0
    hole = kinect()(scene_of(depth, focal=300.0), generator())[0, 0, 4] == 0
    columns = hole.nonzero().flatten()
    shift = 300 * 0.075 * (1 - 1 / 3)
    assert len(columns) <= 5 and abs(columns.float().mean() - (81 - shift)) < 2


def test_kinect_loses_half_of_the_pixels_at_the_grazing_angle_and_all_at_larger_angles():
    sensor = kinect(grazing=(70.0, 70.0))
    share = [
        (sensor(wall(1.0, number=40, angle=angle), generator()) == 0).float().mean() for angle in (60.0, 70.0, 76.0)
    ]
    assert share[0] == 0 and share[1] == pytest.approx(0.5, abs=0.05) and share[2] == 1


def test_kinect_loses_surfaces_that_return_too_little_light():
    """The signal, reflectance (4 m / z)², is 0.05. This is half of the limit of 0.1, so half of the pixels are lost."""
    sensor = kinect(signal=(0.1, 0.1))
    share = (sensor(wall(4.0, number=40, reflectance=0.05), generator()) == 0).float().mean()
    assert share == pytest.approx(0.5, abs=0.05)
    assert (sensor(wall(1.0, reflectance=0.05), generator()) > 0).all()


def test_kinect_edges_are_ragged_by_about_the_lateral_noise():
    columns = []
    for seed in range(5):
        depth = kinect(lateral=(0.8, 0.8))(box(1.0, 2.0, number=4), generator(seed))
        columns.append((depth[:, 0, 30:66, 48:] < 1.5).sum(dim=-1).float().flatten())
    edge = torch.cat(columns)
    assert edge.mean() == pytest.approx(24, abs=0.2) and 0.5 < edge.std() < 1.1


def test_kinect_removes_pixels_with_few_measured_neighbours():
    """83 % of 5x5 pixels must have depth, so two rows are removed at a straight border of the sky."""
    depth = torch.full((1, 1, 40, 40), 2.0)
    depth[..., :20, :] = 0
    measured = kinect(window=5)(scene_of(depth), generator())[0, 0, :, 20] > 0
    assert measured.nonzero().min() == 22


def test_kinect_measures_only_within_its_range():
    sensor = kinect(near=(0.5, 0.5), far=(4.0, 4.0))
    assert [bool((sensor(wall(z), generator()) > 0).any()) for z in (0.4, 0.6, 3.8, 4.2)] == [False, True, True, False]


# Time of flight.


@pytest.mark.parametrize(
    ("z", "angle", "reflectance"), [(1.0, 0.0, 0.8), (3.0, 0.0, 0.8), (2.0, 60.0, 0.8), (2.0, 0.0, 0.2)]
)
def test_tof_noise_is_proportional_to_squared_distance_divided_by_returned_light(z, angle, reflectance):
    depth = tof(sigma=(0.001, 0.001))(wall(z, angle=angle, reflectance=reflectance), generator())
    expected = 0.001 * z**2 / (reflectance * math.cos(math.radians(angle)))
    assert (depth - z).std() == pytest.approx(expected, rel=0.05)


def test_tof_measures_nothing_where_noise_would_be_too_strong():
    sensor = tof(sigma=(0.001, 0.001), weakest=0.08)
    assert (sensor(wall(3.0, reflectance=0.04), generator()) > 0).all()  # sigma 7.5 % of z
    assert (sensor(wall(3.0, reflectance=0.03), generator()) == 0).all()  # 10 %


def test_tof_flying_pixels_are_convex_mixes_at_edges_only():
    scene = box(1.0, 2.0, number=8)
    depth = tof(flying=ALWAYS)(scene, generator())
    flying = (depth > 1.001) & (depth < 1.999)
    assert ((depth > 1 - 1e-4) & (depth < 2 + 1e-4)).all()
    low = -torch.nn.functional.max_pool2d(-scene.depth, 3, 1, 1)
    edge = low != torch.nn.functional.max_pool2d(scene.depth, 3, 1, 1)
    assert not flying[~edge].any() and flying[edge].float().mean() > 0.2
    assert not ((tof()(scene, generator()) > 1.001) & (tof()(scene, generator()) < 1.999)).any()


def test_tof_multipath_increases_depth_only_in_concave_corners():
    """Depth increases by up to 3 % in the corner of a room, and not at the outer corner of a house or on a wall."""
    sensor = tof(multipath=(0.03, 0.03))
    scene = fold(concave=True)
    bias = (sensor(scene, generator()) / scene.depth - 1)[0, 0, 48]
    assert 0.005 < bias[44:52].mean() < 0.03 and (bias > -1e-5).all() and (bias <= 0.0301).all()
    assert bias[44:52].mean() > 1.3 * bias[:8].mean()
    assert bias.diff().abs().max() < 0.002
    straight = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 96, 96)
    for flat in (fold(concave=False), SceneBatch(**{**vars(wall(2.0)), "normals": straight})):
        assert (sensor(flat, generator()) / flat.depth - 1).abs().max() < 1e-4


# Stereo.


def test_stereo_noise_follows_from_the_noise_of_disparity():
    for z in (1.0, 3.0):
        depth = stereo(subpixel=(0.2, 0.2))(wall(z, number=8), generator())
        seen = depth[depth > 0]
        assert seen.std() == pytest.approx(z**2 * 0.2 / (640 * 0.05), rel=0.1)
        steps = 640 * 0.05 * 32 / seen
        assert (steps - steps.round()).abs().max() < 1e-2


def test_passive_stereo_needs_texture_and_a_projector_adds_it():
    scene = wall(2.0, number=8)
    scene.image[..., 48:] += 0.2 * torch.rand(8, 1, 96, 48, generator=generator())
    passive = stereo(texture=(0.01, 0.01), projected=NEVER)(scene, generator()) > 0
    assert not passive[..., :40].any() and passive[..., 52:].all()
    projected = stereo(texture=(0.01, 0.01), projected=(0.05, 0.05))(scene, generator()) > 0
    assert projected[..., 8:].all()
    assert not (stereo(texture=(0.01, 0.01), projected=(0.05, 0.05))(wall(8.0), generator()) > 0)[..., 8:].all()


def test_stereo_has_holes_where_only_one_camera_sees_the_surface():
    hole = stereo()(box(1.0, 3.0, focal=300.0), generator())[0, 0, 48] == 0
    width = 300 * 0.05 * (1 - 1 / 3)
    columns = hole[8:].nonzero().flatten() + 8
    assert abs(len(columns) - width) <= 1.5 and columns.max() == 23


def test_stereo_enlarges_the_foreground():
    scene = box(1.0, 1.5, number=16, focal=30.0)
    near = [(stereo(fattening=pixels)(scene, generator())[..., 48, :] < 1.2).sum(dim=-1) for pixels in (0, 2)]
    assert (near[0] <= 48).all()
    grown = (near[1] - near[0]).float()
    assert grown.min() >= 0 and grown.max() <= 4 and grown.mean() > 1
