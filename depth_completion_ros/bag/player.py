"""Publish the messages of a recording on a schedule that does not drift."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import rclpy
from rclpy.clock import Clock as SteadyClock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.progress import Progress
from rosgraph_msgs.msg import Clock

from ..errors import ConfigurationError
from .message_log import open_log
from .message_types import message_class
from .messages import BagMessage, has_header, stamp_of
from .playback import Recording

# Publishers are reliable, so that reliable and best-effort subscribers can receive, and messages in the queue are not
# lost. A subscriber that lags by more than ten messages loses the oldest ones; it neither delays playback nor fills the
# memory.
DEPTH = 10
CLOCK_PERIOD_NS = 10_000_000
LATE_NS = 5_000_000
TICK_S = 0.1


@dataclass(frozen=True)
class PlayOptions:
    """The options of ``depth-completion bag play``; times in seconds."""

    bag: Path
    rate: float
    loop: bool
    seconds: float | None
    raw: bool
    clock: bool
    wait: float
    delay: float
    log: Path | None


@dataclass
class PlayOutcome:
    """The result of playing.

    Attributes:
        published: Number of published messages.
        late: Number of messages published more than 5 ms late.
        seconds: Duration of playing [s].
        error: The exception that ended playing early; None if there was none.
    """

    published: int = 0
    late: int = 0
    seconds: float = 0.0
    error: Exception | None = None


class PlayerNode(Node):
    """Publishes one recording from its own thread and fills in the outcome.

    At the end, the thread shuts rclpy down, which ends ``process.spin``. ``close`` stops and joins the thread.
    """

    def __init__(self, options: PlayOptions, outcome: PlayOutcome):
        super().__init__("bag_player")
        self._options, self._outcome = options, outcome
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player")
        # A steady clock, because this node itself publishes the simulated time.
        self.create_timer(TICK_S, self._tick, clock=SteadyClock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop publishing and join the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _tick(self) -> None:
        """Start the thread once the executor spins, because the executor cannot start after rclpy is shut down.

        The timer keeps running because a shutdown just before the executor waits would not wake it.
        """
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self._play(stack)
        except Exception as error:
            # After a signal, decoding is stopped by an exception, and publishing fails once rclpy is shut down.
            if rclpy.ok() and not self._stop.is_set():
                self._outcome.error = error
        finally:
            rclpy.try_shutdown()

    def _play(self, stack: ExitStack) -> None:
        options, outcome = self._options, self._outcome
        recording = Recording(options.bag, options.raw, self._raise_if_stopped)
        publishers = self._make_publishers(recording)
        clock = _ClockPublisher(self) if options.clock else None
        log = stack.enter_context(open_log(options.log, "published_ns")) if options.log is not None else None
        self._wait_for_subscribers(publishers)

        messages = recording.messages(options.loop)
        first = next(messages)  # opens the bag before the schedule starts
        schedule = _Schedule(recording.start_ns, options.rate, options.seconds)
        console = Console(stderr=True)
        progress = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        task = progress.add_task("playing", total=self._total_seconds(recording))
        for message in chain([first], messages):
            publisher = publishers.get(message.topic)
            if publisher is None:
                continue
            if not self._sleep_until(schedule, message.log_ns, clock):
                break
            if clock is not None:
                clock.publish(message.log_ns)
            published_ns = time.monotonic_ns()
            publisher.publish(message.data)
            outcome.published += 1
            outcome.late += published_ns - schedule.due_ns(message.log_ns) > LATE_NS
            outcome.seconds = (published_ns - schedule.began_ns) / 1e9
            if log is not None:
                log.write(f"{message.topic},{_stamp(message)},{published_ns}\n")
            progress.update(task, completed=outcome.seconds)
        if not self._stop.is_set():
            for publisher in publishers.values():
                publisher.wait_for_all_acked(Duration(seconds=0.5))

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise ExternalShutdownException

    def _make_publishers(self, recording: Recording) -> dict[str, Publisher]:
        publishers = {}
        for topic in recording.topics.values():
            kind = message_class(topic.type)
            if kind is None:
                line = f"{topic.name} is not played: the message type {topic.type} is not installed; "
                if topic.type.startswith("tf2_msgs/"):  # no node of this installation could use it
                    self.get_logger().info(line + "it is part of ROS")
                else:
                    self.get_logger().warning(line + "install its package")
                continue
            durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
            publishers[topic.name] = self.create_publisher(kind, topic.name, qos)
        if not publishers:
            raise ConfigurationError(
                f"no topic of {self._options.bag} can be played: install the packages of its message types"
            )
        return publishers

    def _wait_for_subscribers(self, publishers: dict[str, Publisher]) -> None:
        deadline = time.monotonic() + self._options.wait
        while not any(publisher.get_subscription_count() for publisher in publishers.values()):
            if time.monotonic() >= deadline:
                self.get_logger().warning(
                    f"nobody subscribed to {', '.join(publishers)} within {self._options.wait} s: playing anyway"
                )
                return
            if self._stop.wait(0.02):
                return
        self._stop.wait(self._options.delay)

    def _sleep_until(self, schedule: _Schedule, log_ns: int, clock: _ClockPublisher | None) -> bool:
        """Sleep until a message is due and keep publishing /clock; returns False if playing ends before that."""
        due_ns = schedule.due_ns(log_ns)
        until_ns = min(due_ns, schedule.ends_ns)
        while not self._stop.is_set() and (left_ns := until_ns - time.monotonic_ns()) > 0:
            if clock is not None:
                left_ns = min(left_ns, clock.tick(schedule))
            self._stop.wait(left_ns / 1e9)
        return due_ns < schedule.ends_ns and not self._stop.is_set()

    def _total_seconds(self, recording: Recording) -> float | None:
        once = math.inf if self._options.loop else recording.duration_ns / 1e9 / self._options.rate
        total = min(once, self._options.seconds or math.inf)
        return None if math.isinf(total) else total


class _Schedule:
    """Maps recorded times [ns] to the monotonic clock [ns]. All times refer to one start, so errors do not add up."""

    def __init__(self, start_ns: int, rate: float, seconds: float | None):
        self._start_ns, self._rate = start_ns, rate
        self.began_ns = time.monotonic_ns()
        self.ends_ns = math.inf if seconds is None else self.began_ns + round(seconds * 1e9)

    def due_ns(self, log_ns: int) -> int:
        return self.began_ns + round((log_ns - self._start_ns) / self._rate)

    def recorded_ns(self, monotonic_ns: int) -> int:
        return self._start_ns + round((monotonic_ns - self.began_ns) * self._rate)


class _ClockPublisher:
    """Publishes /clock with every message and at least every 10 ms; the time never goes back."""

    def __init__(self, node: Node):
        self._publisher = node.create_publisher(Clock, "/clock", DEPTH)
        self._message = Clock()
        self._latest_ns = 0
        self._next_tick_ns = 0

    def publish(self, recorded_ns: int) -> None:
        self._latest_ns = max(self._latest_ns, recorded_ns)
        self._message.clock.sec, self._message.clock.nanosec = divmod(self._latest_ns, 1_000_000_000)
        self._publisher.publish(self._message)

    def tick(self, schedule: _Schedule) -> int:
        """Publish if a tick is due; returns the time until the next tick [ns]."""
        now_ns = time.monotonic_ns()
        if now_ns >= self._next_tick_ns:
            self.publish(schedule.recorded_ns(now_ns))
            self._next_tick_ns = now_ns + CLOCK_PERIOD_NS
        return self._next_tick_ns - now_ns


def _stamp(message: BagMessage) -> Any:
    """The stamp in the header [ns]; empty for a type without a header."""
    return stamp_of(message.data) if has_header(message.type) else ""
