"""Hide a part of the depth of recorded frames. The network is trained to restore the hidden depth.

Ma, Cavalheiro, Karaman, Self-Supervised Sparse-to-Dense, ICRA 2019, hide random points. Real sensors also have other
patterns of missing depth, so here simulated sensors measure the recorded frame as if it were a scene.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from .scene_batch import Material, SceneBatch
from .sensors import HoleMasks, LowResolution, Pattern, Sensor, SparsePoints, contiguous_blocks

_POINTS = (20.0, 3000.0)  # number of points in a crop; 500 points of a VGA frame are 60 points of a 192 x 192 crop
_ROW_PERIOD = (3.0, 16.0)  # pixels between a LiDAR's rows
_MAX_ROW_TILT = 0.1  # rows per column
_MAX_ROW_DROPOUT = 0.3  # share of a row's pixels


def rows(scene: SceneBatch, generator: Generator) -> Tensor:
    """Show rows one pixel high, evenly spaced and slightly tilted, with gaps, similar to a LiDAR's rings."""
    depth = scene.depth
    period, tilt, phase, dropout = torch.rand(4, len(depth), 1, 1, 1, generator=generator, device=depth.device)
    low, high = _ROW_PERIOD
    period = low * (high / low) ** period
    y = torch.arange(depth.shape[-2], device=depth.device).view(-1, 1)
    x = torch.arange(depth.shape[-1], device=depth.device)
    on_row = (y + _MAX_ROW_TILT * (2 * tilt - 1) * x + phase * period) % period < 1
    kept = torch.rand(depth.shape, generator=generator, device=depth.device) >= _MAX_ROW_DROPOUT * dropout
    return depth * (on_row & kept)


def _whole_depth(scene: SceneBatch, generator: Generator) -> Tensor:
    return scene.depth


HOLES = "holes"
PATTERNS: dict[str, Sensor] = {
    "points": SparsePoints(Pattern.UNIFORM, _POINTS),
    "gradients": SparsePoints(Pattern.GRADIENT, _POINTS),
    "corners": SparsePoints(Pattern.CORNER, _POINTS),
    "rows": rows,
    "grid": LowResolution(_whole_depth),
}
_NONE = (0.0, 0.0)
_NOISELESS: dict[str, Sensor] = {
    "points": SparsePoints(Pattern.UNIFORM, _POINTS, outliers=_NONE, sigma=_NONE),
    "gradients": SparsePoints(Pattern.GRADIENT, _POINTS, outliers=_NONE, sigma=_NONE),
    "corners": SparsePoints(Pattern.CORNER, _POINTS, outliers=_NONE, sigma=_NONE),
    "rows": rows,
    "grid": LowResolution(_whole_depth, sigma=_NONE),
}


class Hiding:
    """Hide depth with a random pattern for each sample.

    Args:
        weights: Weight of each pattern in ``PATTERNS``, and of ``HOLES``, which hides blocks and the holes of other
            frames.
        masks: Holes of other frames; None = only blocks.
        noisy: Whether some patterns add noise to the depth that stays visible.
    """

    def __init__(self, weights: Mapping[str, float], masks: HoleMasks | None, noisy: bool = True):
        def holes(scene: SceneBatch, generator: Generator) -> Tensor:
            hidden = contiguous_blocks(scene.depth, generator)
            return scene.depth * ~(hidden | masks(scene.depth, generator) if masks is not None else hidden)

        patterns = PATTERNS if noisy else _NOISELESS
        self._patterns = [patterns.get(name, holes) for name in weights]
        self._weights = torch.tensor(list(weights.values()))

    def __call__(self, image: Tensor, depth: Tensor, choices: Generator, noise: Generator) -> Tensor:
        """Set a part of the depth to 0.

        Args:
            image: Colour images, which some patterns depend on, (N, 3, H, W).
            depth: Depth [m], 0 = missing, (N, 1, H, W).
            choices: Random generator on the CPU.
            noise: Random generator on the device of ``depth``.

        Returns:
            The depth that stays visible [m], (N, 1, H, W).
        """
        picks = torch.multinomial(self._weights, len(depth), replacement=True, generator=choices)
        shown = torch.zeros_like(depth)
        for number in picks.unique().tolist():
            index = (picks == number).nonzero().flatten().to(depth.device)
            scene = as_scene(image[index], depth[index])
            shown[index] = self._patterns[number](scene, noise)
        return shown


def as_scene(image: Tensor, depth: Tensor) -> SceneBatch:
    """Return recorded frames as scenes of matte surfaces that face the camera, with unknown intrinsics (zero)."""
    normals = torch.zeros_like(image)
    normals[:, 2] = -1.0
    return SceneBatch(
        image=image,
        depth=depth,
        behind=depth,
        normals=normals,
        reflectance=torch.full_like(depth, 0.5),
        material=torch.full_like(depth, Material.MATTE, dtype=torch.uint8),
        intrinsics=torch.zeros(len(depth), 4, device=depth.device),
    )
