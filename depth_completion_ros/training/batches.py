"""The batches of training, drawn from several sources on the training device."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import count

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from .hiding import Hiding
from .real_frames import RealFrames
from .recipe import Recipe
from .scene_batch import Material
from .sensors import HoleMasks, Sensor
from .sensors.views import window_max
from .synthetic import Scenes

_NEAR_PX = (4, 12, 32)
_PREFETCHED = 4  # batches of each worker
_SCALE_JITTER = 1.5  # the median of a frame and of a crop of it differ by up to about this factor
_MAX_DEPTH_RATIO = 1.25  # largest ratio of a target with a weight to the farthest measurement
_CONTRAST, _BRIGHTNESS, _TINT = 0.3, 0.2, 0.1


@dataclass(frozen=True)
class TrainingBatch:
    """The inputs of a network and the true depth.

    Attributes:
        image: (N, 3, H, W) float32, 0..1.
        depth: (N, 1, H, W) [m], 0 = missing.
        scale: (N, 1, 1, 1) [m].
        target: True depth, (N, 1, H, W) [m], 0 = unknown.
        weight: Weight of each pixel in the losses, (N, 1, H, W), 0..1; 0 where the target is unknown.
    """

    image: Tensor
    depth: Tensor
    scale: Tensor
    target: Tensor
    weight: Tensor


Source = Callable[[int, Generator, Generator], TrainingBatch]


class Batches(Dataset[TrainingBatch]):
    """The batch of each step.

    A batch depends only on the number of its step. Workers can therefore create batches in any order, and a resumed
    training uses the same batches as an uninterrupted one.

    Args:
        recipe: The recipe.
        sources: The sources by name, see ``open_sources``.
        device: Device on which batches are created.
        overfit: Number of samples that are repeated; 0 = new samples in each step.
    """

    def __init__(self, recipe: Recipe, sources: Mapping[str, Source], device: torch.device, overfit: int = 0):
        self._recipe = recipe
        self._sources = list(sources.values())
        self._weights = torch.tensor([recipe.sources[name] for name in sources])
        self._device = device
        self._repeated = math.ceil(overfit / recipe.batch)

    def __getitem__(self, step: int) -> TrainingBatch:
        recipe = self._recipe
        if self._repeated:
            step %= self._repeated
        # ``choices`` on the CPU selects the samples; ``noise`` on the device draws values of pixels.
        choices = Generator().manual_seed(_seed(recipe.seed, 2 * step))
        noise = Generator(self._device).manual_seed(_seed(recipe.seed, 2 * step + 1))
        picks = torch.multinomial(self._weights, recipe.batch, replacement=True, generator=choices)
        counts = picks.bincount(minlength=len(self._sources)).tolist()
        parts = [s(n, choices, noise) for s, n in zip(self._sources, counts, strict=True) if n]
        drawn = TrainingBatch(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(TrainingBatch)))
        return replace(drawn, image=augment_image(drawn.image, recipe.image_dropout, noise))

    def from_step(self, step: int, workers: int) -> Iterator[TrainingBatch]:
        """Return the batches from a step on.

        Args:
            step: Number of the first step.
            workers: Number of processes that create batches; 0 = this process creates them.
        """
        if not workers:
            return (self[index] for index in count(step))
        steps = range(step, sys.maxsize)
        return iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=steps,
                num_workers=workers,
                prefetch_factor=_PREFETCHED,
                worker_init_fn=_use_one_thread,
            )
        )


def _seed(*numbers: int) -> int:
    """Return a seed from several numbers. The seeds of neighbouring steps are independent."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _use_one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def real_source(frames: RealFrames, recipe: Recipe) -> Source:
    """Return a source of recorded frames whose depth is partly hidden. The target is the whole measured depth."""
    hiding = Hiding(recipe.hiding, frames.hole_masks())

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        image, target = frames.sample(count, recipe.crop, choices, recipe.zoom)
        depth = hiding(image, target, choices, noise)
        return with_scale(image, depth, target, _pixel_weight(depth, target, recipe), recipe, noise)

    return source


def clean_source(scenes: Scenes, masks: HoleMasks | None, recipe: Recipe) -> Source:
    """Return a source of scenes whose exact depth is partly hidden.

    Renderings, fused scans and good sensors have such depth. If all training data is noisy, a network learns to smooth
    depth that has no noise. Glass and mirrors are hidden, because no sensor measures them.
    """
    hiding = Hiding(recipe.hiding, masks, noisy=False)

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        scene = scenes(count, recipe.crop, choices, noise)
        seen = scene.depth * ((scene.material != Material.GLASS) & (scene.material != Material.MIRROR))
        depth = hiding(scene.image, seen, choices, noise)
        weight = _pixel_weight(depth, scene.depth, recipe) * within_predictable_range(scene.depth, depth)
        return with_scale(scene.image, depth, scene.depth, weight, recipe, noise)

    return source


def _pixel_weight(depth: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    """Return weights (N, 1, H, W): visible pixels have ``shown_weight``, because the network only has to copy them."""
    return torch.where(depth == target, recipe.shown_weight, 1.0) * (target > 0)


def synthetic_source(scenes: Scenes, sensor: Sensor, recipe: Recipe) -> Source:
    """Return a source of scenes that a simulated sensor measures. The target is the true depth."""

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        scene = scenes(count, recipe.crop, choices, noise)
        depth = sensor(scene, noise)
        weight = within_predictable_range(scene.depth, depth).float()
        return with_scale(scene.image, depth, scene.depth, weight, recipe, noise)

    return source


def within_predictable_range(target: Tensor, depth: Tensor) -> Tensor:
    """Return where the target is at most 1.25 times the farthest measurement of its sample, (N, 1, H, W) bool.

    A network cannot predict depth far beyond the measurements, such as the end of a street that a short-range sensor
    does not see.
    """
    return (target > 0) & (target <= _MAX_DEPTH_RATIO * depth.amax(dim=(1, 2, 3), keepdim=True))


def with_scale(
    image: Tensor, depth: Tensor, target: Tensor, weight: Tensor, recipe: Recipe, noise: Generator
) -> TrainingBatch:
    """Return a batch whose scale is the median of the measured depth of each sample, times a random factor.

    The networks are exactly scale-equivariant, so multiplying both depth and scale by a factor would not help. The
    factor simulates that the median of a crop differs from the median of its frame. Samples without measurements get
    the weight 0.
    """
    count = depth.shape[0]
    median = torch.where(depth > 0, depth, torch.nan).flatten(1).nanmedian(dim=1).values.view(-1, 1, 1, 1)
    measured = median.isfinite()
    exponent = torch.rand(count, 1, 1, 1, generator=noise, device=depth.device) * 2 - 1
    scale = torch.where(measured, median, 1.0) * _SCALE_JITTER**exponent
    return TrainingBatch(image, depth, scale, target, weight * measured * proximity_weight(depth, recipe.far_weight))


def proximity_weight(depth: Tensor, far_weight: float) -> Tensor:
    """Return weights (N, 1, H, W) that decrease from 1 near measurements to ``far_weight`` far from them.

    Depth far from measurements is harder to predict.
    """
    measured = (depth > 0).float()
    within = [window_max(measured, 2 * px + 1) for px in _NEAR_PX]
    return torch.stack(within).mean(dim=0).clamp(min=far_weight)


def augment_image(image: Tensor, dropout: float, noise: Generator) -> Tensor:
    """Change contrast, brightness and tint of each image at random, and set some images to black.

    Args:
        image: Images, (N, 3, H, W), 0..1.
        dropout: Share of black images, 0..1.
        noise: Random generator on the device of ``image``.

    Returns:
        The images, (N, 3, H, W), 0..1.
    """

    def uniform(channels: int, limit: float) -> Tensor:
        return limit * (2 * torch.rand(len(image), channels, 1, 1, generator=noise, device=image.device) - 1)

    contrast, tint = 1 + uniform(1, _CONTRAST), 1 + uniform(3, _TINT)
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    kept = torch.rand(len(image), 1, 1, 1, generator=noise, device=image.device) >= dropout
    # contrast about the mean, then brightness, then tint, as one factor and one offset
    offset = mean * (1 - contrast) + uniform(1, _BRIGHTNESS)
    return (image * (contrast * tint * kept)).add_(offset * tint * kept).clamp_(0, 1)
