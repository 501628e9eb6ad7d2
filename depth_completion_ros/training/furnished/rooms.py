"""Build furnished rooms and streets with the models of a library."""

from __future__ import annotations

import numpy as np

from .clutter import scatter_on_floor
from .furniture import furnish
from .lamps import light
from .library import Library
from .room import STREET, Room, Work
from .stock import Stock
from .streets import build_street, light_street
from .walls import build_shell

SHARES = {
    "living": 0.21, "bedroom": 0.12, "kitchen": 0.14, "office": 0.14, "bathroom": 0.06, "corridor": 0.07, "hall": 0.07,
    "store": 0.07, STREET: 0.12,
}  # fmt: skip
"""Kinds of rooms and their probabilities."""


class RoomMaker:
    """Builds rooms with the models of a library."""

    def __init__(self, library: Library) -> None:
        self._library, self._stock = library, Stock(library)

    def make(self, rng: np.random.Generator, kind: str | None = None) -> Room:
        """Build a random room. kind: one of ``SHARES``; None = random."""
        kind = kind or str(rng.choice(list(SHARES), p=list(SHARES.values())))
        work = Work(self._library, self._stock, rng, kind)
        if kind == STREET:
            build_street(work)
            light_street(work)
            return work.room
        build_shell(work)
        furnish(work)
        scatter_on_floor(work)
        light(work)
        return work.room
