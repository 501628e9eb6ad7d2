"""Build furnished rooms with the models of a library."""

from __future__ import annotations

import numpy as np

from .clutter import scatter_on_floor
from .furniture import furnish
from .lamps import light
from .library import Library
from .room import Room, Work
from .stock import Stock
from .walls import build_shell

SHARES = {
    "living": 0.24, "bedroom": 0.14, "kitchen": 0.16, "office": 0.16, "bathroom": 0.06, "corridor": 0.08, "hall": 0.08,
    "store": 0.08,
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
        build_shell(work)
        furnish(work)
        scatter_on_floor(work)
        light(work)
        return work.room
