"""Which solid each ray meets first: batched analytic ray casting, with a list of candidate solids per image tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 16  # pixels
_TINY = 1e-9


class Shape(IntEnum):
    """A solid: what its unit form is."""

    BOX = 0  # |x|, |y|, |z| <= 1
    ELLIPSOID = 1  # x² + y² + z² <= 1
    CYLINDER = 2  # x² + y² <= 1, |z| <= 1


@dataclass(frozen=True)
class Solids:
    """P convex solids in each of N scenes, in one frame per scene.

    shape (N, P) int64, a ``Shape``, or -1 for none. centre (N, P, 3) metres. axes (N, P, 3, 3): row i is the
    semi-axis i in metres; the three are orthogonal. look (N, P, F): see ``surfaces``.
    """

    shape: Tensor
    centre: Tensor
    axes: Tensor
    look: Tensor

    def to_unit(self) -> tuple[Tensor, Tensor]:
        """Matrix (N, P, 3, 3) and offset (N, P, 3) that map a point of the scene to the solid's unit form."""
        matrix = self.axes / self.axes.square().sum(-1, keepdim=True)
        return matrix, -(matrix @ self.centre[..., None])[..., 0]

    def extent(self, normals: Tensor) -> Tensor:
        """Half the width (N, P, K) along directions (N, K, 3): metres per length of the direction."""
        along = (self.axes @ normals[:, None].transpose(-1, -2)).abs()  # (N, P, 3, K)
        box = along.sum(-2)
        ellipsoid = along.square().sum(-2).sqrt()
        cylinder = along[..., :2, :].square().sum(-2).sqrt() + along[..., 2, :]
        shape = self.shape[..., None]
        return torch.where(shape == Shape.BOX, box, torch.where(shape == Shape.ELLIPSOID, ellipsoid, cylinder))

    def reflected(self, normal: Tensor, distance: Tensor) -> Solids:
        """Their mirror images in the planes normal · x = distance; normal (N, 3) of length 1, distance (N,)."""
        n = normal[:, None]
        height = (self.centre * n).sum(-1, keepdim=True) - distance[:, None, None]
        axes = self.axes - 2 * (self.axes @ n[..., None]) * n[:, None]
        return Solids(self.shape, self.centre - 2 * height * n, axes, self.look)


class Rays(NamedTuple):
    """Rays of T tiles with S pixels each: three components of the origin and the direction, each (T, S) or (T, 1).

    scene (T,): the scene of each tile.
    """

    scene: Tensor
    origin: tuple[Tensor, Tensor, Tensor]
    direction: tuple[Tensor, Tensor, Tensor]

    def of(self, tiles: Tensor) -> Rays:
        """The rays of some tiles."""
        origin, direction = (tuple(c[tiles] for c in v) for v in (self.origin, self.direction))
        return Rays(self.scene[tiles], origin, direction)  # type: ignore[arg-type]


def camera_rays(intrinsics: Tensor, rows: int, columns: int) -> Rays:
    """Rays through the pixels of N images of rows × columns tiles; direction z is 1, so distances along it are depths.

    Tiles are ordered by image, row, column; pixels likewise within a tile.
    """
    count, device = len(intrinsics), intrinsics.device
    v, u = torch.meshgrid(
        torch.arange(rows * TILE, device=device), torch.arange(columns * TILE, device=device), indexing="ij"
    )
    fx, fy, cx, cy = (k[:, None, None] for k in intrinsics.unbind(1))
    x, y = to_tiles(((u - cx) / fx)[:, None]), to_tiles(((v - cy) / fy)[:, None])
    zero, one = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
    scene = torch.arange(count, device=device).repeat_interleave(rows * columns)
    return Rays(scene, (zero, zero, zero), (x[..., 0], y[..., 0], one))


def to_tiles(image: Tensor) -> Tensor:
    """(N, C, H, W) as (T, S, C); H and W are multiples of TILE."""
    n, c, h, w = image.shape
    tiled = image.view(n, c, h // TILE, TILE, w // TILE, TILE)
    return tiled.permute(0, 2, 4, 3, 5, 1).reshape(-1, TILE * TILE, c)


def to_image(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """(T, S, C) as (N, C, H, W): what ``to_tiles`` undoes."""
    c = tiles.shape[-1]
    image = tiles.view(-1, rows, columns, TILE, TILE, c).permute(0, 5, 1, 3, 2, 4)
    return image.reshape(-1, c, rows * TILE, columns * TILE)


def in_view(solids: Solids, intrinsics: Tensor, rows: int, columns: int) -> Tensor:
    """(T, P): which solids' screen rectangles reach into which tiles; solids around the camera are handled too."""
    fx, fy, cx, cy = (k[:, None] for k in intrinsics.unbind(1))

    def between(tiles: int, focal: Tensor, centre: Tensor, axis: int) -> Tensor:
        edge = (torch.arange(tiles + 1, device=focal.device) * TILE - 0.5 - centre) / focal  # (N, tiles + 1)
        normals = torch.zeros(*edge.shape, 3, device=edge.device)
        normals[..., axis], normals[..., 2] = 1.0, -edge
        height = solids.centre @ normals.transpose(-1, -2)
        extent = solids.extent(normals)
        return (height + extent >= 0)[..., :-1] & (height - extent <= 0)[..., 1:]

    forward = torch.tensor((0.0, 0.0, 1.0), device=fx.device).expand(len(fx), 1, 3)
    front = solids.centre[..., 2] + solids.extent(forward)[..., 0] > 0
    seen = (solids.shape >= 0) & front
    across = between(columns, fx, cx, 0) & seen[..., None]
    mask = between(rows, fy, cy, 1)[:, :, :, None] & across[:, :, None, :]  # (N, P, rows, columns)
    return mask.permute(0, 2, 3, 1).flatten(0, 2)


def near_segments(solids: Solids, scene: Tensor, start: Tensor, end: Tensor, radius: Tensor) -> Tensor:
    """(T, P): which solids come within radius (T,) of the segments from start to end, both (T, 3); may say too many."""
    matrix, offset = solids.to_unit()
    half = solids.axes.square().sum(-1).sqrt()
    ends = [torch.einsum("tpij,tj->tpi", matrix[scene], p) + offset[scene] for p in (start, end)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    slack = 1 + radius[:, None, None] / half[scene]
    return ((low <= slack) & (high >= -slack)).all(-1) & (solids.shape >= 0)[scene]


def nearest(solids: Solids, rays: Rays, candidates: Tensor, start: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Distance (T, S), inf for none, and index (T, S), -1 for none, of the first solid that each ray enters.

    candidates (T, P): the solids to try in each tile. start (T, S): only what lies further along counts.
    """
    tiles, size = candidates.shape[0], max(rays.direction[0].shape[-1], rays.direction[2].shape[-1])
    best = torch.full((tiles, size), torch.inf, device=candidates.device)
    index = torch.full((tiles, size), -1, dtype=torch.int64, device=candidates.device)
    matrix, offset = solids.to_unit()
    for shape, enter in (
        (Shape.BOX, _enter_box),
        (Shape.ELLIPSOID, _enter_ellipsoid),
        (Shape.CYLINDER, _enter_cylinder),
    ):
        for some, solid in _rounds(candidates & (solids.shape == shape)[rays.scene]):
            part = rays.of(some)
            a, b = matrix[part.scene, solid][..., None], offset[part.scene, solid][..., None]
            origin = [_dot(a[:, i], part.origin) + b[:, i] for i in range(3)]
            direction = [_dot(a[:, i], part.direction) for i in range(3)]
            distance = enter(origin, direction)
            known = best[some]
            closer = (distance < known) & (distance > (start if isinstance(start, float) else start[some]))
            best[some] = torch.where(closer, distance, known)
            index[some] = torch.where(closer, solid[:, None], index[some])
    return best, index


def _rounds(candidates: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (tiles, solid): the first candidate of every tile that has one, then the second, and so on."""
    tile, solid = candidates.nonzero(as_tuple=True)
    count = candidates.sum(1)
    rank = torch.arange(len(tile), device=tile.device) - (count.cumsum(0) - count)[tile]
    order = rank.argsort(stable=True)
    sizes = torch.bincount(rank).tolist() if len(rank) else []
    yield from zip(tile[order].split(sizes), solid[order].split(sizes), strict=True)


def _dot(a: Tensor, v: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.addcmul(torch.addcmul(a[:, 0] * v[0], a[:, 1], v[1]), a[:, 2], v[2])


# Entering distances: NaN or inf where the ray misses, negative where it starts inside (both lose every comparison).


def _enter_box(o: list[Tensor], d: list[Tensor]) -> Tensor:
    near, far = _slab(o[0], d[0])
    for i in (1, 2):
        low, high = _slab(o[i], d[i])
        near, far = torch.maximum(near, low), torch.minimum(far, high)
    return torch.where(near <= far, near, torch.inf)


def _slab(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1 / (d + _TINY)
    middle, half = -o * inverse, inverse.abs()
    return middle - half, middle + half


def _enter_ellipsoid(o: list[Tensor], d: list[Tensor]) -> Tensor:
    middle, half = _ball(o, d)
    return middle - half


def _enter_cylinder(o: list[Tensor], d: list[Tensor]) -> Tensor:
    middle, half = _ball(o[:2], d[:2])
    low, high = _slab(o[2], d[2])
    near = torch.maximum(middle - half, low)
    return torch.where(near <= torch.minimum(middle + half, high), near, torch.inf)


def _ball(o: list[Tensor], d: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Middle and half length of a ray's stretch in the unit ball or disc.

    It takes the point closest to the centre first: the usual discriminant loses small far balls in rounding.
    """
    inverse = 1 / (sum(c * c for c in d) + _TINY * _TINY)  # type: ignore[operator]
    middle = -inverse * sum(a * b for a, b in zip(o, d, strict=True))  # type: ignore[operator]
    inside = 1 - sum((a + middle * b) ** 2 for a, b in zip(o, d, strict=True))
    return middle, (inside * inverse).sqrt()  # type: ignore[operator]
