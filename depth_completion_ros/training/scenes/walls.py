"""The walls of a room with doors and windows, the view outside, objects on the walls, and positions for furniture.

A room spans -X/2..X/2, -Y/2..Y/2 and 0..Z.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..scene_batch import Material
from .builder import CENTRE, Builder, Pose, vec
from .casting import Shape
from .furniture import block
from .objects import clutter

BOX, TUBE = Shape.BOX, Shape.CYLINDER
_THICKNESS = 0.15  # of the walls [m]
_OVERHANG = 3.0  # extension of the ceiling over the next room [m]


class Opening(NamedTuple):
    """At most one opening in each wall, (N, 4) each.

    Attributes:
        middle: Position of the middle along the wall [m].
        width: Width [m].
        low: Height of the lower edge [m].
        high: Height of the upper edge [m].
        glazed: Whether the opening is a window.
        opened: Whether the opening is a doorway.
    """

    middle: Tensor
    width: Tensor
    low: Tensor
    high: Tensor
    glazed: Tensor
    opened: Tensor


def build_walls(b: Builder, size: Tensor, window: float, door: float) -> Pose:
    """Add floor, ceiling, four walls with openings, and objects outside.

    Args:
        b: The builder.
        size: Sizes of the rooms [m], (N, 3).
        window: Probability of a window in a wall.
        door: Probability of a doorway in a wall.

    Returns:
        Poses of the walls (N, 4). Their origin is the middle of the wall's lower edge, and they face the room.
    """
    x, y, z = (c[:, None] for c in size.unbind(1))
    middle = b.pose(0.0, 0.0, 0.0)
    floor, ceiling = b.look("floor", 1, casts=False), b.look("ceiling", 1, casts=False)
    b.solids(BOX, middle, floor, [block(0.0, 0.0, -0.3, x + 60, y + 60, 0.0)])
    b.solids(BOX, middle, ceiling, [block(0.0, 0.0, z, x + 2 * _OVERHANG, y + 2 * _OVERHANG, z + 0.2)])
    rug = (vec(0.0, 0.0, 0.004), vec(x * b.uniform(0.15, 0.35, 1), y * b.uniform(0.15, 0.35, 1), 0.006))
    b.solids(BOX, middle.at(vec(b.normal(0.3, 1), b.normal(0.3, 1), 0.0)), b.look("rug", 1), [rug], b.chance(0.4, 1))

    side = torch.tensor(((0.0, -0.5), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0)), device=b.device)
    turn = torch.arange(4, device=b.device) * (math.pi / 2)
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
    left, right = u - width / 2, u + width / 2
    b.solids(BOX, walls, look, [
        block((left - length / 2) / 2, -_THICKNESS / 2, 0.0, left + length / 2, _THICKNESS, z),
        block((right + length / 2) / 2, -_THICKNESS / 2, 0.0, length / 2 - right, _THICKNESS, z),
        block(u, -_THICKNESS / 2, 0.0, width, _THICKNESS, low), block(u, -_THICKNESS / 2, high, width, _THICKNESS, z),
    ])  # fmt: skip
    b.solids(BOX, walls, look, [block(0.0, 0.0, 0.0, length, 0.03, 0.08)], ~opened & b.chance(0.5, 4))
    opening = Opening(u, width, low, high, glazed, opened)
    _fill_openings(b, walls, opening)
    _add_surroundings(b, walls, opening, length, z)
    _add_wall_objects(b, walls, length, hole)
    return walls


def _fill_openings(b: Builder, walls: Pose, opening: Opening) -> None:
    """Add frames, panes, doors and curtains."""
    u, width, low, high, glazed, opened = opening
    trim = b.look("board", 4, casts=False)
    frame = [block(u + s * width / 2, 0.0, low, 0.07, _THICKNESS + 0.05, high) for s in (-1, 1)]
    frame += [block(u, 0.0, high, width + 0.07, _THICKNESS + 0.05, high + 0.07)]
    b.solids(BOX, walls, trim, frame, glazed | opened)
    b.solids(
        BOX,
        walls,
        trim,
        [block(u, -0.05, low, 0.05, 0.05, high), block(u, 0.05, low - 0.03, width + 0.1, 0.25, low)],
        glazed,
    )
    pane = b.look("glass", 4, material=Material.GLASS)
    b.solids(BOX, walls, pane, [block(u, -0.06, low, width, 0.012, high)], glazed | (opened & b.chance(0.15, 4)))
    closed = opened & b.chance(0.4, 4)
    door_look = torch.where(b.chance(0.5, 4, 1), b.look("wood", 4), b.look("board", 4))
    b.solids(BOX, walls, door_look, [block(u, -0.08, 0.0, width, 0.04, high)], closed)
    b.solids(BOX, walls, b.look("metal", 4), [block(u + width / 2 - 0.12, -0.03, 1.0, 0.1, 0.06, 1.03)], closed)
    for s in (-1, 1):  # curtains are rows of thin cylinders
        fold = torch.arange(7, device=b.device)
        foot = walls.many(
            vec((u + s * (width / 2 + 0.1))[..., None] + (fold - 3) * 0.055, 0.13, 0.1), 0 * u[..., None] + fold * 0
        )
        top = foot.origin.unflatten(1, (4, 7)) + vec(0 * fold.float(), 0.0, 1.0) * (high + 0.05)[..., None, None]
        b.rods(foot.origin.unflatten(1, (4, 7)), top, 0.035, b.look("fabric", 4), glazed & b.chance(0.4, 4))


def _add_surroundings(b: Builder, walls: Pose, opening: Opening, length: Tensor, height: Tensor) -> None:
    """Add the surfaces that are visible through the openings: a house across the street, or the next room."""
    u, _, _, _, glazed, opened = opening
    # the other side of the street, or the wall of the next room
    far = torch.where(glazed, b.uniform(6, 25, 4), b.uniform(1.5, 3.0, 4))
    beyond = torch.where(glazed[..., None], b.look("facade", 4, casts=False), b.look("wall", 4, casts=False))
    tall = torch.where(glazed, b.uniform(2, 12, 4), height)
    b.solids(
        BOX,
        walls,
        beyond,
        [block(0.0, -far - 0.1, -0.1, length + 2 * _OVERHANG + far, 0.1, tall)],
        opened | (glazed & b.chance(0.6, 4)),
    )
    b.solids(
        BOX,
        walls,
        b.look("board", 4),
        [block(u + b.normal(0.5, 4), -far + 0.3, 0.0, b.uniform(0.4, 1.0, 4), 0.4, b.uniform(0.5, 2.0, 4))],
        opened,
    )


def _add_wall_objects(b: Builder, walls: Pose, length: Tensor, hole: Tensor) -> None:
    """Add pictures, shelves, sockets and pipes, and at most one mirror to each scene."""
    for s in (-1, 1):
        where = b.chance(0.5, 4) & ~hole
        w, h, at = b.uniform(0.15, 0.7, 4), b.uniform(0.15, 0.5, 4), s * length * b.uniform(0.12, 0.35, 4)
        spot = walls.at(vec(at, 0.0, b.uniform(1.3, 1.7, 4)))
        b.solids(BOX, spot, b.look("wood", 4), [(CENTRE, vec(w, 0.018, h))], where)
        b.solids(BOX, spot, b.look("picture", 4), [(CENTRE, vec(w * 0.9, 0.021, h * 0.88))], where)
    board = b.chance(0.25, 4) & ~hole
    shelf_at = walls.at(vec(length * b.uniform(-0.3, 0.3, 4), 0.12, b.uniform(1.2, 1.8, 4)))
    wood = b.look("wood", 4)
    b.solids(BOX, shelf_at, wood, [(vec(0.0, 0.0, -0.0125), vec(b.uniform(0.3, 0.6, 4), 0.12, 0.0125))], board)
    clutter(b, shelf_at, b.uniform(0.3, 0.4, 4), b.uniform(0.07, 0.09, 4), 1, 5, board, wood)
    b.solids(BOX, walls, b.look("board", 4), [(vec(length * 0.4, 0.0, 0.3), vec(0.04, 0.012, 0.04))])
    b.solids(
        TUBE, walls, b.look("board", 4), [(vec(length * -0.45, 0.12, 0.5), vec(0.02, 0.02, 0.5))], b.chance(0.2, 4)
    )
    index = (b.uniform(0, 1, 4) - hole.float()).argmax(1, keepdim=True)  # a wall without a hole, if there is one
    rows = torch.arange(b.count, device=b.device)[:, None]
    pose = Pose(walls.origin[rows, index], walls.rotation[rows, index])
    free = ~hole[rows, index] & b.chance(0.6, 1)
    size = b.uniform(0.5, 1.6, 1), b.uniform(0.8, 1.7, 1)
    b.hang_mirror(pose.at(vec(b.normal(0.3, 1), 0.03, 1.3)), *size, free)


def wall_slots(b: Builder, walls: Pose, size: Tensor, per_wall: int, depth: float) -> tuple[Pose, Tensor]:
    """Return shuffled positions along the walls.

    Returns:
        Poses (N, 4 * per_wall) that face the room, and the width of each position [m].
    """
    x, y, _ = size.unbind(1)
    length = torch.stack([x, y, x, y], 1)[..., None] - 1.0
    step = (torch.arange(per_wall, device=b.device) + 0.5) / per_wall - 0.5
    x_along_wall = length * step + b.normal(0.08, 4, per_wall)
    spots = walls.many(vec(x_along_wall, depth, 0.0), 0 * x_along_wall)
    width = (length / per_wall * 0.92 + 0 * x_along_wall).flatten(1)
    order = b.uniform(0, 1, 4 * per_wall).argsort(1)
    rows = torch.arange(b.count, device=b.device)[:, None]
    return Pose(spots.origin[rows, order], spots.rotation[rows, order]), width[rows, order]


def select_slots(pose: Pose, width: Tensor, first: int, count: int, out: float) -> tuple[Pose, Tensor]:
    """Return some of the positions, moved away from the wall by ``out`` metres, and their widths."""
    chosen = slice(first, first + count)
    part = Pose(pose.origin[:, chosen], pose.rotation[:, chosen])
    return part.at(vec(0.0, out, 0.0)), width[:, chosen]
