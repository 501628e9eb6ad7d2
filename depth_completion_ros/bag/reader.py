"""Read recordings in rosbag2 format (mcap or sqlite3) without ROS."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader

from ..errors import InputError
from .messages import (
    COMPRESSED_IMAGE,
    IMAGE,
    POINT_CLOUD,
    BagMessage,
    Topic,
    deserialize,
)
from .scan import ScannedBag, is_finished, is_storage

RGB_TOPIC = "/rgb/image_rect_color"
DEPTH_TOPIC = "/depth_registered/image_rect"
POINTS_TOPIC = "/points"

_ROS1_MAGIC = b"#ROSBAG V"

_GIVE_A_BAG = "Give a rosbag2 folder, or one .mcap or .db3 file"
_RECORD_AGAIN = "Record its topics with `ros2 bag record` or `depth-completion bag record`"
_CONVERT_ROS1 = "Convert the ROS 1 bag that it was made from with `rosbags-convert --src NAME.bag --dst NAME`"
_NAME_TOPICS = "Give the names of its colour and depth topics"


def warn_on_stderr(line: str) -> None:
    """Print a line to stderr: the default for messages about a recording."""
    print(line, file=sys.stderr)


class BagReader:
    """A bag opened for reading. Use it in a ``with`` block.

    An incomplete bag (truncated, or without metadata.yaml or some of its files) is read as far as possible.

    Args:
        path: A folder with metadata.yaml, or one .mcap or .db3 file.
        warn: Called with a line that says what is missing in an incomplete bag.

    Attributes:
        topics: Topics by name.
        start_ns: Recorded time of the first message [ns].
        end_ns: Recorded time of the last message [ns].

    Raises:
        InputError: With the cause "bag", if there is no bag, it is a ROS 1 bag, or it has no complete message.
    """

    def __init__(self, path: str | Path, warn: Callable[[str], None] = warn_on_stderr):
        self.path = Path(path)
        self._warn = warn
        if not self.path.exists():
            raise self._error("there is no such file or folder")
        if (old := _ros1_bag(self.path)) is not None:
            convert = f"rosbags-convert --src {old} --dst {old.with_suffix('')}"
            raise InputError("bag", f"{old} is a ROS 1 bag: convert it to rosbag2 with `{convert}`")
        if (zipped := _gzipped(self.path)) is not None:
            raise self._error(f"{zipped.name} is compressed with gzip", f"Unpack it with `gunzip {zipped}`")
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
                self._warn(
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
            if len(scanned):
                if problems:
                    self._warn(f"the bag {self.path} is incomplete: {problems}. {len(scanned)} messages can be read")
                return scanned  # complete, if only rosbags refuses it, as it does files whose profile is not ros2
            scanned.close()
            if scanned.other_encodings:
                raise self._error(
                    f"its messages are encoded as {', '.join(scanned.other_encodings)}, not as cdr, as those of ROS 2",
                    _CONVERT_ROS1 if "ros1" in scanned.other_encodings else _RECORD_AGAIN,
                ) from error
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


def _gzipped(path: Path) -> Path | None:
    """The gzipped storage file that the path is or, beside no other, contains; None if there is none."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    if any(is_storage(file) for file in files):
        return None
    return next((file for file in files if file.suffix == ".gz" and is_storage(file.with_suffix(""))), None)


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
