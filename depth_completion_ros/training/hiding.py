"""Hide a part of the depth of recorded frames, which the network is trained to restore.

Ma, Cavalheiro, Karaman, Self-Supervised Sparse-to-Dense, ICRA 2019, hide points at random. Real sensors also
have other patterns of missing depth, so here simulated sensors measure the recorded frame as if it were a scene.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from .scene_batch import Material, SceneBatch
from .sensors import HoleMasks, LowResolution, Pattern, Sensor, SparsePoints, contiguous_blocks

_POINTS = (20.0, 3000.0)  # of a crop; 500 on a whole VGA frame are 60 on one of 192 x 192
_ROW_PERIOD = (3.0, 16.0)  # pixels between a LiDAR's rows
_ROW_TILT = 0.1  # rows by columns
_ROW_DROPOUT = 0.3  # at most, of a row's pixels


def rows(scene: SceneBatch, generator: Generator) -> Tensor:
    """Shows rows one pixel high, evenly spaced and a little tilted, with gaps: a LiDAR's rings."""
    depth = scene.depth
    period, tilt, phase, dropout = torch.rand(4, len(depth), 1, 1, 1, generator=generator, device=depth.device)
    low, high = _ROW_PERIOD
    period = low * (high / low) ** period
    y = torch.arange(depth.shape[-2], device=depth.device).view(-1, 1)
    x = torch.arange(depth.shape[-1], device=depth.device)
    on_row = (y + _ROW_TILT * (2 * tilt - 1) * x + phase * period) % period < 1
    kept = torch.rand(depth.shape, generator=generator, device=depth.device) >= _ROW_DROPOUT * dropout
    return depth * (on_row & kept)


def _all(scene: SceneBatch, generator: Generator) -> Tensor:
    return scene.depth


HOLES = "holes"
PATTERNS: dict[str, Sensor] = {
    "points": SparsePoints(Pattern.UNIFORM, _POINTS),
    "gradients": SparsePoints(Pattern.GRADIENT, _POINTS),
    "corners": SparsePoints(Pattern.CORNER, _POINTS),
    "rows": rows,
    "grid": LowResolution(_all),
}
_NONE = (0.0, 0.0)
_NOISELESS: dict[str, Sensor] = {
    "points": SparsePoints(Pattern.UNIFORM, _POINTS, outliers=_NONE, sigma=_NONE),
    "gradients": SparsePoints(Pattern.GRADIENT, _POINTS, outliers=_NONE, sigma=_NONE),
    "corners": SparsePoints(Pattern.CORNER, _POINTS, outliers=_NONE, sigma=_NONE),
    "rows": rows,
    "grid": LowResolution(_all, sigma=_NONE),
}


class Hiding:
    """Hides by a pattern for each sample. weights: of the names in ``PATTERNS`` and ``HOLES``, which hides blocks and,
    if there are masks, the holes of other frames. noisy: whether some patterns add noise to what they show.
    """

    def __init__(self, weights: Mapping[str, float], masks: HoleMasks | None, noisy: bool = True):
        def holes(scene: SceneBatch, generator: Generator) -> Tensor:
            hidden = contiguous_blocks(scene.depth, generator)
            return scene.depth * ~(hidden | masks(scene.depth, generator) if masks is not None else hidden)

        patterns = PATTERNS if noisy else _NOISELESS
        self._patterns = [patterns.get(name, holes) for name in weights]
        self._weights = torch.tensor(list(weights.values()))

    def __call__(self, image: Tensor, depth: Tensor, choices: Generator, noise: Generator) -> Tensor:
        """depth (N, 1, H, W) [m], 0 = missing, with a part of it set to 0.

        image (N, 3, H, W), which some patterns follow. choices: on the CPU; noise: on the device of depth.
        """
        picks = torch.multinomial(self._weights, len(depth), replacement=True, generator=choices)
        shown = torch.zeros_like(depth)
        for number in picks.unique().tolist():
            index = (picks == number).nonzero().flatten().to(depth.device)
            scene = as_scene(image[index], depth[index])
            shown[index] = self._patterns[number](scene, noise)
        return shown


def as_scene(image: Tensor, depth: Tensor) -> SceneBatch:
    """A recorded frame as a scene of matte surfaces that face the camera, of unknown intrinsics (zero)."""
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
