"""Fill holes with planes that are fitted to the measurements along colour. Every network corrects this result.

Locally weighted regression (Cleveland, JASA 1979) of log-depth. The weight of a measurement decreases with its
distance in the domain transform of the image (Gastal, Oliveira, SIGGRAPH 2011), in which a change of colour counts like
a distance. Depth therefore spreads across surfaces of one colour and stops at their edges. Planes are used instead of
means, because floors and walls are slanted. The remaining error at the measurements is spread in the same way over half
the reach, and then from cell to cell on finer grids.

Each row, and each column, has a small dense matrix of weights, as in axial attention, so that a value reaches across
the whole image in one product. Only pooling, matrix products and arithmetic are used, which every engine runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .along_colour import finer, finest
from .blocks import mean_pool, pool_measured

_STEPS = {1: 2, 2: 3}  # of spreading at a half and a quarter of the resolution
_FINE_STEPS = 3  # of spreading at all of them
# Chosen on two frames each of the recorded sets for training and validation, under four patterns of holes; flat around
# the optimum.
REACH = 5.0  # cells over which a weight falls to 1/e
_COLOUR_STEP = 0.1  # of 0..1, summed over channels: counts as much as the reach
_SLOPE_SPREAD = 0.5  # squared cells: points that lie closer together than that say little about a slope
_FADE = 1e-3  # weight at which what the planes leave unexplained fades to a half
_FURTHEST = 30.0  # reaches; beyond it all weigh the same, which float32 can still tell from nothing
_LEAST_WEIGHT = 2.0**-20
_LOG_DISTANCE_UNIT = 5.0
_OUTSIDE = 1e4  # larger than any value


class HoleFilling(nn.Module):
    """value, 0 where not measured, and measured, 0 or 1, (N, 1, H, W); guide (N, 3, H, W), 0..1 or shifted, or None for
    no colour. fine: more steps on the finer grids, which brings out fine depth and takes longer.

    Returns, float32: value with every hole filled within the range of what is measured, measured pixels untouched, 0
    if nothing is measured, (N, 1, H, W); and how far from each cell of 8 x 8 pixels the measurements are, (N, 1, H / 8,
    W / 8), as log2(1 + 1 / the sum of their weights) / 5: about 0 among measurements, in the middle of nowhere growing
    in proportion to the distance, to 4 at most.
    """

    def __init__(self, fine: bool = False):
        super().__init__()
        self.fine = fine

    def forward(self, value: Tensor, measured: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # At 1, 1/2, 1/4 and 1/8 of the resolution.
        values, knowns, guides = [value], [measured], [torch.zeros_like(value) if guide is None else guide]
        for _ in range(3):
            coarser, known = pool_measured(values[-1], knowns[-1], 2)
            values.append(coarser)
            knowns.append(known)
            guides.append(mean_pool(guides[-1], 2))

        filled, distance = fitted(values[-1], known, *weights(guides[-1], REACH))
        for level in (2, 1):
            steps = _FINE_STEPS if self.fine else _STEPS[level]
            filled = finer(filled, guides[level + 1], guides[level], values[level], knowns[level], steps)
        # At full resolution the sum of the channels shows as many edges, in less time.
        full, half = (each.sum(dim=1, keepdim=True) for each in guides[:2])
        if self.fine:
            filled = finer(filled, half, full, value, measured, _FINE_STEPS)
        else:
            filled = finest(filled, half, full, value, measured)
        filled = within_range(filled, value, measured)
        return torch.lerp(filled, value, measured), distance


def fitted(value: Tensor, known: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Planes, and what they leave unexplained of the known values spread over half the reach; and how far away these
    are, as ``HoleFilling`` has it; each (N, 1, H, W). Arguments as of ``fit_planes``.
    """
    planes = fit_planes(value, known, rows, columns)
    # Of half the reach, in space and in colour.
    rows, columns = rows * rows, columns * columns
    total, weight = spread(torch.cat([(value - planes) * known, known], dim=1), rows, columns).split(1, dim=1)
    distance = torch.log2(1 + 1 / weight.clamp(min=_LEAST_WEIGHT)) / _LOG_DISTANCE_UNIT
    return planes + total / (weight + _FADE), distance


def weights(guide: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """How much each cell of a row weighs for each other, (N, H, W, W), and of a column, (N, W, H, H).

    guide (N, C, H, W).
    """
    rows, columns = steps(guide, reach)
    return along(rows), along(columns)


def steps(guide: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """How far it is from each cell of a row to the next, (N, H, W - 1), and of a column, (N, W, H - 1), in reaches.

    guide (N, C, H, W).
    """
    return _steps_right(guide, reach), _steps_right(guide.transpose(2, 3), reach)


def _steps_right(guide: Tensor, reach: float) -> Tensor:
    return (guide[..., 1:] - guide[..., :-1]).abs().sum(dim=1) / _COLOUR_STEP + 1 / reach


def along(steps: Tensor) -> Tensor:
    """How much the cells of a line weigh for each other. steps (N, L, K - 1), between neighbours: (N, L, K, K)."""
    place = F.pad(torch.cumsum(steps, dim=-1), (1, 0))
    return torch.exp((place.unsqueeze(-1) - place.unsqueeze(-2)).abs().clamp(max=_FURTHEST).neg())


def spread(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Weighted sums over all cells, of (N, C, H, W), the same shape: along rows, then along columns."""
    x = (rows @ x.permute(0, 2, 3, 1)).transpose(1, 2)  # (N, W, H, C)
    return (columns @ x).permute(0, 3, 2, 1)


def fit_planes(value: Tensor, known: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """At each cell the value there of the plane that fits all known values best, (N, 1, H, W).

    value, known (N, 1, H, W), known 0 or what a measurement counts; rows, columns as ``weights`` gives them. Minimises
    the weighted squares of errors and, so that few points make no steep planes, _SLOPE_SPREAD of the squared slopes.
    """
    right, down = (_offsets(matrix) for matrix in (rows, columns))
    x = torch.cat([known, known * value], dim=1).permute(0, 2, 3, 1)  # sums of 1 and of v
    along = torch.cat([rows @ x, (rows * right) @ x, (rows * right * right) @ x[..., :1]], dim=-1).transpose(1, 2)
    # Five sums along rows, by powers of the offset: 1, v, x, xv, xx.
    once, by_y, by_yy = columns @ along, (columns * down) @ along[..., :4], (columns * down * down) @ along[..., :1]
    moments = torch.cat([once, by_y[..., :3], by_yy], dim=-1).permute(0, 3, 2, 1)
    total = moments[:, :1].clamp(min=1e-37)
    v, x1, xv, xx, y1, yv, xy, yy = (moments[:, 1:] / total).split(1, dim=1)
    xx, yy, xy = xx - x1 * x1 + _SLOPE_SPREAD, yy - y1 * y1 + _SLOPE_SPREAD, xy - x1 * y1
    xv, yv = xv - x1 * v, yv - y1 * v
    determinant = xx * yy - xy * xy
    return v - x1 * (xv * yy - yv * xy) / determinant - y1 * (yv * xx - xv * xy) / determinant


def within_range(filled: Tensor, value: Tensor, measured: Tensor) -> Tensor:
    """filled, kept between the least and the largest measured value; 0 if nothing is measured."""
    outside = (measured - 1) * _OUTSIDE
    least, largest = (torch.amax(sign * value * measured + outside, dim=(2, 3), keepdim=True) for sign in (-1, 1))
    something = torch.amax(measured, dim=(2, 3), keepdim=True)
    return something * torch.minimum(torch.maximum(filled, -least), largest)


def _offsets(matrix: Tensor) -> Tensor:
    """(L, L): how many cells each of a line lies after each other."""
    place = torch.arange(matrix.shape[-1], device=matrix.device, dtype=torch.float32)
    return place.unsqueeze(0) - place.unsqueeze(1)
