"""All sensors in one call: what a training batch is made with."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from ...errors import ConfigurationError
from ..scene_batch import SceneBatch
from .fields import chance, uniform
from .holes import HoleMasks, contiguous_blocks, missing_border
from .lidar import Lidar
from .low_resolution import LowResolution
from .sensor import Sensor
from .sparse import Pattern, SparsePoints
from .stereo import Stereo, active_stereo
from .structured_light import KinectStructuredLight
from .time_of_flight import TimeOfFlight

# Shares of samples whose depth is hidden once more, whatever the sensor.
_REAL_HOLES = 0.3
_BLOCKS = 0.2
_BORDER = 0.3
_FEWEST = 0.001  # of the image's pixels: with less a sample teaches nothing
_STAND_IN = 0.01  # of the image's pixels

_STRUCTURED_LIGHT: list[tuple[float, Sensor]] = [
    (4.0, KinectStructuredLight()),
    (2.0, KinectStructuredLight(window=9)),
    (1.0, LowResolution(KinectStructuredLight(), factor=(1.2, 2.0), area=0.0, sigma=(0.0, 0.0))),
]
_TIME_OF_FLIGHT: list[tuple[float, Sensor]] = [
    (4.0, TimeOfFlight()),
    (3.0, LowResolution(TimeOfFlight())),
]
_STEREO: list[tuple[float, Sensor]] = [(1.0, active_stereo()), (1.0, Stereo())]
_LIDAR: list[tuple[float, Sensor]] = [(5.0, Lidar())]
_SPARSE: list[tuple[float, Sensor]] = [
    (0.8, SparsePoints(Pattern.UNIFORM)),
    (0.4, SparsePoints(Pattern.GRID)),
    (0.4, SparsePoints(Pattern.GRADIENT)),
    (0.4, SparsePoints(Pattern.CORNER)),
]
# Weights: how often each is drawn.
PROFILES: dict[str, list[tuple[float, Sensor]]] = {
    "kinect": _STRUCTURED_LIGHT + _STEREO[:1],
    "tof": _TIME_OF_FLIGHT,
    "lidar": _LIDAR + _SPARSE,
    "any": _STRUCTURED_LIGHT + _TIME_OF_FLIGHT + _STEREO + _LIDAR + _SPARSE,
}


class SensorMix:
    """A sensor for each sample of a batch, drawn from a profile (``PROFILES``) by weight; itself a sensor.

    Some samples are then hidden in part, by the holes of a real frame (if ``hole_masks`` are given), by blocks or at
    the border. Where next to nothing is left, as of a Kinect outdoors, exact points at random stand in.
    Raises ConfigurationError for an unknown profile.
    """

    def __init__(self, profile: str = "any", hole_masks: HoleMasks | None = None):
        if profile not in PROFILES:
            raise ConfigurationError(f"no sensor profile {profile!r}: choose one of {', '.join(PROFILES)}")
        weights, self.sensors = zip(*PROFILES[profile], strict=True)
        self.weights = torch.tensor(weights)
        self.hole_masks = hole_masks

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """(N, 1, H, W) float32 [m], 0 = missing."""
        like = scene.depth
        weights = self.weights.to(like.device)
        drawn = torch.multinomial(weights, len(like), replacement=True, generator=generator).tolist()
        depth = torch.zeros_like(like)
        for number in sorted(set(drawn)):
            index = torch.tensor([i for i, choice in enumerate(drawn) if choice == number], device=like.device)
            depth = depth.index_copy(0, index, self.sensors[number](_samples(scene, index), generator))
        return self._hidden(depth, scene, generator)

    def _hidden(self, depth: Tensor, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        def sometimes(hidden: Tensor, share: float) -> Tensor:
            return hidden & (uniform(depth, generator, (0.0, 1.0)) < share)

        hidden = sometimes(missing_border(depth, generator), _BORDER)
        hidden |= sometimes(contiguous_blocks(depth, generator), _BLOCKS)
        if self.hole_masks is not None:
            hidden |= sometimes(self.hole_masks(depth, generator), _REAL_HOLES)
        depth = depth * ~hidden
        enough = (depth > 0).float().mean(dim=(1, 2, 3), keepdim=True) >= _FEWEST
        stand_in = torch.where(chance(depth, generator) < _STAND_IN, scene.depth, 0.0)
        return torch.where(enough, depth, stand_in)


def _samples(scene: SceneBatch, index: Tensor) -> SceneBatch:
    return SceneBatch(**{field.name: getattr(scene, field.name)[index] for field in fields(scene)})
