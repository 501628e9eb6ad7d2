"""Rooms, tabletops, corridors and halls. A room spans -X/2..X/2, -Y/2..Y/2, 0..height, with doors and windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .builder import CENTRE, Builder, Pose, vec
from .camera import View
from .casting import Shape
from .furniture import bed, block, cabinet, chair, desk, floor_lamp, shelf, sofa, stool, table, workplace
from .objects import person, plant
from .walls import build_walls, select_slots, wall_slots

BOX, TUBE = Shape.BOX, Shape.CYLINDER


def _furnish(b: Builder, walls: Pose, size: Tensor) -> None:
    slots, width = wall_slots(b, walls, size, 3, 0.0)
    for first, count, out, make, limit in (
        (0, 2, 0.22, shelf, 1.4), (2, 2, 0.45, desk, 1.7), (4, 2, 0.34, cabinet, 1.6), (6, 1, 0.55, sofa, 2.2),
        (7, 1, 1.1, bed, 1.6),
    ):  # fmt: skip
        at, wide = select_slots(slots, width, first, count, out)
        make(b, at, wide.clamp(0.5, limit), b.chance(0.65, count))
    at, _ = select_slots(slots, width, 2, 2, 1.1)  # in front of the desks
    chair(b, at.at(CENTRE, b.uniform(2.0, 4.3, 2)), b.chance(0.7, 2))
    at, _ = select_slots(slots, width, 8, 2, 0.35)
    plant(b, at, b.uniform(0.6, 1.6, 2), 26, b.chance(0.5, 2))
    at, _ = select_slots(slots, width, 10, 1, 0.35)
    floor_lamp(b, at, b.chance(0.5, 1))
    at, _ = select_slots(slots, width, 9, 3, 0.4)
    stool(b, at, b.chance(0.5, 3))


def _add_tables(b: Builder, size: Tensor, count: int) -> None:
    """Add tables with chairs and single objects in the middle of the room."""
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


def _add_ceiling_lamps(b: Builder, size: Tensor, count: int) -> None:
    x, y, z = (c[:, None] for c in size.unbind(1))
    panel = b.pose(b.uniform(-0.4, 0.4, count) * x, b.uniform(-0.45, 0.45, count) * y, z)
    half = vec(b.uniform(0.1, 0.35, count), b.uniform(0.1, 0.6, count), 0.03)
    b.solids(BOX, panel, b.look("ceiling", count, emission=1.5), [(CENTRE, half)], b.chance(0.6, count))


def room(b: Builder) -> View:
    """Build a furnished room that is seen from a random position inside."""
    size = torch.stack([b.uniform(2.8, 7.5), b.uniform(2.8, 7.5), b.uniform(2.3, 3.1)], 1)
    walls = build_walls(b, size, 0.3, 0.3)
    _furnish(b, walls, size)
    _add_tables(b, size, 2)
    _add_ceiling_lamps(b, size, 3)
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
    """Build a room that is seen from near a table with many objects."""
    size = torch.stack([b.uniform(3.0, 6.0), b.uniform(3.0, 6.0), b.uniform(2.4, 3.0)], 1)
    walls = build_walls(b, size, 0.25, 0.25)
    _furnish(b, walls, size)
    _add_ceiling_lamps(b, size, 2)
    width, depth, height = b.uniform(0.7, 1.8, 1), b.uniform(0.6, 1.0, 1), b.uniform(0.65, 0.8, 1)
    spot = b.pose(
        b.uniform(-0.3, 0.3, 1) * size[:, :1], b.uniform(-0.3, 0.3, 1) * size[:, 1:2], 0.0, b.uniform(0, 6.3, 1)
    )
    table(b, spot, width, depth, height, torch.ones_like(width, dtype=torch.bool), 4, 6)
    workplace(b, spot.at(vec(0.0, 0.0, height)), b.chance(0.4, 1))
    chair(b, spot.at(vec(0.0, -depth / 2 - 0.2, 0.0), b.normal(0.4, 1)), b.chance(0.4, 1))
    focus = spot.at(
        vec(b.uniform(-0.35, 0.35, 1) * width, b.uniform(-0.3, 0.3, 1) * depth, height + b.uniform(0.0, 0.12, 1))
    ).origin[:, 0]
    distance, pitch, azimuth = b.log_uniform(0.3, 1.5), b.uniform(0.15, 1.3), b.uniform(0, 6.3)
    offset = vec(distance * pitch.cos() * azimuth.cos(), distance * pitch.cos() * azimuth.sin(), distance * pitch.sin())
    eye = focus + offset
    room_half = size[:, :2] * 0.46
    eye[:, :2] = eye[:, :2].maximum(-room_half).minimum(room_half)
    lamp = torch.stack(
        [b.uniform(-0.35, 0.35) * size[:, 0], b.uniform(-0.35, 0.35) * size[:, 1], size[:, 2] * b.uniform(0.75, 0.97)],
        1,
    )
    return View(eye, focus, lamp, indoors=True)


def corridor(b: Builder) -> View:
    """Build a long corridor with doors, pipes and objects along the walls."""
    size = torch.stack([b.uniform(1.5, 3.5), b.uniform(7.0, 26.0), b.uniform(2.2, 3.2)], 1)
    build_walls(b, size, 0.15, 0.4)
    x, y, z = (c[:, None] for c in size.unbind(1))
    doors = 10
    side = torch.where(b.chance(0.5, doors), 1.0, -1.0)
    spots = (torch.arange(doors, device=b.device) + 0.5) / doors - 0.5 + b.uniform(-0.03, 0.03, doors)
    at = b.pose(side * x / 2, spots * y, 0.0, side * (math.pi / 2))
    where = b.chance(0.6, doors)
    leaf = torch.where(b.chance(0.7, 1, 1), b.look("wood", 1), b.look("board", 1)).expand(-1, doors, -1)
    wide = b.uniform(0.8, 1.0, doors)
    b.solids(BOX, at, b.look("board", 1).expand(-1, doors, -1), [block(0.0, 0.0, 0.0, wide + 0.14, 0.06, 2.12)], where)
    b.solids(BOX, at, leaf, [block(0.0, 0.0, 0.0, wide, 0.09, 2.03)], where)
    b.solids(BOX, at, b.look("metal", doors), [block(wide * 0.4, 0.0, 1.0, 0.12, 0.2, 1.03)], where)
    lights = 6
    level = (torch.arange(lights, device=b.device) + 0.5) / lights - 0.5
    panel = b.pose(0.0, level * y, z)
    b.solids(
        BOX,
        panel,
        b.look("ceiling", lights, emission=2.0),
        [(CENTRE, vec(0.15, 0.6, 0.04))],
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
    """Build a large, sparsely furnished room with pillars, shelves and tables."""
    size = torch.stack([b.uniform(8, 22), b.uniform(8, 22), b.uniform(3.0, 6.0)], 1)
    walls = build_walls(b, size, 0.4, 0.2)
    x, y, z = (c[:, None] for c in size.unbind(1))
    grid = torch.arange(9, device=b.device)
    gx, gy = (grid % 3 - 1) * 0.3, (grid // 3 - 1) * 0.3
    pillar = b.pose(gx * x, gy * y, 0.0)
    r, square = b.uniform(0.12, 0.35, 1).expand(-1, 9), b.chance(0.5, 1)
    stone, there = b.look("wall", 1).expand(-1, 9, -1), b.chance(0.6, 1) & b.chance(0.8, 9)
    column = [(vec(0.0, 0.0, z / 2), vec(r, r, z / 2))]
    b.solids(BOX, pillar, stone, column, there & square)
    b.solids(TUBE, pillar, stone, column, there & ~square)
    slots, width = wall_slots(b, walls, size, 2, 0.0)
    shelf(b, *select_slots(slots, width.clamp(max=2.5), 0, 3, 0.3), b.chance(0.7, 3))
    cabinet(b, *select_slots(slots, width.clamp(max=2.5), 3, 3, 0.4), b.chance(0.7, 3))
    _add_tables(b, size, 4)
    _add_ceiling_lamps(b, size, 5)
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
