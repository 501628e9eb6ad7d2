"""Time-of-flight cameras, which measure the phase or delay of returned light (Kinect v2, Azure, phones)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene_batch import SceneBatch
from .fields import Range, chance, log_uniform, noise, uniform
from .materials import Response, respond
from .views import at_pixels, dot, length, pixels, rays, viewing_cosine

_CORNER_CELL = 8  # pixels between the points at which multi-path is computed
_CORNER_DISTANCES = (1, 2, 4)  # cells
_MIN_RETURNED_LIGHT = 0.02  # relative to full reflectance at normal incidence
_RESPONSE = Response(
    dark=(0.03, 0.1), shiny=(0.05, 0.15), glass=(0.0, 0.3), mirror=(0.0, 0.3), through=(0.7, 1.0), length=4.0
)


@dataclass(frozen=True)
class TimeOfFlight:
    """Depth from returned light, which is proportional to r cos θ / z² (reflectance, angle, distance).

    - Shot noise with a standard deviation of ``sigma`` z² / (r cos θ) [m] (Lange, Seitz, IEEE J. Quantum Electronics
      2001). If it exceeds the share ``weakest`` of z, the sensor gives no depth.
    - Flying pixels (Reynolds et al., CVPR 2011): at edges, a share ``flying`` of pixels is a convex combination of two
      surfaces, that of the pixel and that of one of its 3x3 neighbours.
    - Multi-path: light reflected by other surfaces of a concave corner increases the measured distance smoothly by up
      to the share ``multipath`` of z (Fuchs, ICPR 2010), in proportion to ``concavity``.
    - Holes depend on the material, and depth is missing nearer than ``near`` and farther than ``far`` metres. Glass
      mostly shows the surface behind it.
    """

    sigma: Range = (0.0005, 0.003)
    weakest: float = 0.08
    flying: Range = (0.1, 0.9)
    multipath: Range = (0.0, 0.03)
    near: Range = (0.05, 0.5)
    far: Range = (4.0, 10.0)
    response: Response = _RESPONSE

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing."""
        depth, holes = respond(scene, generator, self.response)
        depth = depth * (1 + uniform(depth, generator, self.multipath) * concavity(scene))
        depth = _with_flying_pixels(depth, uniform(depth, generator, self.flying), generator)
        returned = (scene.reflectance * viewing_cosine(scene)).clamp(min=_MIN_RETURNED_LIGHT)
        sigma = log_uniform(depth, generator, self.sigma) * depth**2 / returned
        measured = depth + sigma * noise(depth, generator)
        kept = ~holes & (depth > 0) & (scene.depth > 0) & (sigma < self.weakest * depth)
        kept &= measured > uniform(depth, generator, self.near)
        kept &= measured < uniform(depth, generator, self.far)
        return torch.where(kept, measured, 0.0)


def concavity(scene: SceneBatch) -> Tensor:
    """Return a smooth measure of concavity, (N, 1, H, W), 0..1; it is 0 on planes and convex edges.

    It is twice the mean of max(0, n · direction) over 3 x 8 neighbours. Neighbours farther than one metre have less
    weight.
    """
    height, width = scene.depth.shape[-2:]
    step = slice(_CORNER_CELL // 2, None, _CORNER_CELL)
    points, normals = (scene.depth * rays(scene))[..., step, step], scene.normals[..., step, step]
    surface = (scene.depth > 0)[..., step, step].float()
    total = torch.zeros_like(surface)
    for cells in _CORNER_DISTANCES:
        padded = [F.pad(x, (cells,) * 4, mode="constant") for x in (points, surface)]
        for y in (0, cells, 2 * cells):
            for x in (0, cells, 2 * cells):
                window = (..., slice(y, y + surface.shape[-2]), slice(x, x + surface.shape[-1]))
                offset = padded[0][window] - points
                distance = length(offset).clamp(min=1e-3)
                above = dot(normals, offset) / distance
                total += above.clamp(min=0) * padded[1][window] / distance.clamp(min=1)
    total = (total * surface / (4 * len(_CORNER_DISTANCES))).clamp(max=1)
    return F.interpolate(total, size=(height, width), mode="bilinear", align_corners=False)


def _with_flying_pixels(depth: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Mix pixels with a neighbour if their depths differ by more than 3 %. Smaller differences are not edges."""
    rows, columns = pixels(depth)
    direction = 2 * math.pi * chance(depth, generator)
    partner = at_pixels(depth, rows + 1.2 * direction.sin(), columns + 1.2 * direction.cos())
    mixed = torch.lerp(depth, partner, chance(depth, generator))
    flies = (partner > 0) & (depth > 0) & ((partner - depth).abs() > 0.03 * depth)
    return torch.where(flies & (chance(depth, generator) < share), mixed, depth)
