"""Build streets: a road and pavements between buildings, with vehicles, people, trees, poles and fences."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .library import Model
from .room import TRIANGLES, Occupied, Work

_SIDE_MARGIN, _END_MARGIN = 45.0, 70.0  # extent of the ground beyond the sides and the ends of a street [m]
_KERB = 0.12  # height of the pavements [m]
_MAX_HEIGHT = 14.0  # of buildings that are made of boxes [m]
_TRIES = 6  # number of random positions that are tried for each object


def build_street(work: Work) -> None:
    """Build the ground and the buildings, and place the objects. The street runs along y, from 0 to its length."""
    width, length, height = work.room.size
    pavement = float(work.rng.uniform(1.5, 0.22 * width))
    _add_ground(work, pavement)
    for side in (-1, 1):
        _add_buildings(work, side)
    if work.rng.random() < 0.5:
        _add_building_across(work)
    _add_vehicles(work, pavement)
    _add_roadside_objects(work, pavement)
    scene = work.build.scene
    scene.low, scene.high = np.array([-8.0, -8.0, 0.0]), np.array([width + 8.0, length + 8.0, height])


def light_street(work: Work) -> None:
    """Add the light of the sky and, in most streets, of the sun."""
    r, scene = work.rng, work.build.scene
    cloudy = r.random() < 0.3
    tint = r.uniform(-0.1, 0.1)
    scene.ambient = np.array([1 - tint, 1, 1 + tint]) * r.uniform(0.5, 1.2)
    scene.sky = np.full(3, r.uniform(1, 4))
    if not cloudy:
        direction = np.array([*r.normal(0, 1, 2), r.uniform(0.25, 2.0)])
        scene.sun = direction / np.linalg.norm(direction), r.uniform(1, 5) * np.array([1, r.uniform(0.85, 1), 0.8])
    scene.panorama = int(r.integers(len(work.build.library.panoramas)))
    scene.turn = float(r.random())


def _add_ground(work: Work, pavement: float) -> None:
    """Add the road with its markings, and a raised pavement on each side. pavement: width of a pavement [m]."""
    r, build = work.rng, work.build
    width, length, _ = work.room.size
    low, long = -_END_MARGIN, length + 2 * _END_MARGIN
    build.quad((0, low, 0), (width, 0, 0), (0, long, 0), build.surface("floor", "wall", scale=2.5, gloss=0.0))
    paving, edge = build.surface("floor", "wall", scale=1.5), build.surface("wall", "plain")
    for start, end in ((-_SIDE_MARGIN, pavement), (width - pavement, width + _SIDE_MARGIN)):
        middle = (start + end) / 2, low + long / 2, _KERB / 2
        build.box(middle, ((end - start) / 2, long / 2, _KERB / 2), 0.0, [paving, edge, edge])
    if r.random() < 0.7:
        white = build.surface("plain", gloss=0.0)
        step, line = r.uniform(3, 8), r.uniform(1, 4)
        for y in np.arange(-10, length + 10, step):
            build.box((width / 2, y, 0.002), (0.07, line / 2, 0.002), 0.0, white)


def _add_buildings(work: Work, side: int) -> None:
    """Add a row of buildings along one side: models, and boxes with windows. side: -1 at x = 0, 1 at x = width."""
    r = work.rng
    width, length, _ = work.room.size
    front = 0.0 if side < 0 else width
    y = float(r.uniform(-15, 0))
    while y < length + 10:
        setback = float(r.choice([0.0, r.uniform(0, 6)]))
        if work.stock.buildings and work.triangles < TRIANGLES / 2 and r.random() < 0.6:
            model = work.pick(work.stock.buildings)
            turns = int(r.integers(4))
            deep, wide = model.size[:2] if turns % 2 == 0 else model.size[1::-1]
            scale = float(r.uniform(0.8, 1.15))
            x = front + side * (setback + deep * scale / 2)
            work.place(model, (x, y + wide * scale / 2, _KERB), turns * math.pi / 2, scale)
            y += wide * scale
        elif r.random() < 0.75:
            wide, deep, high = r.uniform(5, 18), r.uniform(6, 12), r.uniform(2.5, _MAX_HEIGHT)
            _add_house(work, front + side * setback, side, y, wide, deep, high)
            y += wide
        else:
            wide = r.uniform(4, 15)
            _add_fence(work, front + side * 0.1, y, wide)
            y += wide
        y += float(r.choice([0.0, r.uniform(0, 5), r.uniform(5, 15)], p=[0.4, 0.4, 0.2]))


def _add_house(work: Work, front: float, side: int, y: float, wide: float, deep: float, high: float) -> None:
    """Add a box with rows of windows, sometimes with balconies. front: x of the wall that faces the street [m]."""
    r, build = work.rng, work.build
    wall = build.surface("wall")
    centre = np.array([front + side * deep / 2, y + wide / 2, high / 2 + _KERB])
    build.box(centre, (deep / 2, wide / 2, high / 2), 0.0, wall)
    pane = build.glass() if r.random() < 0.3 else build.surface("photo", "picture", "plain", gloss=0.9)
    recess = float(r.uniform(-0.04, 0.12))  # positive: the frame protrudes from the wall
    column, row = r.uniform(1.4, 3.5), r.uniform(2.5, 3.5)
    half = np.array([r.uniform(0.02, 0.06), r.uniform(0.3, 0.45) * column, r.uniform(0.35, 0.6) * row / 1.5])
    balconies = r.random() < 0.3
    for across in np.arange(y + column / 2, y + wide - column / 2, column):
        for z in np.arange(_KERB + row * 0.55, high - half[2], row):
            at = np.array([front - side * recess / 2, across, z])
            build.box(at, (abs(recess) / 2 + 0.01, half[1] + 0.06, half[2] + 0.06), 0.0, work.frame)
            build.box(at - (side * (abs(recess) / 2 + 0.012), 0, 0), (0.004, half[1], half[2]), 0.0, pane)
            if balconies and z > row:
                base = np.array([front - side * 0.5, across, z - half[2] - 0.1])
                build.box(base, (0.5, half[1] + 0.3, 0.06), 0.0, wall)
                build.box(base - (side * 0.47, 0, -0.5), (0.02, half[1] + 0.3, 0.45), 0.0, work.frame)


def _add_building_across(work: Work) -> None:
    """Add a building across the end of the street."""
    r = work.rng
    width, length, _ = work.room.size
    y = length + float(r.uniform(2, 30))
    if work.stock.buildings and r.random() < 0.6:
        model = work.pick(work.stock.buildings)
        work.place(model, (width / 2, y + model.size[:2].max() / 2, _KERB), float(r.integers(4)) * math.pi / 2)
    else:
        high = float(r.uniform(4, _MAX_HEIGHT))
        work.build.box((width / 2, y + 4, high / 2), (width * 0.8, 4, high / 2), 0.0, work.build.surface("wall"))


def _add_fence(work: Work, x: float, y: float, wide: float) -> None:
    """Add a garden wall, or posts with rails."""
    r, build = work.rng, work.build
    high = float(r.uniform(0.6, 2.2))
    material = build.surface("wall", "wood", "plain")
    if r.random() < 0.4:
        build.box((x, y + wide / 2, high / 2 + _KERB), (0.1, wide / 2, high / 2), 0.0, material)
        return
    for post in np.arange(y, y + wide, float(r.uniform(0.15, 2.0))):
        build.box((x, post, high / 2 + _KERB), (0.03, 0.03, high / 2), 0.0, material)
    for z in np.linspace(0.15, 1, int(r.integers(2, 5))) * high:
        build.box((x, y + wide / 2, z + _KERB), (0.02, wide / 2, 0.03), 0.0, material)


def _add_vehicles(work: Work, pavement: float) -> None:
    """Add vehicles that are parked at the kerbs or drive on the road."""
    r = work.rng
    width, length, _ = work.room.size
    if not work.stock.vehicles:
        return
    for model in _random_models(work, work.stock.vehicles, int(r.integers(2, 14))):
        wide, long = sorted(model.size[:2])
        turned = model.size[0] > model.size[1]
        yaw = (math.pi / 2 if turned else 0.0) + math.pi * float(r.integers(2)) + float(r.normal(0, 0.05))
        for _ in range(_TRIES):
            parked = r.random() < 0.7
            near = pavement + wide / 2 + r.uniform(0.1, 0.5)
            x = float(r.choice([near, width - near])) if parked else float(r.uniform(near, width - near))
            y = float(r.uniform(0, length))
            if _place_if_free(work, model, x, y, wide, long, 0.0, yaw):
                break


def _add_roadside_objects(work: Work, pavement: float) -> None:
    """Add poles, signs, trees and people on the pavements, and a few of them on the road."""
    r, stock = work.rng, work.stock
    width, length, _ = work.room.size
    things = [
        *_random_models(work, stock.street, int(r.integers(2, 12))),
        *_random_models(work, stock.trees, int(r.integers(0, 4))),
        *_random_models(work, stock.people, int(r.integers(0, 5))),
    ]
    for model in things:
        scale = float(r.uniform(0.6, 1.4)) if model.kind == "plant" else 1.0
        wide, long, _ = model.size * scale
        footprint = min(wide, 1.0), min(long, 1.0)  # arms of lamps and crowns of trees may extend over the road
        for _ in range(_TRIES):
            on_road = r.random() < 0.15
            x = float(r.uniform(0, width)) if on_road else _x_on_pavement(work, pavement)
            yaw = float(r.integers(4)) * math.pi / 2 + float(r.normal(0, 0.2))
            if _place_if_free(
                work, model, x, float(r.uniform(0, length)), *footprint, 0.0 if on_road else _KERB, yaw, scale
            ):
                break
    for _ in range(int(r.integers(2, 12))):
        _add_pole(work, _x_on_pavement(work, pavement), float(r.uniform(0, length)))


def _add_pole(work: Work, x: float, y: float) -> None:
    """Add a pole, a tree trunk with a crown, or a sign."""
    r, build = work.rng, work.build
    if not work.room.fits(x, y, 0.5, 0.5):
        return
    radius, high = float(r.uniform(0.03, 0.2)), float(r.uniform(1.0, 8.0))
    post = build.surface("metal", "wood", "plain", "wall")
    build.revolution((x, y, 0), [(radius, 0), (radius * r.uniform(0.6, 1), high)], post, 10)
    kind = r.random()
    if kind < 0.35:
        crown = build.surface("rug", "fabric", "plain", scale=0.5, gloss=0.0)
        for _ in range(int(r.integers(1, 5))):
            at = (x + r.normal(0, 0.4), y + r.normal(0, 0.4), high + r.uniform(-0.4, 0.8))
            build.ball(at, float(r.uniform(0.4, 1.5)), crown)
    elif kind < 0.6:
        half = 0.02, float(r.uniform(0.15, 0.5)), float(r.uniform(0.15, 0.6))
        build.box((x, y, high - half[2]), half, float(r.uniform(0, math.pi)), build.flat("picture", "screen", "plain"))
    work.room.taken.append(Occupied(x, y, 0.4, 0.4, high))


def _x_on_pavement(work: Work, pavement: float) -> float:
    """Return a random x on one of the pavements [m]."""
    x = float(work.rng.uniform(0.2, pavement - 0.2))
    return x if work.rng.random() < 0.5 else work.room.size[0] - x


def _random_models(work: Work, models: list[Model], count: int) -> Iterator[Model]:
    """Yield ``count`` random models, or fewer if the street has enough triangles."""
    for _ in range(count if models else 0):
        if work.triangles < TRIANGLES:
            yield work.pick(models)


def _place_if_free(
    work: Work, model: Model, x: float, y: float, wide: float, long: float, z: float, yaw: float, scale: float = 1.0
) -> bool:
    """Place a model on the ground if its footprint is free. Return whether it was placed."""
    if not work.room.fits(x, y, wide, long):
        return False
    work.place(model, (x, y, z), yaw, scale)
    work.room.taken.append(Occupied(x, y, wide, long, float(model.size[2]) * scale))
    return True
