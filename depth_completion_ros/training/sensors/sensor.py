"""The interface of sensor models."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..scene_batch import SceneBatch

Sensor = Callable[[SceneBatch, torch.Generator], Tensor]
"""sensor(scene, generator) returns depth on the grid of the image, (N, 1, H, W) float32 [m], 0 = missing. The generator
must be on the device of the scene. Random numbers depend on the position in the batch, not on the content of other
samples."""
