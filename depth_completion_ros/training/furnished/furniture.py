"""Furniture of a room: single pieces, rows of desks, tables with chairs, rows of kitchen cabinets, and shelves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .clutter import fill_board, fill_tops
from .library import Model
from .room import AGAINST_WALL, TRIANGLES, Occupied, Work
from .stock import named

_CATEGORIES = {
    "living": ("Living room", "Living room", "Living room", "Miscellaneous", "Office", "furniture"),
    "bedroom": ("Bedroom", "Bedroom", "Living room", "Miscellaneous"),
    "kitchen": ("Kitchen", "Kitchen", "Kitchen", "Living room"),
    "office": ("Office", "Office", "Living room", "Miscellaneous"),
    "bathroom": ("Bathroom", "Bathroom", "Bathroom", "Bedroom"),
    "corridor": ("Living room", "Miscellaneous", "furniture"),
    "hall": ("furniture", "clutter", "Miscellaneous", "other", "person"),
    "store": (),
}


def put(
    work: Work, model: Model, at: ArrayLike, yaw: float, scale: ArrayLike = 1.0, rows: np.ndarray | None = None
) -> None:
    """Place a model in the floor plan and put small objects on its upper surfaces.

    Args:
        work: The room.
        model: The model.
        at: Position [m], two coordinates or more.
        yaw: Rotation [rad].
        scale: Scale, one number or (3,).
        rows: Rows of its materials; None = new materials.
    """
    x, y = np.asarray(at)[:2]
    scales = np.asarray(scale, float) * np.ones(3)
    work.place(model, (x, y, model.elevation), yaw, scales, rows)
    if model.support is not None:
        fill_tops(work, model, (x, y), yaw, scales)


def furnish(work: Work) -> None:
    """Add the furniture that suits the kind of the room."""
    r, kind = work.rng, work.room.kind
    if kind == "kitchen":
        _add_kitchen_row(work)
    if kind in ("office", "hall") and r.random() < 0.6:
        _add_desks(work)
    if kind in ("living", "kitchen", "hall") and r.random() < 0.7:
        _add_table(work)
    if kind in ("store", "office", "hall", "living") and r.random() < (0.9 if kind == "store" else 0.35):
        for _ in range(r.integers(1, 5)):
            _add_shelf(work)
    if work.stock.large:
        _add_pieces(work)


def _put_if_free(
    work: Work, model: Model, x: float, y: float, yaw: float, scale: ArrayLike = 1.0, rows: np.ndarray | None = None
) -> bool:
    """Put a model at a position if it fits there; return whether it fits."""
    room = work.room
    size = model.size * np.asarray(scale)
    wide, deep = _footprint(size, yaw)
    high = float(size[2] + model.elevation)
    if high > room.size[2] - 0.03 or not room.fits(x, y, wide, deep):
        return False
    room.taken.append(Occupied(x, y, wide, deep, high))
    put(work, model, (x, y), yaw, scale, rows)
    return True


def _footprint(size: np.ndarray, yaw: float) -> tuple[float, float]:
    c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
    return c * size[0] + s * size[1], s * size[0] + c * size[1]


def _add_pieces(work: Work) -> None:
    """Add pieces that suit the room along the walls and in the middle, 0.8 to 2.4 for each square metre."""
    r, room = work.rng, work.room
    width, length, _ = room.size
    categories = _CATEGORIES[room.kind]
    wanted = int(np.clip(width * length * r.uniform(0.8, 2.4), 6, 34))
    for _ in range(wanted * 4):
        if wanted <= 0 or work.triangles > TRIANGLES:
            break
        models = work.stock.large
        if categories and r.random() > 0.12:
            category = categories[r.integers(len(categories))]
            models = [m for m in models if m.kind == category] or models
        model, scale = work.pick(models), r.uniform(0.9, 1.12, 3)
        for _ in range(10):
            at_wall, wall = r.random() < (0.95 if room.kind == "corridor" else 0.72), int(r.integers(4))
            yaw = AGAINST_WALL[wall] if at_wall or r.random() < 0.6 else float(r.uniform(0, 6.3))
            yaw += float(r.normal(0, 0.02 if r.random() < 0.75 else 0.3))
            x, y = r.uniform(0, width), r.uniform(0, length)
            if at_wall:
                wide, deep = _footprint(model.size * scale, yaw - AGAINST_WALL[wall])
                x, y = room.at_wall(wall, r.random(), wide, deep, 0.015 + r.exponential(0.02))
            if _put_if_free(work, model, x, y, yaw, scale):
                wanted -= 1
                break


def _add_kitchen_row(work: Work) -> None:
    """Add base cabinets side by side along one or two walls, with cupboards above."""
    r, room = work.rng, work.room
    kitchen = [m for m in work.stock.large if m.kind == "Kitchen"]
    base = [m for m in kitchen if 0.7 < m.size[2] < 1.15 and 0.3 < m.size[0] < 1.3 and 0.45 < m.size[1] < 0.85]
    upper = [m for m in work.stock.hung if m.kind == "Kitchen" and m.size[1] < 0.5 and m.elevation > 1.2]
    if not base:
        return
    first = int(r.integers(4))
    for wall in (first, (first + 1) % 4)[: r.integers(1, 3)]:
        span, x = room.size[wall % 2], r.uniform(0, 0.4)
        rows: dict[int, np.ndarray] = {}  # cabinets of the same model have the same materials
        while x < span - 0.3:
            model = work.pick(base)
            if x + model.size[0] > span:
                break
            if id(model) not in rows:
                rows[id(model)] = work.build.of_model(model)
            at = room.at_wall(wall, x / max(span - model.size[0], 1e-3), model.size[0], model.size[1], 0.005)
            scale = np.array([1, 1, 0.9 / model.size[2] if r.random() < 0.7 else 1])
            _put_if_free(work, model, *at, AGAINST_WALL[wall], scale, rows[id(model)])
            if upper and r.random() < 0.5:
                cupboard = work.pick(upper)
                wide, deep, high = cupboard.size
                if cupboard.elevation + high < room.size[2] and x + wide < span:
                    at = room.at_wall(wall, x / max(span - wide, 1e-3), wide, deep, 0.005)
                    work.place(cupboard, (*at, cupboard.elevation), AGAINST_WALL[wall])
            x += model.size[0] + r.choice([0.0, 0.005, 0.3], p=[0.5, 0.4, 0.1])


def _add_table(work: Work) -> None:
    """Add a table with chairs around it."""
    r, room = work.rng, work.room
    tables = [m for m in named(work.stock.large, "table", "desk", "mesa") if 0.65 < m.size[2] < 0.85]
    chairs = [m for m in named(work.stock.large, "chair", "stool") if m.size[:2].max() < 0.8]
    if not tables or not chairs:
        return
    width, length, _ = room.size
    table, chair = work.pick(tables), work.pick(chairs)
    x, y = r.uniform(0.3, 0.7) * width, r.uniform(0.3, 0.7) * length
    yaw = float(r.choice([0, math.pi / 2]) + r.normal(0, 0.1))
    if not _put_if_free(work, table, x, y, yaw):
        return
    rows = work.build.of_model(chair)
    c, s = math.cos(yaw), math.sin(yaw)
    for side in range(4):
        edge = table.size[side % 2]
        count = max(1, int(edge / 0.7))
        for k in range(count):
            if r.random() < 0.25:
                continue
            t = (k + 0.5) / count - 0.5
            distance = table.size[1 - side % 2] / 2 + r.uniform(-0.1, 0.35) + chair.size[1] * 0.3
            local = np.array([t * edge, -distance]) if side % 2 == 0 else np.array([-distance, t * edge])
            local *= -1 if side >= 2 else 1
            turn = (math.pi, math.pi / 2)[side % 2] + (math.pi if side >= 2 else 0)
            at = x + c * local[0] - s * local[1], y + s * local[0] + c * local[1]
            if 0.3 < at[0] < width - 0.3 and 0.3 < at[1] < length - 0.3:
                room.taken.append(Occupied(*at, *chair.size))
                put(work, chair, at, yaw + turn + r.normal(0, 0.2), 1.0, rows)


def _add_desks(work: Work) -> None:
    """Add rows of equal desks with chairs, as in an office."""
    r, room = work.rng, work.room
    desks = [m for m in named(work.stock.large, "desk", "table") if 0.6 < m.size[2] < 0.9 and m.size[0] > 0.9]
    chairs = [m for m in named(work.stock.large, "chair") if m.size[:2].max() < 0.9]
    if not desks or not chairs:
        return
    desk, chair = work.pick(desks), work.pick(chairs)
    rows, seat = work.build.of_model(desk), work.build.of_model(chair)
    width, length, _ = room.size
    y = desk.size[1] / 2 + 0.05
    while y < length - 1.2 and work.triangles < TRIANGLES * 0.7:
        x = desk.size[0] / 2 + 0.05
        while x < width - desk.size[0] / 2:
            if r.random() < 0.8 and _put_if_free(work, desk, x, y, math.pi, 1.0, rows) and r.random() < 0.8:
                behind = y + desk.size[1] / 2 + chair.size[1] * 0.6
                _put_if_free(work, chair, x + r.normal(0, 0.1), behind, r.normal(0, 0.4), 1.0, seat)
            x += desk.size[0] + 0.03
        y += desk.size[1] + r.uniform(1.2, 2.2)


def _add_shelf(work: Work) -> None:
    """Add shelves of boards at a wall, filled with books, boxes and other objects."""
    r, build, room = work.rng, work.build, work.room
    wide, deep, high = r.uniform(0.6, 1.6), r.uniform(0.25, 0.5), r.uniform(0.9, min(2.3, room.size[2] - 0.1))
    wall = int(r.integers(4))
    x, y = room.at_wall(wall, r.random(), wide, deep, 0.01)
    footprint = (wide, deep) if wall % 2 == 0 else (deep, wide)
    if not room.fits(x, y, *footprint):
        return
    room.taken.append(Occupied(x, y, *footprint, high))
    yaw = AGAINST_WALL[wall]
    c, s = math.cos(yaw), math.sin(yaw)

    def at(side: float, back: float, z: float) -> np.ndarray:
        return np.array([x + c * side - s * back, y + s * side + c * back, z])

    board, half = build.surface("wood", "plain", "metal"), r.uniform(0.008, 0.02)
    for side in (-1, 1):
        build.box(at(side * (wide / 2 - half), 0, high / 2), (half, deep / 2, high / 2), yaw, board)
    if r.random() < 0.6:
        build.box(at(0, deep / 2 - 0.004, high / 2), (wide / 2, 0.004, high / 2), yaw, board)
    levels = int(r.integers(2, 7))
    for k in range(levels + 1):
        z = 0.05 + k * (high - 0.05) / levels
        build.box(at(0, 0, z - half), (wide / 2, deep / 2, half), yaw, board)
        space = min((high - 0.05) / levels - 2 * half, room.size[2] - z - 0.05, 0.5)
        if space > 0.08 and work.triangles < TRIANGLES * 1.2:
            ends = at(-wide / 2 + 2 * half, 0, z), at(wide / 2 - 2 * half, 0, z)
            fill_board(work, *ends, deep, space, yaw)
