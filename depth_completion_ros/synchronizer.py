"""Pair each RGB message with the depth message that is closest in time. No ROS, no threads, no callbacks.

The best pairs are those with equal stamps, then those of the order-preserving matching that maximises
Σ (slop - |offset|), which prefers small offsets and leaves as few messages as possible without a partner. Messages
arrive one by one, so the next messages of each stream are predicted from its period. A pair is returned as soon as the
best matching of the present and the expected messages contains it. For regular streams this is immediately, whatever
the phase between them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

Stream = Literal["rgb", "depth"]

# A stamp this far behind the newest one of its stream means that a clock was set back or a recording was restarted.
# With a smaller difference, the message just arrived out of order.
JUMP_BACK_NS = 200_000_000
# Limit of the parameter sync.depth_offset. If clocks differ by more, they must be set.
LARGEST_OFFSET_S = 10.0
_WAIT_NS = 1_000_000_000
_PERIODS_REMEMBERED = 9
_PERIODS_OF_LAG = 2  # a stream that lags behind the other by up to this many periods is waited for


class Pair(NamedTuple):
    """Two messages that belong together, and their stamps [ns]."""

    rgb_ns: int
    depth_ns: int
    rgb: Any
    depth: Any


class _Stamped(NamedTuple):
    stamp: int
    item: Any


@dataclass
class _Queue:
    messages: list[_Stamped] = field(default_factory=list)
    gaps: deque[int] = field(default_factory=lambda: deque(maxlen=_PERIODS_REMEMBERED))
    newest: int | None = None
    paired: int | None = None  # stamp of the last paired message; messages that are not newer are too late

    def stamps(self) -> list[int]:
        return [message.stamp for message in self.messages]


class Synchronizer:
    """Pairs two streams by their stamps. Not thread-safe. ``add`` returns the pairs; there are no callbacks.

    Args:
        slop_ns: Largest difference between the stamps of a pair [ns].
        queue_size: Number of messages of each stream that wait for a partner; 0 = all messages of the last second, so
            that a partner may arrive up to a second late at any rate.

    Attributes:
        dropped: Number of messages that were not paired, by cause: "unpaired", "late", "duplicate_stamp", "time_jump",
            or another one given to ``clear``.
        jumps: How often time went back. Pairing starts over after each jump.
    """

    def __init__(self, slop_ns: int, queue_size: int):
        self.slop_ns = slop_ns
        self.queue_size = queue_size
        self.dropped: Counter[str] = Counter()
        self.jumps = 0
        self._queues: dict[Stream, _Queue] = {"rgb": _Queue(), "depth": _Queue()}

    def add(self, stream: Stream, stamp_ns: int, item: Any) -> list[Pair]:
        """Add one message; returns the pairs that are now final, oldest first (usually none or one)."""
        queue = self._queues[stream]
        if queue.newest is not None and stamp_ns < queue.newest - JUMP_BACK_NS:
            self.jumps += 1
            self.clear()
            queue = self._queues[stream]
        if not self._take_in(queue, _Stamped(stamp_ns, item)):
            return []
        pairs = []
        while (pair := self._next_settled()) is not None:
            pairs.append(pair)
        self._drop(queue, self._too_many(queue))
        return pairs

    def clear(self, cause: str = "time_jump") -> None:
        """Discard all messages and start over, as after a jump in time. Waiting messages are dropped by ``cause``."""
        for name, queue in self._queues.items():
            self.dropped[cause] += len(queue.messages)
            self._queues[name] = _Queue()

    def _too_many(self, queue: _Queue) -> int:
        """The number of the oldest messages in a queue that are dropped because they have waited too long."""
        if self.queue_size:
            return max(0, len(queue.messages) - self.queue_size)
        assert queue.newest is not None  # a message has just been added
        return bisect_left(queue.stamps(), queue.newest - _WAIT_NS)

    def _take_in(self, queue: _Queue, message: _Stamped) -> bool:
        if queue.paired is not None and message.stamp <= queue.paired:
            self.dropped["duplicate_stamp" if message.stamp == queue.paired else "late"] += 1
            return False
        stamps = queue.stamps()
        place = bisect_left(stamps, message.stamp)
        if place < len(stamps) and stamps[place] == message.stamp:
            self.dropped["duplicate_stamp"] += 1
            return False
        insort(queue.messages, message, key=lambda other: other.stamp)
        if queue.newest is None or message.stamp > queue.newest:
            if queue.newest is not None:
                queue.gaps.append(message.stamp - queue.newest)
            queue.newest = message.stamp
        return True

    def _next_settled(self) -> Pair | None:
        """Remove and return the oldest pair of the best matching; None if an expected message is part of that pair."""
        rgb, depth = self._queues["rgb"], self._queues["depth"]
        if not rgb.messages or not depth.messages:
            return None
        matching = best_matching(
            rgb.stamps() + _expected(rgb, depth), depth.stamps() + _expected(depth, rgb), self.slop_ns
        )
        if not matching:
            return None
        i, j = matching[0]
        if i >= len(rgb.messages) or j >= len(depth.messages):
            return None
        self._drop(rgb, i)
        self._drop(depth, j)
        first, second = rgb.messages.pop(0), depth.messages.pop(0)
        rgb.paired, depth.paired = first.stamp, second.stamp
        return Pair(first.stamp, second.stamp, first.item, second.item)

    def _drop(self, queue: _Queue, count: int) -> None:
        self.dropped["unpaired"] += count
        del queue.messages[:count]


def _expected(queue: _Queue, other: _Queue) -> list[int]:
    """Predicted stamps [ns] of the next messages of a stream that may become part of the matching."""
    assert queue.newest is not None and other.newest is not None  # both queues hold messages
    if not queue.gaps:
        return []  # no period is known yet: a pair within the slop now is better than a later one
    period = max(1, int(median(queue.gaps)))
    # If the other stream is ahead, messages of this one are delayed or lost: wait only for the last few.
    steps = max(1, round((other.newest - queue.newest) / period))
    return [queue.newest + step * period for step in range(max(1, steps - _PERIODS_OF_LAG), steps + 1)]


def why_unpaired(rgb: Iterable[int], depth: Iterable[int], slop: int, queue_size: int) -> str:
    """Explain why two streams that arrive do not pair, and how to fix it.

    Distinguishes stamps that do not advance, lost messages, a stream that arrives too late, stamps that lie between
    those of the other stream, and clocks that differ.

    Args:
        rgb: Stamps of received RGB messages in the order of arrival [ns], at least one.
        depth: Stamps of received depth messages in the order of arrival [ns], at least one.
        slop: See ``Synchronizer`` [ns].
        queue_size: See ``Synchronizer``.
    """
    received = {"rgb": list(rgb), "depth": list(depth)}
    for name, latest in ((name, stamps[-_PERIODS_REMEMBERED:]) for name, stamps in received.items()):
        if len(latest) > 1 and len(set(latest)) == 1:
            return f"all {name} messages have the same stamp, so only the first is used: fix the driver to set stamps"
    stamps = {name: sorted(values) for name, values in received.items()}
    apart = min(
        abs(stamp - other)
        for stamp in stamps["rgb"]
        for at in [bisect_left(stamps["depth"], stamp)]
        for other in stamps["depth"][max(at - 1, 0) : at + 1]
    )
    behind, ahead = sorted(stamps, key=lambda name: stamps[name][-1])
    lag_s = (stamps[ahead][-1] - stamps[behind][-1]) * 1e-9
    offset = lag_s if behind == "depth" else -lag_s
    clocks = "their clocks differ: use one clock for both"
    if abs(offset) <= LARGEST_OFFSET_S:
        clocks += f", or set sync.depth_offset to {offset:.3f}"
    if apart <= slop:
        waiting = sum(stamp > stamps[behind][-1] for stamp in stamps[ahead])
        if waiting < queue_size or (queue_size == 0 and lag_s * 1e9 < _WAIT_NS):
            return (
                "some of their stamps match, but the partners of the latest messages did not arrive: check in "
                "/diagnostics whether messages are lost in transit (lost, overrun); if not, trigger both sensors "
                "together"
            )
        return (
            f"{behind} arrives {lag_s:.3f} s after the {ahead} of the same stamp, which is no longer in the queue by "
            f"then. Either {behind} is delayed: start this node with sync.queue_size set to {2 * waiting + 1} or more; "
            f"or {clocks}"
        )
    if max(stamps["rgb"][0], stamps["depth"][0]) <= min(stamps["rgb"][-1], stamps["depth"][-1]):
        return (
            f"their nearest stamps are {apart * 1e-9:.3f} s apart, but sync.slop is {slop * 1e-9:g} s: trigger both "
            f"sensors together; only if nothing moves, set sync.slop to {apart * 1.2e-9:.3f}"
        )
    return f"their newest stamps are {lag_s:.3f} s apart, {ahead} ahead, so that {clocks}"


def best_matching(rgb: list[int], depth: list[int], slop: int) -> list[tuple[int, int]]:
    """Indices (i, j) of the pairs in the best order-preserving matching of two ascending lists of stamps.

    The best matching has the most equal stamps, then the largest Σ (slop + 1 - |rgb_i - depth_j|) over pairs within
    ``slop``. Computed by dynamic programming over the suffixes, O(n·m).
    """
    if not _any_within(rgb, depth, slop):
        return []  # avoids the quadratic cost when many messages without partners are waiting
    exact = (slop + 1) * (len(rgb) + len(depth) + 1)  # outweighs any number of other pairs
    value = [[0] * (len(depth) + 1) for _ in range(len(rgb) + 1)]

    def paired(i: int, j: int) -> int:
        offset = abs(rgb[i] - depth[j])
        if offset > slop:
            return -1
        return value[i + 1][j + 1] + slop + 1 - offset + (exact if offset == 0 else 0)

    for i in range(len(rgb) - 1, -1, -1):
        for j in range(len(depth) - 1, -1, -1):
            value[i][j] = max(value[i + 1][j], value[i][j + 1], paired(i, j))

    matching, i, j = [], 0, 0
    while i < len(rgb) and j < len(depth):
        if value[i][j] == paired(i, j):
            matching.append((i, j))
            i, j = i + 1, j + 1
        elif value[i][j] == value[i + 1][j]:
            i += 1
        else:
            j += 1
    return matching


def _any_within(rgb: list[int], depth: list[int], slop: int) -> bool:
    """Whether any stamps of the two ascending lists differ by at most ``slop``."""
    places = ((stamp, bisect_left(depth, stamp - slop)) for stamp in rgb)
    return any(place < len(depth) and depth[place] <= stamp + slop for stamp, place in places)
