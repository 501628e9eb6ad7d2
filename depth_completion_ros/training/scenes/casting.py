"""Batched analytic ray casting: find the first solid on each ray among the candidate solids of an image tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 16  # pixels
_EPSILON = 1e-9
_NO_HIT = 0x7F800000 << 32  # key for an infinite distance, see ``nearest``
_BLOCK_PAIRS = {"cpu": 512, "cuda": 1 << 16}  # number of pairs of a tile and a solid in one block that fits the cache


class Shape(IntEnum):
    """Kinds of solids, with the unit form of each."""

    BOX = 0  # |x|, |y|, |z| <= 1
    ELLIPSOID = 1  # x² + y² + z² <= 1
    CYLINDER = 2  # x² + y² <= 1, |z| <= 1


@dataclass(frozen=True)
class Solids:
    """P convex solids in each of N scenes, in one frame for each scene.

    Attributes:
        shape: A ``Shape``, or -1 for no solid, (N, P) int64.
        centre: Centres [m], (N, P, 3).
        axes: Semi-axes [m], one in each row; they are orthogonal, (N, P, 3, 3).
        look: Appearance, (N, P, WIDTH), see ``surfaces``.
    """

    shape: Tensor
    centre: Tensor
    axes: Tensor
    look: Tensor

    def to_unit(self) -> tuple[Tensor, Tensor]:
        """Return the matrix (N, P, 3, 3) and offset (N, P, 3) that map points of the scene to the solid's unit form."""
        matrix = self.axes / self.axes.square().sum(-1, keepdim=True)
        return matrix, -(matrix @ self.centre[..., None])[..., 0]

    def extent(self, normals: Tensor) -> Tensor:
        """Return half of the solids' width along directions (N, K, 3), in units of their length, (N, P, K) [m]."""
        projections = (self.axes @ normals[:, None].transpose(-1, -2)).abs()  # (N, P, 3, K)
        box = projections.sum(-2)
        ellipsoid = projections.square().sum(-2).sqrt()
        cylinder = projections[..., :2, :].square().sum(-2).sqrt() + projections[..., 2, :]
        shape = self.shape[..., None]
        return torch.where(shape == Shape.BOX, box, torch.where(shape == Shape.ELLIPSOID, ellipsoid, cylinder))

    def reflected(self, normal: Tensor, distance: Tensor) -> Solids:
        """Return the solids' mirror images in the planes normal · x = distance; unit normals (N, 3), distance (N,)."""
        n = normal[:, None]
        height = (self.centre * n).sum(-1, keepdim=True) - distance[:, None, None]
        axes = self.axes - 2 * (self.axes @ n[..., None]) * n[:, None]
        return Solids(self.shape, self.centre - 2 * height * n, axes, self.look)


Components = tuple[Tensor, Tensor, Tensor]
Interval = tuple[Tensor, Tensor]


class Rays(NamedTuple):
    """Rays of T tiles with S pixels each.

    Attributes:
        scene: Index of each tile's scene, (T,).
        origin: Three components, each (T, S) or (T, 1); None = the origin of the frame.
        direction: Three components, each (T, S) or (T, 1).
    """

    scene: Tensor
    origin: Components | None
    direction: Components

    def of(self, tiles: Tensor) -> Rays:
        """Return the rays of some tiles."""

        def select(v: Components) -> Components:
            return v[0].index_select(0, tiles), v[1].index_select(0, tiles), v[2].index_select(0, tiles)

        return Rays(self.scene[tiles], None if self.origin is None else select(self.origin), select(self.direction))


def camera_rays(intrinsics: Tensor, rows: int, columns: int) -> Rays:
    """Return the rays through the pixels of N images of rows x columns tiles.

    The z component of the directions is 1, so distances along the rays are depths. Tiles are ordered by image, row and
    column, and the pixels of a tile by row and column.
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
    """Split images (N, C, H, W) into tiles (T, S, C). H and W must be multiples of TILE."""
    n, c, h, w = image.shape
    tiled = image.view(n, c, h // TILE, TILE, w // TILE, TILE)
    return tiled.permute(0, 2, 4, 3, 5, 1).reshape(-1, TILE * TILE, c)


def to_image(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """Join tiles (T, S, C) to images (N, C, H, W); the inverse of ``to_tiles``."""
    c = tiles.shape[-1]
    image = tiles.view(-1, rows, columns, TILE, TILE, c).permute(0, 5, 1, 3, 2, 4)
    return image.reshape(-1, c, rows * TILE, columns * TILE)


def in_view(solids: Solids, intrinsics: Tensor, rows: int, columns: int) -> Tensor:
    """Return whether the screen rectangle of a solid overlaps a tile, (T, P). Solids may surround the camera."""
    fx, fy, cx, cy = (k[:, None] for k in intrinsics.unbind(1))

    def overlaps(tiles: int, focal: Tensor, centre: Tensor, axis: int) -> Tensor:
        edge = (torch.arange(tiles + 1, device=focal.device) * TILE - 0.5 - centre) / focal  # (N, tiles + 1)
        normals = torch.zeros(*edge.shape, 3, device=edge.device)
        normals[..., axis], normals[..., 2] = 1.0, -edge
        height = solids.centre @ normals.transpose(-1, -2)
        extent = solids.extent(normals)
        return (height + extent >= 0)[..., :-1] & (height - extent <= 0)[..., 1:]

    forward = torch.tensor((0.0, 0.0, 1.0), device=fx.device).expand(len(fx), 1, 3)
    front = solids.centre[..., 2] + solids.extent(forward)[..., 0] > 0
    visible = (solids.shape >= 0) & front
    horizontal = overlaps(columns, fx, cx, 0) & visible[..., None]
    mask = overlaps(rows, fy, cy, 1)[:, :, :, None] & horizontal[:, :, None, :]  # (N, P, rows, columns)
    return mask.permute(0, 2, 3, 1).flatten(0, 2)


def may_occlude(
    solids: Solids, tried: Tensor, scene: Tensor, start: Tensor, radius: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Return whether a solid may lie between a light and the surfaces of a tile, (T, P).

    The test is conservative: the result may include solids that lie elsewhere.

    Args:
        solids: The solids.
        tried: The solids to test, (N, P) bool.
        scene: Index of each tile's scene, (T,).
        start: Centres of the spherical lights [m], (N, 3).
        radius: Radii of the lights [m], (N,).
        low: Lower corners of boxes around the tiles' surfaces [m], (T, 3).
        high: Upper corners of these boxes [m], (T, 3).
    """
    middle, half = (low + high) / 2, (high - low) / 2
    # First test: bounding spheres of the solids and capsules from the light to the box.
    offset, size = solids.centre - start[:, None], solids.axes.square().sum((-1, -2)).sqrt() + radius[:, None]
    segment = middle - start[scene]
    margin = (half.norm(dim=-1) - radius[scene]).clamp(min=0)[:, None]
    projection = (offset[scene] @ segment[..., None])[..., 0]
    squared = segment.square().sum(-1, keepdim=True)
    part = (projection / squared.clamp(min=_EPSILON)).clamp(0, 1)
    distance_squared = offset.square().sum(-1)[scene] + part * (part * squared - 2 * projection)
    mask = (distance_squared <= (size[scene] + margin).square()) & tried[scene]
    # Second test: bounding boxes of the solids. Two lines along each axis bound the space between light and box.
    tile, solid = mask.nonzero(as_tuple=True)
    row = scene[tile] * solids.shape.shape[1] + solid
    matrix, origin = (values.flatten(0, 1)[row] for values in solids.to_unit())
    first = (matrix @ start[scene[tile], :, None])[..., 0] + origin
    last = (matrix @ middle[tile, :, None])[..., 0] + origin
    first_half = radius[scene[tile], None] * matrix.norm(dim=-1)
    last_half = (matrix.abs() @ half[tile, :, None])[..., 0]
    near, far = torch.zeros_like(first[:, 0]), torch.ones_like(first[:, 0])
    for a, b in ((first_half - first, last_half - last), (first_half + first, last_half + last)):
        slope = b - a  # 1 + a + t * slope must not be negative for some t in 0..1
        edge = -(1 + a) / torch.where(slope.abs() < _EPSILON, -_EPSILON, slope)
        near = torch.maximum(near, torch.where(slope > 0, edge, -torch.inf).amax(-1))
        far = torch.minimum(far, torch.where(slope > 0, torch.inf, edge).amin(-1))
    mask[tile, solid] = near <= far
    return mask


def nearest(solids: Solids, rays: Rays, candidates: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return distance and index of the first solid that each ray enters.

    Args:
        solids: The solids.
        rays: The rays.
        candidates: Solids to test in each tile, (T, P) bool.
        start: Smaller distances are ignored, (T, S); None = 0.

    Returns:
        Distances (T, S), inf if there is no solid; and indices (T, S), -1 if there is no solid.
    """
    # One integer combines the bits of the distance, which have the order of the distances, minus the index. If two
    # distances are equal, the solid with the larger index is selected.
    first = _per_ray(rays, _NO_HIT)
    for tile, solid, near, far in _intersections(solids, rays, candidates):
        entered = (near <= far) & (near > (0 if start is None else start.index_select(0, tile)))
        distance = torch.where(entered, near, torch.inf)
        key = (distance.view(torch.int32).long() << 32) - solid[:, None]
        first.scatter_reduce_(0, tile[:, None].expand_as(key), key, "amin")
    index = -first & 0xFFFFFFFF
    distance = (first + index >> 32).int().view(torch.float32)
    return distance, torch.where(torch.isfinite(distance), index, -1)


def free(solids: Solids, rays: Rays, candidates: Tensor, end: Tensor) -> Tensor:
    """Return which rays enter no candidate solid (T, P) before the distance ``end`` (T, S), (T, S) bool."""
    most = _per_ray(rays, -torch.inf)
    for tile, _, near, far in _intersections(solids, rays, candidates):
        # Positive if 0 < near < far and near < end. Comparisons would take longer than all other operations.
        within = torch.minimum(torch.minimum(far, end.index_select(0, tile)) - near, near)
        most.scatter_reduce_(0, tile[:, None].expand_as(within), within, "amax")
    return most <= 0


def _per_ray(rays: Rays, value: float) -> Tensor:
    """Return a tensor (T, S) filled with a value."""
    size = max(c.shape[-1] for c in rays.direction)
    return torch.full((len(rays.scene), size), value, device=rays.scene.device)


def _intersections(solids: Solids, rays: Rays, candidates: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield intersections of rays and candidate solids in blocks of B pairs of a tile and a solid.

    Yields:
        Tiles (B,), solids (B,), and the distances at which rays enter and leave the solid, (B, S) each. If a ray misses
        the solid, the distance of leaving is smaller than that of entering.
    """
    matrix, offset = solids.to_unit()
    table = torch.cat([matrix.flatten(2), offset], -1).flatten(0, 1)
    count, block = solids.shape.shape[1], _BLOCK_PAIRS[table.device.type]
    for shape, interval in _INTERVAL.items():
        tiles, pairs = (candidates & (solids.shape == shape)[rays.scene]).nonzero(as_tuple=True)
        for tile, solid in zip(tiles.split(block), pairs.split(block), strict=True):
            part = rays.of(tile)
            row = table.index_select(0, part.scene * count + solid)[..., None]
            direction = [_dot(row[:, 3 * i : 3 * i + 3], part.direction) for i in range(3)]
            origin = [row[:, 9 + i] for i in range(3)]
            if part.origin is not None:
                origin = [_dot(row[:, 3 * i : 3 * i + 3], part.origin) + origin[i] for i in range(3)]
            yield tile, solid, *interval(origin, direction)


def _dot(a: Tensor, v: Components) -> Tensor:
    return torch.addcmul(torch.addcmul(a[:, 0] * v[0], a[:, 1], v[1]), a[:, 2], v[2])


# Intervals (from, to) of rays inside unit forms. Intervals may lie behind the origin of the ray.


def _in_box(o: list[Tensor], d: list[Tensor]) -> Interval:
    return _intersection(_intersection(_in_slab(o[0], d[0]), _in_slab(o[1], d[1])), _in_slab(o[2], d[2]))


def _in_cylinder(o: list[Tensor], d: list[Tensor]) -> Interval:
    return _intersection(_in_ball(o[:2], d[:2]), _in_slab(o[2], d[2]))


def _intersection(a: Interval, b: Interval) -> Interval:
    return torch.maximum(a[0], b[0]), torch.minimum(a[1], b[1])


def _in_slab(o: Tensor, d: Tensor) -> Interval:
    inverse = 1 / (d + _EPSILON)
    middle, half = -o * inverse, inverse.abs()
    return middle - half, middle + half


def _in_ball(o: list[Tensor], d: list[Tensor]) -> Interval:
    """Return the interval inside the ball or disc, computed from the point closest to the centre.

    With the usual discriminant, rounding errors would remove small balls that are far away.
    """
    inverse = 1 / (_product(d, d) + _EPSILON * _EPSILON)
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


_INTERVAL: dict[Shape, Callable[[list[Tensor], list[Tensor]], Interval]] = {
    Shape.BOX: _in_box,
    Shape.ELLIPSOID: _in_ball,
    Shape.CYLINDER: _in_cylinder,
}
