"""The models of a library by their use in a room or a street."""

from __future__ import annotations

from .assets import OUTDOOR
from .library import Library, Model

_NOT_STANDING = (
    "plug", "switch", "socket", "dimmer", "ring", "speech", "rug", "carpet", "hanger", "fence", "portrait", "curtain",
    "board_", "walkway", "truss", "wall", "barrier", "ladder_", "handle", "wire",
)  # fmt: skip
_STREET_ONLY = tuple(kind for kind in OUTDOOR if kind not in ("plant", "person"))
_LARGEST_IN_ROOMS = 3.3  # plants [m]
_LOWEST_BUILDING, _NARROWEST_BUILDING = 3.2, 5.0  # [m]
_NOT_BUILDINGS = ("room", "wall", "floor", "roof", "pen", "office_", "_office", "ground")
_SHORTEST_VEHICLE = 1.4  # [m]
_NOT_ON_STREETS = ("box_target", "bridge", "interchange", "mud", "field", "pier", "standpipe", "stop_light", "tower")


class Stock:
    """Lists of models by use. A list may be empty.

    Attributes:
        small: Objects that stand on tables and shelves.
        large: Furniture that stands on the floor.
        hung: Objects that hang on walls.
        doors: Doors that are placed in front of walls.
        buildings, vehicles, street, trees, people: Objects in streets; street is street furniture such as signs.
    """

    def __init__(self, library: Library) -> None:
        outdoor = [model for model in library.models if model.kind in OUTDOOR]
        models = [
            m for m in library.models
            if m.kind not in ("Characters", *_STREET_ONLY)
            and (m.kind not in OUTDOOR or m.size.max() < _LARGEST_IN_ROOMS)
        ]  # fmt: skip
        standing = [m for m in models if not any(word in m.name.lower() for word in _NOT_STANDING)]
        self.small = [
            m for m in standing
            if m.size.max() < 0.55 and m.size.min() > 0.004 and m.elevation < 0.3 and len(m.triangles) < 7000
        ]  # fmt: skip
        self.large = [
            m for m in standing
            if m.support is not None and m.size.max() < 3.4 and m.elevation < 0.25 and not m.door and m.kind != "Lights"
        ]  # fmt: skip
        self.hung = [m for m in models if m.elevation >= 0.5 and not m.door and m.size.max() < 2.5]
        self.doors = [m for m in models if m.door and "oor" in m.name and m.size[2] > 1.7]
        self.buildings = [
            m for m in outdoor
            if m.kind == "building" and m.size[2] > _LOWEST_BUILDING and m.size[:2].min() > _NARROWEST_BUILDING
            and not any(word in m.name.lower() for word in _NOT_BUILDINGS)
        ]  # fmt: skip
        self.vehicles = [m for m in outdoor if m.kind == "vehicle" and m.size[:2].max() > _SHORTEST_VEHICLE]
        self.street = [m for m in outdoor if m.kind == "street" and not any(w in m.name for w in _NOT_ON_STREETS)]
        self.street += named(outdoor, "stop_light_post")
        self.trees = named([m for m in outdoor if m.kind == "plant"], "tree")
        self.people = [m for m in outdoor if m.kind == "person"]


def named(models: list[Model], *words: str) -> list[Model]:
    """Return the models whose names contain one of the words."""
    return [model for model in models if any(word in model.name.lower() for word in words)]
