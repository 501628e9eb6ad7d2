"""A spinning LiDAR next to the camera, with its points projected into the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scene_batch import SceneBatch
from .fields import Range, chance, noise, uniform
from .materials import Response, respond
from .views import at_pixels, intrinsics, length, nearest_on_pixels, rays, window_max

_SKY_DEPTH = 1e4  # metres; farther than the range of any LiDAR
_MAX_AZIMUTH = math.radians(60)  # rays with larger azimuths are outside of every camera's view
_FILL_WINDOWS = (3, 9, 15)  # pixels; together they close gaps of up to 24 pixels
_RESPONSE = Response(
    dark=(0.1, 0.6), shiny=(0.0, 0.5), glass=(0.1, 0.6), mirror=(0.0, 0.5), through=(0.6, 1.0), length=3.0
)


@dataclass(frozen=True)
class Lidar:
    """Range along the rays of ``beams`` lasers at ``columns`` azimuths per turn, from the position of the LiDAR.

    - Beams are evenly spaced from ``down`` to ``up`` degrees, and columns by 360°/columns. The mounting is rotated by
      angles with a standard deviation of ``mounting`` degrees. Range noise has a standard deviation of ``sigma``
      metres.
    - Occlusion leakage (Uhrig et al., Sparsity Invariant CNNs, 3DV 2017): the LiDAR is ``offset`` metres (uniform
      within ± in x, y, z) away from the camera and sees past foreground edges. Its view is the depth map, warped
      forward with a z-buffer; areas that only the LiDAR sees get the depth of the far side. Points are projected back
      into the image without an occlusion test, so background appears on the foreground. If two points fall on one
      pixel, the nearer point is kept.
    - Miscalibration: points are rotated and shifted with standard deviations of ``misrotation`` degrees and
      ``misplacement`` metres about each axis. Rolling shutter: columns drift by ``rolling`` metres over 120°.
    - A share ``outliers`` of ranges is multiplied by a factor between 1/2 and 2.
    - Holes depend on the material, and depth is missing beyond ``far`` metres. Rays mostly pass through glass.
    """

    beams: Range = (8, 64)
    columns: Range = (400, 1000)
    up: Range = (2.0, 18.0)
    down: Range = (-26.0, -10.0)
    mounting: Range = (3.0, 3.0)
    sigma: Range = (0.02, 0.03)
    offset: tuple[float, float, float] = (0.08, 0.15, 0.1)
    misrotation: Range = (0.0, 0.5)
    misplacement: Range = (0.0, 0.02)
    rolling: Range = (0.0, 0.1)
    outliers: Range = (0.0, 0.05)
    far: Range = (40.0, 120.0)
    response: Response = _RESPONSE

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing."""
        surface, holes = respond(scene, generator, self.response)

        def normal(sigma: Range) -> Tensor:
            """Draw vectors of normal values, (N, 3, 1, 1)."""
            triple = torch.randn(len(surface), 3, 1, 1, generator=generator, device=surface.device)
            return triple * uniform(surface, generator, sigma)

        offset = torch.cat([uniform(surface, generator, (-limit, limit)) for limit in self.offset], dim=1)

        direction, sweep = self._directions(surface, generator)
        direction = _rotate(direction, torch.deg2rad(normal(self.mounting)))
        depth = _sample_at_rays(_view_from(scene, surface, offset), scene, direction)
        points = depth * direction / direction[:, 2:].clamp(min=1e-6)
        distance = length(points)
        kept = (depth > 0) & (distance < uniform(surface, generator, self.far))

        error = uniform(surface, generator, self.sigma) * noise(distance, generator)
        is_outlier = chance(distance, generator) < uniform(surface, generator, self.outliers)
        factor = torch.where(is_outlier, torch.exp2(2 * chance(distance, generator) - 1), 1.0)
        points = points * factor * (1 + error / distance.clamp(min=0.1))

        points = _rotate(points, torch.deg2rad(normal(self.misrotation)))
        drift = normal((1.0, 1.0))
        drift = drift / drift.norm(dim=1, keepdim=True) * uniform(surface, generator, self.rolling)
        points = points + offset + normal(self.misplacement) + drift * sweep
        measured = _project(scene, points, kept)
        return torch.where(holes | (scene.depth <= 0), 0.0, measured)

    def _directions(self, like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return unit rays and the position of the columns in the sweep.

        Returns:
            Rays (N, 3, B, C), 0 for samples with fewer beams or columns; and positions, -1/2..1/2.
        """
        beams = uniform(like, generator, self.beams).round()
        columns = uniform(like, generator, self.columns).round()
        down = torch.deg2rad(uniform(like, generator, self.down))
        up = torch.deg2rad(uniform(like, generator, self.up))
        beam = torch.arange(round(self.beams[1]), device=like.device).view(1, 1, -1, 1)
        elevation = down + (up - down) * beam / (beams - 1).clamp(min=1)
        half = math.ceil(_MAX_AZIMUTH / (2 * math.pi) * self.columns[1])
        column = torch.arange(-half, half + 1, device=like.device).view(1, 1, 1, -1)
        azimuth = (column + uniform(like, generator, (0.0, 1.0))) * (2 * math.pi / columns)
        exists = (beam < beams) & (azimuth.abs() < _MAX_AZIMUTH)
        x, y, z = elevation.cos() * azimuth.sin(), -elevation.sin(), elevation.cos() * azimuth.cos()
        direction = torch.cat([x, y.expand_as(x), z], dim=1) * exists
        return direction, azimuth / (2 * _MAX_AZIMUTH)


def _view_from(scene: SceneBatch, surface: Tensor, offset: Tensor) -> Tensor:
    """Return the depth image of a pinhole camera at ``offset``, (N, 1, H, W) [m]. Sky has a very large depth."""
    points = torch.where(surface > 0, surface, _SKY_DEPTH) * rays(scene) - offset
    view = _project(scene, points, points[:, 2:] > 0)
    for window in _FILL_WINDOWS:
        view = torch.where(view > 0, view, window_max(view, window))
    return view


def _sample_at_rays(view: Tensor, scene: SceneBatch, direction: Tensor) -> Tensor:
    """Return the depth of a view along rays, (N, 1, B, C) [m]; 0 outside of the image and for missing rays."""
    rows, columns = _positions(scene, direction)
    height, width = view.shape[-2:]
    inside = (direction[:, 2:] > 0) & (rows > -0.5) & (rows < height - 0.5) & (columns > -0.5) & (columns < width - 0.5)
    return torch.where(inside, at_pixels(view, rows, columns), 0.0)


def _project(scene: SceneBatch, points: Tensor, kept: Tensor) -> Tensor:
    """Project the points (N, 3, h, w) [m] that are kept to their nearest pixels; return depth (N, 1, H, W) [m]."""
    depth = torch.where(kept & (points[:, 2:] > 0), points[:, 2:], 0.0)
    return nearest_on_pixels(depth, *_positions(scene, points), *scene.depth.shape[-2:])


def _positions(scene: SceneBatch, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns (N, 1, h, w) of points (N, 3, h, w). Points behind the camera are far outside."""
    fx, fy, cx, cy = intrinsics(scene)
    x, y, z = points.split(1, dim=1)
    z = z.clamp(min=1e-6)
    return fy * y / z + cy, fx * x / z + cx


def _rotate(points: Tensor, angles: Tensor) -> Tensor:
    """Rotate points (N, 3, h, w) by small rotation vectors (N, 3, 1, 1) [rad], to second order."""
    x, y, z = angles.flatten(1).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    return points + ((cross + 0.5 * cross @ cross) @ points.flatten(2)).view(points.shape)
