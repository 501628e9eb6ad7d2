"""The messages of a bag for playing: decoded on request, and repeated with increasing stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from ..conversion import decode_compressed_depth, decode_compressed_rgb
from ..errors import ConfigurationError, InputError
from ..image_codecs import decode_image
from .messages import COMPRESSED_IMAGE, IMAGE, BagMessage, Topic, image, serialize, shifted
from .reader import BagReader

# Decoded images are kept in memory: a VGA colour and depth stream takes 46 MB per second.
MAX_RAW_BYTES = 4_000_000_000
_SINGLE_MESSAGE_PERIOD_NS = 33_333_333
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GREY_16 = b"\x10\0"  # bit depth and colour type in its header
_TRANSPORTS = ("/compressed", "/compressedDepth")


class Recording:
    """A bag to play.

    Args:
        path: The bag.
        raw: Whether to decode JPEG, PNG and compressedDepth images at the start. They become Image messages on the
            topic without the suffix of the transport, as published by a camera driver, and are kept in memory.
        on_message: Called before each message is decoded; an exception from it ends the reading.

    Attributes:
        topics: Topics to publish, by name.
        start_ns: Recorded time of the first message [ns].
        duration_ns: Time from the start of one repetition to the start of the next [ns].

    Raises:
        InputError: With the cause "bag", if the bag cannot be used or is empty.
        ConfigurationError: If the decoded images would take more than ``MAX_RAW_BYTES``.
    """

    def __init__(self, path: Path, raw: bool = False, on_message: Callable[[], None] = lambda: None):
        self._path = path
        with BagReader(path) as bag:
            times: dict[str, list[int]] = {}
            for message in bag.messages():
                times.setdefault(message.topic, []).append(message.log_ns)
            if not times:
                raise InputError("bag", f"the bag {path} contains no messages: record it again")
            self._decoded = _decode(bag, on_message) if raw else None
            topics = [_without_transport(topic) if raw else topic for topic in bag.topics.values()]
        self.topics = {topic.name: topic for topic in topics}
        self.start_ns = min(stamps[0] for stamps in times.values())
        end_ns = max(stamps[-1] for stamps in times.values())
        self.duration_ns = end_ns - self.start_ns + _period_ns(max(times.values(), key=len))

    def messages(self, loop: bool) -> Iterator[BagMessage]:
        """All messages in recorded order; with ``loop`` repeated forever, each time shifted by ``duration_ns``."""
        for round_number in count():
            shift_ns = round_number * self.duration_ns
            for message in self._one_round():
                yield _shifted(message, shift_ns) if shift_ns else message
            if not loop:
                return

    def _one_round(self) -> Iterator[BagMessage]:
        if self._decoded is not None:
            yield from self._decoded
            return
        with BagReader(self._path, warn=lambda line: None) as bag:  # problems were reported in the constructor
            yield from bag.messages()


def _decode(bag: BagReader, on_message: Callable[[], None]) -> list[BagMessage]:
    decoded, size = [], 0
    for message in bag.messages():
        on_message()
        decoded.append(_raw_image(bag, message) if _is_compressed(message.topic, message.type) else message)
        size += len(decoded[-1].data)
        if size > MAX_RAW_BYTES:
            raise ConfigurationError(
                f"{bag.path} takes more than {MAX_RAW_BYTES / 1e9:.0f} GB of memory when decoded: play it without --raw"
            )
    return decoded


def _raw_image(bag: BagReader, message: BagMessage) -> BagMessage:
    compressed = bag.deserialize(message)
    if not (message.topic.endswith("/compressedDepth") or "compressedDepth" in compressed.format):
        decoded = _of_many_bits(compressed) or image(compressed.header, "rgb8", decode_compressed_rgb(compressed))
    elif compressed.format.startswith("32FC1"):
        decoded = image(compressed.header, "32FC1", decode_compressed_depth(compressed))
    else:
        counts = np.rint(np.nan_to_num(decode_compressed_depth(compressed, unit=1.0)))
        decoded = image(compressed.header, "16UC1", counts.astype(np.uint16))
    return message._replace(topic=_base_name(message.topic), type=IMAGE, data=serialize(decoded))


def _of_many_bits(compressed: Any) -> Any | None:
    """The Image of depth or infrared of more than 8 bits, which must keep its values; None if it is another image."""
    encoding = compressed.format.partition(";")[0].strip()
    start = bytes(compressed.data[:26])
    grey_16_bits = start.startswith(_PNG_SIGNATURE) and start[24:26] == _PNG_GREY_16
    if encoding.startswith("bayer_") or not (grey_16_bits or encoding in ("16UC1", "mono16", "32FC1")):
        return None
    pixels = decode_image("depth", compressed.data, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.float32):
        return None
    kind = "32FC1" if pixels.dtype == np.float32 else "mono16" if encoding == "mono16" else "16UC1"
    return image(compressed.header, kind, pixels)


def _shifted(message: BagMessage, shift_ns: int) -> BagMessage:
    return message._replace(log_ns=message.log_ns + shift_ns, data=shifted(message.data, message.type, shift_ns))


def _without_transport(topic: Topic) -> Topic:
    if not _is_compressed(topic.name, topic.type):
        return topic
    return Topic(_base_name(topic.name), IMAGE, topic.count, topic.latched)


def _is_compressed(name: str, type_name: str) -> bool:
    return type_name == COMPRESSED_IMAGE and name.endswith(_TRANSPORTS)


def _base_name(name: str) -> str:
    return name.rpartition("/")[0]


def _period_ns(times_ns: list[int]) -> int:
    """The median period of the messages of a topic [ns]."""
    gaps = np.diff(times_ns).tolist()
    return round(median(gaps)) if gaps else _SINGLE_MESSAGE_PERIOD_NS
