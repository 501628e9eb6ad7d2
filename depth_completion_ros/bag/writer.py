"""Write recordings in rosbag2 format (mcap or sqlite3) without ROS."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
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
        ConfigurationError: If the path exists, or the folder cannot be made; from all methods, if the disk is full.
    """

    def __init__(self, path: str | Path, storage: Storage = "mcap"):
        self.path = Path(path)
        if self.path.exists():
            raise ConfigurationError(f"{self.path} already exists: choose another name, or remove it first")
        self._writer = Writer(self.path, version=_METADATA_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        try:
            self._writer.open()
        except (OSError, sqlite3.Error) as error:
            shutil.rmtree(self.path, ignore_errors=True)
            reason = getattr(error, "strerror", error)
            raise ConfigurationError(
                f"{self.path} cannot be made ({reason}): choose another folder, or free some disk space"
            ) from error
        self._connections: dict[tuple[str, str], Connection] = {}

    def write(self, topic: str, type_name: str, log_ns: int, data: bytes) -> None:
        """Add one serialised message. Its type must be known, see ``knows_type``."""
        key = (topic, type_name)
        with writing_to(self.path):
            if key not in self._connections:
                self._connections[key] = self._writer.add_connection(topic, type_name, typestore=TYPESTORE)
            self._writer.write(self._connections[key], log_ns, data)

    def write_message(self, topic: str, log_ns: int, message: Any) -> None:
        """Add one message that was made with ``bag.messages``."""
        self.write(topic, message.__msgtype__, log_ns, serialize(message))

    def flush(self) -> None:
        """Pass written messages to the operating system, so that they can be read even if this process is killed."""
        storage = self._writer.storage
        with writing_to(self.path):
            if isinstance(storage, McapWriter):
                if storage.chunk.msgs:
                    storage.close_chunk()
                storage.bio.flush()
            elif isinstance(storage, Sqlite3Writer):
                storage.conn.commit()

    def close(self) -> None:
        """Write the end of the bag and its metadata."""
        try:
            with writing_to(self.path):
                self._writer.close()
        except ConfigurationError:
            storage = self._writer.storage
            with contextlib.suppress(OSError, sqlite3.Error):
                if isinstance(storage, Sqlite3Writer):
                    storage.abort()
                elif isinstance(storage, McapWriter):
                    storage.bio.close()
            raise

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = True
        try:
            self.close()
            failed = error is not None
        except ConfigurationError:
            if error is None:
                raise
        finally:
            if failed:
                shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Raise ConfigurationError instead of the errors of a full or failing disk."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"{path} cannot be written to ({error}): free some disk space or choose another folder"
        ) from error


def knows_type(type_name: str) -> bool:
    """Whether messages of this type can be written; a bag contains the definition of each type, so it must be known."""
    return type_name in TYPESTORE.fielddefs
