"""Read recordings in rosbag2 format (mcap or sqlite3) without ROS."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader

from ..cameras import beside
from ..conversion import (
    decode_compressed_depth,
    decode_compressed_rgb,
    decode_depth,
    decode_points,
    decode_rgb,
    intrinsics_of,
    says_rectified,
)
from ..errors import InputError
from ..frame import Intrinsics, RgbdFrame
from ..geometry import projected
from ..synchronizer import Pair, Stream, Synchronizer
from .messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    POINT_CLOUD,
    BagMessage,
    Topic,
    deserialize,
    stamp_of,
)
from .scan import ScannedBag, is_finished, is_storage

RGB_TOPIC = "/rgb/image_rect_color"
DEPTH_TOPIC = "/depth_registered/image_rect"
POINTS_TOPIC = "/points"

_ROS1_MAGIC = b"#ROSBAG V"

_GIVE_A_BAG = "Give a rosbag2 folder, or one .mcap or .db3 file"
_NAME_TOPICS = "Give the names of its colour and depth topics"


def tell_stderr(line: str) -> None:
    """Print a line to stderr: the default for messages about a recording."""
    print(line, file=sys.stderr)


class BagReader:
    """A bag opened for reading. Use it in a ``with`` block.

    An incomplete bag (truncated, or without metadata.yaml or some of its files) is read as far as possible.

    Args:
        path: A folder with metadata.yaml, or one .mcap or .db3 file.
        tell: Called with a line that says what is missing in an incomplete bag.

    Attributes:
        topics: Topics by name.
        start_ns: Recorded time of the first message [ns].
        end_ns: Recorded time of the last message [ns].

    Raises:
        InputError: With the cause "bag", if there is no bag, it is a ROS 1 bag, or it has no complete message.
    """

    def __init__(self, path: str | Path, tell: Callable[[str], None] = tell_stderr):
        self.path = Path(path)
        self._tell = tell
        if not self.path.exists():
            raise self._error("there is no such file or folder")
        if (old := _ros1_bag(self.path)) is not None:
            convert = f"rosbags-convert --src {old} --dst {old.with_suffix('')}"
            raise InputError("bag", f"{old} is a ROS 1 bag: convert it to rosbag2 with `{convert}`")
        if inner := _bags_inside(self.path):
            raise self._error(f"it is a folder of {len(inner)} bags", f"Give one of them: {', '.join(inner)}")
        self._source = self._open()
        self.topics = self._source.topics
        self.start_ns, self.end_ns = self._source.start_ns, self._source.end_ns

    def messages(self, topics: set[str] | None = None) -> Iterator[BagMessage]:
        """The messages of these topics (None = all topics) in recorded order, up to the first damage of the bag."""
        messages, count = self._source.messages(topics), 0
        while True:
            try:
                message = next(messages)
            except StopIteration:
                return
            except Exception as error:  # rosbags passes on all exceptions of its storage
                if not count:
                    raise self._error(f"it is damaged ({_message_of(error)})") from error
                self._tell(
                    f"the bag {self.path} is damaged ({_message_of(error)}): only the {count} messages before the "
                    "damage are read"
                )
                return
            count += 1
            yield message

    def deserialize(self, message: BagMessage) -> Any:
        """Deserialise a message. Raises InputError with the cause "bag" if its data is not of its type."""
        try:
            return deserialize(message.data, message.type)
        except Exception as error:  # KeyError for an unknown type, various exceptions for damaged data
            raise InputError(
                "bag",
                f"a message on {message.topic} of the bag {self.path} is not a valid {message.type} "
                f"({_message_of(error)}): record it again",
            ) from error

    def find_image(self, role: str, topic: str) -> Topic:
        """Find an image topic by name, with or without the suffix of a transport ("/compressed", "/compressedDepth").

        For depth, a topic of points is accepted too.

        Raises:
            InputError: With the cause "bag", if there is no such topic.
        """
        transports = {"rgb": ("/compressed",), "depth": ("/compressedDepth", "/compressed")}[role]
        types = (IMAGE, COMPRESSED_IMAGE, POINT_CLOUD) if role == "depth" else (IMAGE, COMPRESSED_IMAGE)
        for name in (topic, *(topic + transport for transport in transports)):
            found = self.topics.get("/" + name.lstrip("/"))
            if found is not None and found.type in types:
                return found
        held = ", ".join(f"{name} ({held.type})" for name, held in sorted(self.topics.items())) or "none"
        raise self._error(
            f"it has no {role} images on {topic} or {topic}{transports[0]}; its topics are: {held}", _NAME_TOPICS
        )

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()

    def _open(self) -> _WholeBag | ScannedBag:
        try:
            return _WholeBag(self.path)
        except _UnindexedError:
            return ScannedBag(self.path)
        except Exception as error:
            scanned = ScannedBag(self.path)
            problems = "; ".join(scanned.problems)
            if problems and len(scanned):
                self._tell(f"the bag {self.path} is incomplete: {problems}. {len(scanned)} messages can be read")
                return scanned
            scanned.close()
            raise self._error(f"it cannot be opened ({problems or _message_of(error)})") from error

    def _error(self, problem: str, fix: str = _GIVE_A_BAG) -> InputError:
        return InputError("bag", f"the bag {self.path} cannot be used: {problem}. {fix}")


class _UnindexedError(Exception):
    """The bag is complete, but rosbags can read its messages only if they are stored in order of time."""


class _WholeBag:
    """Reads a complete bag with rosbags; same interface as ``ScannedBag``. Raises exceptions of rosbags otherwise."""

    def __init__(self, path: Path):
        self._reader = Reader(path)
        self._reader.open()
        storages = getattr(self._reader.storage, "storages", [self._reader.storage])
        if unfinished := [storage.path.name for storage in storages if not is_finished(storage.path)]:
            self.close()
            raise ValueError(f"{', '.join(unfinished)} was not completed")
        held = sum(storage.metadata.message_count for storage in storages)
        if held != self._reader.message_count:  # the metadata of a killed recorder has a count of 0
            self.close()
            raise ValueError(f"metadata.yaml lists {self._reader.message_count} messages, but the files have {held}")
        if held and not all(getattr(storage, "chunks", True) for storage in storages):
            self.close()
            raise _UnindexedError
        self.topics = {
            connection.topic: Topic(connection.topic, connection.msgtype, connection.msgcount, _is_latched(connection))
            for connection in self._reader.connections
        }
        self.start_ns = self._reader.start_time if self._reader.message_count else 0
        self.end_ns = self._reader.end_time - 1 if self._reader.message_count else 0

    def messages(self, topics: set[str] | None) -> Iterator[BagMessage]:
        connections = [c for c in self._reader.connections if topics is None or c.topic in topics]
        for connection, log_ns, data in self._reader.messages(connections) if connections else ():
            yield BagMessage(connection.topic, connection.msgtype, log_ns, bytes(data))

    def close(self) -> None:
        self._reader.close()


def read_frames(
    path: str | Path,
    rgb_topic: str = RGB_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    *,
    slop_ns: int = 20_000_000,
    queue_size: int = 0,
    unit: float = 0.0,
    depth_to_rgb: np.ndarray | None = None,
    tell: Callable[[str], None] = tell_stderr,
) -> Iterator[RgbdFrame]:
    """Read pairs of colour and depth images, or points, of a bag as frames. They are paired as in the node.

    Images without stamps are paired by the order or time of recording. The intrinsics are those of the latest
    ``camera_info`` of the colour images, or of the first one for images before it. Frames that cannot be used are left
    out, unless none can be used.

    Args:
        path: The bag.
        rgb_topic: Topic of the colour images, raw or compressed.
        depth_topic: Topic of depth images, raw or compressed, or of points.
        slop_ns: See ``Synchronizer``.
        queue_size: See ``Synchronizer``.
        unit: Length of one count of depth images [m]; 0 = by encoding.
        depth_to_rgb: (4, 4) transform from the frame of the points to the optical frame of the camera; needed for
            points.
        tell: Called with a line about missing parts of the bag, missing stamps or frames that are left out.

    Raises:
        InputError: With the cause "bag" for a problem of the bag, "extrinsic" or "camera_info" if one is missing for
            points, or as in ``conversion`` if no frame can be used.
    """
    with BagReader(path, tell) as bag:
        rgb, depth = bag.find_image("rgb", rgb_topic), bag.find_image("depth", depth_topic)
        info_topic = camera_info_topic(rgb.name)
        info = _first_info(bag, info_topic)
        done, first_error, left_out = 0, None, 0
        pairing = _pairing(bag, rgb, depth, Synchronizer(slop_ns, queue_size), tell)
        for message in bag.messages({rgb.name, depth.name, info_topic}):
            if message.topic == info_topic and message.type == CAMERA_INFO:
                info = bag.deserialize(message)
                continue
            for pair in pairing("rgb" if message.topic == rgb.name else "depth", message):
                try:
                    frame = _frame(bag, pair, info, unit, depth_to_rgb)
                except InputError as error:
                    if error.cause in ("extrinsic", "camera_info"):
                        raise
                    first_error, left_out = first_error or error, left_out + 1
                    continue
                done += 1
                yield frame
        if first_error is not None:
            if not done:
                raise first_error
            tell(f"{left_out} of {done + left_out} frames of the bag {bag.path} are left out: {first_error}")


def depth_encoding(path: str | Path, depth_topic: str) -> str:
    """The encoding of the depth images in a bag ("16UC1", …); empty if it has no messages or only points.

    Raises InputError like ``read_frames``.
    """
    with BagReader(path, tell=lambda line: None) as bag:
        topic = bag.find_image("depth", depth_topic)
        message = next(bag.messages({topic.name}), None)
        if message is None or message.type == POINT_CLOUD:
            return ""
        image = bag.deserialize(message)
    return image.encoding if message.type == IMAGE else image.format.partition(";")[0].strip()


def _first_info(bag: BagReader, topic: str) -> Any | None:
    """The first camera_info on a topic; recorders often write it after the first image. None if there is none."""
    if topic not in bag.topics or bag.topics[topic].type != CAMERA_INFO:
        return None
    message = next(bag.messages({topic}), None)
    return None if message is None else bag.deserialize(message)


def _pairing(
    bag: BagReader, rgb: Topic, depth: Topic, synchronizer: Synchronizer, tell: Callable[[str], None]
) -> Callable[[Stream, BagMessage], list[Pair]]:
    """A function that takes the messages of two topics one by one and returns the pairs that each completes."""
    unstamped = [topic.name for topic in (rgb, depth) if _first_stamp(bag, topic) == 0]
    if not unstamped:
        return lambda role, message: synchronizer.add(role, stamp_of(message.data), message)
    begin = f"the bag {bag.path} has no stamps on {' and '.join(unstamped)}: its images are paired by "
    if rgb.count != depth.count:
        tell(begin + f"time of recording, as there are {rgb.count} colour images and {depth.count} depth images")
        return lambda role, message: synchronizer.add(role, message.log_ns, message)
    tell(begin + f"order of recording, {rgb.count} of each")
    waiting: dict[Stream, deque[BagMessage]] = {"rgb": deque(), "depth": deque()}

    def add(role: Stream, message: BagMessage) -> list[Pair]:
        waiting[role].append(message)
        if not all(waiting.values()):
            return []
        first, second = (queue.popleft() for queue in waiting.values())
        return [Pair(first.log_ns, second.log_ns, first, second)]

    return add


def _first_stamp(bag: BagReader, topic: Topic) -> int | None:
    message = next(bag.messages({topic.name}), None)
    return None if message is None else stamp_of(message.data)


def _frame(bag: BagReader, pair: Pair, info: Any | None, unit: float, depth_to_rgb: np.ndarray | None) -> RgbdFrame:
    message, depth = bag.deserialize(pair.rgb), bag.deserialize(pair.depth)
    rgb = decode_rgb(message) if pair.rgb.type == IMAGE else decode_compressed_rgb(message)
    # Depth images are registered to the colour image, whether it is rectified or not; only points need the distortion.
    raw = pair.depth.type == POINT_CLOUD and not says_rectified(pair.rgb.topic)
    intrinsics = intrinsics_of(info, (rgb.shape[1], rgb.shape[0]), raw=raw) if info is not None else None
    if pair.depth.type == POINT_CLOUD:
        dense = _projected(decode_points(depth, unit), intrinsics, depth_to_rgb)
    else:
        dense = decode_depth(depth, unit) if pair.depth.type == IMAGE else decode_compressed_depth(depth, unit)
    return RgbdFrame(
        rgb=rgb,
        depth=dense,
        intrinsics=intrinsics,
        stamp_ns=pair.rgb_ns,
        frame_id=message.header.frame_id,
    )


def _projected(points: np.ndarray, intrinsics: Intrinsics | None, depth_to_rgb: np.ndarray | None) -> np.ndarray:
    if depth_to_rgb is None:
        raise InputError(
            "extrinsic", "points need the pose of their frame in the camera frame: set it with --extrinsic"
        )
    if intrinsics is None:
        raise InputError(
            "camera_info",
            "points need the camera_info of the colour images, but the bag has none beside them: record it too",
        )
    return projected(points, depth_to_rgb, intrinsics)


def frames_of(path: str | Path, topics: dict[str, str]) -> dict[str, str]:
    """The frames of the first colour image ("rgb") and point cloud ("points") in a bag, if it has them.

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


def _bags_inside(path: Path) -> list[str]:
    """The names of the bags in a folder that is none itself."""
    if not path.is_dir() or (path / "metadata.yaml").exists() or any(is_storage(file) for file in path.iterdir()):
        return []
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    return [folder.name for folder in folders if any(is_storage(file) for file in folder.iterdir())]


def _ros1_bag(path: Path) -> Path | None:
    """The ROS 1 bag that the path is or contains; None if there is none."""
    files = sorted(path.glob("*.bag")) if path.is_dir() and not (path / "metadata.yaml").exists() else [path]
    for file in files:
        with contextlib.suppress(OSError), file.open("rb") as content:
            if content.read(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
                return file
    return None


def _is_latched(connection: Connection) -> bool:
    profiles = getattr(connection.ext, "offered_qos_profiles", [])
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _message_of(error: Exception) -> str:
    return f"{error}" or type(error).__name__
