"""A cheap start for networks that learn the filling of holes themselves: every hole takes the nearest measurement.

Jump flooding (Rong, Tan, Jump Flooding in GPU with Applications to Voronoi Diagram and Distance Transform, I3D 2006)
down a pyramid: on each grid a cell knows one measurement and takes over that of a neighbour, or of a coarser cell
around it, where that one is nearer. It leaves edges ragged on purpose: a network behind a better filling hardly learns.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HALVINGS = 4
_NOWHERE = 1e4  # pixels; squares of it are still exact enough in float32 to tell far from near
_DISTANCE_UNIT = 5.0


class _Found(NamedTuple):
    """The measurement that each cell knows: its value, column and row [pixels], (N, 1, h, w). None: far outside."""

    value: Tensor
    column: Tensor
    row: Tensor


class NearestFilling(nn.Module):
    """Fills holes with the nearest measurement, or nearly so, in operations that every engine runs.

    Args (forward): value (N, 1, H, W), 0 where not measured; measured (N, 1, H, W), 0 or 1; H and W multiples of 16.

    Returns: the value with all holes filled, 0 if nothing is measured; and log(1 + pixels to the measurement that it
    was filled from) / 5, at most 1. Both (N, 1, H, W).
    """

    def forward(self, value: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
        height, width = value.shape[-2:]
        column, row = _places(width, value).view(1, 1, 1, -1), _places(height, value).view(1, 1, -1, 1)
        nowhere = (1 - measured) * _NOWHERE
        levels = [_Found(value, column + nowhere, row + nowhere)]
        for _ in range(_HALVINGS):
            levels.append(_halved(levels[-1]))

        size = 2**_HALVINGS
        found, distance = levels[-1], _distance(levels[-1], size)
        for step in _STEPS:
            found, distance = _spread(found, distance, step, size)
        for level in reversed(range(_HALVINGS)):
            size = 2**level
            own, own_distance = levels[level], _distance(levels[level], size)
            found, distance = _nearer(own, own_distance, *_from_coarser(found, size))
            found, distance = _spread(found, distance, 1, size)
        return found.value, (torch.log1p(distance.sqrt()) / _DISTANCE_UNIT).clamp(max=1)


_STEPS = (8, 4, 2, 1)  # cells of 16 x 16 pixels


def _halved(found: _Found) -> _Found:
    """One of the up to four measurements of each 2x2 cells."""
    corners = [_Found(*(each[..., down::2, right::2] for each in found)) for down, right in product((0, 1), repeat=2)]
    best = corners[0]
    for corner in corners[1:]:
        known = (corner.row < _NOWHERE / 2).to(corner.row.dtype)
        best = _Found(*(torch.lerp(old, new, known) for old, new in zip(best, corner, strict=True)))
    return best


def _distance(found: _Found, size: int) -> Tensor:
    """Squared distance [pixels] from the centre of each cell of ``size`` pixels to the measurement that it knows."""
    height, width = found.value.shape[-2:]
    middle = (size - 1) / 2
    column = (_places(width, found.value) * size + middle).view(1, 1, 1, -1)
    row = (_places(height, found.value) * size + middle).view(1, 1, -1, 1)
    return (found.column - column).square() + (found.row - row).square()


def _nearer(first: _Found, first_distance: Tensor, second: _Found, second_distance: Tensor) -> tuple[_Found, Tensor]:
    nearer = (second_distance < first_distance).to(first_distance.dtype)
    found = _Found(*(torch.lerp(a, b, nearer) for a, b in zip(first, second, strict=True)))
    return found, torch.minimum(first_distance, second_distance)


def _spread(found: _Found, distance: Tensor, step: int, size: int) -> tuple[_Found, Tensor]:
    """Each cell takes over what the cells ``step`` to its sides, then above and below it know, where that is nearer."""
    height, width = found.value.shape[-2:]
    ends = slice(step, step + height), slice(step, step + width)
    sides = (
        ((step, 0, 0, 0), (..., slice(width))),
        ((0, step, 0, 0), (..., ends[1])),
        ((0, 0, step, 0), (..., slice(height), slice(None))),
        ((0, 0, 0, step), (..., ends[0], slice(None))),
    )
    for padding, kept in sides:
        value = F.pad(found.value, padding)[kept]
        column, row = (F.pad(each, padding, value=_NOWHERE)[kept] for each in (found.column, found.row))
        other = _Found(value, column, row)
        found, distance = _nearer(found, distance, other, _distance(other, size))
    return found, distance


def _from_coarser(coarse: _Found, size: int) -> tuple[_Found, Tensor]:
    """What the coarser cell knows that each cell of ``size`` pixels lies in, and its distance."""
    fine = _Found(*(F.interpolate(each, scale_factor=2.0, mode="nearest") for each in coarse))
    return fine, _distance(fine, size)


def _places(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, device=like.device, dtype=torch.float32)
