"""What hides depth that was measured: the holes of real frames, and random blocks, strokes and blobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..folders import read_folder
from .fields import Range, log_uniform, smooth_noise, uniform
from .views import pixels


@dataclass(frozen=True)
class HoleMasks:
    """Masks of real frames: masks (M, H, W) bool, true where the frame has no depth, on the scenes' device.

    Calling it gives, for each sample of a batch, a random one of them: a crop of ``scale`` image pixels per mask pixel
    (as far as the mask is large enough), at a random place, half of them mirrored.
    """

    masks: Tensor
    scale: Range = (0.4, 2.0)

    @classmethod
    def from_folders(cls, folders: Iterable[str | Path], device: torch.device | str = "cpu") -> HoleMasks:
        """The masks of all frames of these folders. Raises InputError for frames that cannot be read or unlike sizes.

        Leave out the scenes that validate: their masks would tell of them.
        """
        masks = [np.isnan(sample.frame.depth) for folder in folders for sample in read_folder(folder)]
        sizes = {mask.shape for mask in masks}
        if len(sizes) != 1:
            raise InputError("folder", f"hole masks must be of one size, not {sorted(sizes)}: give folders of one size")
        return cls(torch.from_numpy(np.stack(masks)).to(device))

    def __call__(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """(N, 1, H, W) bool of the size of like: true where depth is to be hidden."""
        number, height, width = self.masks.shape
        rows, columns = pixels(like)
        # The crop lies within the mask, so a mask smaller than the image is enlarged whatever the scale.
        largest = min((height - 1) / like.shape[-2], (width - 1) / like.shape[-1])
        step = (1 / log_uniform(like, generator, self.scale)).clamp(max=largest)
        top = uniform(like, generator, (0.0, 1.0)) * (height - 1 - step * (like.shape[-2] - 1))
        left = uniform(like, generator, (0.0, 1.0)) * (width - 1 - step * (like.shape[-1] - 1))
        mirrored = uniform(like, generator, (0.0, 1.0)) < 0.5
        columns = torch.where(mirrored, like.shape[-1] - 1 - columns, columns)
        which = (uniform(like, generator, (0.0, 1.0)) * number).floor().clamp(max=number - 1)
        row, column = (top + step * rows).round().long(), (left + step * columns).round().long()
        return self.masks[which.long(), row, column]


def contiguous_blocks(like: Tensor, generator: torch.Generator, shapes: int = 5, blobs: Range = (0.0, 0.3)) -> Tensor:
    """(N, 1, H, W) bool, true where depth is to be hidden: turned rectangles and strokes, and blobs.

    Of ``shapes`` rectangles per sample each is there with probability 1/2, its sides log-uniform from 3 % to 50 % of
    the image's, so that some are strokes. Blobs cover a share drawn from ``blobs``, and none of
    half the samples; about two samples in a hundred stay whole.
    """
    rows, columns = pixels(like)
    height, width = like.shape[-2:]
    size = float(min(height, width))
    share = uniform(like, generator, blobs) * (uniform(like, generator, (0.0, 1.0)) < 0.5)
    hidden = torch.special.ndtr(smooth_noise(like, generator, size / 12)) < share
    for _ in range(shapes):
        y = rows - uniform(like, generator, (0.0, float(height)))
        x = columns - uniform(like, generator, (0.0, float(width)))
        angle = uniform(like, generator, (0.0, torch.pi))
        long, short = (log_uniform(like, generator, (0.015 * size, 0.25 * size)) for _ in range(2))
        along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        there = uniform(like, generator, (0.0, 1.0)) < 0.5
        hidden |= there & (along.abs() < long) & (across.abs() < short)
    return hidden


def missing_border(like: Tensor, generator: torch.Generator, width: Range = (0.0, 0.1)) -> Tensor:
    """(N, 1, H, W) bool: what a depth camera of another view leaves unseen at the image's border, each side of its own.

    Each side is there with probability 1/2, as a share of the image's side drawn from ``width``.
    """
    hidden = torch.zeros(like.shape, dtype=torch.bool, device=like.device)
    for position, size in zip(pixels(like), like.shape[-2:], strict=True):
        for distance in (position + 0.5, size - 0.5 - position):
            there = uniform(like, generator, (0.0, 1.0)) < 0.5
            hidden |= there & (distance < size * uniform(like, generator, width))
    return hidden
