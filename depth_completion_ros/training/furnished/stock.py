"""The models of a library by their use in a room."""

from __future__ import annotations

from .library import Library, Model

_NOT_STANDING = (
    "plug", "switch", "socket", "dimmer", "ring", "speech", "rug", "carpet", "hanger", "fence", "portrait", "curtain",
    "board_", "walkway", "truss", "wall", "barrier", "ladder_", "handle", "wire",
)  # fmt: skip


class Stock:
    """Lists of models by use. A list may be empty.

    Attributes:
        small: Objects that stand on tables and shelves.
        large: Furniture that stands on the floor.
        hung: Objects that hang on walls.
        doors: Doors that are placed in front of walls.
    """

    def __init__(self, library: Library) -> None:
        models = [model for model in library.models if model.kind != "Characters"]
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


def named(models: list[Model], *words: str) -> list[Model]:
    """Return the models whose names contain one of the words."""
    return [model for model in models if any(word in model.name.lower() for word in words)]
