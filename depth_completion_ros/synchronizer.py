"""Pairs each RGB message with the depth message measured closest to it. No ROS, no threads, no callbacks.

Which pairs are best: those of equal stamps first; then the order-preserving matching that maximises
Σ (slop - |offset|), so that small offsets win and no partner is left over without need. As messages come one by one,
the next of each stream is predicted from its period: a pair is given out as soon as the best matching of what is
there and what is expected contains it. With steady streams this means at once, at any phase between them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

Stream = Literal["rgb", "depth"]

# A stamp this far behind the newest of its stream is a clock set back or a recording begun again; less is a message
# that was overtaken.
JUMP_BACK_NS = 200_000_000
# Clocks farther apart than this are set anew, and no offset is added to their stamps.
LARGEST_OFFSET_S = 10.0
_WAIT_NS = 1_000_000_000
_PERIODS_REMEMBERED = 9
_PERIODS_OF_LAG = 2  # a stream may arrive this far behind the other and is still waited for


class Pair(NamedTuple):
    """Two messages that belong together and their stamps [ns]."""

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
    paired: int | None = None  # the stamp given out last: what is not newer comes too late

    def stamps(self) -> list[int]:
        return [message.stamp for message in self.messages]


class Synchronizer:
    """Pairs two streams by their stamps. Not thread-safe; ``add`` returns pairs instead of calling out.

    slop_ns: the largest offset within a pair [ns]. queue_size: messages kept of each stream while they wait; 0: those
    of its last second, so that a partner may come that late at any rate.
    dropped: messages that were not paired, counted by cause: "unpaired", "late", "duplicate_stamp", "time_jump".
    jumps: how often time went back, after which pairing starts anew.
    """

    def __init__(self, slop_ns: int, queue_size: int):
        self.slop_ns = slop_ns
        self.queue_size = queue_size
        self.dropped: Counter[str] = Counter()
        self.jumps = 0
        self._queues: dict[Stream, _Queue] = {"rgb": _Queue(), "depth": _Queue()}

    def add(self, stream: Stream, stamp_ns: int, item: Any) -> list[Pair]:
        """Take in one message; returns the pairs that it settles, oldest first (often one, seldom more)."""
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

    def clear(self) -> None:
        """Forget both streams, as after a jump in time; what waited counts as dropped by "time_jump"."""
        for name, queue in self._queues.items():
            self.dropped["time_jump"] += len(queue.messages)
            self._queues[name] = _Queue()

    def _too_many(self, queue: _Queue) -> int:
        """How many of the oldest messages of a queue have waited long enough."""
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
        """The oldest pair of the best matching, unless a message still expected takes part in it."""
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
    """The stamps [ns] of the messages of a stream that may still come and take part."""
    assert queue.newest is not None and other.newest is not None  # both queues hold messages
    if not queue.gaps:
        return []  # the first message: a pair within the slop now beats a perhaps better one some time later
    period = max(1, int(median(queue.gaps)))
    # Where the other stream has run ahead, messages of this one are on their way or lost: wait for the last few only.
    steps = max(1, round((other.newest - queue.newest) / period))
    return [queue.newest + step * period for step in range(max(1, steps - _PERIODS_OF_LAG), steps + 1)]


def why_unpaired(rgb: Iterable[int], depth: Iterable[int], slop: int, queue_size: int) -> str:
    """Why streams that come do not pair, and how to fix it, from the stamps [ns] seen of each, at least one.

    slop, queue_size: of the ``Synchronizer``. Told apart are stamps that would pair if both came in time, or if none
    were lost, streams with the stamps of one between those of the other, and clocks far apart.
    """
    stamps = {"rgb": sorted(rgb), "depth": sorted(depth)}
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
                "some of their stamps fit, but the partners of the latest ones did not come: see in /diagnostics"
                " whether messages are lost on their way (lost, overrun); if not, trigger both sensors together"
            )
        return (
            f"{behind} comes {lag_s:.3f} s after the {ahead} of the same stamp, which no longer waits by then. Either "
            f"{behind} is delayed: start this node with sync.queue_size set to {2 * waiting + 1} or more; or {clocks}"
        )
    if max(stamps["rgb"][0], stamps["depth"][0]) <= min(stamps["rgb"][-1], stamps["depth"][-1]):
        return (
            f"their nearest stamps are {apart * 1e-9:.3f} s apart, but sync.slop is {slop * 1e-9:g} s: trigger both "
            f"sensors together; only where nothing moves, set sync.slop to {apart * 1.2e-9:.3f}"
        )
    return f"their newest stamps are {lag_s:.3f} s apart, {ahead} ahead, so that {clocks}"


def best_matching(rgb: list[int], depth: list[int], slop: int) -> list[tuple[int, int]]:
    """Indices (i, j) of the pairs of the best order-preserving matching of two ascending lists of stamps.

    Best: most equal stamps, then the largest Σ (slop + 1 - |rgb_i - depth_j|) over pairs within ``slop``; by dynamic
    programming over the suffixes, O(n·m).
    """
    if not _any_within(rgb, depth, slop):
        return []  # messages that pile up without partners must not cost more the more there are
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
    """Whether any two stamps of two ascending lists lie within ``slop``."""
    places = ((stamp, bisect_left(depth, stamp - slop)) for stamp in rgb)
    return any(place < len(depth) and depth[place] <= stamp + slop for stamp, place in places)
