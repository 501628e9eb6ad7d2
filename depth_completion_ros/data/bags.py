"""Recordings in rosbag2 format (mcap or sqlite3), read and written without ROS."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

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
from ..errors import ConfigurationError, InputError
from ..frame import Intrinsics, RgbdFrame
from ..geometry import projected
from ..synchronizer import Pair, Stream, Synchronizer
from .bag_scan import ScannedBag, is_finished
from .messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    POINT_CLOUD,
    TYPESTORE,
    BagMessage,
    Topic,
    deserialize,
    serialize,
    stamp_of,
)

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3")

RGB_TOPIC = "/rgb/image_rect_color"
DEPTH_TOPIC = "/depth_registered/image_rect"
POINTS_TOPIC = "/points"

# Metadata of version 9 holds QoS as nested YAML, which the readers of Humble do not understand.
_METADATA_VERSION: Literal[8] = 8
_ROS1_MAGIC = b"#ROSBAG V"

_GIVE_A_BAG = "Give a rosbag2 folder, or one .mcap or .db3 file"
_NAME_TOPICS = "Give the names of its colour and depth topics"


def tell_stderr(line: str) -> None:
    """Where a line about a recording goes unless its reader is told otherwise."""
    print(line, file=sys.stderr)


class BagReader:
    """A bag open for reading: a folder with metadata.yaml, or one .mcap or .db3 file. Use it in a ``with`` block.

    One that is not whole (cut off, metadata.yaml or a file missing) is read as far as it is; ``tell`` takes a line that
    says what is missing. start_ns and end_ns: when the first and the last message were recorded.
    Raises InputError, cause "bag", for one that is absent, no bag, of ROS 1, or holds no whole message.
    """

    def __init__(self, path: str | Path, tell: Callable[[str], None] = tell_stderr):
        self.path = Path(path)
        self._tell = tell
        if not self.path.exists():
            raise self._error("there is no such file or folder")
        if (old := _ros1_bag(self.path)) is not None:
            convert = f"rosbags-convert --src {old} --dst {old.with_suffix('')}"
            raise InputError("bag", f"{old} is a bag of ROS 1: convert it to rosbag2 with `{convert}`")
        self._source = self._open()
        self.topics = self._source.topics
        self.start_ns, self.end_ns = self._source.start_ns, self._source.end_ns

    def messages(self, topics: set[str] | None = None) -> Iterator[BagMessage]:
        """The messages of these topics (None: of all) in recorded order; of a damaged bag those before the damage."""
        messages, count = self._source.messages(topics), 0
        while True:
            try:
                message = next(messages)
            except StopIteration:
                return
            except Exception as error:  # rosbags lets whatever its storage raises through
                if not count:
                    raise self._error(f"it is damaged ({_told(error)})") from error
                self._tell(f"the bag {self.path} is damaged ({_told(error)}): the {count} messages before are read")
                return
            count += 1
            yield message

    def deserialize(self, message: BagMessage) -> Any:
        """The message itself. Raises InputError, cause "bag", where its bytes are not one of its type."""
        try:
            return deserialize(message.data, message.type)
        except Exception as error:  # a KeyError for an unknown type, whatever the decoder stumbles over else
            raise self._error(f"a message on {message.topic} is no {message.type} ({_told(error)})") from error

    def find_image(self, role: str, topic: str) -> Topic:
        """The image topic of this name, raw or with a transport's name after it ("/compressed", "/compressedDepth").

        For depth a topic of points will do too.
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
                self._tell(
                    f"the bag {self.path} is not whole: {problems}. It is read as far as it is: {len(scanned)} messages"
                )
                return scanned
            scanned.close()
            raise self._error(f"it cannot be opened ({problems or _told(error)})") from error

    def _error(self, problem: str, mend: str = _GIVE_A_BAG) -> InputError:
        return InputError("bag", f"the bag {self.path} cannot be used: {problem}. {mend}")


class _UnindexedError(Exception):
    """Whole, but rosbags would read its messages only where they lie in the order of time."""


class _WholeBag:
    """A bag as rosbags reads it, as ``ScannedBag``. Raises whatever rosbags does for one that is not whole."""

    def __init__(self, path: Path):
        self._reader = Reader(path)
        self._reader.open()
        storages = getattr(self._reader.storage, "storages", [self._reader.storage])
        if unfinished := [storage.path.name for storage in storages if not is_finished(storage.path)]:
            self.close()
            raise ValueError(f"{', '.join(unfinished)} was not written to its end")
        held = sum(storage.metadata.message_count for storage in storages)
        if held != self._reader.message_count:  # a recorder that was killed has counted none yet
            self.close()
            raise ValueError(f"metadata.yaml counts {self._reader.message_count} messages, its files hold {held}")
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


class BagWriter:
    """A new bag, written message by message; it is complete once it is closed.

    In a ``with`` block it is closed at the end, and an error within the block takes the unfinished bag away again.
    Raises ConfigurationError where something of this name exists already, or the folder cannot be made.
    """

    def __init__(self, path: str | Path, storage: Storage = "mcap"):
        self.path = Path(path)
        if self.path.exists():
            raise ConfigurationError(f"{self.path} exists already: give another name, or take it away first")
        self._writer = Writer(self.path, version=_METADATA_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        try:
            self._writer.open()
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be made ({error.strerror}): choose another folder") from error
        self._connections: dict[tuple[str, str], Connection] = {}

    def write(self, topic: str, type_name: str, log_ns: int, data: bytes) -> None:
        """Add one serialised message. Its type must be one of ROS's own (``knows_type``)."""
        key = (topic, type_name)
        if key not in self._connections:
            self._connections[key] = self._writer.add_connection(topic, type_name, typestore=TYPESTORE)
        self._writer.write(self._connections[key], log_ns, data)

    def write_message(self, topic: str, log_ns: int, message: Any) -> None:
        """Add one message made by ``data.messages``."""
        self.write(topic, message.__msgtype__, log_ns, serialize(message))

    def flush(self) -> None:
        """Hand what has been written to the system: it can be read even if this process is killed now."""
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
        elif isinstance(storage, Sqlite3Writer):
            storage.conn.commit()

    def close(self) -> None:
        """Write the bag's end and its metadata."""
        self._writer.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is not None:
            shutil.rmtree(self.path)


def knows_type(type_name: str) -> bool:
    """Whether messages of this type can be written: a bag holds the definition of each of its types."""
    return type_name in TYPESTORE.fielddefs


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
    """The pairs of a bag's colour and depth images, or points, as frames, paired as the node pairs them.

    Images without stamps are paired by the order in which they were recorded, which ``tell`` is told.

    Topics: raw, or compressed under the same name. slop_ns, queue_size: of the ``Synchronizer``. unit: metres per count
    of depth images, 0: as their encoding has it. depth_to_rgb: (4, 4), which points need: their frame's pose in the
    camera's optical frame.
    Intrinsics are those of the ``camera_info`` beside the colour images, None before the first.
    Raises InputError, cause "bag" for the bag, "extrinsic" or "camera_info" where points lack one, or as ``conversion``
    does for a message.
    """
    with BagReader(path, tell) as bag:
        rgb, depth = bag.find_image("rgb", rgb_topic), bag.find_image("depth", depth_topic)
        info_topic = camera_info_topic(rgb.name)
        info: Any | None = None
        pairing = _pairing(bag, rgb, depth, Synchronizer(slop_ns, queue_size), tell)
        for message in bag.messages({rgb.name, depth.name, info_topic}):
            if message.topic == info_topic and message.type == CAMERA_INFO:
                info = bag.deserialize(message)
                continue
            for pair in pairing("rgb" if message.topic == rgb.name else "depth", message):
                yield _frame(bag, pair, info, unit, depth_to_rgb)


def depth_encoding(path: str | Path, depth_topic: str) -> str:
    """How the depth images of a bag are encoded ("16UC1", …); empty where there are none, or points instead.

    Raises InputError as ``read_frames`` does.
    """
    with BagReader(path, tell=lambda line: None) as bag:
        topic = bag.find_image("depth", depth_topic)
        message = next(bag.messages({topic.name}), None)
        if message is None or message.type == POINT_CLOUD:
            return ""
        image = bag.deserialize(message)
    return image.encoding if message.type == IMAGE else image.format.partition(";")[0].strip()


def _pairing(
    bag: BagReader, rgb: Topic, depth: Topic, synchronizer: Synchronizer, tell: Callable[[str], None]
) -> Callable[[Stream, BagMessage], list[Pair]]:
    """What takes in the messages of two topics one by one and gives back the pairs that each completes."""
    unstamped = [topic.name for topic in (rgb, depth) if _first_stamp(bag, topic) == 0]
    if not unstamped:
        return lambda role, message: synchronizer.add(role, stamp_of(message.data), message)
    begin = f"the bag {bag.path} has no stamps on {' and '.join(unstamped)}: its images are paired by "
    if rgb.count != depth.count:
        tell(begin + f"when they were recorded, as there are {rgb.count} of colour and {depth.count} of depth")
        return lambda role, message: synchronizer.add(role, message.log_ns, message)
    tell(begin + f"the order in which they were recorded, {rgb.count} of each")
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
    # Depth images lie on the grid of the colour image, whether that is rectified or not.
    raw = pair.depth.type == POINT_CLOUD and not says_rectified(pair.rgb.topic)
    intrinsics = intrinsics_of(info, (rgb.shape[1], rgb.shape[0]), raw=raw) if info is not None else None
    if pair.depth.type == POINT_CLOUD:
        dense = _projected(decode_points(depth), intrinsics, depth_to_rgb)
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
        raise InputError("extrinsic", "points need their frame's pose in that of the camera: give it with --extrinsic")
    if intrinsics is None:
        raise InputError("camera_info", "points need the camera_info beside the colour images, which the bag lacks")
    return projected(points, depth_to_rgb, intrinsics)


def frames_of(path: str | Path, topics: dict[str, str]) -> dict[str, str]:
    """The frames of a bag's first colour image and cloud: "rgb" and "points", as far as it holds such.

    topics: "rgb_topic" and "points_topic". Raises InputError, cause "bag".
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
    """The camera_info beside an image topic, which may end in the name of a transport."""
    return beside("/" + image_topic.lstrip("/"))


def _ros1_bag(path: Path) -> Path | None:
    """The bag of ROS 1 that this file is or that this folder holds, if there is one."""
    files = sorted(path.glob("*.bag")) if path.is_dir() and not (path / "metadata.yaml").exists() else [path]
    for file in files:
        with contextlib.suppress(OSError), file.open("rb") as content:
            if content.read(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
                return file
    return None


def _is_latched(connection: Connection) -> bool:
    profiles = getattr(connection.ext, "offered_qos_profiles", [])
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _told(error: Exception) -> str:
    return f"{error}" or type(error).__name__
