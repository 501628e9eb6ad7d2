"""What one training step works on, drawn from several sources on the training device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from .hiding import hide
from .real_frames import RealFrames
from .recipe import Recipe

_SCALE_JITTER = 2.0  # a frame's median differs from that of a crop of it by about this factor either way
_CONTRAST, _BRIGHTNESS, _TINT = 0.3, 0.15, 0.1


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


class Batches:
    """Draws batches. sources: those of the recipe that there is data for.

    choices: generator on the CPU, of what a sample is; noise: on the device, of what its pixels are.
    """

    def __init__(self, recipe: Recipe, sources: Mapping[str, Source], device: torch.device):
        self._recipe = recipe
        self._sources = list(sources.values())
        self._weights = torch.tensor([recipe.sources[name] for name in sources])
        self.choices = Generator().manual_seed(recipe.seed)
        self.noise = Generator(device).manual_seed(recipe.seed + 1)

    def draw(self) -> TrainingBatch:
        """The next batch."""
        recipe = self._recipe
        picks = torch.multinomial(self._weights, recipe.batch, replacement=True, generator=self.choices)
        counts = picks.bincount(minlength=len(self._sources)).tolist()
        parts = [s(n, self.choices, self.noise) for s, n in zip(self._sources, counts, strict=True) if n]
        drawn = TrainingBatch(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(TrainingBatch)))
        image = jitter_colour(drawn.image, self.noise)
        seen = torch.rand(recipe.batch, 1, 1, 1, generator=self.noise, device=image.device) >= recipe.image_dropout
        return TrainingBatch(image * seen, drawn.depth, drawn.scale, drawn.target, drawn.weight)


def real_source(frames: RealFrames, recipe: Recipe) -> Source:
    """Recorded frames of which a part is hidden: the target is all that the sensor measured."""

    def source(count: int, choices: Generator, noise: Generator) -> TrainingBatch:
        image, target, donor = frames.sample(count, recipe.crop, choices)
        depth = hide(target, donor, recipe.hiding, choices, noise)
        shown = depth > 0
        weight = torch.where(shown, recipe.shown_weight, 1.0) * (target > 0)
        return with_scale(image, depth, target, weight, noise)

    return source


def with_scale(image: Tensor, depth: Tensor, target: Tensor, weight: Tensor, noise: Generator) -> TrainingBatch:
    """The batch with the median of what each sample measured, times a random factor, as its scale.

    The networks are exactly scale-equivariant, so scaling depth and scale together would teach nothing; that the median
    of a crop is not the frame's they must learn. A sample that measured nothing gets no weight.
    """
    count = depth.shape[0]
    median = torch.where(depth > 0, depth, torch.nan).flatten(1).nanmedian(dim=1).values.view(-1, 1, 1, 1)
    measured = median.isfinite()
    exponent = torch.rand(count, 1, 1, 1, generator=noise, device=depth.device) * 2 - 1
    scale = torch.where(measured, median, 1.0) * _SCALE_JITTER**exponent
    return TrainingBatch(image, depth, scale, target, weight * measured)


def jitter_colour(image: Tensor, noise: Generator) -> Tensor:
    """Random contrast, brightness and tint of each sample, (N, 3, H, W) 0..1."""

    def factor(channels: int, spread: float) -> Tensor:
        return 1 + spread * (2 * torch.rand(len(image), channels, 1, 1, generator=noise, device=image.device) - 1)

    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    changed = (image - mean) * factor(1, _CONTRAST) + mean * factor(1, _CONTRAST) + (factor(1, _BRIGHTNESS) - 1)
    return (changed * factor(3, _TINT)).clamp(0, 1)
