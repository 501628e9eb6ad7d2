"""Recordings in rosbag2 format (mcap or sqlite3), read and written without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from ..conversion import (
    decode_compressed_depth,
    decode_compressed_rgb,
    decode_depth,
    decode_points,
    decode_rgb,
    intrinsics_of,
)
from ..errors import ConfigurationError, InputError
from ..frame import Intrinsics, RgbdFrame
from ..geometry import moved, project_points
from ..synchronizer import Pair, Synchronizer
from .messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD, TYPESTORE, deserialize, serialize, stamp_of

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3")

RGB_TOPIC = "/rgb/image_rect_color"
DEPTH_TOPIC = "/depth_registered/image_rect"
POINTS_TOPIC = "/points"

# Metadata of version 9 holds QoS as nested YAML, which the readers of Humble do not understand.
_METADATA_VERSION: Literal[8] = 8
_STORAGE_SUFFIXES = (".mcap", ".db3")

_GIVE_A_BAG = "Give a rosbag2 folder with metadata.yaml, or one whole .mcap or .db3 file"
_NAME_TOPICS = "Give the names of its colour and depth topics"


class BagMessage(NamedTuple):
    """One recorded message: its topic and type, when it was recorded [ns] and its CDR."""

    topic: str
    type: str
    log_ns: int
    data: bytes


@dataclass(frozen=True)
class Topic:
    """One topic of a bag. latched: late subscribers got the last messages too (transient local, as /tf_static)."""

    name: str
    type: str
    count: int
    latched: bool


class BagReader:
    """A bag open for reading: a folder with metadata.yaml, or one .mcap or .db3 file. Use it in a ``with`` block.

    start_ns and end_ns: when the first and the last message were recorded.
    Raises InputError, cause "bag", for one that is absent, truncated or no bag; also while messages are read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.exists():
            raise self._error("there is no such file or folder")
        try:
            self._reader = Reader(self._file_to_open())
            self._reader.open()
        except Exception as error:  # rosbags lets whatever its storage raises through
            raise self._error(f"it cannot be opened ({_told(error)})") from error
        self.topics = {
            connection.topic: Topic(connection.topic, connection.msgtype, connection.msgcount, _is_latched(connection))
            for connection in self._reader.connections
        }
        self.start_ns = self._reader.start_time if self._reader.message_count else 0
        self.end_ns = self._reader.end_time - 1 if self._reader.message_count else 0

    def messages(self, topics: set[str] | None = None) -> Iterator[BagMessage]:
        """The messages of these topics (None: of all) in recorded order."""
        connections = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not connections:
            return
        messages = self._reader.messages(connections)
        while True:
            try:
                connection, log_ns, data = next(messages)
            except StopIteration:
                return
            except Exception as error:
                raise self._error(f"it is damaged ({_told(error)})") from error
            yield BagMessage(connection.topic, connection.msgtype, log_ns, bytes(data))

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
        transport = {"rgb": "/compressed", "depth": "/compressedDepth"}[role]
        types = (IMAGE, COMPRESSED_IMAGE, POINT_CLOUD) if role == "depth" else (IMAGE, COMPRESSED_IMAGE)
        for name in (topic, topic + transport):
            found = self.topics.get("/" + name.lstrip("/"))
            if found is not None and found.type in types:
                return found
        held = ", ".join(f"{name} ({held.type})" for name, held in sorted(self.topics.items())) or "none"
        raise self._error(
            f"it has no {role} images on {topic} or {topic}{transport}; its topics are: {held}", _NAME_TOPICS
        )

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def _file_to_open(self) -> Path:
        """The folder itself or, where it has no metadata (its recorder was killed), its only storage file."""
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            files = [file for file in self.path.iterdir() if file.suffix in _STORAGE_SUFFIXES]
            if len(files) == 1:
                return files[0]
        return self.path

    def _error(self, problem: str, mend: str = _GIVE_A_BAG) -> InputError:
        return InputError("bag", f"the bag {self.path} cannot be used: {problem}. {mend}")


class BagWriter:
    """A new bag, written message by message. Use it in a ``with`` block; the bag is complete when that ends.

    An error within the block takes the unfinished bag away again.
    Raises ConfigurationError where something of this name exists already.
    """

    def __init__(self, path: str | Path, storage: Storage = "mcap"):
        self.path = Path(path)
        if self.path.exists():
            raise ConfigurationError(f"{self.path} exists already: give another name, or take it away first")
        self._writer = Writer(self.path, version=_METADATA_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        self._writer.open()
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

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
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
    queue_size: int = 10,
    unit: float = 0.001,
    depth_to_rgb: np.ndarray | None = None,
) -> Iterator[RgbdFrame]:
    """The pairs of a bag's colour and depth images, or points, as frames, paired as the node pairs them.

    Topics: raw, or compressed under the same name. slop_ns, queue_size: of the ``Synchronizer``. unit: metres per count
    of 16-bit depth. depth_to_rgb: (4, 4), which points need: their frame's pose in the camera's optical frame.
    Intrinsics are those of the ``camera_info`` beside the colour images, None before the first.
    Raises InputError, cause "bag" for the bag, "extrinsic" or "camera_info" where points lack one, or as ``conversion``
    does for a message.
    """
    synchronizer = Synchronizer(slop_ns, queue_size)
    with BagReader(path) as bag:
        rgb, depth = bag.find_image("rgb", rgb_topic), bag.find_image("depth", depth_topic)
        info_topic = camera_info_topic(rgb_topic)
        intrinsics: Intrinsics | None = None
        for message in bag.messages({rgb.name, depth.name, info_topic}):
            if message.topic == info_topic and message.type == CAMERA_INFO:
                intrinsics = intrinsics_of(bag.deserialize(message))
                continue
            role: Literal["rgb", "depth"] = "rgb" if message.topic == rgb.name else "depth"
            for pair in synchronizer.add(role, stamp_of(message.data), message):
                yield _frame(bag, pair, intrinsics, unit, depth_to_rgb)


def _frame(
    bag: BagReader, pair: Pair, intrinsics: Intrinsics | None, unit: float, depth_to_rgb: np.ndarray | None
) -> RgbdFrame:
    rgb, depth = bag.deserialize(pair.rgb), bag.deserialize(pair.depth)
    if pair.depth.type == POINT_CLOUD:
        dense = _projected(decode_points(depth), intrinsics, depth_to_rgb)
    else:
        dense = decode_depth(depth, unit) if pair.depth.type == IMAGE else decode_compressed_depth(depth, unit)
    return RgbdFrame(
        rgb=decode_rgb(rgb) if pair.rgb.type == IMAGE else decode_compressed_rgb(rgb),
        depth=dense,
        intrinsics=intrinsics,
        stamp_ns=pair.rgb_ns,
        frame_id=rgb.header.frame_id,
    )


def _projected(points: np.ndarray, intrinsics: Intrinsics | None, depth_to_rgb: np.ndarray | None) -> np.ndarray:
    if depth_to_rgb is None:
        raise InputError("extrinsic", "points need their frame's pose in that of the camera: give it with --extrinsic")
    if intrinsics is None:
        raise InputError("camera_info", "points need the camera_info beside the colour images, which the bag lacks")
    return project_points(moved(points, depth_to_rgb), intrinsics)


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
    """The camera_info beside an image topic."""
    namespace, _, _ = ("/" + image_topic.lstrip("/")).rpartition("/")
    return f"{namespace}/camera_info"


def _is_latched(connection: Connection) -> bool:
    profiles = getattr(connection.ext, "offered_qos_profiles", [])
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles)


def _told(error: Exception) -> str:
    return f"{error}" or type(error).__name__
