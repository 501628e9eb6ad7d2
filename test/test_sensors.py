"""Properties of all sensor models, and the mix of sensors."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="sensor models need PyTorch")

from sensor_scenes import NEVER, generator, kinect, lidar, mixed, of_material, stereo, tof, wall  # noqa: E402

from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.training import sensors  # noqa: E402
from depth_completion_ros.training.scene_batch import Material, SceneBatch  # noqa: E402
from depth_completion_ros.training.sensors import fields  # noqa: E402
from depth_completion_ros.training.sensors.materials import Response  # noqa: E402

torch.set_num_threads(1)


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


# Properties of all sensors.


@pytest.mark.parametrize("sensor", ALL, ids=lambda sensor: type(sensor).__name__)
def test_every_sensor_gives_depth_only_where_the_scene_has_a_surface(sensor):
    """Depth is finite and not negative, and there is no depth in the sky."""
    scene = mixed(number=8)
    depth = sensor(scene, generator())
    assert depth.shape == scene.depth.shape and depth.dtype == torch.float32
    assert torch.isfinite(depth).all() and (depth >= 0).all() and (depth > 0).any()
    assert not (depth > 0)[scene.depth == 0].any()


@pytest.mark.parametrize("sensor", ALL, ids=lambda sensor: type(sensor).__name__)
def test_results_are_reproducible_and_samples_do_not_affect_each_other(sensor):
    """The content of one sample of a batch does not change the other samples."""
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
def test_patches_cover_the_requested_share(share):
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
def test_materials_are_holes_with_the_stated_probability(sensor, material, low, high):
    depth = sensor(of_material(wall(1.0, number=100), material), generator())
    share = (depth == 0).float().mean()
    assert low + 0.2 * (high - low) < share < high - 0.2 * (high - low)


@pytest.mark.parametrize("sensor", [kinect, tof, lidar, stereo])
@pytest.mark.parametrize("material", [Material.GLASS, Material.MIRROR])
def test_glass_and_mirrors_are_measured_or_seen_through_with_the_stated_probabilities(sensor, material):
    response = Response(NEVER, NEVER, NEVER, NEVER, through=(0.7, 0.7))
    # With a wide view, the surface behind is visible from all viewpoints of a sensor.
    scene = of_material(wall(1.0, number=60, focal=30.0), material, behind=1.5)
    depth = sensor(response=response)(scene, generator())
    seen = depth[depth > 0]
    assert ((seen - 1).abs() < 0.02).float().add((seen - 1.5).abs() < 0.03).min() == 1
    assert (seen > 1.25).float().mean() == pytest.approx(0.7, abs=0.05)


# The mix.


def test_the_mix_uses_all_its_sensors_and_hides_depth_with_real_masks():
    scene = wall(2.0, size=64, number=64)
    both = sensors.SensorMix("tof")(scene, generator())
    shares = (both > 0).float().mean(dim=(1, 2, 3))
    assert (shares > 0.5).any() and (shares < 0.3).any()  # full and low resolution
    everything = sensors.HoleMasks(torch.ones(1, 64, 64, dtype=torch.bool))
    hidden = sensors.SensorMix("tof", everything)(scene, generator())
    replaced = ((hidden > 0).float().mean(dim=(1, 2, 3)) - 0.01).abs() < 0.008
    assert 6 <= replaced.sum() <= 28  # about a quarter of 64


def test_the_mix_gives_exact_points_if_a_sensor_measures_nothing():
    """The scene is a wall at 50 m, beyond the range of a Kinect."""
    scene = wall(50.0, number=4)
    depth = sensors.SensorMix("kinect")(scene, generator())
    assert ((depth > 0).sum(dim=(1, 2, 3)) > 40).all() and (depth[depth > 0] == 50).all()


def test_an_unknown_training_profile_is_rejected_with_the_valid_names():
    with pytest.raises(ConfigurationError, match="kinect, tof, lidar, any"):
        sensors.SensorMix("sonar")
