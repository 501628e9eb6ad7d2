"""Transfer filled depth from a coarse grid to a grid of twice the resolution, guided by colour.

The code only slices whole images and does arithmetic on them. Engines fuse such operations into few passes over memory.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

# Chosen on the same frames as the constants of hole_filling.py, and on procedural scenes.
_COLOUR_SCALE = 0.08  # colour difference (0..1, summed over channels) at which a weight falls to 1/e
_DISTANCE_SCALE = 2.0  # distance in cells at which a weight falls to 1/e
_MIN_SIMILARITY = 1e-3
_HALF_WEIGHT = 1e-3  # sum of weights at which a correction is halved
_KNOWN_WEIGHT = 10.0  # weight of a known pixel at full resolution; the result depends little on it near the optimum


def refine(coarse: Tensor, coarse_guide: Tensor, guide: Tensor, value: Tensor, known: Tensor, steps: int) -> Tensor:
    """Upsample coarse values by two and correct them with the known values of the finer grid, both guided by colour.

    Args:
        coarse: Values to upsample, (N, 1, h, w).
        coarse_guide: Image at the coarse resolution, (N, C, h, w).
        guide: Image at the fine resolution, (N, C, 2h, 2w).
        value: Known values at the fine resolution, 0 where unknown, (N, 1, 2h, 2w).
        known: 1 where ``value`` is known, else 0, (N, 1, 2h, 2w).
        steps: The error at a known value corrects cells up to 2^steps - 1 cells away.

    Returns:
        The refined values, (N, 1, 2h, 2w).
    """
    dense, similarity = joint_bilateral_upsample(coarse, coarse_guide, guide)
    weights = [_neighbour_weights(guide, dim, steps) for dim in (-1, -2)]
    # A coarse cell that contains an edge has a colour and a depth between both sides. Cells of similar colour are
    # better sources for the pixels of such a cell.
    total, weight = _weighted_sum(torch.cat([dense * similarity, similarity], dim=1), weights).split(1, dim=1)
    dense = total / weight
    total, weight = _weighted_sum(torch.cat([(value - dense) * known, known], dim=1), weights).split(1, dim=1)
    return dense + total / (weight + _HALF_WEIGHT)


def refine_once(coarse: Tensor, coarse_guide: Tensor, guide: Tensor, value: Tensor, known: Tensor) -> Tensor:
    """Do the same as ``refine`` with one step in half the time.

    The result is one weighted mean of upsampled and known values, in which known values have a higher weight.
    """
    dense, similarity = joint_bilateral_upsample(coarse, coarse_guide, guide)
    weights = [_neighbour_weights(guide, dim, 1) for dim in (-1, -2)]
    # Two separate sums: concatenating and splitting images of this size takes as long as adding them up.
    total = _weighted_sum(dense * similarity + _KNOWN_WEIGHT * value, weights)
    return total / _weighted_sum(similarity + _KNOWN_WEIGHT * known, weights)


def joint_bilateral_upsample(x: Tensor, coarse_guide: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
    """Upsample by two, guided by colour (Kopf et al., Joint Bilateral Upsampling, SIGGRAPH 2007).

    Args:
        x: Values to upsample, (N, 1, h, w).
        coarse_guide: Image at the coarse resolution, (N, C, h, w).
        guide: Image at the fine resolution, (N, C, 2h, 2w).

    Returns:
        The upsampled values and their similarity, each (N, 1, 2h, 2w). A value is the mean of the four nearest cells
        with bilinear weights times the similarity of colour. The similarity is the sum of these weights, in (0, 1].
    """
    # The four pixels around each corner of the cells have the same four neighbours.
    pixels = F.pixel_unshuffle(F.pad(guide, (1, 1, 1, 1), mode="replicate"), 2).chunk(guide.shape[1], dim=1)
    x, coarse_guide = (F.pad(cells, (1, 1, 1, 1), mode="replicate") for cells in (x, coarse_guide))
    height, width = x.shape[-2] - 1, x.shape[-1] - 1
    # Made on the device: a copy from the host could not be part of a CUDA graph.
    place = torch.arange(2, device=x.device, dtype=x.dtype)
    weights, weighted = [], []
    for down, right in product((0, 1), repeat=2):
        corner = (..., slice(down, down + height), slice(right, right + width))
        alike = _colour_similarity(pixels, coarse_guide[corner].split(1, dim=1)) + _MIN_SIMILARITY
        rows, columns = (0.75 - 0.5 * (place - far).abs() for far in (down, right))
        weights.append(alike * (rows.view(2, 1) * columns).view(1, 4, 1, 1))
        weighted.append(weights[-1] * x[corner])
    total = _sum(weights)
    dense, similarity = (F.pixel_shuffle(x, 2)[..., 1:-1, 1:-1] for x in (_sum(weighted) / total, total))
    return dense, similarity


def _neighbour_weights(guide: Tensor, dim: int, steps: int) -> list[Tensor]:
    """Return the weights between each cell and the cell 1, 2, 4, ... before it along an axis, (N, 1, H, W) each."""
    difference = guide - _shift(guide, dim, 1)
    weights = [torch.exp(_sum(difference.abs().split(1, dim=1)) / -_COLOUR_SCALE - 1 / _DISTANCE_SCALE)]
    while len(weights) < steps:
        weights.append(weights[-1] * _shift(weights[-1], dim, 2 ** (len(weights) - 1)))
    return weights


def _weighted_sum(x: Tensor, weights: list[list[Tensor]]) -> Tensor:
    """Compute weighted sums of x (N, C, H, W) along rows, then along columns; the result has the same shape.

    The weight between two cells is the product of the weights of all cells between them, as in the domain transform
    (Gastal, Oliveira, SIGGRAPH 2011). Each step doubles the length of the sums, as in a parallel scan (Hillis, Steele,
    CACM 1986).
    """
    for dim, axis_weights in zip((-1, -2), weights, strict=True):
        before = after = x
        for step, weight in enumerate(axis_weights):
            before = before + weight * _shift(before, dim, 2**step)
            after = after + _shift(weight * after, dim, -(2**step))
        x = before + after - x
    return x


def _shift(x: Tensor, dim: int, cells: int) -> Tensor:
    """Shift an image along its last or last but one axis and pad with zeros."""
    return F.pad(x, (cells, -cells) if dim == -1 else (0, 0, cells, -cells))


def _colour_similarity(colours: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> Tensor:
    """Return the similarity of colours, 0..1. Each tuple contains one tensor for each channel."""
    return torch.exp(_sum([(a - b).abs() for a, b in zip(colours, others, strict=True)]) / -_COLOUR_SCALE)


def _sum(terms: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return reduce(torch.add, terms)
