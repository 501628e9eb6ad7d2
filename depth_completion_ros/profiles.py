"""What a kind of depth sensor is like. The figures are data: ``config/<name>.yaml``, the node's parameter files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .cameras import FILE_NAME as CAMERAS
from .errors import ConfigurationError
from .resources import share_directory


@dataclass(frozen=True)
class Profile:
    """A depth sensor: the range it can measure [m], the noise of what it measures, and the engine that suits it.

    noise: (constant [m], linear [m/m], quadratic [m/m²]); standard deviation at z metres is c + l·z + q·z².
    """

    name: str
    min_range: float
    max_range: float
    noise: tuple[float, float, float]
    engine: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.min_range < self.max_range < float("inf"):
            raise ConfigurationError(
                f"profile {self.name}: depth.min_range {self.min_range} m must lie below "
                f"depth.max_range {self.max_range} m"
            )
        if min(self.noise) < 0 or max(self.noise) <= 0:
            raise ConfigurationError(f"profile {self.name}: noise {self.noise} must not be negative or all zero")

    def measurement_sigma(self, depth: np.ndarray) -> np.ndarray:
        """Standard deviation [m] of a measurement at ``depth`` [m]; same shape, float32."""
        constant, linear, quadratic = (np.float32(value) for value in self.noise)
        return (quadratic * depth + linear) * depth + constant

    def within(self, min_range: float | None, max_range: float | None) -> Profile:
        """The same sensor with another range [m]; None keeps the profile's. Raises ConfigurationError."""
        return replace(
            self,
            min_range=self.min_range if min_range is None else min_range,
            max_range=self.max_range if max_range is None else max_range,
        )

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Profile:
        """From the node's parameters, flat names as in ``config/<name>.yaml``."""
        return cls(
            name=parameters["profile"],
            min_range=parameters["depth.min_range"],
            max_range=parameters["depth.max_range"],
            noise=(parameters["noise.constant"], parameters["noise.linear"], parameters["noise.quadratic"]),
            engine=parameters.get("engine", "auto"),
        )


def profile_names() -> list[str]:
    """Names of the profiles that are installed, sorted."""
    return sorted(path.stem for path in (share_directory() / "config").glob("*.yaml") if path.name != CAMERAS)


def profile_file(name: str) -> Path:
    """The ROS parameter file of a profile. Raises ConfigurationError for a name that is not installed."""
    path = share_directory() / "config" / f"{name}.yaml"
    if name not in profile_names():
        raise ConfigurationError(f"no profile {name!r}: choose one of {', '.join(profile_names())}")
    return path


def read_parameters(path: Path) -> dict[str, Any]:
    """The parameters of a ROS parameter file for any node (``/**``), with flat names ("depth.max_range").

    Raises ConfigurationError where the file cannot be read or is not such a file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        nested = content["/**"]["ros__parameters"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a ROS parameter file ({error!r}): it needs '/**:' with 'ros__parameters:' in it"
        ) from error
    if not isinstance(nested, dict):
        raise ConfigurationError(f"{path}: 'ros__parameters' must hold names and values")
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
    """The installed profile of this name ("kinect", "tof", "lidar"). Raises ConfigurationError."""
    path = profile_file(name)
    try:
        return Profile.from_parameters(read_parameters(path))
    except KeyError as error:
        raise ConfigurationError(f"{path} lacks the parameter {error}") from error
