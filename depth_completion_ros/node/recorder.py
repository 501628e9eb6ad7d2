"""Writes the serialised messages of some topics into a bag as they come."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ..data.bags import BagWriter, Storage, knows_type
from ..data.messages import BagMessage, has_header, stamp_of
from ..errors import ConfigurationError
from .message_types import message_class

# Deep enough for a second of several cameras, so that nothing is lost while the disk is slow.
DEPTH = 100
LOOK_PERIOD_S = 0.1
FLUSH_PERIOD_S = 1.0


class BagRecording:
    """A bag that messages are written into as they come. Use it in a ``with`` block, which writes the bag's end.

    every: of each topic, the first and then every N-th. received: messages by topic. error: why no more can be written.
    After ``flush`` what was added can be read even if the process is killed. An error within the block takes an empty
    bag away. Raises ConfigurationError where ``out`` exists or cannot be made.
    """

    def __init__(self, out: Path, storage: Storage, every: int):
        self.received: Counter[str] = Counter()
        self.error: ConfigurationError | None = None
        self._out, self._every, self._kept = out, every, 0
        self._bag = BagWriter(out, storage)

    def add(self, message: BagMessage) -> None:
        """Count a message, and write it where it is its turn."""
        number = self.received[message.topic]
        self.received[message.topic] += 1
        if number % self._every == 0 and self._write(lambda: self._bag.write(*message)):
            self._kept += 1

    def flush(self) -> None:
        """Hand what was added to the system."""
        self._write(self._bag.flush)

    def summary(self) -> str:
        """How many messages came and how many were kept."""
        return f"{self._kept} of {sum(self.received.values())} messages on {len(self.received)} topics"

    def _write(self, write: Callable[[], None]) -> bool:
        if self.error is None:
            try:
                write()
            except (OSError, sqlite3.Error) as error:
                self.error = ConfigurationError(
                    f"{self._out} cannot be written to ({error}): make room or choose another folder; {self._kept} "
                    "messages are in it"
                )
        return self.error is None

    def __enter__(self) -> BagRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(self._bag.close)
        if error is not None and not self._kept:
            shutil.rmtree(self._out)


class RecorderNode(Node):
    """Subscribes to each topic once somebody publishes on it, and hands what comes to the recording.

    seconds: rclpy is shut down after that long, which ends ``process.spin``; so it is when the recording cannot be
    written any more. log: see ``bag record --log``.
    """

    def __init__(self, topics: list[str], recording: BagRecording, seconds: float | None, log: Path | None):
        super().__init__("bag_recorder")
        self._missing = {"/" + topic.lstrip("/") for topic in topics}
        self._recording = recording
        self._log = None if log is None else log.open("w", buffering=1)
        if self._log is not None:
            self._log.write("topic,stamp_ns,received_ns\n")
        self.create_timer(LOOK_PERIOD_S, self._look_for_topics)
        self.create_timer(FLUSH_PERIOD_S, self._flush)
        if seconds is not None:
            self.create_timer(seconds, rclpy.try_shutdown)

    def close(self) -> None:
        """Say which topics never appeared, and close the log."""
        if self._missing:
            self.get_logger().warning(f"nobody has published on {', '.join(sorted(self._missing))}: check the names")
        if self._log is not None:
            self._log.close()

    def _flush(self) -> None:
        self._recording.flush()
        if self._recording.error is not None:
            rclpy.try_shutdown()

    def _look_for_topics(self) -> None:
        if not self._missing:
            return
        for name, types in self.get_topic_names_and_types():
            if name in self._missing and self.get_publishers_info_by_topic(name):
                self._missing.discard(name)
                self._subscribe(name, types[0])

    def _subscribe(self, name: str, type_name: str) -> None:
        kind = message_class(type_name)
        if kind is None or not knows_type(type_name):
            self.get_logger().error(f"{name} is not recorded: {type_name} is not installed here, or not one of ROS's")
            return
        stamped = has_header(type_name)

        def receive(data: bytes) -> None:
            received_ns = time.monotonic_ns()
            if self._log is not None:
                self._log.write(f"{name},{stamp_of(data) if stamped else ''},{received_ns}\n")
            self._recording.add(BagMessage(name, type_name, time.time_ns(), data))

        self.create_subscription(kind, name, receive, self._qos(name), raw=True)

    def _qos(self, name: str) -> QoSProfile:
        """What every publisher of the topic can give: the best that they have in common."""
        offered = [info.qos_profile for info in self.get_publishers_info_by_topic(name)]
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
        return QoSProfile(
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
