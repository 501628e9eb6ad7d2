"""Sensor models against the formulas they state, on scenes known by heart."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sensor models need PyTorch")

from frame_sets import write_set  # noqa: E402
from sensor_scenes import box, fold, mixed, of_material, scene_of, wall  # noqa: E402

from depth_completion_ros.data import sensors  # noqa: E402
from depth_completion_ros.data.scene_batch import Material, SceneBatch  # noqa: E402
from depth_completion_ros.data.sensors import fields  # noqa: E402
from depth_completion_ros.data.sensors.materials import Response  # noqa: E402
from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.frame import RgbdFrame  # noqa: E402
from depth_completion_ros.geometry import depth_on_rgb_grid  # noqa: E402

torch.set_num_threads(1)

NEVER = (0.0, 0.0)
ALWAYS = (1.0, 1.0)
PLAIN = Response(dark=NEVER, shiny=NEVER, glass=NEVER, mirror=NEVER, through=NEVER)
EVERYWHERE = {"near": NEVER, "far": (1e3, 1e3), "response": PLAIN}
TINY = (1e-9, 1e-9)

ALL = [
    sensors.KinectStructuredLight(),
    sensors.TimeOfFlight(),
    sensors.Lidar(),
    sensors.Stereo(),
    sensors.active_stereo(),
    *(sensors.SparsePoints(pattern) for pattern in sensors.Pattern),
    sensors.LowResolution(sensors.TimeOfFlight()),
    *(sensors.SensorMix(profile) for profile in sensors.PROFILES),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kinect(**parameters) -> sensors.KinectStructuredLight:
    """A Kinect without holes, ragged edges and window; what is given is put back."""
    quiet = {"lateral": NEVER, "narrowest_shadow": ALWAYS, "grazing": (120.0, 120.0), "signal": TINY, "window": 1}
    return sensors.KinectStructuredLight(**{**EVERYWHERE, **quiet, **parameters})


def tof(**parameters) -> sensors.TimeOfFlight:
    quiet = {"sigma": TINY, "weakest": 1.0, "flying": NEVER, "multipath": NEVER}
    return sensors.TimeOfFlight(**{**EVERYWHERE, **quiet, **parameters})


def lidar(**parameters) -> sensors.Lidar:
    quiet = {"sigma": NEVER, "offset": (0.0, 0.0, 0.0), "misrotation": 0.0, "misplacement": 0.0, "mounting": 0.0}
    far = {"rolling": NEVER, "outliers": NEVER, "far": (1e3, 1e3), "response": PLAIN}
    return sensors.Lidar(**{**quiet, **far, **parameters})


def stereo(**parameters) -> sensors.Stereo:
    quiet = {"baseline": (0.05, 0.05), "subpixel": TINY, "projected": ALWAYS, "mismatched": NEVER, "fattening": 0}
    return sensors.Stereo(**{**quiet, "filled": NEVER, "far": (1e3, 1e3), "response": PLAIN, **parameters})


# What holds for every sensor.


@pytest.mark.parametrize("sensor", ALL, ids=lambda sensor: type(sensor).__name__)
def test_every_sensor_gives_depth_only_where_the_scene_has_a_surface(sensor):
    """Finite, never negative, missing is 0, and nothing in the sky."""
    scene = mixed(number=8)
    depth = sensor(scene, generator())
    assert depth.shape == scene.depth.shape and depth.dtype == torch.float32
    assert torch.isfinite(depth).all() and (depth >= 0).all() and (depth > 0).any()
    assert not (depth > 0)[scene.depth == 0].any()


@pytest.mark.parametrize("sensor", ALL, ids=lambda sensor: type(sensor).__name__)
def test_a_seed_repeats_and_samples_do_not_touch_each_other(sensor):
    """What one sample of a batch looks like changes no other sample."""
    scene = mixed(number=3)
    depth = sensor(scene, generator())
    assert torch.equal(depth, sensor(scene, generator()))
    assert not torch.equal(depth, sensor(scene, generator(1)))
    other = SceneBatch(**{name: value.clone() for name, value in vars(scene).items()})
    other.depth[1] *= 1.5
    other.behind[1] *= 1.5
    other.image[1] = 0.5
    changed = sensor(other, generator())
    assert torch.equal(depth[0], changed[0]) and torch.equal(depth[2], changed[2])
    assert not torch.equal(depth[1], changed[1])


def test_smooth_noise_has_unit_variance_and_the_stated_correlation():
    like = torch.zeros(200, 1, 40, 50)
    values = fields.smooth_noise(like, generator(), 3.0)
    assert values.std(dim=0).mean() == pytest.approx(1, abs=0.02)
    for distance in (1, 3, 6):
        correlation = (values[..., distance:] * values[..., :-distance]).mean()
        assert correlation == pytest.approx(math.exp(-(distance**2) / (4 * 3.0**2)), abs=0.03)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_patches_cover_the_share_that_was_asked_for(share):
    covered = fields.patches(torch.zeros(300, 1, 48, 48), generator(), 8.0) < share
    assert covered.float().mean() == pytest.approx(share, abs=0.025)


@pytest.mark.parametrize(
    ("sensor", "material", "low", "high"),
    [
        (sensors.TimeOfFlight(), Material.SHINY, 0.05, 0.15),
        (sensors.TimeOfFlight(), Material.DARK, 0.03, 0.10),
        (kinect(response=Response((0.3, 0.5), NEVER, NEVER, NEVER, NEVER)), Material.DARK, 0.3, 0.5),
        (kinect(response=Response(NEVER, (0.2, 0.4), NEVER, NEVER, NEVER)), Material.SHINY, 0.2, 0.4),
        (kinect(response=Response(NEVER, NEVER, NEVER, (0.6, 0.8), NEVER)), Material.MIRROR, 0.6, 0.8),
    ],
)
def test_materials_are_holes_as_often_as_stated(sensor, material, low, high):
    depth = sensor(of_material(wall(1.0, number=100), material), generator())
    share = (depth == 0).float().mean()
    assert low + 0.2 * (high - low) < share < high - 0.2 * (high - low)


@pytest.mark.parametrize("sensor", [kinect, tof, lidar, stereo])
@pytest.mark.parametrize("material", [Material.GLASS, Material.MIRROR])
def test_glass_and_mirrors_show_themselves_or_what_is_behind_in_the_stated_shares(sensor, material):
    response = Response(NEVER, NEVER, NEVER, NEVER, through=(0.7, 0.7))
    # A wide view, so that no second viewpoint is hidden from what lies behind.
    scene = of_material(wall(1.0, number=60, focal=30.0), material, behind=1.5)
    depth = sensor(response=response)(scene, generator())
    seen = depth[depth > 0]
    assert ((seen - 1).abs() < 0.02).float().add((seen - 1.5).abs() < 0.03).min() == 1
    assert (seen > 1.25).float().mean() == pytest.approx(0.7, abs=0.05)


# Structured light.


@pytest.mark.parametrize(("z", "angle"), [(1.0, 0.0), (2.0, 0.0), (3.5, 0.0), (1.0, 80.0), (2.0, 70.0)])
def test_kinect_noise_is_nguyens_quantisation_included(z, angle):
    depth = kinect()(wall(z, number=8, angle=angle), generator())
    theta = math.radians(angle)
    sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2 + 0.0001 / math.sqrt(z) * (theta / (math.pi / 2 - theta)) ** 2
    assert (depth - z).std() == pytest.approx(sigma, rel=0.1)
    assert abs((depth - z).mean()) < 0.3 * sigma


def test_kinect_disparity_is_rounded_to_an_eighth_of_a_pixel():
    """Steps of 2.9 mm at 1 m, 11.6 mm at 2 m and 46 mm at 4 m."""
    for z, step in ((1.0, 0.0029), (2.0, 0.0116), (4.0, 0.0464)):
        values = kinect()(wall(z, number=4), generator()).unique()
        eighths = 8 * 575 * 0.075 / values
        assert (eighths - eighths.round()).abs().max() < 1e-3
        assert values.diff().min() == pytest.approx(step, rel=0.1)


@pytest.mark.parametrize(("near", "far", "focal"), [(1.0, 3.0, 300.0), (0.8, 1.2, 400.0), (1.0, 3.0, 150.0)])
def test_kinect_shadow_is_on_the_left_and_as_wide_as_the_parallax(near, far, focal):
    """In pixels of the image, so at any resolution."""
    hole = kinect()(box(near, far, focal=focal), generator())[0, 0, 48] == 0
    width = focal * 0.075 * (1 / near - 1 / far)
    columns = hole.nonzero().flatten()
    # What lies left of the image would be needed for its first columns.
    assert abs(len(columns) - width) <= 1.5
    assert columns.max() == 23 and columns.min() == 24 - len(columns)


def test_kinect_closes_narrow_shadows():
    """5 pixels wide here."""
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


def test_kinect_loses_half_at_the_grazing_angle_and_all_well_beyond():
    sensor = kinect(grazing=(70.0, 70.0))
    share = [
        (sensor(wall(1.0, number=40, angle=angle), generator()) == 0).float().mean() for angle in (60.0, 70.0, 76.0)
    ]
    assert share[0] == 0 and share[1] == pytest.approx(0.5, abs=0.05) and share[2] == 1


def test_kinect_loses_surfaces_that_return_too_little():
    """Signal reflectance (4 m / z)², here 0.05: lost by its shortfall of a limit of 0.1, by half."""
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


def test_kinect_window_takes_what_is_thinly_surrounded():
    """83 % of 5x5 pixels: along a straight border of sky two rows go."""
    depth = torch.full((1, 1, 40, 40), 2.0)
    depth[..., :20, :] = 0
    measured = kinect(window=5)(scene_of(depth), generator())[0, 0, :, 20] > 0
    assert measured.nonzero().min() == 22


def test_kinect_has_a_range():
    sensor = kinect(near=(0.5, 0.5), far=(4.0, 4.0))
    assert [bool((sensor(wall(z), generator()) > 0).any()) for z in (0.4, 0.6, 3.8, 4.2)] == [False, True, True, False]


# Time of flight.


@pytest.mark.parametrize(
    ("z", "angle", "reflectance"), [(1.0, 0.0, 0.8), (3.0, 0.0, 0.8), (2.0, 60.0, 0.8), (2.0, 0.0, 0.2)]
)
def test_tof_noise_grows_with_squared_distance_over_returned_light(z, angle, reflectance):
    depth = tof(sigma=(0.001, 0.001))(wall(z, angle=angle, reflectance=reflectance), generator())
    expected = 0.001 * z**2 / (reflectance * math.cos(math.radians(angle)))
    assert (depth - z).std() == pytest.approx(expected, rel=0.05)


def test_tof_gives_nothing_where_noise_would_be_too_strong():
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


def test_tof_multipath_lengthens_concave_corners_only():
    """By up to 3 % of z; a room's corner bulges away, a house's corner and a wall stay."""
    sensor = tof(multipath=(0.03, 0.03))
    scene = fold(concave=True)
    bias = (sensor(scene, generator()) / scene.depth - 1)[0, 0, 48]
    assert 0.005 < bias[44:52].mean() < 0.03 and (bias > -1e-5).all() and (bias <= 0.0301).all()
    assert bias[44:52].mean() > 1.3 * bias[:8].mean()
    assert bias.diff().abs().max() < 0.002
    straight = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 96, 96)
    for flat in (fold(concave=False), SceneBatch(**{**vars(wall(2.0)), "normals": straight})):
        assert (sensor(flat, generator()) / flat.depth - 1).abs().max() < 1e-4


# LiDAR.


def test_lidar_without_offset_and_noise_measures_the_truth():
    scene = box(2.0, 6.0, size=128)
    depth = lidar()(scene, generator())
    hit = depth > 0
    assert hit.sum() > 200
    torch.testing.assert_close(depth[hit], scene.depth[hit])


@pytest.mark.parametrize(("beams", "columns"), [(8, 400), (16, 720), (32, 1000)])
def test_lidar_has_its_beams_and_columns(beams, columns):
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


def test_lidar_range_noise():
    depth = lidar(sigma=(0.025, 0.025))(wall(5.0, number=4, focal=400.0), generator())
    assert (depth[depth > 0] - 5).std() == pytest.approx(0.025, rel=0.1)


def leaks(sensor: sensors.Lidar) -> float:
    """The share of points on the box, well inside its edges or not, that show the wall behind it."""
    scene = box(2.0, 8.0, size=128, number=16, focal=150.0)
    depth = sensor(scene, generator())
    on_box = (scene.depth < 5) & (depth > 0)
    return float((depth[on_box] > 5).float().mean())


def test_lidar_beside_the_camera_leaks_background_through_the_foreground():
    assert leaks(lidar()) == 0
    assert leaks(lidar(offset=(0.3, 0.3, 0.0))) > 0.02


def test_lidar_offset_moves_no_point_of_a_wall():
    """What is seen by both lies where it is."""
    depth = lidar(offset=(0.1, 0.1, 0.1))(wall(4.0, number=8), generator())
    assert (depth[depth > 0] - 4).abs().max() < 1e-3


@pytest.mark.parametrize("fault", [{"misrotation": 0.5}, {"misplacement": 0.05}, {"rolling": (0.2, 0.2)}])
def test_lidar_miscalibration_and_rolling_shutter_put_points_beside_their_surface(fault):
    assert leaks(lidar(**fault)) > 0.001


def test_lidar_outliers_come_in_the_stated_share():
    depth = lidar(outliers=(0.05, 0.05))(wall(4.0, number=16, focal=400.0), generator())
    seen = depth[depth > 0]
    wrong = (seen - 4).abs() > 0.02
    assert wrong.float().mean() == pytest.approx(0.05, abs=0.012)
    assert seen.min() >= 1.99 and seen.max() <= 8.01


# Stereo.


def test_stereo_noise_is_that_of_its_disparity():
    for z in (1.0, 3.0):
        depth = stereo(subpixel=(0.2, 0.2))(wall(z, number=8), generator())
        seen = depth[depth > 0]
        assert seen.std() == pytest.approx(z**2 * 0.2 / (640 * 0.05), rel=0.1)
        steps = 640 * 0.05 * 32 / seen
        assert (steps - steps.round()).abs().max() < 1e-2


def test_passive_stereo_needs_texture_and_a_projector_replaces_it():
    scene = wall(2.0, number=8)
    scene.image[..., 48:] += 0.2 * torch.rand(8, 1, 96, 48, generator=generator())
    passive = stereo(texture=(0.01, 0.01), projected=NEVER)(scene, generator()) > 0
    assert not passive[..., :40].any() and passive[..., 52:].all()
    projected = stereo(texture=(0.01, 0.01), projected=(0.05, 0.05))(scene, generator()) > 0
    assert projected[..., 8:].all()
    assert not (stereo(texture=(0.01, 0.01), projected=(0.05, 0.05))(wall(8.0), generator()) > 0)[..., 8:].all()


def test_stereo_does_not_see_what_its_second_camera_does_not():
    hole = stereo()(box(1.0, 3.0, focal=300.0), generator())[0, 0, 48] == 0
    width = 300 * 0.05 * (1 - 1 / 3)
    columns = hole[8:].nonzero().flatten() + 8
    assert abs(len(columns) - width) <= 1.5 and columns.max() == 23


def test_stereo_fattens_the_foreground():
    scene = box(1.0, 1.5, number=16, focal=30.0)
    near = [(stereo(fattening=pixels)(scene, generator())[..., 48, :] < 1.2).sum(dim=-1) for pixels in (0, 2)]
    assert (near[0] <= 48).all()
    grown = (near[1] - near[0]).float()
    assert grown.min() >= 0 and grown.max() <= 4 and grown.mean() > 1


# Points, grids and masks.


@pytest.mark.parametrize("pattern", [sensors.Pattern.UNIFORM, sensors.Pattern.GRADIENT, sensors.Pattern.CORNER])
def test_sparse_patterns_have_the_count_asked_for(pattern):
    scene = mixed(number=4)
    depth = sensors.SparsePoints(pattern, count=(500, 500))(scene, generator())
    assert ((depth > 0).sum(dim=(1, 2, 3)) == 500).all()
    every = sensors.SparsePoints(pattern, count=(4096, 4096))(scene, generator())
    assert torch.equal(every > 0, scene.depth > 0)


def test_sparse_points_are_exact_but_for_noise_and_outliers():
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
    """A bright square: gradients lie on its outline, corners at its corners."""
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
def test_low_resolution_samples_lie_where_the_completer_puts_them(factor):
    height, width = 96, 128
    scene = scene_of(torch.full((1, 1, height, width), 2.0))
    sensor = sensors.LowResolution(lambda scene, _: scene.depth, factor=(factor, factor), area=0.0, sigma=NEVER)
    depth = sensor(scene, generator())[0, 0].numpy()
    coarse = np.full((round(height / factor), round(width / factor)), 2.0, np.float32)
    expected = depth_on_rgb_grid(RgbdFrame(rgb=np.zeros((height, width, 3), np.uint8), depth=coarse))
    assert np.array_equal(depth > 0, np.isfinite(expected))


def test_low_resolution_area_samples_blend_and_centre_samples_do_not():
    depth = torch.full((1, 1, 64, 64), 1.0)
    depth[..., 30:] = 3.0
    scene = scene_of(depth)

    def values(area: float) -> torch.Tensor:
        sensor = sensors.LowResolution(lambda scene, _: scene.depth, factor=(8.0, 8.0), area=area, sigma=NEVER)
        measured = sensor(scene, generator())
        return measured[measured > 0].unique()

    assert torch.equal(values(0.0), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(values(1.0), torch.tensor([1.0, 1.5, 3.0]))  # columns 24..31: six of 1 m, two of 3 m


def test_hole_masks_are_crops_of_the_masks_given():
    """Each pixel of a crop at scale 1 is the mask's, mirrored or not; the share is kept over many draws."""
    mask = torch.zeros(1, 60, 80, dtype=torch.bool)
    mask[:, 20:40, 10:50] = True
    crops = sensors.HoleMasks(mask, scale=(1.0, 1.0))(torch.zeros(40, 1, 30, 30), generator())[:, 0]
    places = [
        torch.equal(crop, source[y : y + 30, x : x + 30])
        for crop in crops
        for source in (mask[0], mask[0].flip(1))
        for y in range(31)
        for x in range(51)
        if crop.any() and not crop.all()
    ]
    partly = sum(bool(crop.any() and not crop.all()) for crop in crops)
    assert partly > 20 and sum(places) >= partly


def test_hole_masks_enlarge_up_to_their_scale_and_shrink_to_fit():
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[:, :, 20:] = True
    large = sensors.HoleMasks(mask, scale=(1.0, 1.0))(torch.zeros(20, 1, 120, 120), generator())
    assert ((large.float().mean(dim=(1, 2, 3)) - 0.5).abs() < 0.05).all()  # all of it, once


def test_hole_masks_come_from_folders_of_real_frames(tmp_path):
    depth = write_set(tmp_path / "set", count=2)["depth"]
    masks = sensors.HoleMasks.from_folders([tmp_path / "set"])
    assert np.array_equal(masks.masks.numpy(), np.stack([depth == 0] * 2))
    mask = masks(torch.zeros(3, 1, 20, 20), generator())
    assert mask.shape == (3, 1, 20, 20) and mask.dtype == torch.bool


def test_contiguous_blocks_are_contiguous_and_leave_most_of_the_image():
    hidden = sensors.contiguous_blocks(torch.zeros(200, 1, 96, 96), generator())
    assert 0.05 < hidden.float().mean() < 0.4
    pieces = [cv2.connectedComponentsWithStats(mask.numpy().astype(np.uint8))[2][1:, 4] for mask in hidden[:, 0]]
    sizes = np.concatenate(pieces)
    assert sizes[sizes >= 20].sum() > 0.95 * sizes.sum()


def test_missing_borders_touch_the_border_and_stay_within_their_width():
    hidden = sensors.missing_border(torch.zeros(100, 1, 100, 100), generator(), width=(0.0, 0.1))
    assert not hidden[:, :, 10:90, 10:90].any()
    assert hidden[:, 0, 0, 50].float().mean() == pytest.approx(0.5, abs=0.15)


# The mix.


def test_the_mix_draws_all_its_sensors_and_hides_by_real_masks():
    scene = wall(2.0, size=64, number=64)
    lattice_free = sensors.SensorMix("tof")(scene, generator())
    shares = (lattice_free > 0).float().mean(dim=(1, 2, 3))
    assert (shares > 0.5).any() and (shares < 0.3).any()  # full and low resolution
    everything = sensors.HoleMasks(torch.ones(1, 64, 64, dtype=torch.bool))
    hidden = sensors.SensorMix("tof", everything)(scene, generator())
    stood_in = ((hidden > 0).float().mean(dim=(1, 2, 3)) - 0.01).abs() < 0.008
    assert 6 <= stood_in.sum() <= 28  # a quarter of 64


def test_the_mix_gives_exact_points_where_a_sensor_sees_nothing():
    """A Kinect before a wall 50 m away."""
    scene = wall(50.0, number=4)
    depth = sensors.SensorMix("kinect")(scene, generator())
    assert ((depth > 0).sum(dim=(1, 2, 3)) > 40).all() and (depth[depth > 0] == 50).all()


def test_an_unknown_profile_is_refused_with_those_there_are():
    with pytest.raises(ConfigurationError, match="kinect, tof, lidar, any"):
        sensors.SensorMix("sonar")
