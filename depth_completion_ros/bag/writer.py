"""Write recordings in rosbag2 format (mcap or sqlite3) without ROS."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from ..errors import ConfigurationError
from .messages import TYPESTORE, serialize

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3")

# Version 9 stores QoS as nested YAML, which Humble cannot read.
_METADATA_VERSION: Literal[8] = 8


class BagWriter:
    """Writes a new bag message by message. The bag is complete once it is closed.

    A ``with`` block closes it at the end; an exception in the block removes the unfinished bag.

    Args:
        path: Folder of the new bag.
        storage: Storage format.

    Raises:
        ConfigurationError: If the path exists, or the folder cannot be made.
    """

    def __init__(self, path: str | Path, storage: Storage = "mcap"):
        self.path = Path(path)
        if self.path.exists():
            raise ConfigurationError(f"{self.path} already exists: choose another name, or remove it first")
        self._writer = Writer(self.path, version=_METADATA_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        try:
            self._writer.open()
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be made ({error.strerror}): choose another folder") from error
        self._connections: dict[tuple[str, str], Connection] = {}

    def write(self, topic: str, type_name: str, log_ns: int, data: bytes) -> None:
        """Add one serialised message. Its type must be known, see ``knows_type``."""
        key = (topic, type_name)
        if key not in self._connections:
            self._connections[key] = self._writer.add_connection(topic, type_name, typestore=TYPESTORE)
        self._writer.write(self._connections[key], log_ns, data)

    def write_message(self, topic: str, log_ns: int, message: Any) -> None:
        """Add one message that was made with ``bag.messages``."""
        self.write(topic, message.__msgtype__, log_ns, serialize(message))

    def flush(self) -> None:
        """Pass written messages to the operating system, so that they can be read even if this process is killed."""
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
        elif isinstance(storage, Sqlite3Writer):
            storage.conn.commit()

    def close(self) -> None:
        """Write the end of the bag and its metadata."""
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
    """Whether messages of this type can be written; a bag contains the definition of each type, so it must be known."""
    return type_name in TYPESTORE.fielddefs
