"""The approximate time synchroniser of message_filters with the interface of ``Synchronizer``."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from rclpy.duration import Duration
from rclpy.time import Time

from ..errors import ConfigurationError
from ..synchronizer import JUMP_BACK_NS, Pair, Stream


class MessageFiltersSynchronizer:
    """Like ``Synchronizer``, but message_filters makes the pairs. Counts the messages that it drops.

    Raises:
        ConfigurationError: If message_filters is not installed. It is part of ROS; there is no wheel of it.
    """

    def __init__(self, slop_ns: int, queue_size: int):
        try:
            import message_filters
        except ImportError as error:
            raise ConfigurationError(
                "sync.method message_filters needs the ROS package message_filters: install it, or use nearest"
            ) from error
        self.dropped: Counter[str] = Counter()
        self.jumps = 0
        self._filters = {"rgb": message_filters.SimpleFilter(), "depth": message_filters.SimpleFilter()}
        self._synchronizer = message_filters.ApproximateTimeSynchronizer(
            list(self._filters.values()), queue_size, slop_ns * 1e-9
        )
        self._queues: dict[Stream, dict[int, Any]] = dict(zip(("rgb", "depth"), self._synchronizer.queues, strict=True))
        self._newest: dict[Stream, int] = {}
        # An exception in this callback would leave the lock of message_filters held forever; appending raises none.
        self._synchronizer.registerCallback(lambda rgb, depth: self._paired.append((rgb, depth)))
        self._paired: list[tuple[Any, Any]] = []

    @property
    def slop_ns(self) -> int:
        return self._synchronizer.slop.nanoseconds

    @slop_ns.setter
    def slop_ns(self, slop_ns: int) -> None:
        self._synchronizer.slop = Duration(nanoseconds=slop_ns)

    def add(self, stream: Stream, stamp_ns: int, item: Any) -> list[Pair]:
        """Add one message; returns the pairs that it completes."""
        if stamp_ns < self._newest.get(stream, stamp_ns) - JUMP_BACK_NS:
            self.jumps += 1
            self.clear()
        self._newest[stream] = max(stamp_ns, self._newest.get(stream, stamp_ns))
        self.dropped["duplicate_stamp"] += stamp_ns in self._queues[stream]  # the new one takes its place
        held = self._held() + (stamp_ns not in self._queues[stream])
        self._filters[stream].signalMessage(_Stamped(stamp_ns, item))
        paired, self._paired = self._paired, []
        self.dropped["unpaired"] += held - 2 * len(paired) - self._held()
        return [Pair(rgb.stamp_ns, depth.stamp_ns, rgb.item, depth.item) for rgb, depth in paired]

    def clear(self, cause: str = "time_jump") -> None:
        """Discard all messages, for example after a jump in time: old ones would displace all that come later."""
        self.dropped[cause] += self._held()
        self._newest.clear()
        for queue in self._queues.values():
            queue.clear()

    def _held(self) -> int:
        return sum(map(len, self._queues.values()))


class _Stamped:
    """A message with the header that message_filters reads, which holds the stamp to pair by."""

    def __init__(self, stamp_ns: int, item: Any):
        self.stamp_ns, self.item = stamp_ns, item
        self.header = SimpleNamespace(stamp=Time(nanoseconds=stamp_ns))
