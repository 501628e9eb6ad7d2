"""``depth-completion bag info``: show the contents of a rosbag2."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
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


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or one .mcap or .db3 file")


def run(args: argparse.Namespace) -> int:
    """Print the bag's duration and its topics with type, count, rate and encoding."""
    with BagReader(args.bag) as bag:
        seconds = (bag.end_ns - bag.start_ns) / 1e9
        topics = summarize(bag)
    print(f"{args.bag}: {sum(topic.count for topic in topics)} messages in {seconds:.3f} s")
    rows = [("topic", "type", "count", "Hz", "content")]
    rows += [(t.name, t.type, str(t.count), f"{t.rate:.2f}" if t.rate else "-", t.content) for t in topics]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


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
