"""Rooms, tabletops, corridors and halls. A room spans -X/2..X/2, -Y/2..Y/2, 0..height, with doors and windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..scene_batch import Material
from .builder import Builder, Pose, vec
from .camera import View
from .casting import Shape
from .furniture import bed, block, cabinet, chair, desk, floor_lamp, shelf, sofa, stool, table
from .objects import clutter, person, plant

BOX, TUBE = Shape.BOX, Shape.CYLINDER


def _shell(b: Builder, size: Tensor, window: float, door: float) -> Pose:
    """Floor, ceiling and four walls with openings, and what lies outside; returns the poses of the walls (N, 4).

    size (N, 3). A wall's pose stands at the middle of its foot and faces the room.
    """
    x, y, z = (c[:, None] for c in size.unbind(1))
    middle = b.pose(0 * x, 0.0, 0.0, 0 * x)
    floor, ceiling = b.look("floor", 1, casts=False), b.look("ceiling", 1, casts=False)
    outside = 3.0
    b.solids(BOX, middle, floor, [block(0.0, 0.0, -0.3 + 0 * x, x + 60, y + 60, 0.0)])
    b.solids(BOX, middle, ceiling, [block(0.0, 0.0, z, x + 2 * outside, y + 2 * outside, z + 0.2)])
    rug = (vec(0 * x, 0.0, 0.004), vec(x * b.uniform(0.15, 0.35, 1), y * b.uniform(0.15, 0.35, 1), 0.006))
    b.solids(BOX, middle.at(vec(b.normal(0.3, 1), b.normal(0.3, 1), 0.0)), b.look("rug", 1), [rug], b.chance(0.4, 1))

    side = torch.tensor(((0.0, -0.5), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0)), device=b.device)
    turn = torch.arange(4, device=b.device) * (math.pi / 2) + 0 * x
    walls = b.pose(side[:, 0] * x, side[:, 1] * y, 0.0, turn)
    length = torch.cat([x, y, x, y], 1)
    plain = b.look("wall", 1, casts=False)
    accent = torch.where(b.chance(0.5, 1, 1), b.look("wallpaper", 1, casts=False), b.look("wall", 1, casts=False))
    look = torch.where(b.chance(0.3, 4, 1), accent, plain)

    kind = b.uniform(0, 1, 4)
    glazed, opened = kind < window, (kind >= window) & (kind < window + door)
    u = b.uniform(-0.3, 0.3, 4) * length
    width = torch.where(glazed, b.uniform(0.8, 2.2, 4), b.uniform(0.8, 1.3, 4)).minimum(length * 0.38)
    low = torch.where(glazed, b.uniform(0.1, 1.0, 4), 0.0)
    high = torch.where(glazed, b.uniform(1.9, 2.3, 4), b.uniform(1.95, 2.15, 4)).minimum(z - 0.1)
    hole = glazed | opened
    width, u = torch.where(hole, width, 0.0), torch.where(hole, u, 0.0)
    thick = 0.15
    left, right = u - width / 2, u + width / 2
    b.solids(BOX, walls, look, [
        block((left - length / 2) / 2, -thick / 2, 0.0 * u, left + length / 2, thick, z),
        block((right + length / 2) / 2, -thick / 2, 0.0 * u, length / 2 - right, thick, z),
        block(u, -thick / 2, 0.0 * u, width, thick, low), block(u, -thick / 2, high, width, thick, z),
    ])  # fmt: skip
    trim = b.look("board", 4, casts=False)
    frame = [block(e, 0.0, low, 0.07 + 0 * u, thick + 0.05, high) for e in (left, right)]
    frame += [block(u, 0.0, high, width + 0.07, thick + 0.05, high + 0.07)]
    b.solids(BOX, walls, trim, frame, hole)
    b.solids(
        BOX,
        walls,
        trim,
        [block(u, -0.05, low, 0.05 + 0 * u, 0.05, high), block(u, 0.05, low - 0.03, width + 0.1, 0.25, low)],
        glazed,
    )
    b.solids(BOX, walls, trim, [block(0.0, 0.0, 0.0 * u, length, 0.03, 0.08)], ~opened & b.chance(0.5, 4))
    pane = b.look("glass", 4, material=Material.GLASS)
    b.solids(BOX, walls, pane, [block(u, -0.06, low, width, 0.012, high)], hole & (glazed | b.chance(0.15, 4)))
    closed = opened & b.chance(0.4, 4)
    door_look = torch.where(b.chance(0.5, 4, 1), b.look("wood", 4), b.look("board", 4))
    b.solids(BOX, walls, door_look, [block(u, -0.08, 0.0 * u, width, 0.04, high)], closed)
    b.solids(BOX, walls, b.look("metal", 4), [block(u + width / 2 - 0.12, -0.03, 1.0 + 0 * u, 0.1, 0.06, 1.03)], closed)
    for s in (-1, 1):  # curtains: rows of slim cylinders
        fold = torch.arange(7, device=b.device)
        foot = walls.many(
            vec((u + s * (width / 2 + 0.1))[..., None] + (fold - 3) * 0.055, 0.13, 0.1), 0 * u[..., None] + fold * 0
        )
        top = foot.origin.unflatten(1, (4, 7)) + vec(0 * fold.float(), 0.0, 1.0) * (high + 0.05)[..., None, None]
        b.rods(foot.origin.unflatten(1, (4, 7)), top, 0.035, b.look("fabric", 4), glazed & b.chance(0.4, 4)[:, :])

    far = torch.where(
        glazed, b.uniform(6, 25, 4), b.uniform(1.5, 3.0, 4)
    )  # the street's other side, the next room's wall
    beyond = torch.where(glazed[..., None], b.look("facade", 4, casts=False), b.look("wall", 4, casts=False))
    tall = torch.where(glazed, b.uniform(2, 12, 4), z)
    b.solids(
        BOX,
        walls,
        beyond,
        [block(0.0, -far - 0.1, -0.1 + 0 * u, length + 2 * outside + far, 0.1, tall)],
        hole & (opened | b.chance(0.6, 4)),
    )
    b.solids(
        BOX,
        walls,
        b.look("board", 4),
        [block(u + b.normal(0.5, 4), -far + 0.3, 0.0 * u, b.uniform(0.4, 1.0, 4), 0.4, b.uniform(0.5, 2.0, 4))],
        opened,
    )
    _hangings(b, walls, length, hole)
    return walls


def _hangings(b: Builder, walls: Pose, length: Tensor, hole: Tensor) -> None:
    """Pictures, a clock, sockets, and wall shelves; one mirror per scene at most."""
    for s in (-1, 1):
        where = b.chance(0.5, 4) & ~hole
        w, h, at = b.uniform(0.15, 0.7, 4), b.uniform(0.15, 0.5, 4), s * length * b.uniform(0.12, 0.35, 4)
        spot = walls.at(vec(at, 0.0, b.uniform(1.3, 1.7, 4)))
        b.solids(BOX, spot, b.look("wood", 4), [(vec(0 * w, 0.0, 0.0), vec(w, 0.018, h))], where)
        b.solids(BOX, spot, b.look("picture", 4), [(vec(0 * w, 0.0, 0.0), vec(w * 0.9, 0.021, h * 0.88))], where)
    board = b.chance(0.25, 4) & ~hole
    shelf_at = walls.at(vec(length * b.uniform(-0.3, 0.3, 4), 0.12, b.uniform(1.2, 1.8, 4)))
    wood = b.look("wood", 4)
    b.solids(BOX, shelf_at, wood, [(vec(0 * length, 0.0, -0.0125), vec(b.uniform(0.3, 0.6, 4), 0.12, 0.0125))], board)
    clutter(b, shelf_at, 0.35 + 0 * length, 0.09 + 0 * length, 1, 5, board, wood)
    b.solids(BOX, walls, b.look("board", 4), [(vec(length * 0.4, 0.0, 0.3), vec(0.04, 0.012, 0.04))])
    b.solids(
        TUBE, walls, b.look("board", 4), [(vec(length * -0.45, 0.12, 0.5), vec(0.02, 0.02, 0.5))], b.chance(0.2, 4)
    )
    one = torch.arange(4, device=b.device) == b.integer(4, 1)
    index = one.long().argmax(1)[:, None]
    rows = torch.arange(b.count, device=b.device)[:, None]
    pose = Pose(walls.origin[rows, index], walls.rotation[rows, index])
    free = ~hole[rows, index] & b.chance(0.35, 1)
    size = b.uniform(0.5, 1.2, 1), b.uniform(0.8, 1.5, 1)
    b.hang_mirror(pose.at(vec(b.normal(0.3, 1), 0.03, 1.3)), *size, free)


def _wall_slots(b: Builder, walls: Pose, size: Tensor, per_wall: int, depth: float) -> tuple[Pose, Tensor]:
    """Shuffled places along the walls, (N, 4 * per_wall), facing the room, and the width of each."""
    x, y, _ = size.unbind(1)
    length = torch.stack([x, y, x, y], 1)[..., None] - 1.0
    step = (torch.arange(per_wall, device=b.device) + 0.5) / per_wall - 0.5
    along = length * step + b.normal(0.08, 4, per_wall)
    spots = walls.many(vec(along, depth, 0.0), 0 * along)
    width = (length / per_wall * 0.92 + 0 * along).flatten(1)
    order = b.uniform(0, 1, 4 * per_wall).argsort(1)
    rows = torch.arange(b.count, device=b.device)[:, None]
    return Pose(spots.origin[rows, order], spots.rotation[rows, order]), width[rows, order]


def _some(pose: Pose, width: Tensor, first: int, count: int, out: float) -> tuple[Pose, Tensor]:
    chosen = slice(first, first + count)
    part = Pose(pose.origin[:, chosen], pose.rotation[:, chosen])
    return part.at(vec(0 * width[:, chosen], out, 0.0)), width[:, chosen]


def _furnish(b: Builder, walls: Pose, size: Tensor) -> None:
    slots, width = _wall_slots(b, walls, size, 3, 0.0)
    for first, count, out, make, limit in (
        (0, 2, 0.22, shelf, 1.4), (2, 2, 0.45, desk, 1.7), (4, 2, 0.34, cabinet, 1.6), (6, 1, 0.55, sofa, 2.2),
        (7, 1, 1.1, bed, 1.6),
    ):  # fmt: skip
        at, wide = _some(slots, width, first, count, out)
        make(b, at, wide.clamp(0.5, limit), b.chance(0.65, count))
    at, _ = _some(slots, width, 2, 2, 1.1)  # in front of the desks
    chair(b, Pose(at.origin, at.rotation).at(0 * at.origin, b.uniform(2.0, 4.3, 2)), b.chance(0.7, 2))
    at, _ = _some(slots, width, 8, 2, 0.35)
    plant(b, at, b.uniform(0.6, 1.6, 2), 26, b.chance(0.5, 2))
    at, _ = _some(slots, width, 10, 1, 0.35)
    floor_lamp(b, at, b.chance(0.5, 1))
    at, _ = _some(slots, width, 9, 3, 0.4)
    stool(b, at, b.chance(0.5, 3))


def _dining(b: Builder, size: Tensor, count: int) -> None:
    """Tables with chairs around, and single things, in the middle of the room."""
    x, y = size[:, :1], size[:, 1:2]
    spot = b.pose(b.uniform(-0.22, 0.22, count) * x, b.uniform(-0.22, 0.22, count) * y, 0.0, b.uniform(0, 6.3, count))
    width, depth = b.uniform(0.8, 1.7, count), b.uniform(0.6, 0.95, count)
    where = b.chance(0.7, count)
    table(
        b,
        spot,
        width,
        depth,
        torch.where(b.chance(0.25, count), b.uniform(0.35, 0.5, count), b.uniform(0.7, 0.78, count)),
        where,
        2,
        5,
    )
    side = torch.tensor((1.0, 1.0, -1.0, -1.0), device=b.device)
    left = torch.tensor((-0.25, 0.25, -0.25, 0.25), device=b.device)
    place = vec(left * width[..., None], side * (depth[..., None] / 2 + b.uniform(0.0, 0.35, count, 4)), 0.0)
    turn = torch.where(side > 0, math.pi, 0.0) + b.normal(0.35, count, 4)
    chair(b, spot.many(place, turn), (where[..., None] & b.chance(0.7, count, 4)).flatten(1))
    loose = b.pose(b.uniform(-0.4, 0.4, 4) * x, b.uniform(-0.4, 0.4, 4) * y, 0.0, b.uniform(0, 6.3, 4))
    stool(b, loose, b.chance(0.4, 4))


def _lamps(b: Builder, size: Tensor, count: int) -> None:
    x, y, z = (c[:, None] for c in size.unbind(1))
    panel = b.pose(b.uniform(-0.4, 0.4, count) * x, b.uniform(-0.45, 0.45, count) * y, z, 0 * b.uniform(0, 1, count))
    half = vec(b.uniform(0.1, 0.35, count), b.uniform(0.1, 0.6, count), 0.03)
    b.solids(BOX, panel, b.look("ceiling", count, emission=1.5), [(0 * half, half)], b.chance(0.6, count))


def room(b: Builder) -> View:
    """A furnished room, seen from somewhere within."""
    size = torch.stack([b.uniform(2.8, 7.5), b.uniform(2.8, 7.5), b.uniform(2.3, 3.1)], 1)
    walls = _shell(b, size, 0.3, 0.3)
    _furnish(b, walls, size)
    _dining(b, size, 2)
    _lamps(b, size, 3)
    someone = b.pose(
        b.uniform(-0.3, 0.3, 1) * size[:, :1], b.uniform(-0.3, 0.3, 1) * size[:, 1:2], 0.0, b.uniform(0, 6.3, 1)
    )
    person(b, someone, b.chance(0.2, 1))
    eye = torch.stack(
        [b.uniform(-0.42, 0.42) * size[:, 0], b.uniform(-0.42, 0.42) * size[:, 1], b.log_uniform(0.4, 2.0)], 1
    )
    aim = torch.stack([b.uniform(-0.4, 0.4) * size[:, 0], b.uniform(-0.4, 0.4) * size[:, 1], b.uniform(0.1, 1.5)], 1)
    away = -0.5 * eye * torch.tensor((1.0, 1.0, 0.0), device=b.device)
    lamp = torch.stack(
        [b.uniform(-0.35, 0.35) * size[:, 0], b.uniform(-0.35, 0.35) * size[:, 1], size[:, 2] * b.uniform(0.8, 0.97)], 1
    )
    return View(eye, aim + away, lamp, indoors=True)


def tabletop(b: Builder) -> View:
    """A table full of things, close by, in a room."""
    size = torch.stack([b.uniform(3.0, 6.0), b.uniform(3.0, 6.0), b.uniform(2.4, 3.0)], 1)
    walls = _shell(b, size, 0.25, 0.25)
    _furnish(b, walls, size)
    _lamps(b, size, 2)
    width, depth, height = b.uniform(0.7, 1.8, 1), b.uniform(0.6, 1.0, 1), b.uniform(0.65, 0.8, 1)
    spot = b.pose(
        b.uniform(-0.3, 0.3, 1) * size[:, :1], b.uniform(-0.3, 0.3, 1) * size[:, 1:2], 0.0, b.uniform(0, 6.3, 1)
    )
    table(b, spot, width, depth, height, torch.ones_like(width, dtype=torch.bool), 4, 6)
    chair(b, spot.many(vec(0 * width, -depth / 2 - 0.2, 0.0)[:, :, None], b.normal(0.4, 1, 1)), b.chance(0.4, 1))
    focus = spot.at(
        vec(b.uniform(-0.35, 0.35, 1) * width, b.uniform(-0.3, 0.3, 1) * depth, height + b.uniform(0.0, 0.12, 1))
    ).origin[:, 0]
    distance, pitch, around = b.log_uniform(0.35, 1.5), b.uniform(0.15, 1.3), b.uniform(0, 6.3)
    offset = vec(distance * pitch.cos() * around.cos(), distance * pitch.cos() * around.sin(), distance * pitch.sin())
    eye = focus + offset
    room_half = size[:, :2] * 0.46
    eye[:, :2] = eye[:, :2].maximum(-room_half).minimum(room_half)
    lamp = torch.stack(
        [b.uniform(-0.35, 0.35) * size[:, 0], b.uniform(-0.35, 0.35) * size[:, 1], size[:, 2] * b.uniform(0.75, 0.97)],
        1,
    )
    return View(eye, focus, lamp, indoors=True)


def corridor(b: Builder) -> View:
    """A long passage with doors, pipes and things along the walls."""
    size = torch.stack([b.uniform(1.5, 3.5), b.uniform(7.0, 26.0), b.uniform(2.2, 3.2)], 1)
    walls = _shell(b, size, 0.15, 0.4)
    x, y, z = (c[:, None] for c in size.unbind(1))
    doors = 10
    side = torch.where(b.chance(0.5, doors), 1.0, -1.0)
    spots = (torch.arange(doors, device=b.device) + 0.5) / doors - 0.5 + b.uniform(-0.03, 0.03, doors)
    at = b.pose(side * x / 2, spots * y, 0.0, side * (math.pi / 2))
    where = b.chance(0.6, doors)
    leaf = torch.where(b.chance(0.7, 1, 1), b.look("wood", 1), b.look("board", 1)).expand(-1, doors, -1)
    wide = b.uniform(0.8, 1.0, doors)
    b.solids(
        BOX, at, b.look("board", 1).expand(-1, doors, -1), [block(0.0, 0.0, 0.0 * wide, wide + 0.14, 0.06, 2.12)], where
    )
    b.solids(BOX, at, leaf, [block(0.0, 0.0, 0.0 * wide, wide, 0.09, 2.03)], where)
    b.solids(BOX, at, b.look("metal", doors), [block(wide * 0.4, 0.0, 1.0 + 0 * wide, 0.12, 0.2, 1.03)], where)
    lights = 6
    level = (torch.arange(lights, device=b.device) + 0.5) / lights - 0.5
    panel = b.pose(0.0, level * y, z, 0 * level * y)
    b.solids(
        BOX,
        panel,
        b.look("ceiling", lights, emission=2.0),
        [(vec(0 * level * y, 0.0, 0.0), vec(0.15, 0.6, 0.04 + 0 * level * y))],
    )
    pipes = torch.stack([vec(x * f, -y / 2, z - 0.1 - 0.1 * abs(f)) for f in (-0.42, -0.36, 0.4)], 2)
    ends = pipes * torch.tensor((1.0, -1.0, 1.0), device=b.device)
    b.rods(pipes, ends, b.uniform(0.02, 0.07, 1, 3), b.look("metal", 1), b.chance(0.4, 1))
    things = 6
    edge = torch.where(b.chance(0.5, things), 1.0, -1.0)
    at = b.pose(edge * (x / 2 - 0.35), b.uniform(-0.45, 0.45, things) * y, 0.0, edge * (math.pi / 2))
    kind = b.integer(6, things)
    cabinet(b, at, b.uniform(0.6, 1.2, things), kind == 0)
    stool(b, at, kind == 1)
    chair(b, at, kind == 2)
    plant(b, at, b.uniform(0.6, 1.4, things), 20, kind == 3)
    walker = b.pose(b.uniform(-0.3, 0.3, 2) * x, b.uniform(-0.4, 0.4, 2) * y, 0.0, b.uniform(0, 6.3, 2))
    person(b, walker, b.chance(0.25, 2))
    start = b.uniform(-0.48, -0.2)
    eye = torch.stack([b.uniform(-0.3, 0.3) * size[:, 0], start * size[:, 1], b.uniform(0.4, 1.8)], 1)
    aim = torch.stack([b.uniform(-0.6, 0.6) * size[:, 0], eye[:, 1] + b.uniform(2, 6), b.uniform(0.4, 1.6)], 1)
    lamp = torch.stack([b.uniform(-0.2, 0.2) * size[:, 0], eye[:, 1] + b.uniform(0.0, 6.0), size[:, 2] * 0.95], 1)
    return View(eye, aim, lamp, indoors=True)


def hall(b: Builder) -> View:
    """A large bare room: pillars, racks, tables in rows."""
    size = torch.stack([b.uniform(8, 22), b.uniform(8, 22), b.uniform(3.0, 6.0)], 1)
    walls = _shell(b, size, 0.4, 0.2)
    x, y, z = (c[:, None] for c in size.unbind(1))
    grid = torch.arange(9, device=b.device)
    gx, gy = (grid % 3 - 1) * 0.3, (grid // 3 - 1) * 0.3
    pillar = b.pose(gx * x, gy * y, 0.0, 0 * gx * x)
    r, square = b.uniform(0.12, 0.35, 1).expand(-1, 9), b.chance(0.5, 1)
    stone, there = b.look("wall", 1).expand(-1, 9, -1), b.chance(0.6, 1) & b.chance(0.8, 9)
    column = [(vec(0.0 * r, 0.0, z / 2), vec(r, r, z / 2))]
    b.solids(BOX, pillar, stone, column, there & square)
    b.solids(TUBE, pillar, stone, column, there & ~square)
    slots, width = _wall_slots(b, walls, size, 2, 0.0)
    shelf(b, *_some(slots, width.clamp(max=2.5), 0, 3, 0.3), b.chance(0.7, 3))
    cabinet(b, *_some(slots, width.clamp(max=2.5), 3, 3, 0.4), b.chance(0.7, 3))
    _dining(b, size, 4)
    _lamps(b, size, 5)
    loose = b.pose(b.uniform(-0.45, 0.45, 8) * x, b.uniform(-0.45, 0.45, 8) * y, 0.0, b.uniform(0, 6.3, 8))
    stool(b, loose, b.chance(0.6, 8))
    people = b.pose(b.uniform(-0.4, 0.4, 3) * x, b.uniform(-0.4, 0.4, 3) * y, 0.0, b.uniform(0, 6.3, 3))
    person(b, people, b.chance(0.4, 3))
    eye = torch.stack(
        [b.uniform(-0.45, 0.45) * size[:, 0], b.uniform(-0.45, 0.45) * size[:, 1], b.uniform(0.5, 2.0)], 1
    )
    aim = torch.stack([b.uniform(-0.3, 0.3) * size[:, 0], b.uniform(-0.3, 0.3) * size[:, 1], b.uniform(0.3, 1.6)], 1)
    lamp = torch.stack([b.uniform(-0.3, 0.3) * size[:, 0], b.uniform(-0.3, 0.3) * size[:, 1], size[:, 2] * 0.95], 1)
    return View(eye, aim, lamp, indoors=True)
