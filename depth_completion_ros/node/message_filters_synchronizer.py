"""ROS's own approximate time synchroniser behind the interface of ours, for those who trust it more."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..errors import ConfigurationError
from ..synchronizer import Pair, Stream


class MessageFiltersSynchronizer:
    """As ``Synchronizer``; message_filters counts no drops and no jumps, and slop_ns is fixed at construction.

    Raises ConfigurationError where message_filters is not installed (it comes with ROS; there is no wheel of it).
    """

    def __init__(self, slop_ns: int, queue_size: int):
        try:
            import message_filters
        except ImportError as error:
            raise ConfigurationError(
                "sync.method message_filters needs the ROS package message_filters: install it, or use nearest"
            ) from error
        self.slop_ns = slop_ns
        self.dropped: Counter[str] = Counter()
        self.jumps = 0
        self._filters = {"rgb": message_filters.SimpleFilter(), "depth": message_filters.SimpleFilter()}
        synchronizer = message_filters.ApproximateTimeSynchronizer(
            list(self._filters.values()), queue_size, slop_ns * 1e-9
        )
        # An exception in this callback would leave message_filters' lock held for ever; appending raises none.
        synchronizer.registerCallback(lambda rgb, depth: self._paired.append((rgb, depth)))
        self._paired: list[tuple[Any, Any]] = []

    def add(self, stream: Stream, stamp_ns: int, item: Any) -> list[Pair]:
        """Take in one message with a header; returns the pairs that it completes."""
        self._filters[stream].signalMessage(item)
        paired, self._paired = self._paired, []
        return [Pair(_stamp_ns(rgb), _stamp_ns(depth), rgb, depth) for rgb, depth in paired]


def _stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
