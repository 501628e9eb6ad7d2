"""A cheap start for networks that learn the filling of holes themselves: every hole takes the value of its cell.

Push-pull without smoothing (Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.5): a missing pixel takes the mean
of the measured pixels of the smallest cell around it, 2x2 to 16x16 pixels, that holds any. Cells of 16x16 pixels
without a measurement take a mean of all cells, weighted by exp(-distance), which is close to the nearest one's value.
It leaves edges ragged and surfaces blocky on purpose: a network behind a better filling hardly learns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import double, pool_measured

_HALVINGS = 4
_FALL_OFF = 1.5  # per cell of 16 x 16 pixels: nearer cells count e^1.5 times as much
_LEAST_WEIGHT = 1e-30
_DISTANCE_UNIT = 8.0


class PyramidFilling(nn.Module):
    """Fills holes from a pyramid of means.

    Args (forward): value (N, 1, H, W), 0 where not measured; measured (N, 1, H, W), 0 or 1; H and W multiples of 16.

    Returns: the value with all holes filled, 0 if nothing is measured; and how far away the measurement is that a pixel
    was filled from, as the level of its cell (0 = measured itself, 4 = 16x16 pixels, above that the distance in such
    cells is added) over 8. Both (N, 1, H, W).
    """

    def forward(self, value: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
        values, knowns = [value], [measured]
        for _ in range(_HALVINGS):
            coarser, known = pool_measured(values[-1], knowns[-1], 2)
            values.append(coarser)
            knowns.append(known)
        rows, columns = (_fall_off(size, value) for size in knowns[-1].shape[-2:])
        weight = (rows @ knowns[-1] @ columns).clamp(min=_LEAST_WEIGHT)
        spread = rows @ (values[-1] * knowns[-1]) @ columns / weight
        farther = _HALVINGS - torch.log(weight).clamp(max=0) / _FALL_OFF
        filled = torch.lerp(spread, values[-1], knowns[-1])
        level = torch.lerp(farther, torch.full_like(farther, _HALVINGS), knowns[-1])
        for index in reversed(range(_HALVINGS)):
            filled = torch.lerp(double(filled), values[index], knowns[index])
            level = torch.lerp(double(level), torch.full_like(knowns[index], index), knowns[index])
        return filled, level / _DISTANCE_UNIT


def _fall_off(size: int, like: Tensor) -> Tensor:
    """(size, size): how much each cell of a line weighs for each other."""
    place = torch.arange(size, device=like.device, dtype=torch.float32)
    return torch.exp(-_FALL_OFF * (place.unsqueeze(0) - place.unsqueeze(1)).abs()).to(like.dtype)
