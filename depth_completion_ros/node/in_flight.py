"""Count the frames that several threads are completing at the same time, and keep them in order."""

from __future__ import annotations

import threading


class InFlight:
    """Frames enter one after the other, are completed in any order, and leave in the order in which they entered."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entered = 0
        self._left = 0

    def enter(self) -> int:
        """Add a frame; returns its number, which the other methods take."""
        with self._changed:
            self._entered += 1
            return self._entered - 1

    def wait_for_turn(self, number: int) -> None:
        """Wait until all frames that entered before this one have left."""
        with self._changed:
            self._changed.wait_for(lambda: self._left == number)

    def leave(self, number: int) -> None:
        """Remove a frame, after all frames that entered before it."""
        with self._changed:
            self._changed.wait_for(lambda: self._left == number)
            self._left += 1
            self._changed.notify_all()

    def wait_until_fewer_than(self, frames: int) -> None:
        """Wait until fewer than this number of frames are left."""
        with self._changed:
            self._changed.wait_for(lambda: self._entered - self._left < frames)
