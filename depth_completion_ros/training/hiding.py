"""What of a recorded frame's depth the network sees; it is trained to restore the rest.

Ma, Cavalheiro, Karaman, Self-Supervised Sparse-to-Dense, ICRA 2019, hide points at random. Sensors leave out other
things as well, so the patterns here are those of sensors: holes of other frames, rows, grids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_POINTS_SHARE = (0.002, 0.1)  # of all pixels
_ROW_PERIOD = (3.0, 16.0)  # pixels between a LiDAR's rows
_ROW_TILT = 0.1  # rows by columns
_ROW_DROPOUT = 0.3  # at most, of a row's pixels
_GRID_PERIOD = (2.0, 12.0)
_BLOB_PX = (4.0, 32.0)  # grain of random holes
_BLOB_SHARE = (0.05, 0.5)

Hiding = Callable[[Tensor, Generator, Generator], Tensor]


def hide(depth: Tensor, donor: Tensor, weights: Mapping[str, float], choices: Generator, noise: Generator) -> Tensor:
    """depth (N, 1, H, W) [m], 0 = missing, with a part of it set to 0, for each sample by a pattern of its own.

    donor: like depth, of other frames; its holes are one of the patterns. weights: of the patterns in ``HIDINGS``.
    choices: generator on the CPU; noise: on the device of depth.
    """
    names = list(weights)
    picks = torch.multinomial(torch.tensor(list(weights.values())), len(depth), True, generator=choices).tolist()
    shown = [HIDINGS[names[pick]](donor[i : i + 1], choices, noise) for i, pick in enumerate(picks)]
    return depth * torch.cat(shown)


def _holes(donor: Tensor, choices: Generator, noise: Generator) -> Tensor:
    """Shows what the donor measured, less random blobs: a donor may have no hole in the window."""
    grain, share = _between(_BLOB_PX, choices), _between(_BLOB_SHARE, choices)
    height, width = donor.shape[-2:]
    coarse = torch.rand(1, 1, 2 + round(height / grain), 2 + round(width / grain), generator=noise, device=donor.device)
    field = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return (donor > 0) & (field > torch.quantile(field[..., ::4, ::4], share))


def _points(donor: Tensor, choices: Generator, noise: Generator) -> Tensor:
    """Shows single pixels at random."""
    return torch.rand(donor.shape, generator=noise, device=donor.device) < _between(_POINTS_SHARE, choices)


def _rows(donor: Tensor, choices: Generator, noise: Generator) -> Tensor:
    """Shows rows one pixel high, evenly spaced and a little tilted, with gaps: a LiDAR's rings."""
    period, tilt = _between(_ROW_PERIOD, choices), _ROW_TILT * (2 * _uniform(choices) - 1)
    y = torch.arange(donor.shape[-2], device=donor.device).view(-1, 1)
    x = torch.arange(donor.shape[-1], device=donor.device)
    kept = torch.rand(donor.shape, generator=noise, device=donor.device) >= _ROW_DROPOUT * _uniform(choices)
    return ((y + tilt * x + period * _uniform(choices)) % period < 1) & kept


def _grid(donor: Tensor, choices: Generator, noise: Generator) -> Tensor:
    """Shows one pixel of each square block, the one at its centre: a low resolution."""
    period = round(_between(_GRID_PERIOD, choices))
    y, x = (torch.arange(size, device=donor.device) % period == period // 2 for size in donor.shape[-2:])
    return (y.view(-1, 1) & x).expand(donor.shape)


HIDINGS: dict[str, Hiding] = {"holes": _holes, "points": _points, "rows": _rows, "grid": _grid}


def _uniform(choices: Generator) -> float:
    return float(torch.rand((), generator=choices))


def _between(limits: tuple[float, float], choices: Generator) -> float:
    """Random, even in the logarithm."""
    low, high = limits
    return low * (high / low) ** _uniform(choices)
