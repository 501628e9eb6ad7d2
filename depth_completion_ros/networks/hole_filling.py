"""Fill holes with planes that are fitted to the measurements, guided by colour. Every network corrects this result.

The method is locally weighted regression (Cleveland, JASA 1979) of log-depth. The weight of a measurement decreases
with its distance in the domain transform of the image (Gastal, Oliveira, SIGGRAPH 2011), in which a change of colour
counts as a distance. Depth therefore spreads across surfaces of one colour and stops at their edges. Planes are used
instead of means, because floors and walls are slanted. The residuals, which are the errors of the planes at the
measurements, are interpolated in the same way with half the distance scale, and then on finer grids.

Each row and each column has a small dense matrix of weights, as in axial attention, so that one product combines values
from the whole image. Only pooling, matrix products and arithmetic are used, which every engine runs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .along_colour import refine, refine_once
from .blocks import mean_pool, pool_measured

_REFINE_STEPS = {1: 2, 2: 3}  # at 1/2 and 1/4 of the resolution, see ``refine``
_FINE_REFINE_STEPS = 3  # at 1/1, 1/2 and 1/4 of the resolution
# Chosen on two frames of each recorded training and validation set, with four patterns of holes. The result depends
# little on these values near the optimum.
DISTANCE_SCALE = 5.0  # distance in cells at which a weight falls to 1/e
_COLOUR_SCALE = 0.1  # colour difference (0..1, summed over channels) that counts as DISTANCE_SCALE cells
_SLOPE_PENALTY = 0.5  # squared cells: keeps the planes of points that are close together from becoming steep
_HALF_WEIGHT = 1e-3  # sum of weights at which an interpolated residual is halved
_MAX_DISTANCE = 30.0  # in units of the distance scale; exp(-30) is still a normal number in float32
_MIN_WEIGHT = 2.0**-20
_LOG_DISTANCE_UNIT = 5.0
_LARGE_VALUE = 1e4  # larger than any value


class HoleFilling(nn.Module):
    """Fill the holes of an image of log-depth.

    Args:
        fine: Whether to use more steps on the finer grids, which preserves more detail and takes longer.
    """

    def __init__(self, fine: bool = False):
        super().__init__()
        self.fine = fine

    def forward(self, value: Tensor, measured: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fill the holes.

        Args:
            value: Values, 0 where not measured, (N, 1, H, W).
            measured: 1 where measured, else 0, (N, 1, H, W).
            guide: Colour image whose channels span a range of 1, (N, 3, H, W); None to ignore colour.

        Returns:
            The filled values, (N, 1, H, W) float32. Measured pixels are unchanged, filled pixels lie within the range
            of the measured values, and all are 0 if nothing is measured.
            The distance of each cell of 8x8 pixels to the measurements, (N, 1, H / 8, W / 8) float32. It is computed
            as log2(1 + 1 / w) / 5 from the sum w of the measurements' weights. It is about 0 between measurements,
            grows in proportion to the distance in large holes, and is at most 4.
        """
        # At 1, 1/2, 1/4 and 1/8 of the resolution.
        values, knowns, guides = [value], [measured], [torch.zeros_like(value) if guide is None else guide]
        for _ in range(3):
            coarser, known = pool_measured(values[-1], knowns[-1], 2)
            values.append(coarser)
            knowns.append(known)
            guides.append(mean_pool(guides[-1], 2))

        filled, distance = fit_planes_and_residuals(values[-1], known, *axial_weights(guides[-1], DISTANCE_SCALE))
        for level in (2, 1):
            steps = _FINE_REFINE_STEPS if self.fine else _REFINE_STEPS[level]
            filled = refine(filled, guides[level + 1], guides[level], values[level], knowns[level], steps)
        # At full resolution the sum of the channels shows the same edges and takes less time.
        full, half = (each.sum(dim=1, keepdim=True) for each in guides[:2])
        if self.fine:
            filled = refine(filled, half, full, value, measured, _FINE_REFINE_STEPS)
        else:
            filled = refine_once(filled, half, full, value, measured)
        filled = clamp_to_measured_range(filled, value, measured)
        return torch.lerp(filled, value, measured), distance


def fit_planes_and_residuals(value: Tensor, known: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Fit planes and add the interpolated residuals, with half the distance scale. Arguments as of ``fit_planes``.

    Returns:
        The fitted values and the distance to the known values as in ``HoleFilling``, each (N, 1, H, W).
    """
    planes = fit_planes(value, known, rows, columns)
    # Squared weights are those of half the scale of distance and colour.
    rows, columns = rows * rows, columns * columns
    total, weight = axial_sum(torch.cat([(value - planes) * known, known], dim=1), rows, columns).split(1, dim=1)
    distance = torch.log2(1 + 1 / weight.clamp(min=_MIN_WEIGHT)) / _LOG_DISTANCE_UNIT
    return planes + total / (weight + _HALF_WEIGHT), distance


def axial_weights(guide: Tensor, distance_scale: float) -> tuple[Tensor, Tensor]:
    """Return the weights between all cells of each row and of each column.

    Args:
        guide: Image, (N, C, H, W).
        distance_scale: Distance at which a weight falls to 1/e [cells].

    Returns:
        The weights of the rows, (N, H, W, W), and of the columns, (N, W, H, H).
    """
    rows, columns = neighbour_distances(guide, distance_scale)
    return pairwise_weights(rows), pairwise_weights(columns)


def neighbour_distances(guide: Tensor, distance_scale: float) -> tuple[Tensor, Tensor]:
    """Return the distances between neighbouring cells in the domain transform, in units of ``distance_scale``.

    Args:
        guide: Image, (N, C, H, W).
        distance_scale: Distance at which a weight falls to 1/e [cells].

    Returns:
        The distances along rows, (N, H, W - 1), and along columns, (N, W, H - 1).
    """
    return _row_distances(guide, distance_scale), _row_distances(guide.transpose(2, 3), distance_scale)


def _row_distances(guide: Tensor, distance_scale: float) -> Tensor:
    return (guide[..., 1:] - guide[..., :-1]).abs().sum(dim=1) / _COLOUR_SCALE + 1 / distance_scale


def pairwise_weights(distances: Tensor) -> Tensor:
    """Return the weights (N, L, K, K) between all cells of a line, from distances between neighbours (N, L, K - 1)."""
    position = F.pad(torch.cumsum(distances, dim=-1), (1, 0))
    return torch.exp((position.unsqueeze(-1) - position.unsqueeze(-2)).abs().clamp(max=_MAX_DISTANCE).neg())


def axial_sum(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute weighted sums of x (N, C, H, W) along rows, then along columns; the result has the same shape."""
    x = (rows @ x.permute(0, 2, 3, 1)).transpose(1, 2)  # (N, W, H, C)
    return (columns @ x).permute(0, 3, 2, 1)


def fit_planes(value: Tensor, known: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Fit a plane to the known values around each cell by weighted least squares.

    The squared slopes times _SLOPE_PENALTY are added to the squared errors, so that few points give no steep planes.

    Args:
        value: Values, 0 where unknown, (N, 1, H, W).
        known: Weight of each value itself, 0 where unknown, (N, 1, H, W).
        rows: Weights between the cells of a row, see ``axial_weights``.
        columns: Weights between the cells of a column.

    Returns:
        The value of each cell's plane at the cell, (N, 1, H, W).
    """
    right, down = (_offsets(matrix) for matrix in (rows, columns))
    x = torch.cat([known, known * value], dim=1).permute(0, 2, 3, 1)  # sums of 1 and of v
    # Five sums along rows: 1, v, x, xv, xx, where x is the offset along the row and v is the value.
    sums = torch.cat([rows @ x, (rows * right) @ x, (rows * right * right) @ x[..., :1]], dim=-1).transpose(1, 2)
    once, by_y, by_yy = columns @ sums, (columns * down) @ sums[..., :4], (columns * down * down) @ sums[..., :1]
    moments = torch.cat([once, by_y[..., :3], by_yy], dim=-1).permute(0, 3, 2, 1)
    total = moments[:, :1].clamp(min=1e-37)
    v, x1, xv, xx, y1, yv, xy, yy = (moments[:, 1:] / total).split(1, dim=1)
    xx, yy, xy = xx - x1 * x1 + _SLOPE_PENALTY, yy - y1 * y1 + _SLOPE_PENALTY, xy - x1 * y1
    xv, yv = xv - x1 * v, yv - y1 * v
    determinant = xx * yy - xy * xy
    return v - x1 * (xv * yy - yv * xy) / determinant - y1 * (yv * xx - xv * xy) / determinant


def clamp_to_measured_range(filled: Tensor, value: Tensor, measured: Tensor) -> Tensor:
    """Limit filled values to the range of the measured values; return 0 if nothing is measured. All (N, 1, H, W)."""
    masked = (measured - 1) * _LARGE_VALUE
    negative_min, maximum = (torch.amax(sign * value * measured + masked, dim=(2, 3), keepdim=True) for sign in (-1, 1))
    any_measured = torch.amax(measured, dim=(2, 3), keepdim=True)
    return any_measured * torch.minimum(torch.maximum(filled, -negative_min), maximum)


def _offsets(matrix: Tensor) -> Tensor:
    """Return the offsets [cells] between all cells of a line, (L, L)."""
    position = torch.arange(matrix.shape[-1], device=matrix.device, dtype=torch.float32)
    return position.unsqueeze(0) - position.unsqueeze(1)
