"""Keeps the serialised messages of some topics, to be written into a bag at the end."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from ..data.bags import BagMessage, BagWriter, Storage, knows_type
from ..data.messages import has_header, stamp_of
from .message_types import message_class

# Deep enough for a second of several cameras, so that nothing is lost while the log or the memory is written.
DEPTH = 100
LOOK_PERIOD_S = 0.1


class MessageStore:
    """Messages kept in memory. every: of each topic, the first and then every N-th; memory_bytes: no more than this.

    received: messages by topic; over_memory: messages that found no room and were only counted.
    """

    def __init__(self, every: int, memory_bytes: int):
        self.received: Counter[str] = Counter()
        self.over_memory = 0
        self._every, self._memory_bytes = every, memory_bytes
        self._kept: list[BagMessage] = []
        self._kept_bytes = 0

    def add(self, message: BagMessage) -> None:
        """Count a message and keep it where it is its turn and there is room."""
        number = self.received[message.topic]
        self.received[message.topic] += 1
        if number % self._every:
            return
        if self._kept_bytes + len(message.data) > self._memory_bytes:
            self.over_memory += 1
            return
        self._kept.append(message)
        self._kept_bytes += len(message.data)

    def save(self, out: Path, storage: Storage) -> None:
        """Write the bag. Raises ConfigurationError where ``out`` exists."""
        with BagWriter(out, storage) as bag:
            for message in self._kept:
                bag.write(*message)

    def summary(self) -> str:
        """How many messages came and how many were kept."""
        text = f"{len(self._kept)} of {sum(self.received.values())} messages on {len(self.received)} topics"
        return f"{text}; {self.over_memory} did not fit into --memory" if self.over_memory else text


class RecorderNode(Node):
    """Subscribes to each topic once somebody publishes on it, and hands what comes to the store.

    seconds: rclpy is shut down after that long, which ends ``process.spin``. log: see ``bag record --log``.
    """

    def __init__(self, topics: list[str], store: MessageStore, seconds: float | None, log: Path | None):
        super().__init__("bag_recorder")
        self._missing = {"/" + topic.lstrip("/") for topic in topics}
        self._store = store
        self._log = None if log is None else log.open("w", buffering=1)
        if self._log is not None:
            self._log.write("topic,stamp_ns,received_ns\n")
        self.create_timer(LOOK_PERIOD_S, self._look_for_topics)
        if seconds is not None:
            self.create_timer(seconds, rclpy.try_shutdown)

    def close(self) -> None:
        """Say which topics never appeared, and close the log."""
        if self._missing:
            self.get_logger().warning(f"nobody has published on {', '.join(sorted(self._missing))}: check the names")
        if self._log is not None:
            self._log.close()

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
            full = self._store.over_memory > 0
            self._store.add(BagMessage(name, type_name, time.time_ns(), data))
            if self._store.over_memory and not full:
                self.get_logger().warning("--memory is full: from now on messages are only counted")

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
