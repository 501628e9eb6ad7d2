"""Random numbers for sensor models: per sample, per pixel, and as smooth fields over the image."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

Range = tuple[float, float]
"""Lowest and highest value of a parameter that is random for each sample; equal values make it constant."""

# Raggedness of the outlines of patches: amplitude (0..1) and correlation length [pixels].
_RAGGEDNESS = 0.5
_RAGGED_LENGTH = 2.0


def uniform(like: Tensor, generator: torch.Generator, limits: Range) -> Tensor:
    """(N, 1, 1, 1): one value per sample, uniform within limits."""
    low, high = limits
    return low + (high - low) * torch.rand(len(like), 1, 1, 1, generator=generator, device=like.device)


def log_uniform(like: Tensor, generator: torch.Generator, limits: Range) -> Tensor:
    """(N, 1, 1, 1): one value per sample, uniform in its logarithm."""
    low, high = limits
    return uniform(like, generator, (math.log(low), math.log(high))).exp()


def noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """The shape of like: independent standard normal values."""
    return torch.randn(like.shape, generator=generator, device=like.device)


def chance(like: Tensor, generator: torch.Generator) -> Tensor:
    """The shape of like: independent values, uniform in 0..1."""
    return torch.rand(like.shape, generator=generator, device=like.device)


def smooth_noise(like: Tensor, generator: torch.Generator, length: float) -> Tensor:
    """(N, 1, H, W): standard normal values whose correlation at a distance of d pixels is exp(-d² / (4 length²))."""
    height, width = like.shape[-2:]
    rows = _interpolation(height, length, str(like.device))
    columns = _interpolation(width, length, str(like.device))
    nodes = torch.randn(
        len(like), 1, rows.shape[1], columns.shape[1], generator=generator, device=like.device, dtype=torch.float32
    )
    return rows @ nodes @ columns.T


def patches(like: Tensor, generator: torch.Generator, length: float) -> Tensor:
    """(N, 1, H, W): uniform values in 0..1 that are similar within blobs of about ``length`` pixels.

    ``patches(...) < probability`` sets each pixel with that probability, in coherent patches with ragged outlines.
    """
    coarse = smooth_noise(like, generator, length)
    fine = smooth_noise(like, generator, _RAGGED_LENGTH)
    return torch.special.ndtr(math.sqrt(1 - _RAGGEDNESS**2) * coarse + _RAGGEDNESS * fine)


@lru_cache(maxsize=64)
def _interpolation(size: int, length: float, device: str) -> Tensor:
    """(size, nodes): Gaussian weights from a line of nodes to pixels; rows have unit norm, so variance stays 1."""
    nodes = torch.arange(-3.0, size / length + 3, device=device) * length
    weights = torch.exp(-((torch.arange(size, device=device)[:, None] - nodes) ** 2) / (2 * length**2))
    return weights / weights.norm(dim=1, keepdim=True)
