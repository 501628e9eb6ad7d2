"""Write the serialised messages of topics to a bag as they arrive."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ..errors import ConfigurationError, InputError
from .message_log import open_log
from .message_types import message_class
from .messages import BagMessage, has_header, stamp_of
from .reader import BagReader
from .writer import BagWriter, Storage, knows_type

# Deep enough for about a second of camera images, so that nothing is lost while the disk is slow.
DEPTH = 100
LOOK_PERIOD_S = 0.1
FLUSH_PERIOD_S = 1.0


class BagRecording:
    """A bag that messages are written to as they arrive. Use it in a ``with`` block, which finishes the bag.

    After ``flush``, all added messages can be read even if the process is killed. If an exception leaves the block and
    the bag is empty, the bag is removed.

    Args:
        out: Folder of the new bag.
        storage: Storage format.
        every: Keep the first message of each topic and then every N-th.

    Attributes:
        received: Number of received messages by topic.
        error: Why no more messages can be written; None while they can.

    Raises:
        ConfigurationError: If ``out`` exists or cannot be made.
    """

    def __init__(self, out: Path, storage: Storage, every: int):
        self.received: Counter[str] = Counter()
        self.error: ConfigurationError | None = None
        self._out, self._every, self._kept = out, every, 0
        self._bag = BagWriter(out, storage)

    def add(self, message: BagMessage) -> None:
        """Count a message, and write it if it is one of those to keep."""
        number = self.received[message.topic]
        self.received[message.topic] += 1
        if number % self._every == 0 and self._write(lambda: self._bag.write(*message)):
            self._kept += 1

    def flush(self) -> None:
        """Pass all added messages to the operating system."""
        self._write(self._bag.flush)

    def summary(self) -> str:
        """The numbers of kept and received messages in words."""
        return f"{self._kept} of {sum(self.received.values())} messages on {len(self.received)} topics"

    def _write(self, write: Callable[[], None]) -> bool:
        if self.error is None:
            try:
                write()
            except ConfigurationError as error:
                self.error = error
        return self.error is None

    def __enter__(self) -> BagRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.error is None:
            self._write(self._bag.close)
        else:
            with contextlib.suppress(ConfigurationError):
                self._bag.close()
        if self.error is not None:  # an unknown part of the last messages has reached the disk
            self._kept = _count(self._out)
            held = f"{self._kept} messages are in it" if self._kept else "no message in it can be read"
            self.error = ConfigurationError(f"{self.error}; {held}")
        if error is not None and not self._kept:
            shutil.rmtree(self._out)


def _count(bag: Path) -> int:
    """The number of messages that can be read."""
    try:
        with BagReader(bag, warn=lambda line: None) as reader:
            return sum(topic.count for topic in reader.topics.values())
    except InputError:
        return 0


class RecorderNode(Node):
    """Subscribes to each topic once it has a publisher, and adds its messages to the recording.

    Shuts rclpy down, which ends ``process.spin``, after ``seconds`` and when the recording cannot be written any more.

    Args:
        topics: Topics to record.
        recording: The bag to write to.
        seconds: Duration of the recording [s]; None = no limit.
        log: CSV file to write, see ``bag record --log``; None = none.
    """

    def __init__(self, topics: list[str], recording: BagRecording, seconds: float | None, log: Path | None):
        super().__init__("bag_recorder")
        self._missing = {"/" + topic.lstrip("/") for topic in topics}
        self._recording = recording
        self._log = None if log is None else open_log(log, "received_ns")
        self.create_timer(LOOK_PERIOD_S, self._look_for_topics)
        self.create_timer(FLUSH_PERIOD_S, self._flush)
        if seconds is not None:
            self.create_timer(seconds, rclpy.try_shutdown)

    def close(self) -> None:
        """Log which topics never had a publisher, and close the CSV file."""
        if self._missing:
            self.get_logger().warning(f"nobody published on {', '.join(sorted(self._missing))}: check the topic names")
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
            self.get_logger().error(
                f"{name} is not recorded: the message type {type_name} is not installed, or not a standard ROS type"
            )
            return
        stamped = has_header(type_name)

        def receive(data: bytes) -> None:
            received_ns = time.monotonic_ns()
            if self._log is not None:
                self._log.write(f"{name},{stamp_of(data) if stamped else ''},{received_ns}\n")
            self._recording.add(BagMessage(name, type_name, time.time_ns(), data))

        self.create_subscription(kind, name, receive, self._qos(name), raw=True)

    def _qos(self, name: str) -> QoSProfile:
        """The strictest QoS that is compatible with every publisher of the topic."""
        offered = [info.qos_profile for info in self.get_publishers_info_by_topic(name)]
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
        return QoSProfile(
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
