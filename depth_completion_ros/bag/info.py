"""The contents of a rosbag2: its topics with number, rate and encoding of their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD
from .reader import BagReader


@dataclass(frozen=True)
class TopicSummary:
    """The properties of one topic.

    Attributes:
        name: Name of the topic.
        type: Message type.
        count: Number of messages.
        rate: Rate of the recorded times [Hz]; None for fewer than two messages.
        content: Encoding and size in the first message; empty for types other than images, camera_info and points.
    """

    name: str
    type: str
    count: int
    rate: float | None
    content: str


def summarize(bag: BagReader) -> list[TopicSummary]:
    """The topics of an open bag, sorted by name. Raises InputError with the cause "bag" if the bag is damaged."""
    times: dict[str, list[int]] = {name: [] for name in bag.topics}
    content: dict[str, str] = {}
    for message in bag.messages():
        times[message.topic].append(message.log_ns)
        if message.topic not in content:
            content[message.topic] = _content(message.type, bag.deserialize(message)) if _is_known(message.type) else ""
    return [
        TopicSummary(name, topic.type, len(times[name]), _rate(times[name]), content.get(name, ""))
        for name, topic in sorted(bag.topics.items())
    ]


def _rate(times_ns: list[int]) -> float | None:
    span = times_ns[-1] - times_ns[0] if times_ns else 0
    return (len(times_ns) - 1) * 1e9 / span if span > 0 else None


def _is_known(type_name: str) -> bool:
    return type_name in (IMAGE, COMPRESSED_IMAGE, CAMERA_INFO, POINT_CLOUD)


def _content(type_name: str, message: Any) -> str:
    if type_name == IMAGE:
        return f"{message.encoding} {message.width}x{message.height}"
    if type_name == COMPRESSED_IMAGE:
        return message.format
    if type_name == CAMERA_INFO:
        return f"{message.width}x{message.height}"
    return f"{message.width * message.height} points of {' '.join(field.name for field in message.fields)}"
