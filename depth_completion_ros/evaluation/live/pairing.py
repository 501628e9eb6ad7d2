"""Collect the messages that belong to one frame, and pair them with reference depth. No ROS, no threads."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from ...synchronizer import JUMP_BACK_NS

# Messages that wait: of the completion node by frame, reference images, and colour images, which both arrive earlier.
_FRAMES, _REFERENCES, _COLOURS = 8, 60, 60
_STAMPS_REMEMBERED = 100  # of each stream since the last pair
COLOUR, REFERENCE = "rgb", "reference"


class FramePairing:
    """Gives the messages of a frame when all have arrived: those of the completion node, and the reference depth.

    Args:
        parts: Names of the messages of the completion node, which have equal stamps.
        slop_ns: Largest difference between the stamps of a frame and its reference depth [ns].

    Attributes:
        dropped: Number of frames that were not paired, by cause: "incomplete", "unpaired" or "time_jump".
    """

    def __init__(self, parts: Iterable[str], slop_ns: int):
        self._parts = set(parts)
        self._slop_ns = slop_ns
        self.dropped: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        self._partial: dict[int, dict[str, Any]] = {}
        self._whole: dict[int, dict[str, Any]] = {}
        self._references: dict[int, Any] = {}
        self._colours: dict[int, Any] = {}
        self._newest: dict[str, int] = {}  # stamp by stream
        self._unpaired: dict[str, deque[int]] = {
            stream: deque(maxlen=_STAMPS_REMEMBERED) for stream in ("frames", REFERENCE)
        }

    def add(self, name: str, stamp_ns: int, message: Any) -> list[dict[str, Any]]:
        """Add a message.

        Args:
            name: One of the parts, "reference", or "rgb" for the colour image of the pictures.
            stamp_ns: Its stamp [ns].
            message: The message.

        Returns:
            The frames that are now complete: their messages by name. "rgb" is None if it has not arrived.
        """
        if name == COLOUR:
            self._colours[stamp_ns] = message
            _forget_oldest(self._colours, _COLOURS)
            return []
        stream = REFERENCE if name == REFERENCE else "frames"
        if stamp_ns < self._newest.get(stream, 0) - JUMP_BACK_NS:
            self.dropped["time_jump"] += len(self._partial) + len(self._whole)
            self._begin()
        self._newest[stream] = stamp_ns
        if name == REFERENCE:
            self._references[stamp_ns] = message
            _forget_oldest(self._references, _REFERENCES)
            self._unpaired[stream].append(stamp_ns)
            return self._paired()
        frame = self._partial.setdefault(stamp_ns, {})
        frame[name] = message
        if self._parts - frame.keys():
            self.dropped["incomplete"] += _forget_oldest(self._partial, _FRAMES)
            return []
        self._whole[stamp_ns] = self._partial.pop(stamp_ns)
        self._unpaired[stream].append(stamp_ns)
        self.dropped["unpaired"] += _forget_oldest(self._whole, _FRAMES)
        return self._paired()

    def why_unpaired(self) -> str:
        """Why frames and reference depth arrive, but do not pair, and how to fix it; "" if one of them is missing."""
        frames, references = self._unpaired["frames"], self._unpaired[REFERENCE]
        if not frames or not references:
            return ""
        apart = min(abs(one - other) for one in frames for other in references) * 1e-9
        slop = self._slop_ns * 1e-9
        text = f"the nearest stamps of depth and reference are {apart:.3f} s apart, but slop is {slop:g} s: "
        if apart > 1:
            return f"{text}use one clock for both sensors, or play recordings of both together"
        return f"{text}trigger both sensors together; only if nothing moves, set slop to {apart * 1.2 + 0.001:.3f}"

    def _paired(self) -> list[dict[str, Any]]:
        found = []
        for stamp in list(self._whole):
            if not self._references:
                break
            nearest = min(self._references, key=lambda reference, stamp=stamp: abs(reference - stamp))  # type: ignore[misc]
            final = nearest == stamp or max(self._references) > stamp
            if not final:
                continue  # a nearer one may follow
            frame = self._whole.pop(stamp)
            if abs(nearest - stamp) > self._slop_ns:
                self.dropped["unpaired"] += 1
                continue
            found.append(frame | {REFERENCE: self._references.pop(nearest), COLOUR: self._colours.get(stamp)})
        if found:
            for stamps in self._unpaired.values():
                stamps.clear()
        return found


def _forget_oldest(messages: dict[int, Any], most: int) -> int:
    """Remove the messages that arrived first, until there are at most so many; returns how many were removed."""
    removed = max(0, len(messages) - most)
    for stamp in list(messages)[:removed]:
        del messages[stamp]
    return removed
