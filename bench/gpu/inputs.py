"""Networks with weights and frames to time them on."""

from __future__ import annotations

import shutil
from functools import cache
from itertools import islice
from pathlib import Path

import torch

from depth_completion_ros.data.frames import read_source, resized
from depth_completion_ros.engines.model_file import find_weights_file
from depth_completion_ros.frame import RgbdFrame
from depth_completion_ros.networks.weights import WeightedNetwork, save_weights, untrained
from depth_completion_ros.resources import share_directory

_FRAMES = 4
_STIR = 0.02


@cache
def frames(height: int, width: int) -> list[RgbdFrame]:
    """The first of the bundled Kinect recording, at this size."""
    source = share_directory() / "samples" / "kinect"
    return [resized(frame, width, height) for frame in islice(read_source(source), _FRAMES)]


def weights(state: Path, name: str, size: str) -> Path:
    """The file with the weights that all engines of a network share: the shipped ones, else random ones.

    Random ones are moved away from the start, which answers with the filled holes and would hide all differences.
    """
    path = state / "weights" / f"{name}-{size}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        if installed := find_weights_file(f"{name}-{size}"):
            shutil.copyfile(installed, path)
        else:
            network = untrained(name, size).network
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for parameter in network.parameters():
                    if not parameter.any():
                        parameter.normal_(0, _STIR, generator=generator)
            save_weights(WeightedNetwork(network, "random"), path)
    return path
