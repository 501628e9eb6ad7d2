"""Sensor profiles: properties of a kind of depth sensor, from the node's parameter files ``config/<name>.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .cameras import FILE_NAME as CAMERAS
from .errors import ConfigurationError
from .resources import share_directory

_CLIPPED = 1e-6  # relative rounding error of values that were clipped to max_range
_CLOSEST_M = 1e-3


@dataclass(frozen=True)
class Profile:
    """The properties of a kind of depth sensor.

    Attributes:
        name: Name of the profile.
        min_range: Smallest depth that it measures [m].
        max_range: Largest depth that it measures [m].
        noise: (constant c [m], linear l [m/m], quadratic q [m/m²]); the standard deviation at depth z is c + lz + qz².

    Raises:
        ConfigurationError: If the range or the noise is not valid.
    """

    name: str
    min_range: float
    max_range: float
    noise: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 <= self.min_range < self.max_range < float("inf"):
            raise ConfigurationError(
                f"profile {self.name}: depth.min_range {self.min_range} m must be smaller than "
                f"depth.max_range {self.max_range} m"
            )
        if min(self.noise) < 0 or max(self.noise) <= 0:
            raise ConfigurationError(f"profile {self.name}: noise {self.noise} must not be negative or all zero")

    def measured(self, depth: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Which values are measurements, bool of the same shape: those inside the range.

        Sensors and filters clip depth to the ends of the range, so such a value is not a measurement.

        Args:
            depth: float32 [m]; NaN and values that are not positive are no measurements.
            out: Array to write to and return; None = make a new one.
        """
        with np.errstate(invalid="ignore"):
            measured = np.greater(depth, max(self.min_range, _CLOSEST_M) * (1 + _CLIPPED), out=out)
            measured &= depth < self.max_range * (1 - _CLIPPED)
        return measured

    def measurement_sigma(self, depth: np.ndarray) -> np.ndarray:
        """Standard deviation of a measurement at ``depth`` [m], of the same shape, float32 [m]."""
        constant, linear, quadratic = (np.float32(value) for value in self.noise)
        return (quadratic * depth + linear) * depth + constant

    def within(self, min_range: float | None, max_range: float | None) -> Profile:
        """The same sensor with another range [m]; None = keep the value. Raises ConfigurationError."""
        return replace(
            self,
            min_range=self.min_range if min_range is None else min_range,
            max_range=self.max_range if max_range is None else max_range,
        )

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Profile:
        """Make a profile from the node's parameters with flat names, for example "depth.max_range"."""
        return cls(
            name=parameters["profile"],
            min_range=parameters["depth.min_range"],
            max_range=parameters["depth.max_range"],
            noise=(parameters["noise.constant"], parameters["noise.linear"], parameters["noise.quadratic"]),
        )


def profile_names() -> list[str]:
    """Names of the installed profiles, sorted."""
    return sorted(path.stem for path in (share_directory() / "config").glob("*.yaml") if path.name != CAMERAS)


def profile_file(name: str) -> Path:
    """The ROS parameter file of a profile. Raises ConfigurationError if there is no such profile."""
    path = share_directory() / "config" / f"{name}.yaml"
    if name not in profile_names():
        raise ConfigurationError(f"no profile {name!r}: choose one of {', '.join(profile_names())}")
    return path


def read_parameters(path: Path) -> dict[str, Any]:
    """Read the section for all nodes (``/**``) of a ROS parameter file, with flat names ("depth.max_range").

    Raises:
        ConfigurationError: If the file cannot be read or has no such section.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        nested = content["/**"]["ros__parameters"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a ROS parameter file ({error!r}): it must have a section '/**:' with "
            "'ros__parameters:'"
        ) from error
    if not isinstance(nested, dict):
        raise ConfigurationError(f"{path}: 'ros__parameters' must contain parameter names and values")
    return _flatten(nested)


def _flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def load_profile(name: str) -> Profile:
    """Load an installed profile ("kinect", "tof", "lidar"). Raises ConfigurationError if there is no such profile."""
    path = profile_file(name)
    try:
        return Profile.from_parameters(read_parameters(path))
    except KeyError as error:
        raise ConfigurationError(f"{path} lacks the parameter {error}") from error
