"""Furniture of boxes, rods and ellipsoids. Objects stand on z = 0 of their pose and face its y axis."""

from __future__ import annotations

import torch
from torch import Tensor

from ..scene_batch import Material
from .builder import CENTRE, Builder, Number, Pose, vec
from .casting import Shape
from .objects import clutter

BOX, BALL, TUBE = Shape.BOX, Shape.ELLIPSOID, Shape.CYLINDER
Part = tuple[Tensor, Tensor]


def block(x: Number, y: Number, low: Number, width: Number, depth: Number, high: Number) -> Part:
    """Return offset and half size of a box at x, y, of full width and depth, from height low to high [m]."""
    return vec(x, y, (low + high) / 2), vec(width / 2, depth / 2, (high - low) / 2)


def _legs(b: Builder, at: Pose, width: Tensor, depth: Tensor, height: Tensor, look: Tensor, where: Tensor) -> None:
    r = b.uniform(0.012, 0.035, width.shape[1])
    spots = [(sx * (width / 2 - r), sy * (depth / 2 - r)) for sx in (-1, 1) for sy in (-1, 1)]
    square = b.chance(0.5, width.shape[1])
    parts = [(vec(x, y, height / 2), vec(r, r, height / 2)) for x, y in spots]
    b.solids(BOX, at, look, parts, where & square)
    b.solids(TUBE, at, look, parts, where & ~square)


def table(
    b: Builder, at: Pose, width: Tensor, depth: Tensor, height: Tensor, where: Tensor, rows: int = 2, columns: int = 4
) -> None:
    """Add a table or desk with small objects on it, in a grid of rows x columns."""
    k = width.shape[1]
    wood = torch.where(b.chance(0.5, k, 1), b.look("wood", k), b.look("board", k))
    glass = b.chance(0.04, k)
    top = torch.where(glass[..., None], b.look("glass", k, material=Material.GLASS), wood)
    b.solids(BOX, at, top, [block(0.0, 0.0, height - b.uniform(0.01, 0.05, k), width, depth, height)], where)
    _legs(b, at, width, depth, height - 0.01, torch.where(b.chance(0.5, k, 1), b.look("metal", k), wood), where)
    clutter(b, at.at(vec(0.0, 0.0, height)), width / 2 - 0.05, depth / 2 - 0.05, rows, columns, where, top)


def desk(b: Builder, at: Pose, width: Tensor, where: Tensor) -> None:
    """Add a desk with a screen, a keyboard and drawers below."""
    k = width.shape[1]
    depth, height = b.uniform(0.6, 0.85, k), b.uniform(0.68, 0.78, k)
    table(b, at, width, depth, height, where)
    workplace(b, at.at(vec(0.0, 0.0, height)), where)
    drawers = block(width / 2 - 0.28, 0.0, 0.02, 0.42, depth - 0.1, height - 0.05)
    b.solids(BOX, at, b.look("board", k), [drawers], where & b.chance(0.5, k))


def workplace(b: Builder, at: Pose, where: Tensor) -> None:
    """Add a screen and a keyboard on the plane of the poses."""
    k = at.origin.shape[1]
    screen = at.at(vec(b.normal(0.15, k), -0.15, 0.0), b.normal(0.3, k))
    w, h = b.uniform(0.4, 0.7, k), b.uniform(0.25, 0.4, k)
    there = where & b.chance(0.75, k)
    case = b.look("neutral", k)
    b.solids(BOX, screen, case, [
        block(0.0, 0.0, 0.0, 0.22, 0.16, 0.012), block(0.0, -0.03, 0.0, 0.05, 0.025, 0.2),
        (vec(0.0, 0.0, 0.12 + h / 2), vec(w / 2, 0.015, h / 2)),
    ], there)  # fmt: skip
    face = torch.where(
        b.chance(0.5, k, 1), b.look("black", k, material=Material.DARK), b.look("picture", k, emission=0.8)
    )
    b.solids(BOX, screen, face, [(vec(0.0, 0.0145, 0.12 + h / 2), vec(w / 2 - 0.015, 0.002, h / 2 - 0.015))], there)
    keys = at.at(vec(b.normal(0.15, k), 0.15, 0.0), b.normal(0.15, k))
    b.solids(BOX, keys, b.look("plastic", k), [block(0.0, 0.0, 0.0, b.uniform(0.3, 0.45, k), 0.14, 0.018)], there)


def chair(b: Builder, at: Pose, where: Tensor) -> None:
    """Add a chair with four legs, or with a column and five feet."""
    k = at.origin.shape[1]
    width, depth, seat, back = (
        b.uniform(0.38, 0.5, k),
        b.uniform(0.38, 0.5, k),
        b.uniform(0.42, 0.5, k),
        b.uniform(0.3, 0.6, k),
    )
    soft = torch.where(b.chance(0.5, k, 1), b.look("fabric", k), b.look("wood", k))
    frame = torch.where(b.chance(0.5, k, 1), b.look("metal", k), b.look("wood", k))
    b.solids(BOX, at, soft, [block(0.0, 0.0, seat - 0.05, width, depth, seat)], where)
    upper = b.chance(0.5, k)
    full = block(0.0, -depth / 2, seat + 0.08, width, 0.03, seat + back)
    slats = [block(0.0, -depth / 2, seat + back * f, width, 0.02, seat + back * f + 0.06) for f in (0.35, 0.65, 0.95)]
    b.solids(BOX, at, soft, [full], where & upper)
    b.solids(BOX, at, soft, slats, where & ~upper)
    posts = [block(s * (width / 2 - 0.015), -depth / 2, 0.0, 0.03, 0.03, seat + back) for s in (-1, 1)]
    swivel = b.chance(0.4, k)
    b.solids(BOX, at, frame, posts, where & ~swivel)
    _legs(b, at, width, depth, seat - 0.04, frame, where & ~swivel)
    column = [
        (vec(0.0, 0.0, seat / 2), vec(0.025, 0.025, seat / 2 - 0.03)),
        (vec(0.0, -depth / 2, seat), vec(0.03, 0.015, seat * 0.5)),
    ]
    b.solids(TUBE, at, frame, column, where & swivel)
    foot = torch.arange(5, device=b.device) * 1.2566
    ends = at.origin[:, :, None] + 0.3 * vec(foot.cos(), foot.sin(), 0.1)
    hub = (at.origin + torch.tensor((0.0, 0.0, 0.08), device=b.device))[:, :, None].expand_as(ends)
    b.rods(hub, ends, 0.02, frame, where & swivel)


def shelf(b: Builder, at: Pose, width: Tensor, where: Tensor) -> None:
    """Add a bookcase that is open at the front, with rows of books and small objects."""
    k, boards = width.shape[1], 5
    depth, pitch = b.uniform(0.25, 0.4, k), b.uniform(0.3, 0.42, k)
    floors = b.integer(3, k) + 3
    high = floors * pitch
    look = torch.where(b.chance(0.6, k, 1), b.look("wood", k), b.look("board", k))
    open_back = b.chance(0.3, k)
    sides = [block(s * width / 2, 0.0, 0.0, 0.025, depth, high) for s in (-1, 1)]
    b.solids(BOX, at, look, sides, where)
    b.solids(BOX, at, look, [block(0.0, -depth / 2, 0.0, width, 0.01, high)], where & ~open_back)
    level = torch.arange(boards + 1, device=b.device) * pitch[..., None]  # (N, K, boards + 1)
    rows = at.many(vec(0.0, 0.0, level), 0 * level)
    count = torch.arange(boards + 1, device=b.device)
    there, filled = (where[..., None] & (floors[..., None] >= count + i) for i in (0, 1))
    there, filled = there.flatten(1), filled.flatten(1)

    def each(value: Tensor) -> Tensor:
        return value[:, :, None].expand(-1, -1, boards + 1, *value.shape[2:]).flatten(1, 2)

    width, depth, pitch, look, m = each(width), each(depth), each(pitch), each(look), k * (boards + 1)
    b.solids(BOX, rows, look, [block(0.0, 0.0, 0.0, width, depth, 0.02)], there)
    for side in (-1, 1):
        length, back = width * b.uniform(0.15, 0.46, m), b.uniform(0.0, 0.1, m)
        middle = side * (width / 2 - 0.02 - length / 2)
        high_books = pitch * b.uniform(0.55, 0.85, m)
        row = block(middle, -back / 2, 0.02, length, depth - 0.04 - back, high_books)
        b.solids(BOX, rows, b.look("books", m), [row], filled & b.chance(0.65, m))
    space = rows.at(vec(0.0, 0.0, 0.02))
    clutter(b, space, width / 2 - 0.08, depth / 2 - 0.06, 1, 3, filled & b.chance(0.35, m), look)


def cabinet(b: Builder, at: Pose, width: Tensor, where: Tensor) -> None:
    """Add a wardrobe, a sideboard or a fridge with doors and handles. Small objects stand on low cabinets."""
    k = width.shape[1]
    depth = b.uniform(0.4, 0.65, k)
    low = b.chance(0.6, k)
    high = torch.where(low, b.uniform(0.5, 1.0, k), b.uniform(1.6, 2.1, k))
    look = torch.where(b.chance(0.5, k, 1), b.look("wood", k), b.look("board", k))
    b.solids(BOX, at, look, [block(0.0, 0.0, 0.06, width - 0.02, depth, high)], where)
    b.solids(
        BOX,
        at,
        look,
        [block(s * width / 4, depth / 2, 0.1, width / 2 - 0.03, 0.04, high - 0.03) for s in (-1, 1)],
        where,
    )
    b.solids(
        BOX,
        at,
        b.look("metal", k),
        [block(s * 0.06, depth / 2 + 0.03, high * 0.55, 0.015, 0.03, high * 0.55 + 0.12) for s in (-1, 1)],
        where,
    )
    clutter(b, at.at(vec(0.0, 0.0, high)), width / 2 - 0.05, depth / 2 - 0.08, 1, 4, where & low, look)


def sofa(b: Builder, at: Pose, width: Tensor, where: Tensor) -> None:
    """Add a sofa or armchair with cushions."""
    k = width.shape[1]
    depth, seat, back = b.uniform(0.8, 0.95, k), b.uniform(0.36, 0.46, k), b.uniform(0.7, 0.95, k)
    look = b.look("fabric", k)
    arm = b.uniform(0.1, 0.2, k)
    parts = [
        block(0.0, 0.0, 0.08, width, depth, seat - 0.12),
        block(0.0, -depth / 2 + 0.1, 0.08, width, 0.2, back),
    ]
    parts += [block(s * (width - arm) / 2, 0.05, 0.08, arm, depth - 0.1, seat + 0.18) for s in (-1, 1)]
    inner = width - 2 * arm
    parts += [block(s * inner / 4, 0.1, seat - 0.14, inner / 2 - 0.015, depth - 0.2, seat) for s in (-1, 1)]
    b.solids(BOX, at, look, parts, where)
    for s in (-1, 0, 1):
        r = b.uniform(0.16, 0.24, k)
        cushion = at.at(vec(s * inner / 3, -depth / 2 + 0.32, seat + r * 0.85), b.normal(0.3, k))
        b.solids(BALL, cushion, b.look("rug", k), [(CENTRE, vec(r, 0.09, r))], where & b.chance(0.5, k))


def bed(b: Builder, at: Pose, width: Tensor, where: Tensor) -> None:
    """Add a bed with its head at the wall, with pillows and a rumpled blanket."""
    k = width.shape[1]
    length, high = b.uniform(1.9, 2.1, k), b.uniform(0.4, 0.6, k)
    frame, sheet, blanket = b.look("wood", k), b.look("fabric", k), b.look("rug", k)
    b.solids(
        BOX,
        at,
        frame,
        [
            block(0.0, 0.0, 0.1, width, length, high * 0.6),
            block(0.0, -length / 2, 0.0, width, 0.05, high + b.uniform(0.2, 0.6, k)),
        ],
        where,
    )
    b.solids(BOX, at, sheet, [block(0.0, 0.0, high * 0.6, width - 0.04, length - 0.04, high)], where)
    b.solids(
        BALL,
        at,
        b.look("fabric", k),
        [(vec(s * width / 4, -length / 2 + 0.3, high + 0.03), vec(width / 5, 0.2, 0.1)) for s in (-1, 1)],
        where,
    )
    b.solids(BOX, at, blanket, [block(0.0, length * 0.15, high * 0.5, width + 0.03, length * 0.68, high + 0.03)], where)
    for _ in range(4):
        spot = vec(b.uniform(-0.4, 0.4, k) * width, b.uniform(-0.1, 0.4, k) * length, high)
        size = vec(b.uniform(0.15, 0.4, k), b.uniform(0.15, 0.4, k), b.uniform(0.05, 0.12, k))
        b.solids(BALL, at.at(spot, b.uniform(0, 3, k)), blanket, [(CENTRE, size)], where & b.chance(0.6, k))


def floor_lamp(b: Builder, at: Pose, where: Tensor) -> None:
    """Add a lamp on a thin pole."""
    k = at.origin.shape[1]
    high, r = b.uniform(1.3, 1.7, k), b.uniform(0.12, 0.22, k)
    metal = b.look("metal", k)
    parts = [
        (vec(0.0, 0.0, 0.015), vec(0.14, 0.14, 0.015)),
        (vec(0.0, 0.0, high / 2), vec(0.012, 0.012, high / 2)),
    ]
    b.solids(TUBE, at, metal, parts, where)
    b.solids(TUBE, at, b.look("board", k, emission=1.2), [(vec(0.0, 0.0, high), vec(r, r, r * 0.8))], where)


def stool(b: Builder, at: Pose, where: Tensor) -> None:
    """Add a stool, a bin or a carton on the floor."""
    k = at.origin.shape[1]
    r, high, kind = b.uniform(0.12, 0.22, k), b.uniform(0.25, 0.6, k), b.integer(3, k)
    seat = b.look("plastic", k)
    b.solids(TUBE, at, seat, [(vec(0.0, 0.0, high - 0.02), vec(r, r, 0.02))], where & (kind == 0))
    _legs(b, at, 1.3 * r, 1.3 * r, high - 0.03, b.look("metal", k), where & (kind == 0))
    b.solids(TUBE, at, seat, [(vec(0.0, 0.0, high / 2), vec(r * 0.8, r * 0.8, high / 2))], where & (kind == 1))
    carton = block(0.0, 0.0, 0.0, 2 * r, r * b.uniform(1.2, 2.6, k), high)
    b.solids(BOX, at, b.look("package", k), [carton], where & (kind == 2))
