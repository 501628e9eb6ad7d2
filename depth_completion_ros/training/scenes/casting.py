"""Batched analytic ray casting: the first solid on each ray, with a list of candidate solids per image tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 16  # pixels
_TINY = 1e-9
_NOTHING = 0x7F800000 << 32  # key for an infinite distance, see ``nearest``
_PAIRS = {"cpu": 512, "cuda": 1 << 16}  # number of pairs of a tile and a solid in one block, to fit the cache


class Shape(IntEnum):
    """Kinds of solids, with the unit form of each."""

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


Components = tuple[Tensor, Tensor, Tensor]
Stretch = tuple[Tensor, Tensor]


class Rays(NamedTuple):
    """Rays of T tiles with S pixels each.

    scene (T,): the scene of each tile. origin and direction: three components, each (T, S) or (T, 1); no origin means
    the frame's.
    """

    scene: Tensor
    origin: Components | None
    direction: Components

    def of(self, tiles: Tensor) -> Rays:
        """The rays of some tiles."""

        def some(v: Components) -> Components:
            return v[0].index_select(0, tiles), v[1].index_select(0, tiles), v[2].index_select(0, tiles)

        return Rays(self.scene[tiles], None if self.origin is None else some(self.origin), some(self.direction))


def camera_rays(intrinsics: Tensor, rows: int, columns: int) -> Rays:
    """Rays through the pixels of N images of rows x columns tiles; direction z is 1, so distances along it are depths.

    Tiles are ordered by image, row, column; pixels likewise within a tile.
    """
    count, device = len(intrinsics), intrinsics.device
    v, u = torch.meshgrid(
        torch.arange(rows * TILE, device=device), torch.arange(columns * TILE, device=device), indexing="ij"
    )
    fx, fy, cx, cy = (k[:, None, None] for k in intrinsics.unbind(1))
    x, y = to_tiles(((u - cx) / fx)[:, None]), to_tiles(((v - cy) / fy)[:, None])
    scene = torch.arange(count, device=device).repeat_interleave(rows * columns)
    return Rays(scene, None, (x[..., 0], y[..., 0], x.new_ones(len(x), 1)))


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
    """(T, P), whether the screen rectangle of a solid overlaps a tile; also correct for solids around the camera."""
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


def between(
    solids: Solids, tried: Tensor, scene: Tensor, start: Tensor, radius: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """(T, P), whether a solid may lie between a ball and a box; may include too many solids.

    The balls are at start (N, 3) with radius (N,), one per scene; the boxes span low to high (T, 3), one per tile.
    Only the solids in tried (N, P) are considered.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    # Balls around the solids against rods from ball to box
    offset, size = solids.centre - start[:, None], solids.axes.square().sum((-1, -2)).sqrt() + radius[:, None]
    way = middle - start[scene]
    rod = (half.norm(dim=-1) - radius[scene]).clamp(min=0)[:, None]
    along = (offset[scene] @ way[..., None])[..., 0]
    squared = way.square().sum(-1, keepdim=True)
    part = (along / squared.clamp(min=_TINY)).clamp(0, 1)
    apart = offset.square().sum(-1)[scene] + part * (part * squared - 2 * along)
    mask = (apart <= (size[scene] + rod).square()) & tried[scene]
    # Boxes around the solids: the space between ball and box is bounded by two lines along each of their axes
    tile, solid = mask.nonzero(as_tuple=True)
    place = scene[tile] * solids.shape.shape[1] + solid
    matrix, origin = (values.flatten(0, 1)[place] for values in solids.to_unit())
    first = (matrix @ start[scene[tile], :, None])[..., 0] + origin
    last = (matrix @ middle[tile, :, None])[..., 0] + origin
    first_half = radius[scene[tile], None] * matrix.norm(dim=-1)
    last_half = (matrix.abs() @ half[tile, :, None])[..., 0]
    near, far = torch.zeros_like(first[:, 0]), torch.ones_like(first[:, 0])
    for a, b in ((first_half - first, last_half - last), (first_half + first, last_half + last)):
        slope = b - a  # 1 + a + t * slope must not be negative for some t in 0..1
        edge = -(1 + a) / torch.where(slope.abs() < _TINY, -_TINY, slope)
        near = torch.maximum(near, torch.where(slope > 0, edge, -torch.inf).amax(-1))
        far = torch.minimum(far, torch.where(slope > 0, torch.inf, edge).amin(-1))
    mask[tile, solid] = near <= far
    return mask


def nearest(solids: Solids, rays: Rays, candidates: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Distance (T, S), inf for none, and index (T, S), -1 for none, of the first solid that each ray enters.

    candidates (T, P): the solids to test in each tile. start (T, S): only distances beyond it count.
    """
    # One integer holds the bits of the distance, which have the same order, minus the index: of equal ones, the last
    # wins.
    first = _per_ray(rays, _NOTHING)
    for tile, solid, near, far in _stretches(solids, rays, candidates):
        entered = (near <= far) & (near > (0 if start is None else start.index_select(0, tile)))
        distance = torch.where(entered, near, torch.inf)
        key = (distance.view(torch.int32).long() << 32) - solid[:, None]
        first.scatter_reduce_(0, tile[:, None].expand_as(key), key, "amin")
    index = -first & 0xFFFFFFFF
    distance = (first + index >> 32).int().view(torch.float32)
    return distance, torch.where(torch.isfinite(distance), index, -1)


def free(solids: Solids, rays: Rays, candidates: Tensor, end: Tensor) -> Tensor:
    """(T, S) bool: which rays enter no candidate before the distance end (T, S)."""
    most = _per_ray(rays, -torch.inf)
    for tile, _, near, far in _stretches(solids, rays, candidates):
        # above 0 if 0 < near < far and near < end; comparisons would cost more than everything else
        within = torch.minimum(torch.minimum(far, end.index_select(0, tile)) - near, near)
        most.scatter_reduce_(0, tile[:, None].expand_as(within), within, "amax")
    return most <= 0


def _per_ray(rays: Rays, value: float) -> Tensor:
    """(T, S), all of them value, and of its type."""
    size = max(c.shape[-1] for c in rays.direction)
    return torch.full((len(rays.scene), size), value, device=rays.scene.device)


def _stretches(solids: Solids, rays: Rays, candidates: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield tile (B,), solid (B,), and the distances at which rays enter and leave it, (B, S) each.

    Each block has B pairs of a tile and a candidate. For rays that miss the solid, the exit comes before the entry.
    """
    matrix, offset = solids.to_unit()
    table = torch.cat([matrix.flatten(2), offset], -1).flatten(0, 1)
    places, block = solids.shape.shape[1], _PAIRS[table.device.type]
    for shape, stretch in _STRETCH.items():
        tiles, several = (candidates & (solids.shape == shape)[rays.scene]).nonzero(as_tuple=True)
        for tile, solid in zip(tiles.split(block), several.split(block), strict=True):
            part = rays.of(tile)
            row = table.index_select(0, part.scene * places + solid)[..., None]
            direction = [_dot(row[:, 3 * i : 3 * i + 3], part.direction) for i in range(3)]
            origin = [row[:, 9 + i] for i in range(3)]
            if part.origin is not None:
                origin = [_dot(row[:, 3 * i : 3 * i + 3], part.origin) + origin[i] for i in range(3)]
            yield tile, solid, *stretch(origin, direction)


def _dot(a: Tensor, v: Components) -> Tensor:
    return torch.addcmul(torch.addcmul(a[:, 0] * v[0], a[:, 1], v[1]), a[:, 2], v[2])


# Intervals of rays inside unit forms: (from, to). Intervals behind the origin are included.


def _in_box(o: list[Tensor], d: list[Tensor]) -> Stretch:
    return _common(_common(_in_slab(o[0], d[0]), _in_slab(o[1], d[1])), _in_slab(o[2], d[2]))


def _in_cylinder(o: list[Tensor], d: list[Tensor]) -> Stretch:
    return _common(_in_ball(o[:2], d[:2]), _in_slab(o[2], d[2]))


def _common(a: Stretch, b: Stretch) -> Stretch:
    return torch.maximum(a[0], b[0]), torch.minimum(a[1], b[1])


def _in_slab(o: Tensor, d: Tensor) -> Stretch:
    inverse = 1 / (d + _TINY)
    middle, half = -o * inverse, inverse.abs()
    return middle - half, middle + half


def _in_ball(o: list[Tensor], d: list[Tensor]) -> Stretch:
    """The interval inside the ball or disc, computed from the point closest to the centre.

    With the usual discriminant, small balls far away would be lost to rounding.
    """
    inverse = 1 / (_product(d, d) + _TINY * _TINY)
    middle = -inverse * _product(o, d)
    closest = [a + middle * b for a, b in zip(o, d, strict=True)]
    squared = inverse - inverse * _product(closest, closest)
    half = torch.copysign(squared.abs().sqrt(), squared)  # negative where the ray misses
    return middle - half, middle + half


def _product(a: list[Tensor], b: list[Tensor]) -> Tensor:
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total = torch.addcmul(total, x, y)
    return total


_STRETCH: dict[Shape, Callable[[list[Tensor], list[Tensor]], Stretch]] = {
    Shape.BOX: _in_box,
    Shape.ELLIPSOID: _in_ball,
    Shape.CYLINDER: _in_cylinder,
}
