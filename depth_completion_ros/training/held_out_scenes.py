"""Procedural test scenes with modelled sensors. Their seeds are not used in training."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigurationError
from ..evaluation.samples import Sample, SampleSet, make_sample
from ..frame import Intrinsics, RgbdFrame
from ..profiles import load_profile
from .scene_batch import Material
from .scenes import KINDS, render_scenes
from .sensors import KinectStructuredLight, Lidar, Sensor, TimeOfFlight

HEIGHT, WIDTH = 480, 640
SEED = 1_000_000  # scene n has the seed SEED + n, which training and validation do not use
_CACHED_SCENES = 64  # kept in memory, so that scenes are not rendered again for each protocol
# Models of the sensors of profiles.
SENSORS: dict[str, Sensor] = {"kinect": KinectStructuredLight(), "tof": TimeOfFlight(), "lidar": Lidar()}


def open_synthetic(
    kind: str, count: int, profile: str | None = None, limits: tuple[float | None, float | None] = (None, None)
) -> SampleSet:
    """Open procedural scenes with the depth of a modelled sensor and exact ground truth.

    Args:
        kind: One of ``scenes.KINDS``.
        count: Number of scenes. It does not affect the content of scene n.
        profile: Name of the sensor profile; None = lidar outdoors, else kinect.
        limits: See ``open_folder``.

    Raises:
        ConfigurationError: If the kind is unknown or the profile has no sensor model.
    """
    profile = profile or ("lidar" if kind == "outdoor" else "kinect")
    if kind not in KINDS:
        raise ConfigurationError(f"no scenes of kind {kind!r}: choose one of {', '.join(KINDS)}")
    if profile not in SENSORS:
        raise ConfigurationError(f"no sensor model of profile {profile!r}: choose one of {', '.join(SENSORS)}")
    chosen = load_profile(profile).within(*limits)

    @lru_cache(_CACHED_SCENES)
    def read(index: int) -> Sample:
        generator = torch.Generator().manual_seed(SEED + index)
        scene = render_scenes(kind, 1, HEIGHT, WIDTH, generator=generator)
        depth = SENSORS[profile](scene, generator)
        image = (scene.image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()
        fx, fy, cx, cy = scene.intrinsics[0].tolist()
        frame = RgbdFrame(image, _metres(depth), Intrinsics(fx, fy, cx, cy, WIDTH, HEIGHT), stamp_ns=index + 1)
        material = scene.material[0, 0].numpy()
        transparent = (material == Material.GLASS) | (material == Material.MIRROR)
        return make_sample(chosen, frame, _metres(scene.depth), transparent=transparent)

    about = {"sensor": f"simulated, {profile}", "source": "rendered scenes with exact ground truth"}
    return SampleSet(f"synthetic {kind}, {profile}", chosen, "", count, read, about=about)


def _metres(depth: Tensor) -> np.ndarray:
    return torch.where(depth > 0, depth, torch.nan)[0, 0].contiguous().numpy()
