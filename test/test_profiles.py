"""The profiles that are shipped are what the node declares, and the noise is that of their sources."""

from __future__ import annotations

import numpy as np
import pytest

from depth_completion_ros import ConfigurationError, DepthCompleter, Profile, load_profile, profiles
from depth_completion_ros.node.parameters import PARAMETERS
from depth_completion_ros.profiles import profile_file, profile_names, read_parameters

NAMES = ["kinect", "lidar", "tof"]


def parameter_file(tmp_path, text):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return path


def test_all_sensors_are_there():
    assert profile_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_holds_only_declared_parameters_in_their_ranges(name):
    for parameter, value in read_parameters(profile_file(name)).items():
        assert PARAMETERS[parameter].checked(value) == value


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_named_after_its_file(name):
    assert load_profile(name).name == name


@pytest.mark.parametrize(
    ("name", "distance", "low", "high"),
    [
        ("kinect", 1.0, 0.001, 0.005),  # Khoshelham & Elberink: a few millimetres near …
        ("kinect", 5.0, 0.03, 0.045),  # … about 4 cm at 5 m
        ("tof", 1.0, 0.005, 0.02),  # Azure Kinect: 11 mm + 0.1 % and at most 17 mm
        ("tof", 3.86, 0.015, 0.035),
        ("lidar", 5.0, 0.02, 0.03),  # data sheets: 2 to 3 cm at any distance
        ("lidar", 80.0, 0.02, 0.03),
    ],
)
def test_noise_agrees_with_its_source(name, distance, low, high):
    sigma = load_profile(name).measurement_sigma(np.array([distance], np.float32))
    assert sigma.dtype == np.float32
    assert low <= sigma[0] <= high + 1e-6


def test_measurement_sigma_is_the_polynomial():
    profile = Profile("x", 0.0, 10.0, noise=(0.5, 0.25, 0.125))
    np.testing.assert_allclose(profile.measurement_sigma(np.float32([[0, 1, 2]])), [[0.5, 0.875, 1.5]])


def test_an_unknown_profile_is_rejected_with_the_choices():
    with pytest.raises(ConfigurationError, match=f"'sonar'.*{', '.join(NAMES)}"):
        load_profile("sonar")


def test_the_engine_is_that_of_the_profile_unless_an_engine_or_a_model_is_given():
    """The shipped network serves where it was found to be better and fast enough, in Python as in the node."""
    assert load_profile("kinect").engine == load_profile("lidar").engine == "auto"
    assert DepthCompleter("tof").engine.model == "guided"
    assert DepthCompleter("tof", model="push_pull").engine.model == "push_pull"
    with pytest.raises(ConfigurationError, match=r"no engine runs model 'no such network'.*export"):
        DepthCompleter("tof", model="no such network")


@pytest.mark.parametrize(
    "text",
    ["", "just words", "a: [1", "/**:\n  parameters: {}\n", "/**:\n  ros__parameters: 3\n"],
    ids=["empty", "text", "bad yaml", "no ros__parameters", "not a mapping"],
)
def test_a_file_that_is_no_parameter_file_is_rejected_by_name(tmp_path, text):
    with pytest.raises(ConfigurationError, match=r"some\.yaml"):
        read_parameters(parameter_file(tmp_path, text))


def test_a_missing_or_binary_file_is_rejected_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match=r"some\.yaml"):
        read_parameters(tmp_path / "some.yaml")
    (tmp_path / "some.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"some\.yaml"):
        read_parameters(tmp_path / "some.yaml")


def test_nested_and_dotted_names_are_the_same(tmp_path):
    nested = parameter_file(tmp_path, "/**:\n  ros__parameters:\n    depth: {min_range: 0.5}\n    noise.linear: 0.1\n")
    assert read_parameters(nested) == {"depth.min_range": 0.5, "noise.linear": 0.1}


def test_a_profile_without_a_needed_parameter_is_rejected_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "odd.yaml").write_text(
        "/**:\n  ros__parameters:\n    profile: odd\n    depth.min_range: 1.0\n"
    )
    monkeypatch.setattr(profiles, "share_directory", lambda: tmp_path)
    with pytest.raises(ConfigurationError, match=r"odd\.yaml.*depth\.max_range"):
        load_profile("odd")


@pytest.mark.parametrize(
    ("low", "high", "noise"),
    [
        (1.0, 1.0, (0.1, 0, 0)),
        (-1.0, 1.0, (0.1, 0, 0)),
        (0.0, float("inf"), (0.1, 0, 0)),
        (0.0, 1.0, (0, 0, 0)),
        (0.0, 1.0, (0.1, -0.1, 0)),
    ],
)
def test_a_profile_with_impossible_values_is_rejected(low, high, noise):
    with pytest.raises(ConfigurationError, match="profile x"):
        Profile("x", low, high, noise)
