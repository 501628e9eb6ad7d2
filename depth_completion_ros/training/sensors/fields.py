"""Random numbers for sensor models: per sample, per pixel, and as smooth fields over the image."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

Range = tuple[float, float]
"""Lowest and highest value of a parameter. A value is drawn for each sample; equal values make it constant."""

# Raggedness of the outlines of patches: amplitude (0..1) and correlation length [pixels].
_RAGGEDNESS = 0.5
_RAGGED_LENGTH = 2.0


def uniform(like: Tensor, generator: torch.Generator, limits: Range) -> Tensor:
    """Draw one value for each sample, uniform within limits, (N, 1, 1, 1)."""
    low, high = limits
    return low + (high - low) * torch.rand(len(like), 1, 1, 1, generator=generator, device=like.device)


def log_uniform(like: Tensor, generator: torch.Generator, limits: Range) -> Tensor:
    """Draw one value for each sample, uniform in its logarithm, (N, 1, 1, 1)."""
    low, high = limits
    return uniform(like, generator, (math.log(low), math.log(high))).exp()


def noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw independent standard normal values of the shape of ``like``."""
    return torch.randn(like.shape, generator=generator, device=like.device)


def chance(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw independent values, uniform in 0..1, of the shape of ``like``."""
    return torch.rand(like.shape, generator=generator, device=like.device)


def smooth_noise(like: Tensor, generator: torch.Generator, length: float) -> Tensor:
    """Draw smooth normal values (N, 1, H, W), whose correlation at a distance of d pixels is exp(-d² / (4 length²))."""
    height, width = like.shape[-2:]
    rows = _interpolation(height, length, str(like.device))
    columns = _interpolation(width, length, str(like.device))
    nodes = torch.randn(
        len(like), 1, rows.shape[1], columns.shape[1], generator=generator, device=like.device, dtype=torch.float32
    )
    return rows @ nodes @ columns.T


def patches(like: Tensor, generator: torch.Generator, length: float) -> Tensor:
    """Draw uniform values in 0..1, (N, 1, H, W), that are similar within patches of about ``length`` pixels.

    ``patches(...) < probability`` is true for each pixel with that probability, in patches with ragged outlines.
    """
    coarse = smooth_noise(like, generator, length)
    fine = smooth_noise(like, generator, _RAGGED_LENGTH)
    return torch.special.ndtr(math.sqrt(1 - _RAGGEDNESS**2) * coarse + _RAGGEDNESS * fine)


@lru_cache(maxsize=64)
def _interpolation(size: int, length: float, device: str) -> Tensor:
    """Return Gaussian weights from nodes to pixels, (size, nodes). Rows have unit norm, which keeps a variance of 1."""
    nodes = torch.arange(-3.0, size / length + 3, device=device) * length
    weights = torch.exp(-((torch.arange(size, device=device)[:, None] - nodes) ** 2) / (2 * length**2))
    return weights / weights.norm(dim=1, keepdim=True)
