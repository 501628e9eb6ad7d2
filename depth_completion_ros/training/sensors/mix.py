"""A mix of all sensors, for training batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor

from ...errors import ConfigurationError
from ..scene_batch import SceneBatch
from .fields import chance
from .holes import HoleMasks, contiguous_blocks, missing_border
from .lidar import Lidar
from .low_resolution import LowResolution
from .sensor import Sensor
from .sparse import Pattern, SparsePoints
from .stereo import Stereo, active_stereo
from .structured_light import KinectStructuredLight
from .time_of_flight import TimeOfFlight

T = TypeVar("T")
Hiding = Callable[[Tensor, torch.Generator], Tensor]  # (like, generator) -> bool, true where depth is to be hidden

# Shares of the samples in which a border, blocks or the holes of a real frame are hidden, with any sensor.
_BORDER, _BLOCKS, _REAL_HOLES = 0.2, 0.15, 0.25
_MIN_SHARE = 0.0005  # share of pixels with depth below which a sample gets random points instead
_POINT_SHARE = 0.01  # share of pixels with these random points

_POINTS = (30.0, 2000.0)  # 500 points of a VGA frame correspond to 60 points of a crop of 192 x 192

_STRUCTURED_LIGHT: list[tuple[float, Sensor]] = [
    (2.0, KinectStructuredLight(window=3)),
    (3.0, KinectStructuredLight(window=5)),
    (1.0, KinectStructuredLight(window=9)),
    (1.0, LowResolution(KinectStructuredLight(), factor=(1.2, 2.0), area=0.0, sigma=(0.0, 0.0))),
]
_TIME_OF_FLIGHT: list[tuple[float, Sensor]] = [
    (4.0, TimeOfFlight()),
    (3.0, LowResolution(TimeOfFlight())),
]
_STEREO: list[tuple[float, Sensor]] = [(1.0, active_stereo()), (1.0, Stereo())]
_LIDAR: list[tuple[float, Sensor]] = [(5.0, Lidar())]
_SPARSE: list[tuple[float, Sensor]] = [
    (0.8, SparsePoints(Pattern.UNIFORM, _POINTS)),
    (0.4, SparsePoints(Pattern.GRID, _POINTS)),
    (0.4, SparsePoints(Pattern.GRADIENT, _POINTS)),
    (0.4, SparsePoints(Pattern.CORNER, _POINTS)),
]
# (weight, sensor): a sensor is drawn in proportion to its weight.
PROFILES: dict[str, list[tuple[float, Sensor]]] = {
    "kinect": _STRUCTURED_LIGHT + _STEREO[:1],
    "tof": _TIME_OF_FLIGHT,
    "lidar": _LIDAR + _SPARSE,
    "any": _STRUCTURED_LIGHT + _TIME_OF_FLIGHT + _STEREO + _LIDAR + _SPARSE,
}


class SensorMix:
    """A sensor that uses a random sensor of a profile (``PROFILES``) for each sample of a batch.

    In some samples, depth is then hidden at the border, by blocks, or by the holes of a real frame. If almost no depth
    remains, as with a Kinect outdoors, exact random points are used instead.

    Args:
        profile: Name of the profile.
        hole_masks: Holes of real frames; None = no such holes.

    Raises:
        ConfigurationError: If the profile is unknown.
    """

    def __init__(self, profile: str = "any", hole_masks: HoleMasks | None = None):
        if profile not in PROFILES:
            raise ConfigurationError(f"no sensor profile {profile!r}: choose one of {', '.join(PROFILES)}")
        self.sensors = PROFILES[profile]
        self.hidings: list[tuple[float, Hiding]] = [(_BORDER, missing_border), (_BLOCKS, contiguous_blocks)]
        if hole_masks is not None:
            self.hidings.append((_REAL_HOLES, hole_masks))
        self.hidings.append((1 - sum(share for share, _ in self.hidings), _no_hiding))

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing. Waits for the device to draw sensors."""
        like = scene.depth
        sensors = _assign_samples(self.sensors, like, generator)
        hidings = _assign_samples(self.hidings, like, generator)
        depth = torch.zeros_like(like)
        for sensor, index in sensors:
            depth = depth.index_copy(0, index, sensor(_samples(scene, index), generator))
        for hiding, index in hidings:
            shown = depth[index]
            depth = depth.index_copy(0, index, shown * ~hiding(shown, generator))
        enough = (depth > 0).float().mean(dim=(1, 2, 3), keepdim=True) >= _MIN_SHARE
        points = torch.where(chance(depth, generator) < _POINT_SHARE, scene.depth, 0.0)
        return torch.where(enough, depth, points)


def _assign_samples(
    weighted: Sequence[tuple[float, T]], like: Tensor, generator: torch.Generator
) -> list[tuple[T, Tensor]]:
    """Draw an item by weight for each sample; return the drawn items with the indices of their samples."""
    weights = torch.tensor([weight for weight, _ in weighted], device=like.device)
    drawn = torch.multinomial(weights, len(like), replacement=True, generator=generator).tolist()
    return [
        (choice, torch.tensor([i for i, n in enumerate(drawn) if n == number], device=like.device))
        for number, (_, choice) in enumerate(weighted)
        if number in drawn
    ]


def _no_hiding(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.zeros(like.shape, dtype=torch.bool, device=like.device)


def _samples(scene: SceneBatch, index: Tensor) -> SceneBatch:
    return SceneBatch(**{field.name: getattr(scene, field.name)[index] for field in fields(scene)})
