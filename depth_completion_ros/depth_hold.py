"""Give each RGB message the depth message that is closest in time, which several images may share. No ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from .synchronizer import JUMP_BACK_NS, LARGEST_OFFSET_S, Pair, Stream

HOLDS = ("exact", "latest")


class _Held(NamedTuple):
    stamp: int
    item: Any


class DepthHold:
    """Like ``Synchronizer``, but each RGB message is paired at once with the closest depth message so far.

    For a sensor with a lower rate than the camera, such as a LiDAR at 10 Hz beside a camera at 30 Hz.

    Args:
        max_age_ns: Largest difference between the stamps of a pair [ns].

    Attributes:
        max_age_ns: As above; it can be changed at any time.
        dropped: Number of messages that were not used, by cause: "unpaired", "late", "duplicate_stamp", "time_jump",
            or another one given to ``clear``.
        jumps: How often time went back. Depth from before a jump is forgotten.
    """

    def __init__(self, max_age_ns: int):
        self.max_age_ns = max_age_ns
        self.dropped: Counter[str] = Counter()
        self.jumps = 0
        self._newest: dict[Stream, int] = {}
        self._depth: list[_Held] = []  # in the order of their stamps
        self._used: set[int] = set()  # stamps of the messages in ``_depth`` that are part of a pair

    def add(self, stream: Stream, stamp_ns: int, item: Any) -> list[Pair]:
        """Add one message; returns the pair with an RGB message, if there is depth for it."""
        newest = self._newest.get(stream, stamp_ns - 1)
        if stamp_ns < newest - JUMP_BACK_NS:
            self.jumps += 1
            self.clear()
        elif stamp_ns <= newest:
            self.dropped["duplicate_stamp" if stamp_ns == newest else "late"] += 1
            return []
        self._newest[stream] = stamp_ns
        if stream == "depth":
            self._depth.append(_Held(stamp_ns, item))
            self._forget(stamp_ns - self.max_age_ns)
            return []
        closest = min(self._depth, key=lambda held: abs(held.stamp - stamp_ns), default=None)
        if closest is None or abs(closest.stamp - stamp_ns) > self.max_age_ns:
            self.dropped["unpaired"] += 1
            return []
        self._used.add(closest.stamp)
        self._forget(closest.stamp)  # later images are closer to it, or to a later message
        return [Pair(stamp_ns, closest.stamp, item, closest.item)]

    def clear(self, cause: str = "time_jump") -> None:
        """Forget all depth. Messages that were never used are dropped by ``cause``."""
        self.dropped[cause] += len(self._depth) - len(self._used)
        self._depth.clear()
        self._used.clear()
        self._newest.clear()

    def _forget(self, before: int) -> None:
        """Forget depth with stamps before this one [ns]."""
        old = [held.stamp for held in self._depth if held.stamp < before]
        self.dropped["unpaired"] += len(set(old) - self._used)
        self._used.difference_update(old)
        del self._depth[: len(old)]


def why_no_depth(rgb: Iterable[int], depth: Iterable[int], max_age_s: float) -> str:
    """Explain why no depth is close enough to any image, and how to fix it.

    Args:
        rgb: Stamps of received RGB messages [ns], at least one.
        depth: Stamps of received depth messages [ns], at least one.
        max_age_s: Largest difference between the stamps of a pair [s].
    """
    offset = (max(rgb) - max(depth)) * 1e-9
    ahead = "rgb" if offset > 0 else "depth"
    clocks = "use one clock for both"
    if abs(offset) <= LARGEST_OFFSET_S:
        clocks += f", or set sync.depth_offset to {offset:.3f} if their clocks always differ by that time"
    return (
        f"their newest stamps are {abs(offset):.3f} s apart, {ahead} ahead, but depth is used only for images that are "
        f"at most {max_age_s:g} s apart from it: {clocks}; or increase temporal.max_age if depth is published so rarely"
    )
