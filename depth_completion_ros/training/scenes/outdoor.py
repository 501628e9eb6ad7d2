"""Streets and parks with ground, houses, cars, poles, trees, fences, people and sky."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..scene_batch import Material
from .builder import CENTRE, Builder, Pose, vec
from .camera import View
from .casting import Shape
from .furniture import block
from .objects import person

BOX, BALL, TUBE = Shape.BOX, Shape.ELLIPSOID, Shape.CYLINDER
RADIUS = 76.0  # of the ground [m]; there are no objects at larger distances


def outdoor(b: Builder) -> View:
    """Build a street or a path along y, seen from a camera near the origin."""
    lawn = torch.where(b.chance(0.5, 1, 1), b.look("grass", 1, casts=False), b.look("asphalt", 1, casts=False))
    b.solids(TUBE, b.pose(0.0, 0.0, 0.0), lawn, [(vec(0.0, 0.0, -0.5), vec(RADIUS, RADIUS, 0.5))])
    half = b.uniform(1.5, 6.0, 1)
    road = b.pose(b.normal(0.5, 1), 25.0, 0.0, b.normal(0.03, 1))
    b.solids(
        BOX,
        road,
        b.look("asphalt", 1, casts=False),
        [(vec(0.0, 0.0, -0.02), vec(half, 45.0, 0.03))],
        b.chance(0.75, 1),
    )
    mark = torch.arange(12, device=b.device) * 6.0 - 36
    dashes = road.many(vec(0.0, mark, 0.012), 0 * mark)
    b.solids(
        BOX,
        dashes,
        b.look("paper", 12, material=Material.MATTE, casts=False),
        [(CENTRE, vec(0.07, 1.5, 0.003))],
        b.chance(0.4, 1).expand(-1, 12),
    )
    kerb = [block(s * (half + 0.1), 0.0, 0.0, 0.2, 90.0, 0.12) for s in (-1, 1)]
    b.solids(BOX, road, b.look("asphalt", 1), kerb, b.chance(0.5, 1))
    _houses(b, half)
    _cars(b, half)
    _poles(b, half)
    _trees(b, half)
    _fences(b, half)
    count = 5
    spot = b.pose(b.normal(1.0, count) * (half + 1), b.log_uniform(3, 30, count), 0.0, b.uniform(0, 6.3, count))
    person(b, spot, b.chance(0.3, count))
    bins = b.pose(_beside(b, half, 8, 0.6), b.uniform(2, 30, 8), 0.0, b.uniform(0, 6.3, 8))
    size = vec(b.uniform(0.2, 0.6, 8), b.uniform(0.2, 0.6, 8), b.uniform(0.2, 0.6, 8))
    lift = size * torch.tensor((0.0, 0.0, 1.0), device=b.device)
    b.solids(BOX, bins, b.look("plastic", 8), [(lift, size)], b.chance(0.3, 8))
    eye = torch.stack([b.uniform(-0.6, 0.6) * half[:, 0], b.uniform(-3, 1), b.uniform(0.5, 2.0)], 1)
    aim = eye + torch.stack([b.normal(4.0), b.uniform(8, 16), b.uniform(-2.5, 1.5)], 1)
    angle, high = b.uniform(0, 6.3), b.uniform(0.4, 1.3)
    sun = 300 * vec(high.cos() * angle.cos(), high.cos() * angle.sin(), high.sin())
    return View(eye, aim, sun, indoors=False)


def _beside(b: Builder, half: Tensor, count: int, gap: float) -> Tensor:
    """Draw x positions (N, count) on both sides of the road, more than ``gap`` metres away from it."""
    side = torch.where(b.chance(0.5, count), 1.0, -1.0)
    return side * (half + gap + b.log_uniform(0.2, 6.0, count))


def _houses(b: Builder, half: Tensor) -> None:
    count = 6
    side = torch.tensor((-1.0, 1.0), device=b.device).repeat(count // 2)
    row = torch.arange(count, device=b.device) // 2
    back = half + b.uniform(2.0, 14.0, 2).repeat(1, count // 2) + b.uniform(0, 1.0, count)
    depth, width, high = b.uniform(6, 12, count), b.uniform(8, 20, count), b.uniform(3, 16, count)
    at = b.pose(
        side * (back + depth / 2),
        row * 21.0 + b.uniform(2, 8, count),
        0.0,
        -side * (math.pi / 2) + b.normal(0.03, count),
    )
    where = b.chance(0.7, count)
    b.solids(BOX, at, b.look("facade", count), [block(0.0, 0.0, -0.1, width, depth, high)], where)
    b.solids(
        BOX,
        at,
        b.look("fabric", count),
        [block(0.0, 0.0, high, width + 0.5, depth + 0.5, high + b.uniform(0.2, 1.0, count))],
        where,
    )
    pane = b.look("glass", count, material=Material.GLASS)
    frame = b.look("board", count)
    for floor in range(2):
        for f in (-0.36, -0.12, 0.12, 0.36):
            x, low = f * width, 1.0 + 3.0 * floor
            there = where & (high > 3 + 3.0 * floor) & b.chance(0.7, count)
            b.solids(BOX, at, frame, [block(x, depth / 2, low - 0.1, 0.12 * width + 0.2, 0.2, low + 1.5)], there)
            b.solids(BOX, at, b.look("black", count), [block(x, depth / 2, low, 0.12 * width, 0.24, low + 1.4)], there)
    b.solids(
        BOX,
        at,
        pane,
        [block(0.0, depth / 2 + 0.3, 0.1, width * 0.6, 0.03, 2.8)],
        where & b.chance(0.15, count),
    )
    b.solids(
        BOX,
        at,
        b.look("wood", count),
        [block(b.uniform(-0.3, 0.3, count) * width, depth / 2, 0.0, 1.1, 0.3, 2.1)],
        where,
    )
    end = b.pose(b.normal(8.0, 1), b.uniform(40, 68, 1), 0.0)
    b.solids(
        BOX,
        end,
        b.look("facade", 1),
        [block(0.0, 0.0, 0.0, b.uniform(10, 40, 1), 6.0, b.uniform(4, 14, 1))],
        b.chance(0.5, 1),
    )


def _cars(b: Builder, half: Tensor) -> None:
    count = 7
    side = torch.where(b.chance(0.5, count), 1.0, -1.0)
    y = 4.0 + 7.5 * torch.arange(count, device=b.device) + b.uniform(-1, 2, count)
    at = b.pose(side * (half - 0.9), y, 0.0, b.normal(0.05, count) + (side > 0) * math.pi)
    car(b, at, b.chance(0.4, count))


def car(b: Builder, at: Pose, where: Tensor) -> None:
    """Add a car or a van along y."""
    k = at.origin.shape[1]
    length, width, waist = b.uniform(3.6, 4.8, k), b.uniform(1.6, 1.85, k), b.uniform(0.8, 1.0, k)
    roof = waist + b.uniform(0.5, 0.9, k)
    cabin, shift = length * b.uniform(0.4, 0.7, k), length * b.uniform(-0.08, 0.04, k)
    paint, tyre = b.look("car", k), b.look("black", k)
    window = torch.where(b.chance(0.5, k, 1), b.look("glass", k, material=Material.GLASS), tyre)
    b.solids(BOX, at, paint, [block(0.0, 0.0, 0.28, width, length, waist)], where)
    b.solids(BALL, at, paint, [(vec(0.0, 0.0, waist - 0.08), vec(width * 0.5, length * 0.52, 0.22))], where)
    b.solids(BOX, at, paint, [block(0.0, shift, roof - 0.08, width - 0.3, cabin - 0.3, roof)], where)
    b.solids(BOX, at, window, [block(0.0, shift, waist, width - 0.2, cabin, roof - 0.06)], where)
    posts = [
        block(sx * (width / 2 - 0.12), shift + sy * (cabin / 2), waist, 0.06, 0.08, roof)
        for sx in (-1, 1)
        for sy in (-1, 0, 1)
    ]
    b.solids(BOX, at, paint, posts, where)
    r = b.uniform(0.28, 0.34, k)
    corners = [(sx * (width / 2 - 0.1), sy * length * 0.32) for sx in (-1, 1) for sy in (-1, 1)]
    hub = torch.stack([at.at(vec(x, y, r)).origin for x, y in corners], 2)
    axle = at.rotation[..., 0][:, :, None] * 0.12
    b.rods(hub - axle, hub + axle, r[..., None].expand(-1, -1, 4), tyre, where)


def _poles(b: Builder, half: Tensor) -> None:
    count = 8
    x, y, high, r = (
        _beside(b, half, count, 0.1),
        b.log_uniform(2, 45, count),
        b.uniform(2, 8, count),
        b.uniform(0.025, 0.12, count),
    )
    at, where = b.pose(x, y, 0.0, b.uniform(0, 6.3, count)), b.chance(0.5, count)
    metal = b.look("metal", count)
    b.solids(TUBE, at, metal, [(vec(0.0, 0.0, high / 2), vec(r, r, high / 2))], where)
    b.solids(BOX, at, metal, [block(0.6, 0.0, high, 1.4, 0.15, high + 0.1)], where & b.chance(0.4, count))
    size = b.uniform(0.2, 0.45, count)
    sign = (vec(0.0, r + 0.02, high - 0.5), vec(size, 0.01, size))
    b.solids(BOX, at, b.look("package", count), [sign], where & b.chance(0.5, count))
    wire = at.origin[:, :4] + vec(0.0, 0.0, high[:, :4])
    b.rods(wire[:, None, :-1], wire[:, None, 1:], 0.012, b.look("black", 1), b.chance(0.25, 1))


def _trees(b: Builder, half: Tensor) -> None:
    count, leaves = 7, 56
    at = b.pose(_beside(b, half, count, 0.6), b.log_uniform(3.5, 50, count), 0.0, b.uniform(0, 6.3, count))
    where, bush = b.chance(0.6, count), b.chance(0.35, count)
    trunk = torch.where(bush, 0.1, b.uniform(1.4, 3.5, count))
    crown = torch.where(bush, b.uniform(0.4, 1.0, count), b.uniform(0.9, 2.4, count))
    r, bark, green = b.uniform(0.08, 0.22, count), b.look("wood", count), b.look("plant", count)
    b.solids(
        TUBE, at, bark, [(vec(0.0, 0.0, trunk / 2 + 0.3 * crown), vec(r, r, trunk / 2 + 0.3 * crown))], where & ~bush
    )
    spot = b.normal(1.0, count, leaves, 3)
    spot = spot / spot.norm(dim=-1, keepdim=True) * b.uniform(0.35, 1.0, count, leaves, 1)
    middle = at.origin + vec(0.0, 0.0, trunk + 0.75 * crown)
    ends = middle[:, :, None] + spot * crown[..., None, None]
    fork = (at.origin + vec(0.0, 0.0, trunk))[:, :, None].expand(-1, -1, 8, -1)
    b.rods(fork, ends[:, :, :8], (r * 0.3)[..., None].expand(-1, -1, 8), bark, where & ~bush)
    size = (
        crown[..., None] * b.uniform(0.1, 0.24, count, leaves) * torch.where(b.chance(0.2, count), 0.25, 1.0)[..., None]
    ).flatten(1)
    tuft = vec(size, size * b.uniform(0.6, 1.0, count * leaves), size * b.uniform(0.5, 1.0, count * leaves))
    each = green[:, :, None].expand(-1, -1, leaves, -1).flatten(1, 2)
    tone = b.uniform(0.6, 1.3, count * leaves)[..., None]
    each = torch.cat([each[..., :9] * tone, each[..., 9:]], -1)
    spots = Pose(ends.flatten(1, 2), at.rotation[:, :, None].expand(-1, -1, leaves, -1, -1).flatten(1, 2))
    b.solids(BALL, spots, each, [(CENTRE, tuft)], where[..., None].expand(-1, -1, leaves).flatten(1))


def _fences(b: Builder, half: Tensor) -> None:
    count, posts = 2, 24
    side = torch.tensor((-1.0, 1.0), device=b.device)
    x, high, step = (
        side * (half + b.uniform(0.3, 3.0, count)),
        b.uniform(0.7, 1.6, count),
        b.log_uniform(0.15, 1.8, count),
    )
    y = b.uniform(2, 8, count)[..., None] + step[..., None] * torch.arange(posts, device=b.device)
    foot = vec(x[..., None] + 0 * y, y, 0.0)
    top = foot + vec(0.0, 0.0, high[..., None] + 0 * y)
    look, where = (
        torch.where(b.chance(0.5, count, 1), b.look("metal", count), b.look("wood", count)),
        b.chance(0.5, count),
    )
    b.rods(foot, top, b.uniform(0.008, 0.05, count, 1).expand(-1, -1, posts), look, where, square=True)
    level = torch.tensor((0.25, 0.6, 0.95), device=b.device) * high[..., None]
    start = foot[:, :, :1] + vec(0.0, 0.0, level)
    b.rods(start, start + vec(0.0, (posts - 1) * step[..., None] + 0 * level, 0.0), 0.015, look, where)
