"""Masks that hide measured depth: holes of real frames, and random blocks, strokes and blobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...bag.folders import read_folder
from ...errors import InputError
from .fields import Range, log_uniform, smooth_noise, uniform
from .views import pixels


@dataclass(frozen=True)
class HoleMasks:
    """Masks of real frames. A call returns a random crop of a random mask for each sample; half of them are flipped.

    Attributes:
        masks: True where the frame has no depth, (M, H, W) bool, on the device of the scenes.
        scale: Number of image pixels for each mask pixel. The size of the mask can force a larger value.
    """

    masks: Tensor
    scale: Range = (0.4, 2.0)

    @classmethod
    def from_folders(cls, folders: Iterable[str | Path], device: torch.device | str = "cpu") -> HoleMasks:
        """Read the masks of all frames of these folders.

        Do not use folders of the validation set, because their masks contain information about it.

        Raises:
            InputError: If frames cannot be read or have different sizes.
        """
        masks = [np.isnan(sample.frame.depth) for folder in folders for sample in read_folder(folder)]
        sizes = {mask.shape for mask in masks}
        if len(sizes) != 1:
            raise InputError("folder", f"hole masks must be of one size, not {sorted(sizes)}: give folders of one size")
        return cls(torch.from_numpy(np.stack(masks)).to(device))

    def __call__(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Return masks that are true where depth is to be hidden, (N, 1, H, W) bool, of the size of ``like``."""
        number, height, width = self.masks.shape
        rows, columns = pixels(like)
        # The crop lies within the mask, so a mask that is smaller than the image is enlarged more than ``scale``.
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
    """Return masks of rotated rectangles, strokes and blobs, true where depth is to be hidden, (N, 1, H, W) bool.

    About two in a hundred masks are empty.

    Args:
        like: Tensor with the shape of the result.
        generator: Random generator.
        shapes: Number of rectangles. Each is used with probability 1/2. Its sides are log-uniform from 3 % to 50 % of
            the image size, so that some rectangles are strokes.
        blobs: Share of pixels that blobs cover, in half of the samples.
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
        x, y = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        used = uniform(like, generator, (0.0, 1.0)) < 0.5
        hidden |= used & (x.abs() < long) & (y.abs() < short)
    return hidden


def missing_border(like: Tensor, generator: torch.Generator, width: Range = (0.0, 0.1)) -> Tensor:
    """Return borders of the image that a depth camera with a smaller field of view does not see, (N, 1, H, W) bool.

    Each side has a border with probability 1/2. ``width`` is the width of a border as a share of the image size.
    """
    hidden = torch.zeros(like.shape, dtype=torch.bool, device=like.device)
    for position, size in zip(pixels(like), like.shape[-2:], strict=True):
        for distance in (position + 0.5, size - 0.5 - position):
            used = uniform(like, generator, (0.0, 1.0)) < 0.5
            hidden |= used & (distance < size * uniform(like, generator, width))
    return hidden
