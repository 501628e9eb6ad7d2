"""Read the frames of a bag: pair its messages by their stamps, and build frames from those that are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..cameras import beside
from ..errors import InputError
from ..frame import RgbdFrame
from ..frame_builder import FrameBuilder, FrameSettings, MessagePair
from ..synchronizer import Pair, Stream, Synchronizer, why_unpaired
from .messages import CAMERA_INFO, IMAGE, POINT_CLOUD, BagMessage, Topic, stamp_of
from .reader import DEPTH_TOPIC, RGB_TOPIC, BagReader, warn_on_stderr
from .transforms import read_transforms

SLOP_NS = 20_000_000


class _Calibrated(NamedTuple):
    """A pair of messages, and the newest camera_info of each at that time; None if there was none."""

    pair: Pair
    rgb_info: BagMessage | None
    depth_info: BagMessage | None


def read_frames(
    path: str | Path,
    rgb_topic: str = RGB_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    *,
    settings: FrameSettings | None = None,
    slop_ns: int = SLOP_NS,
    queue_size: int = 0,
    depth_offset_ns: int = 0,
    stamps: Container[int] | None = None,
    warn: Callable[[str], None] = warn_on_stderr,
) -> Iterator[RgbdFrame]:
    """Read pairs of colour and depth images, or points, of a bag as frames, by the rules of the node.

    Images without stamps are paired by the order or time of recording. Pairs that cannot be used are left out.

    Args:
        path: The bag.
        rgb_topic: Topic of the colour images, raw or compressed.
        depth_topic: Topic of depth images, raw or compressed, or of points.
        settings: How messages become frames; whether depth comes as points is determined from the topic.
        slop_ns: See ``Synchronizer``.
        queue_size: See ``Synchronizer``.
        depth_offset_ns: Added to the stamps of depth before pairing (sync.depth_offset).
        stamps: Stamps of the wanted colour images [ns] (``pair_stamps``); None = all.
        warn: Called with a line about missing parts of the bag, missing stamps and each kind of suspicious input.

    Raises:
        InputError: With the cause "bag" for a problem of the bag; if no pair can be used, the error of the first one.
    """
    reported: set[str] = set()

    def report(cause: str, message: str) -> None:
        if cause not in reported:
            reported.add(cause)
            warn(f"{path}: {message}")

    with BagReader(path, warn) as bag:
        rgb, depth = bag.find_image("rgb", rgb_topic), bag.find_image("depth", depth_topic)
        settings = replace(settings or FrameSettings(), points=depth.type == POINT_CLOUD)
        poses = read_transforms(bag)
        builder = FrameBuilder(settings, report, poses, {"rgb": rgb.name, "depth": depth.name}, poses)
        used, first_error, unusable = 0, None, 0
        for pair in _pairs(bag, rgb, depth, Synchronizer(slop_ns, queue_size), depth_offset_ns, warn):
            if stamps is not None and pair.pair.rgb_ns not in stamps:
                continue
            try:
                frame = builder.build(_deserialized(bag, pair))
            except InputError as error:
                first_error = first_error or error
                unusable += 1
                report(error.cause, str(error))
                continue
            used += 1
            yield frame
        if first_error is not None:
            if not used:
                raise first_error
            warn(f"{path}: {unusable} of {used + unusable} pairs cannot be used and are left out")


def pair_stamps(
    path: str | Path,
    rgb_topic: str = RGB_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    *,
    slop_ns: int = SLOP_NS,
    queue_size: int = 0,
    depth_offset_ns: int = 0,
) -> list[int]:
    """The stamps of the colour images [ns] that ``read_frames`` pairs with depth. No image is decoded.

    Raises InputError like ``read_frames``.
    """
    pairs = paired_stamps(path, rgb_topic, depth_topic, Synchronizer(slop_ns, queue_size), depth_offset_ns)
    return [rgb_ns for rgb_ns, _ in pairs]


def paired_stamps(
    path: str | Path, rgb_topic: str, depth_topic: str, synchronizer: Synchronizer, depth_offset_ns: int = 0
) -> list[tuple[int, int]]:
    """The stamps of the colour images and of their depth [ns], the latter with the offset, like ``pair_stamps``."""
    with BagReader(path, warn=lambda line: None) as bag:
        rgb, depth = bag.find_image("rgb", rgb_topic), bag.find_image("depth", depth_topic)
        pairs = _pairs(bag, rgb, depth, synchronizer, depth_offset_ns, lambda line: None)
        return [(one.pair.rgb_ns, one.pair.depth_ns) for one in pairs]


def why_no_pairs(path: str | Path, rgb_topic: str, depth_topic: str, slop_ns: int, depth_offset_ns: int) -> str:
    """Why no colour image of a bag has depth of its time, and how to fix it. Raises InputError like ``read_frames``."""
    with BagReader(path, warn=lambda line: None) as bag:
        topics = [bag.find_image("rgb", rgb_topic).name, bag.find_image("depth", depth_topic).name]
        rgb, depth = ([stamp_of(message.data) for message in bag.messages({name})] for name in topics)
    for name, stamps in zip(topics, (rgb, depth), strict=True):
        if not stamps:
            return f"{name} has no messages: record it again, or give another topic"
    depth = [stamp + depth_offset_ns for stamp in depth]
    why = why_unpaired(rgb, depth, slop_ns, queue_size=0)
    return f"the stamps of {topics[0]} (rgb) and {topics[1]} (depth) do not pair: {why}"


def depth_encoding(path: str | Path, depth_topic: str) -> str:
    """The encoding of the depth images in a bag ("16UC1", …); empty if it has no messages or only points.

    Raises InputError like ``read_frames``.
    """
    with BagReader(path, warn=lambda line: None) as bag:
        topic = bag.find_image("depth", depth_topic)
        message = next(bag.messages({topic.name}), None)
        if message is None or message.type == POINT_CLOUD:
            return ""
        image = bag.deserialize(message)
    return image.encoding if message.type == IMAGE else image.format.partition(";")[0].strip()


def frames_of(path: str | Path, topics: dict[str, str]) -> dict[str, str]:
    """The coordinate frames of the first colour image ("rgb") and point cloud ("points") in a bag, if it has them.

    Args:
        path: The bag.
        topics: Topic names by "rgb_topic" and "points_topic".

    Raises:
        InputError: With the cause "bag".
    """
    with BagReader(path) as bag:
        frames = {}
        for role, transports in {"rgb": ("", "/compressed"), "points": ("",)}.items():
            names = {"/" + topics[f"{role}_topic"].lstrip("/") + transport for transport in transports}
            for message in bag.messages(names & bag.topics.keys()):
                frames[role] = bag.deserialize(message).header.frame_id.lstrip("/")
                break
    return frames


def camera_info_topic(image_topic: str) -> str:
    """The camera_info topic of an image topic, which may end in the name of a transport."""
    return beside("/" + image_topic.lstrip("/"))


def _pairs(
    bag: BagReader,
    rgb: Topic,
    depth: Topic,
    synchronizer: Synchronizer,
    depth_offset_ns: int,
    warn: Callable[[str], None],
) -> Iterator[_Calibrated]:
    info_topics = {"rgb": camera_info_topic(rgb.name), "depth": camera_info_topic(depth.name)}
    # Recorders often write a camera_info after the first image that it belongs to.
    infos = {name: first for name in info_topics.values() if (first := _first(bag, name, CAMERA_INFO)) is not None}
    pairing = _pairing(bag, rgb, depth, synchronizer, depth_offset_ns, warn)
    for message in bag.messages({rgb.name, depth.name, *info_topics.values()}):
        if message.topic in (rgb.name, depth.name):
            for pair in pairing("rgb" if message.topic == rgb.name else "depth", message):
                yield _Calibrated(pair, infos.get(info_topics["rgb"]), infos.get(info_topics["depth"]))
        elif message.type == CAMERA_INFO:
            infos[message.topic] = message


def _deserialized(bag: BagReader, one: _Calibrated) -> MessagePair:
    def info(message: BagMessage | None) -> Any:
        return None if message is None else bag.deserialize(message)

    rgb, depth = bag.deserialize(one.pair.rgb), bag.deserialize(one.pair.depth)
    return MessagePair(rgb, depth, info(one.rgb_info), info(one.depth_info), one.pair.rgb_ns, one.pair.depth_ns, 0.0)


def _pairing(
    bag: BagReader,
    rgb: Topic,
    depth: Topic,
    synchronizer: Synchronizer,
    depth_offset_ns: int,
    warn: Callable[[str], None],
) -> Callable[[Stream, BagMessage], list[Pair]]:
    """A function that takes the messages of two topics one by one and returns the pairs that each completes."""
    unstamped = [topic.name for topic in (rgb, depth) if _first_stamp(bag, topic) == 0]
    if not unstamped:
        offsets = {"rgb": 0, "depth": depth_offset_ns}
        return lambda role, message: synchronizer.add(role, stamp_of(message.data) + offsets[role], message)
    begin = f"the bag {bag.path} has no stamps on {' and '.join(unstamped)}: its images are paired by "
    if rgb.count != depth.count:
        warn(begin + f"time of recording, as there are {rgb.count} colour images and {depth.count} depth images")
        return lambda role, message: synchronizer.add(role, message.log_ns, message)
    warn(begin + f"order of recording, {rgb.count} of each")
    waiting: dict[Stream, deque[BagMessage]] = {"rgb": deque(), "depth": deque()}

    def add(role: Stream, message: BagMessage) -> list[Pair]:
        waiting[role].append(message)
        if not all(waiting.values()):
            return []
        first, second = (queue.popleft() for queue in waiting.values())
        return [Pair(first.log_ns, second.log_ns, first, second)]

    return add


def _first_stamp(bag: BagReader, topic: Topic) -> int | None:
    message = _first(bag, topic.name, topic.type)
    return None if message is None else stamp_of(message.data)


def _first(bag: BagReader, topic: str, kind: str) -> BagMessage | None:
    """The first message on a topic, if the topic is of this type."""
    if topic not in bag.topics or bag.topics[topic].type != kind:
        return None
    return next(bag.messages({topic}), None)
