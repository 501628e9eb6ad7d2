"""A slot for one item between two threads: the newest wins, so that latency stays bounded under any load."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """One producer puts, one consumer takes; an item not taken in time is replaced by the next."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; True where it replaced one that was never taken. After ``close`` it is let go."""
        with self._changed:
            if self._closed:
                return False
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
            return replaced

    def take(self, timeout: float | None = None) -> Item | None:
        """Wait for an item; None where the mailbox was closed, or ``timeout`` seconds went by."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Let go of the item and wake the consumer for good."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed
