"""Small objects such as packages, cans, bottles, books, cups and cables, and plants and people."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..scene_batch import Material
from .builder import CENTRE, Builder, Pose, vec
from .casting import Shape

BOX, BALL, TUBE = Shape.BOX, Shape.ELLIPSOID, Shape.CYLINDER


def clutter(
    b: Builder, pose: Pose, half_x: Tensor, half_y: Tensor, rows: int, columns: int, where: Tensor, ground: Tensor
) -> None:
    """Add small objects on rectangles around the poses, at most one in each cell of a grid.

    Args:
        b: The builder.
        pose: Poses of the rectangles.
        half_x: Half sizes along x [m], (N, K).
        half_y: Half sizes along y [m], (N, K).
        rows: Number of rows of the grid.
        columns: Number of columns of the grid.
        where: Which rectangles get objects, (N, K) bool.
        ground: Appearance of the supporting surface, (N, K, WIDTH).
    """
    k, m = half_x.shape[1], rows * columns
    cell = torch.arange(m, device=b.device)
    x = ((cell % columns + 0.5 + b.uniform(-0.3, 0.3, k, m)) / columns * 2 - 1) * half_x[..., None]
    y = ((cell // columns + 0.5 + b.uniform(-0.3, 0.3, k, m)) / rows * 2 - 1) * half_y[..., None]
    spots = pose.many(vec(x, y, 0.0), b.uniform(0, 2 * math.pi, k, m))
    room = torch.minimum(half_x / columns, half_y / rows)[..., None].expand(-1, -1, m).flatten(1)  # half a cell
    density = b.uniform(0.2, 1.0, k, 1)
    exists = (where[..., None] & (b.uniform(0, 1, k, m) < density)).flatten(1)
    like = ground[:, :, None].expand(-1, -1, m, -1).flatten(1, 2)
    kind = b.integer(len(_SMALL_OBJECTS), k * m)
    for i, add in enumerate(_SMALL_OBJECTS):
        add(b, spots, room, exists & (kind == i), like)


def _package(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    width, depth = (b.log_uniform(0.02, 0.16, k).minimum(room * 1.1) for _ in range(2))
    height = b.log_uniform(0.015, 0.16, k)
    look = b.look("package", k, like=like)
    b.solids(BOX, at, look, [(vec(0.0, 0.0, height), vec(width, depth, height))], where)
    second = at.at(vec(0.0, 0.0, 2 * height), b.uniform(-1.5, 1.5, k))
    top = b.log_uniform(0.01, 0.06, k)
    half = vec(width * b.uniform(0.4, 1, k), depth * b.uniform(0.4, 1, k), top)
    b.solids(BOX, second, b.look("package", k), [(vec(0.0, 0.0, top), half)], where & b.chance(0.3, k))


def _can(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    radius, height = b.log_uniform(0.02, 0.08, k).minimum(room), b.log_uniform(0.03, 0.14, k)
    b.solids(TUBE, at, b.look("package", k, like=like), [(vec(0.0, 0.0, height), vec(radius, radius, height))], where)
    lid = (vec(0.0, 0.0, 2 * height), vec(radius * 1.03, radius * 1.03, 0.006))
    b.solids(TUBE, at, b.look("plastic", k), [lid], where & b.chance(0.5, k))


def _bottle(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    radius, height = b.uniform(0.025, 0.05, k).minimum(room), b.uniform(0.06, 0.12, k)
    look = torch.where(
        b.chance(0.25, k, 1), b.look("glass", k, material=Material.GLASS), b.look("plastic", k, like=like)
    )
    neck = radius * b.uniform(0.25, 0.5, k)
    b.solids(TUBE, at, look, [(vec(0.0, 0.0, height), vec(radius, radius, height))], where)
    b.solids(BALL, at, look, [(vec(0.0, 0.0, 2 * height), vec(radius, radius, radius * 0.9))], where)
    b.solids(
        TUBE, at, b.look("plastic", k), [(vec(0.0, 0.0, 2 * height + radius), vec(neck, neck, radius * 0.7))], where
    )


def _ball(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    r = b.log_uniform(0.02, 0.1, k).minimum(room)
    flat = b.uniform(0.6, 1.1, k)
    b.solids(BALL, at, b.look("plastic", k, like=like), [(vec(0.0, 0.0, r * flat), vec(r, r, r * flat))], where)


def _books(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    below = torch.zeros_like(room)
    for level in range(4):
        thick = b.uniform(0.004, 0.022, k)
        half = vec(b.uniform(0.08, 0.11, k).minimum(room), b.uniform(0.1, 0.15, k).minimum(room * 1.3), thick)
        here = at.at(vec(0.0, 0.0, below + thick), b.normal(0.15, k))
        look = b.look("package", k, like=like if level == 0 else None)
        b.solids(BOX, here, look, [(CENTRE, half)], where & b.chance(0.7**level, k))
        below = below + 2 * thick


def _paper(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    for sheet in range(3):
        half = vec(b.uniform(0.07, 0.105, k), b.uniform(0.1, 0.15, k), 0.0008 * (sheet + 1))
        here = at.at(vec(b.normal(0.05, k), b.normal(0.05, k), 0.0), b.normal(0.4, k))
        b.solids(BOX, here, b.look("paper", k), [(CENTRE, half)], where & b.chance(0.7, k))


def _mug(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    r, h = b.uniform(0.03, 0.048, k), b.uniform(0.035, 0.06, k)
    look = b.look("plastic", k, like=like)
    b.solids(TUBE, at, look, [(vec(0.0, 0.0, h), vec(r, r, h))], where)
    b.solids(TUBE, at, b.look("black", k), [(vec(0.0, 0.0, 2 * h - 0.003), vec(r * 0.88, r * 0.88, 0.0035))], where)
    corners = [
        vec(r * 0.9, 0.0, h * 1.6),
        vec(r * 1.7, 0.0, h * 1.45),
        vec(r * 1.7, 0.0, h * 0.7),
        vec(r * 0.9, 0.0, h * 0.5),
    ]
    points = torch.stack([at.at(c).origin for c in corners], 2)
    b.rods(points[:, :, :-1], points[:, :, 1:], 0.006, look, where)


def _tumbler(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    r, h = b.uniform(0.03, 0.06, k), b.uniform(0.04, 0.1, k)
    b.solids(TUBE, at, b.look("glass", k, material=Material.GLASS), [(vec(0.0, 0.0, h), vec(r, r, h))], where)


def _leaning(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    """Add a board that leans backwards, such as a tablet, a frame or a calendar."""
    k = room.shape[1]
    w, h, lean = b.uniform(0.05, 0.16, k), b.uniform(0.06, 0.16, k), b.uniform(0.05, 0.5, k)
    slope = vec(0.0, -lean.sin(), lean.cos())
    back = vec(0.0, lean.cos(), lean.sin())
    tilt = torch.stack([vec(1 + 0 * lean, 0.0, 0.0), back, slope], -1)
    pose = Pose(at.at(slope * h[..., None]).origin, at.rotation @ tilt)
    b.solids(BOX, pose, b.look("picture", k, like=like), [(CENTRE, vec(w, 0.005, h))], where)


def _pens(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k, m = room.shape[1], 3
    half_length = 0.07
    middle = at.origin[:, :, None] + vec(b.normal(0.03, k, m), b.normal(0.03, k, m), 0.006)
    angle = b.uniform(0, 6.3, k, m)
    half = vec(angle.cos() * half_length, angle.sin() * half_length, 0.0)
    b.rods(middle - half, middle + half, b.uniform(0.003, 0.008, k, m), b.look("plastic", k), where)


def _cable(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k, m = room.shape[1], 7
    heading = b.uniform(0, 6.3, k, 1) + b.normal(0.6, k, m).cumsum(-1)
    step = b.uniform(0.02, 0.05, k, 1)
    path = vec((step * heading.cos()).cumsum(-1), (step * heading.sin()).cumsum(-1), 0.004) + at.origin[:, :, None]
    b.rods(
        path[:, :, :-1],
        path[:, :, 1:],
        b.uniform(0.002, 0.005, k, 1).expand(-1, -1, m - 1),
        b.look("plastic", k),
        where,
    )


def _bowl(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    k = room.shape[1]
    r = b.uniform(0.06, 0.13, k).minimum(room)
    b.solids(BALL, at, b.look("plastic", k, like=like), [(vec(0.0, 0.0, r * 0.3), vec(r, r, r * 0.3))], where)
    fruit = [
        (vec(r * 0.5 * math.cos(a), r * 0.5 * math.sin(a), r * 0.65), vec(r, r, r) * 0.36) for a in (0.3, 2.0, 3.5, 5.1)
    ]
    b.solids(BALL, at, b.look("plastic", k), fruit, where)


def _pot_plant(b: Builder, at: Pose, room: Tensor, where: Tensor, like: Tensor) -> None:
    plant(b, at, b.uniform(0.12, 0.3, room.shape[1]), 12, where)


_SMALL_OBJECTS = (
    _package, _package, _can, _bottle, _ball, _books, _books, _paper, _mug, _tumbler, _leaning, _pens, _cable,
    _bowl, _pot_plant,
)  # fmt: skip


def plant(b: Builder, at: Pose, height: Tensor, leaves: int, where: Tensor) -> None:
    """Add a potted plant whose leaves are flattened ellipsoids on stalks."""
    k = height.shape[1]
    pot = height * 0.22
    b.solids(TUBE, at, b.look("plastic", k), [(vec(0.0, 0.0, pot), vec(pot * 0.9, pot * 0.9, pot))], where)
    angle, lean = b.uniform(0, 6.3, k, leaves), b.uniform(0.1, 1.2, k, leaves)
    reach = height[..., None] * b.uniform(0.35, 0.75, k, leaves)
    tip = vec(
        reach * lean.sin() * angle.cos(), reach * lean.sin() * angle.sin(), reach * lean.cos() + 2 * pot[..., None]
    )
    look = b.look("plant", k)
    tips = at.many(tip, angle)
    base = (at.origin + vec(0.0, 0.0, 1.8 * pot))[:, :, None].expand(-1, -1, leaves, -1)
    ends = tips.origin.unflatten(1, (k, leaves))
    b.rods(base, ends, (height * 0.008)[..., None].expand(-1, -1, leaves), look, where)
    size = (height[..., None] * b.uniform(0.08, 0.2, k, leaves)).flatten(1)
    each = look[:, :, None].expand(-1, -1, leaves, -1).flatten(1, 2)
    blade = vec(size, size * b.uniform(0.4, 0.9, k * leaves), size * b.uniform(0.15, 0.6, k * leaves))
    b.solids(BALL, tips, each, [(CENTRE, blade)], where[..., None].expand(-1, -1, leaves).flatten(1))


def person(b: Builder, at: Pose, where: Tensor) -> None:
    """Add a standing person who faces y, with arms and legs of rods."""
    k = at.origin.shape[1]
    h = b.uniform(1.5, 1.9, k)
    shirt, trousers, skin = b.look("fabric", k), b.look("fabric", k), b.look("skin", k)
    b.solids(BALL, at, shirt, [(vec(0.0, 0.0, 0.66 * h), vec(0.12 * h, 0.075 * h, 0.2 * h))], where)
    b.solids(
        BALL, at, b.look("black", k), [(vec(0.0, -0.012 * h, 0.94 * h), vec(0.05 * h, 0.055 * h, 0.06 * h))], where
    )
    b.solids(BALL, at, skin, [(vec(0.0, 0.0, 0.925 * h), vec(0.045 * h, 0.055 * h, 0.065 * h))], where)

    def limb(look: Tensor, radius: float, *joints: Tensor) -> None:
        points = torch.stack([at.at(j).origin for j in joints], 2)
        b.rods(
            points[:, :, :-1], points[:, :, 1:], (h * radius)[..., None].expand(-1, -1, len(joints) - 1), look, where
        )

    for side in (-1, 1):
        swing, bend = b.normal(0.07, k) * h, b.uniform(0, 0.12, k) * h
        hip = vec(side * 0.055 * h, 0.0, 0.5 * h)
        limb(
            trousers, 0.042, hip, vec(side * 0.06 * h, swing / 2 + bend / 3, 0.27 * h), vec(side * 0.06 * h, swing, 0.0)
        )
        shoulder, elbow = vec(side * 0.13 * h, 0.0, 0.79 * h), vec(side * 0.16 * h, -swing, 0.62 * h)
        limb(shirt, 0.027, shoulder, elbow)
        limb(skin, 0.021, elbow, vec(side * 0.15 * h, bend * 1.5 - swing, 0.5 * h))
