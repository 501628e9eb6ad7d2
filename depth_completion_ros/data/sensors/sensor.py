"""What a sensor model is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..scene_batch import SceneBatch

Sensor = Callable[[SceneBatch, torch.Generator], Tensor]
"""sensor(scene, generator) -> (N, 1, H, W) float32 [m] on the image's grid, 0 = missing; the generator's device is the
scene's. Random numbers are drawn by position in the batch: what a sample looks like changes no other sample."""
