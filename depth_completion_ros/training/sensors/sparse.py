"""Depth at a small number of points, as in sparse-to-dense benchmarks and from visual SLAM."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene_batch import SceneBatch
from .fields import Range, chance, log_uniform, noise, uniform
from .views import pixels, window_max, window_mean


class Pattern(Enum):
    """The distribution of points."""

    UNIFORM = "uniform"  # uniform over the image (Ma, Karaman, Sparse-to-Dense, ICRA 2018)
    GRID = "grid"  # a square lattice with a random phase
    GRADIENT = "gradient"  # in proportion to the gradient of the image
    CORNER = "corner"  # strongest corners first (Shi, Tomasi, Good Features to Track, CVPR 1994)


@dataclass(frozen=True)
class SparsePoints:
    """``count`` pixels of the true depth, or all pixels if there are fewer. For GRID the number is approximate.

    A share ``outliers`` of the points is multiplied by a factor between 1/2 and 2. The other points have noise with a
    standard deviation of ``sigma`` z.
    """

    pattern: Pattern = Pattern.UNIFORM
    count: Range = (100, 2000)
    outliers: Range = (0.0, 0.05)
    sigma: Range = (0.0, 0.01)

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing."""
        depth = scene.depth
        count = log_uniform(depth, generator, self.count).round()
        if self.pattern is Pattern.GRID:
            chosen = _lattice(depth, count, generator)
        else:
            chosen = self._draw(scene, count, generator)
        factor = 1 + uniform(depth, generator, self.sigma) * noise(depth, generator)
        is_outlier = chance(depth, generator) < uniform(depth, generator, self.outliers)
        factor = torch.where(is_outlier, torch.exp2(2 * chance(depth, generator) - 1), factor)
        return torch.where(chosen, depth * factor.clamp(min=0.01), 0.0)

    def _draw(self, scene: SceneBatch, count: Tensor, generator: torch.Generator) -> Tensor:
        # Weighted sampling without replacement: the largest of log weight + Gumbel noise (Efraimidis, Spirakis, 2006).
        gumbel = -(-chance(scene.depth, generator).clamp(1e-9, 1 - 1e-7).log()).log()
        score = torch.where(scene.depth > 0, _log_weight(scene, self.pattern) + gumbel, -torch.inf)
        largest = min(round(self.count[1]), score[0].numel())
        ranked = score.flatten(1).topk(largest, dim=1)
        kept = (torch.arange(largest, device=score.device) < count.flatten(1)) & (ranked.values > -torch.inf)
        chosen = torch.zeros(score.shape, dtype=torch.bool, device=score.device)
        chosen.view(len(score), -1).scatter_(1, ranked.indices, kept)
        return chosen


def _lattice(depth: Tensor, count: Tensor, generator: torch.Generator) -> Tensor:
    height, width = depth.shape[-2:]
    spacing = (height * width / count).sqrt().clamp(min=1)
    rows, columns = pixels(depth)
    on_row, on_column = (
        ((position + uniform(depth, generator, (0.0, 1.0)) * spacing) % spacing) < 1 for position in (rows, columns)
    )
    return on_row & on_column & (depth > 0)


def _log_weight(scene: SceneBatch, pattern: Pattern) -> Tensor:
    """Return the logarithm of the relative probability of each pixel, (N, 1, H, W)."""
    if pattern is Pattern.UNIFORM:
        return torch.zeros_like(scene.depth)
    grey = F.pad(scene.image.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    x = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]) / 2
    y = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]) / 2
    if pattern is Pattern.GRADIENT:
        return ((x.square() + y.square()).sqrt() + 0.003).log()
    xx, yy, xy = (window_mean(product, 5) for product in (x * x, y * y, x * y))
    corner = (xx + yy) / 2 - (((xx - yy) / 2).square() + xy.square()).sqrt()
    strongest = corner >= window_max(corner, 5)
    return (corner.clamp(min=0) + 1e-9).log() + 5.0 * strongest
