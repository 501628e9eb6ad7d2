"""A sensor with fewer pixels than the image, whose measurements lie on the grid of the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..scene_batch import SceneBatch
from .fields import Range, log_uniform, noise, uniform
from .sensor import Sensor
from .views import pixels


@dataclass(frozen=True)
class LowResolution:
    """A sensor at 1/factor of the image's resolution: one measurement for each block, at the pixel nearest its centre.

    ``geometry.depth_on_rgb_grid`` assigns the pixels of a depth image with the same field of view to the same pixels of
    the image. The factor is log-uniform in ``factor`` and need not be an integer: factors below 2 give the regular gaps
    of depth that was warped to a higher resolution. With probability ``area``, a measurement is the mean of its block
    if half of the block has depth, which mixes surfaces at edges as large pixels do; otherwise it is the depth at the
    centre. Noise with a standard deviation of ``sigma`` z is added, because averaging removes the noise of the sensor.
    """

    sensor: Sensor
    factor: Range = (2.0, 16.0)
    area: float = 0.5
    sigma: Range = (0.0, 0.02)

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing."""
        depth = self.sensor(scene, generator)
        factor = log_uniform(depth, generator, self.factor)
        (row, at_row), (column, at_column) = (
            _blocks(position, size, factor) for position, size in zip(pixels(depth), depth.shape[-2:], strict=True)
        )
        mean = _block_means(depth, (row * depth.shape[-1] + column).long())
        value = torch.where(uniform(depth, generator, (0.0, 1.0)) < self.area, mean, depth)
        value = value * (1 + uniform(depth, generator, self.sigma) * noise(depth, generator)).clamp(min=0.01)
        return torch.where(at_row & at_column & (scene.depth > 0), value, 0.0)


def _blocks(position: Tensor, size: int, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return, along one axis, the block of each pixel and whether the pixel contains the centre of the block."""
    blocks = (size / factor).round().clamp(min=1)
    position = position.double()  # in float32, rounding would move some centres to the next pixel
    block = ((position + 0.5) * blocks / size).floor()
    return block, ((block + 0.5) * size / blocks).floor() == position


def _block_means(depth: Tensor, block: Tensor) -> Tensor:
    """Return the mean depth of each pixel's block, (N, 1, H, W); 0 if less than half of the block has depth."""
    index = block.flatten(1)
    sums = [
        torch.zeros_like(depth.flatten(1)).scatter_add(1, index, values.flatten(1)).gather(1, index)
        for values in (depth, (depth > 0).float(), torch.ones_like(depth))
    ]
    total, measured, area = (values.view(depth.shape) for values in sums)
    return torch.where(2 * measured >= area, total / measured.clamp(min=1), 0.0)
