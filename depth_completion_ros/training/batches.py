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
_PREFETCHED = 4  # batches by each worker
_SCALE_JITTER = 1.5  # a frame's median differs from that of a crop of it by up to about this factor
_FARTHEST = 1.25  # times the farthest measurement
_CONTRAST, _BRIGHTNESS, _TINT = 0.3, 0.2, 0.1


@dataclass(frozen=True)
class TrainingBatch:
    """The contract's inputs with the truth. image (N, 3, H, W) float32 0..1, depth (N, 1, H, W) [m] and scale
    (N, 1, 1, 1) [m] as in ``CompletionNetwork``; target (N, 1, H, W) [m], 0 = unknown; weight (N, 1, H, W) of the
    target's pixels in the losses, 0..1, 0 where it is unknown.
    """

    image: Tensor
    depth: Tensor
    scale: Tensor
    target: Tensor
    weight: Tensor


Source = Callable[[int, Generator, Generator], TrainingBatch]


class Batches(Dataset[TrainingBatch]):
    """The batch of each step. It depends on the step alone, so that workers may make batches in any order and a resumed
    training sees those that it would have seen.

    Args:
        recipe: Of the training.
        sources: Those of the recipe that there is data for.
        device: Where batches are made.
        overfit: Repeat the batches of the first so many samples for ever; 0 draws new ones for each step.
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
        # choices: on the CPU, of what a sample is; noise: on the device, of what its pixels are.
        choices = Generator().manual_seed(_seed(recipe.seed, 2 * step))
        noise = Generator(self._device).manual_seed(_seed(recipe.seed, 2 * step + 1))
        picks = torch.multinomial(self._weights, recipe.batch, replacement=True, generator=choices)
        counts = picks.bincount(minlength=len(self._sources)).tolist()
        parts = [s(n, choices, noise) for s, n in zip(self._sources, counts, strict=True) if n]
        drawn = TrainingBatch(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(TrainingBatch)))
        return replace(drawn, image=vary_image(drawn.image, recipe.image_dropout, noise))

    def from_step(self, step: int, workers: int) -> Iterator[TrainingBatch]:
        """The batches from a step on. workers: processes that make them beside the training; 0 makes them here."""
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
    """Seeds of neighbouring steps must have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _use_one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def real_source(frames: RealFrames, recipe: Recipe) -> Source:
    """Recorded frames of which a part is hidden: the target is all that the sensor measured."""
    hiding = Hiding(recipe.hiding, frames.hole_masks())

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        image, target = frames.sample(count, recipe.crop, choices, recipe.zoom)
        depth = hiding(image, target, choices, noise)
        return with_scale(image, depth, target, _hidden_most(depth, target, recipe), recipe, noise)

    return source


def clean_source(scenes: Scenes, masks: HoleMasks | None, recipe: Recipe) -> Source:
    """Procedural scenes of which a part is hidden and the rest exact, as of renderings, fused scans and good sensors.

    From noisy sensors alone a network learns to smooth, and does so where there is nothing to smooth. Glass and mirrors
    are hidden: no sensor measures them.
    """
    hiding = Hiding(recipe.hiding, masks, noisy=False)

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        scene = scenes(count, recipe.crop, choices, noise)
        seen = scene.depth * ((scene.material != Material.GLASS) & (scene.material != Material.MIRROR))
        depth = hiding(scene.image, seen, choices, noise)
        weight = _hidden_most(depth, scene.depth, recipe) * knowable(scene.depth, depth)
        return with_scale(scene.image, depth, scene.depth, weight, recipe, noise)

    return source


def _hidden_most(depth: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    """Weights (N, 1, H, W): what is shown teaches no more than to copy."""
    return torch.where(depth == target, recipe.shown_weight, 1.0) * (target > 0)


def synthetic_source(scenes: Scenes, sensor: Sensor, recipe: Recipe) -> Source:
    """Procedural scenes as a modelled sensor sees them: the target is the true depth of all that can be known."""

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        scene = scenes(count, recipe.crop, choices, noise)
        depth = sensor(scene, noise)
        return with_scale(scene.image, depth, scene.depth, knowable(scene.depth, depth).float(), recipe, noise)

    return source


def knowable(target: Tensor, depth: Tensor) -> Tensor:
    """(N, 1, H, W) bool: where there is a target little further than the farthest measurement of its sample.

    How far the street goes on behind what a short-range sensor sees, nobody can tell.
    """
    return (target > 0) & (target <= _FARTHEST * depth.amax(dim=(1, 2, 3), keepdim=True))


def with_scale(
    image: Tensor, depth: Tensor, target: Tensor, weight: Tensor, recipe: Recipe, noise: Generator
) -> TrainingBatch:
    """The batch with the median of what each sample measured, times a random factor, as its scale.

    The networks are exactly scale-equivariant, so scaling depth and scale together would teach nothing; that the median
    of a crop is not the frame's they must learn. A sample that measured nothing gets no weight.
    """
    count = depth.shape[0]
    median = torch.where(depth > 0, depth, torch.nan).flatten(1).nanmedian(dim=1).values.view(-1, 1, 1, 1)
    measured = median.isfinite()
    exponent = torch.rand(count, 1, 1, 1, generator=noise, device=depth.device) * 2 - 1
    scale = torch.where(measured, median, 1.0) * _SCALE_JITTER**exponent
    return TrainingBatch(image, depth, scale, target, weight * measured * nearness(depth, recipe.far_weight))


def nearness(depth: Tensor, far_weight: float) -> Tensor:
    """(N, 1, H, W), 1 beside a measurement, and less the further away the next one is, down to ``far_weight``: the less
    can be known there.
    """
    measured = (depth > 0).float()
    within = [window_max(measured, 2 * px + 1) for px in _NEAR_PX]
    return torch.stack(within).mean(dim=0).clamp(min=far_weight)


def vary_image(image: Tensor, dropout: float, noise: Generator) -> Tensor:
    """(N, 3, H, W), 0..1, with random contrast, brightness and tint of each sample; a share ``dropout`` is black."""

    def spread(channels: int, width: float) -> Tensor:
        return width * (2 * torch.rand(len(image), channels, 1, 1, generator=noise, device=image.device) - 1)

    contrast, tint = 1 + spread(1, _CONTRAST), 1 + spread(3, _TINT)
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    seen = torch.rand(len(image), 1, 1, 1, generator=noise, device=image.device) >= dropout
    # contrast about the mean, then brightness, then tint, as one gain and one offset
    offset = mean * (1 - contrast) + spread(1, _BRIGHTNESS)
    return (image * (contrast * tint * seen)).add_(offset * tint * seen).clamp_(0, 1)
