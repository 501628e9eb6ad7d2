"""The node's subscriptions: count and pair messages, pass pairs on, and report why an input is silent."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ..depth_hold import DepthHold, why_no_depth
from ..errors import ConfigurationError
from ..frame_builder import MessagePair
from ..synchronizer import Stream, Synchronizer, why_unpaired
from .hints import Wanted, qos_fix, why_silent
from .parameters import PARAMETERS, NodeParameters
from .shared_memory import why_lost
from .statistics import Statistics

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_DEPTH_TOPIC = "depth_registered/image_rect"
_PUBLISHERS_REMEMBERED = 100
_MIXED_FOR_S = 5.0  # messages of several publishers count as mixed for this long after they were seen to alternate
_STAMPS_REMEMBERED = 300  # per stream: ten seconds at 30 Hz
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_OVERRIDABLE = [
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
]
_LATCHED_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _input_qos() -> QoSProfile:
    """Best effort, keep last 2: the QoS of camera drivers, without old images. rclpy writes QoS overrides into it."""
    return QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass
class _Input:
    wanted: Wanted
    receive: Callable[[Any, Any], None]
    subscriptions: list[Any]
    last_received: float
    numbers: dict[bytes, int] = field(default_factory=dict)  # by publisher: sequence number of the last message
    publisher: bytes = b""  # the publisher of the last message
    mixed: float = -math.inf  # when a publisher last sent again after another one had sent; monotonic clock [s]
    missed: int = 0  # messages that never arrived, by their sequence numbers
    missed_before: int = 0  # ``missed`` one second ago, because ``lost`` may be reported later
    lost: int = 0  # of ``missed``: messages that the middleware reported as lost
    overrun: int = 0  # of ``missed``: messages that were replaced by newer ones in the queue

    def note_number(self, info: dict[str, Any]) -> None:
        """Count missed messages by their sequence numbers, if the middleware provides them (Humble does not)."""
        number, gid = info.get("publication_sequence_number"), info.get("publisher_gid")
        if number is None or gid is None:
            return
        publisher = gid["data"]
        if publisher != self.publisher and publisher in self.numbers:  # a restarted driver is a new publisher
            self.mixed = time.monotonic()
        self.publisher = publisher
        last = self.numbers.get(publisher, number - 1)
        self.missed += max(number - last - 1, 0)
        if len(self.numbers) >= _PUBLISHERS_REMEMBERED:
            self.numbers.clear()
        self.numbers[publisher] = number


class Inputs:
    """The node's input subscriptions, made on construction.

    Args:
        node: The node that subscribes.
        parameters: The node's parameters.
        statistics: Counts messages, drops and problems.
        deliver: Called with each MessagePair, in the executor's thread.
    """

    def __init__(
        self,
        node: Node,
        parameters: NodeParameters,
        statistics: Statistics,
        deliver: Callable[[MessagePair], None],
    ):
        self._node = node
        self._parameters = parameters
        self._statistics = statistics
        self._deliver = deliver
        self._synchronizer = _make_synchronizer(parameters, statistics)
        self._reported: Counter[str] = Counter()
        self._jumps = 0
        self._unstamped: set[Stream] = set()  # streams whose last message had no stamp
        self._depth_offset = parameters["sync.depth_offset"]  # that of the messages that wait
        self._by_arrival = False  # whether messages are paired by their time of arrival, because of such a stream
        self._stamps: dict[Stream, deque[int]] = {
            stream: deque(maxlen=_STAMPS_REMEMBERED) for stream in ("rgb", "depth")
        }
        self._infos: dict[Stream, CameraInfo | None] = {"rgb": None, "depth": None}
        self._inputs: dict[str, _Input] = {}
        self._unpaired_since = time.monotonic()

        points = parameters["depth.source"] == "points"
        # Subscribe to calibrations first: rclpy takes waiting messages in the order of the subscriptions.
        self._subscribe("rgb_info", CameraInfo, "rgb/camera_info")
        if not points and not parameters["depth.registered"]:
            self._subscribe("depth_info", CameraInfo, "depth_registered/camera_info")
        self._subscribe("rgb", Image, "rgb/image_rect_color")
        if points:
            self._subscribe("depth", PointCloud2, "points")
        else:
            self._subscribe("depth", Image, _DEPTH_TOPIC)
        # Registered depth can be completed without rgb_info; only the point cloud needs it.
        self._required = {"rgb", "depth", *(["rgb_info"] if points or not parameters["depth.registered"] else [])}
        self._required |= {name for name in self._inputs if name == "depth_info"}

    def destroy(self) -> None:
        for one in self._inputs.values():
            for subscription in one.subscriptions:
                self._node.destroy_subscription(subscription)

    def topics(self) -> list[str]:
        """The full names of all subscribed topics."""
        return [one.wanted.topic for one in self._inputs.values()]

    def check(self) -> dict[str, str]:
        """Check the inputs once a second.

        Returns:
            What prevents pairs: for each cause, one line that says why and how to fix it.
        """
        self._subscribe_to_latched()
        self._count_overrun()
        for one in self._inputs.values():
            if mixed := self._mixed(one):
                self._statistics.report("publishers", mixed)
        timeout, now = self._parameters["watchdog.timeout"], time.monotonic()
        lines = {}
        for name in sorted(self._required):
            one = self._inputs[name]
            seconds = now - one.last_received
            if seconds <= timeout or self._calibrated(name):
                continue
            lines[f"silent_{name}"] = f"no {name} on {one.wanted.topic}: {why_silent(self._node, one.wanted, seconds)}"
        if not lines and now - self._unpaired_since > timeout and all(self._stamps.values()):
            lines["no_pairs"] = f"rgb and depth arrive, but they do not pair: {self._why_unpaired()}"
        return lines

    def _why_unpaired(self) -> str:
        rgb, depth = self._stamps["rgb"], self._stamps["depth"]
        if self._parameters["depth.hold"] == "latest":
            return why_no_depth(rgb, depth, self._parameters["temporal.max_age"])
        return why_unpaired(rgb, depth, int(self._parameters["sync.slop"] * 1e9), self._parameters["sync.queue_size"])

    def _count_overrun(self) -> None:
        for one in self._inputs.values():
            number = one.missed_before - one.lost - one.overrun
            one.missed_before = one.missed
            if number > 0:
                one.overrun += number
                self._statistics.drop(
                    "overrun",
                    f"{number} messages on {one.wanted.topic} were replaced by newer ones before this node could take "
                    "them: this machine is overloaded; stop other programs or reduce the driver's frame rate",
                    number,
                )

    def _mixed(self, one: _Input) -> str:
        """A line that says that several publishers send on the topic of an input; empty if only one does."""
        if time.monotonic() - one.mixed > _MIXED_FOR_S:
            return ""
        offers = self._node.get_publishers_info_by_topic(one.wanted.topic)
        names = sorted(f"{offer.node_namespace.rstrip('/')}/{offer.node_name}" for offer in offers)
        return (
            f"messages of several publishers are mixed on {one.wanted.topic} ({', '.join(names)}): stop all but one, "
            "or remap them to topics of their own"
        )

    def _mark_received(self, one: _Input) -> None:
        now = time.monotonic()
        if now - one.last_received > self._parameters["watchdog.timeout"]:
            self._unpaired_since = now  # the input has just come back
        one.last_received = now

    def _calibrated(self, name: str) -> bool:
        """Whether ``name`` is a calibration that has arrived. It needs to arrive only once."""
        return {"rgb_info": self._infos["rgb"], "depth_info": self._infos["depth"]}.get(name) is not None

    def _subscribe(self, name: str, message_type: type, own_topic: str) -> None:
        topic, message_type = self._by_transport(name, message_type, own_topic)

        def receive(message: Any, info: Any) -> None:
            self._mark_received(self._inputs[name])
            if name == "rgb_info":
                self._infos["rgb"] = message
            elif name == "depth_info":
                self._infos["depth"] = message
            else:
                self._inputs[name].note_number(info)
                self._take_in("rgb" if name == "rgb" else "depth", message)

        def incompatible(event: Any) -> None:
            policy = str(qos_policy_name_from_kind(event.last_policy_kind))
            why = f"a publisher of {topic} offers an incompatible QoS, so none of its messages arrive"
            self._statistics.report("qos", f"{why}: {qos_fix(topic, policy)}")

        def lost(event: Any) -> None:
            number = event.total_count_change
            self._inputs[name].lost += number
            self._statistics.drop("lost", f"{number} messages on {topic} were lost in transit: {why_lost()}", number)

        qos = _input_qos()
        subscription = self._node.create_subscription(
            message_type,
            topic,
            receive,
            qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost),
            qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE),
        )
        type_name = f"sensor_msgs/msg/{message_type.__name__}"
        wanted = Wanted(name, own_topic, subscription.topic_name, type_name, qos)
        self._inputs[name] = _Input(wanted, receive, [subscription], time.monotonic())

    def _subscribe_to_latched(self) -> None:
        """Subscribe a second time to calibrations whose publisher is latched (transient local durability).

        Only a transient local subscription receives messages that were published before this node started. It is
        incompatible with volatile publishers, which would log a warning, so it is made only when a latched publisher
        is present.
        """
        for one in self._inputs.values():
            if one.wanted.type_name != _CAMERA_INFO or len(one.subscriptions) > 1:
                continue
            offers = self._node.get_publishers_info_by_topic(one.wanted.topic)
            if any(offer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers):
                quiet = SubscriptionEventCallbacks(use_default_callbacks=False)
                one.subscriptions.append(
                    self._node.create_subscription(
                        CameraInfo, one.wanted.topic, one.receive, _LATCHED_QOS, event_callbacks=quiet
                    )
                )

    def _by_transport(self, name: str, message_type: type, own_topic: str) -> tuple[str, type]:
        """The topic and its message type. As in image_transport, the transport is appended to the remapped name.

        A remapped name that already ends in a transport is used as it is.
        """
        topic = self._node.resolve_topic_name(own_topic)
        if message_type is not Image:
            return topic, message_type
        parameter = f"{name}.transport"
        compressed = [choice for choice in PARAMETERS[parameter].choices or () if choice != "raw"]
        if topic.rpartition("/")[2] in compressed:
            return topic, CompressedImage
        transport = self._parameters[parameter]
        return (topic, Image) if transport == "raw" else (f"{topic}/{transport}", CompressedImage)

    def _take_in(self, stream: Stream, message: Any) -> None:
        self._statistics.count(stream)
        if self._depth_offset != self._parameters["sync.depth_offset"]:
            self._depth_offset = self._parameters["sync.depth_offset"]
            self._start_over("unpaired")
        message.header.frame_id = message.header.frame_id.lstrip("/")  # tf2 does not accept a leading slash
        stamp = _stamp_of(message)
        if stamp == 0:
            self._statistics.report(
                "zero_stamp",
                f"{stream} messages have no stamp, so messages are paired by their time of arrival: fix the driver to "
                "set stamps",
            )
        elif stream == "depth" and self._depth_offset:
            stamp += round(self._depth_offset * 1e9)
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        stamp = self._stamp_to_pair_by(stream, stamp)
        before = self._stamps[stream][-1] if self._stamps[stream] else stamp
        self._stamps[stream].append(stamp)
        received = time.monotonic()
        if isinstance(self._synchronizer, DepthHold):
            self._synchronizer.max_age_ns = int(self._parameters["temporal.max_age"] * 1e9)
        else:
            self._synchronizer.slop_ns = int(self._parameters["sync.slop"] * 1e9)
        for pair in self._synchronizer.add(stream, stamp, message):
            self._unpaired_since = received
            self._statistics.count("pairs")
            self._statistics.time("sync_offset", abs(pair.rgb_ns - pair.depth_ns) * 1e-6)
            stamp_ns = _stamp_of(pair.rgb) or self._node.get_clock().now().nanoseconds
            depth_ns = stamp_ns + pair.depth_ns - pair.rgb_ns
            infos = self._infos["rgb"], self._infos["depth"]
            self._deliver(MessagePair(pair.rgb, pair.depth, *infos, stamp_ns, depth_ns, received))
        if self._synchronizer.jumps > self._jumps:
            self._jumps = self._synchronizer.jumps
            for stamps in self._stamps.values():
                stamps.clear()
            if not self._mixed(self._inputs[stream]):
                self._statistics.report(
                    "time_jump",
                    f"{stream} stamps went back by {(before - stamp) * 1e-9:.3f} s: a clock was set back or a "
                    "recording was restarted; pairing starts over",
                )
        self._report_drops(stream)

    def _stamp_to_pair_by(self, stream: Stream, stamp: int) -> int:
        """The stamp of a message, or its time of arrival while one of the streams has no stamps [ns]."""
        if stamp:
            self._unstamped.discard(stream)
        else:
            self._unstamped.add(stream)
        if self._by_arrival != bool(self._unstamped):
            self._by_arrival = bool(self._unstamped)
            self._start_over("zero_stamp")
        return time.monotonic_ns() if self._by_arrival else stamp

    def _start_over(self, cause: str) -> None:
        """Drop the messages that wait, because their stamps cannot be compared with those of the next ones."""
        self._synchronizer.clear(cause)
        for stamps in self._stamps.values():
            stamps.clear()

    def _report_drops(self, stream: Stream) -> None:
        messages = {
            "duplicate_stamp": f"two {stream} messages have the same stamp, so the second is dropped: ",
            "late": f"a {stream} message has an older stamp than one that was already used, so it is dropped: ",
        }
        fix = "fix the driver, or stop one if two drivers publish this topic"
        mixed = self._mixed(self._inputs[stream])  # ``check`` reports this cause of all the others
        for cause, number in (self._synchronizer.dropped - self._reported).items():
            message = messages[cause] + fix if cause in messages and not mixed else None
            self._statistics.drop(cause, message, number)
        self._reported = Counter(self._synchronizer.dropped)


def _stamp_of(message: Any) -> int:
    """The stamp of a message [ns]; 0 if it has none."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def _make_synchronizer(parameters: NodeParameters, statistics: Statistics) -> Any:
    if parameters["depth.hold"] == "latest":
        return DepthHold(int(parameters["temporal.max_age"] * 1e9))
    slop_ns, queue_size = int(parameters["sync.slop"] * 1e9), parameters["sync.queue_size"]
    if parameters["sync.method"] == "message_filters":
        from .message_filters_synchronizer import MessageFiltersSynchronizer

        try:
            return MessageFiltersSynchronizer(slop_ns, queue_size or 30)
        except ConfigurationError as error:
            statistics.report("sync_method", f"{error}; using nearest")
    return Synchronizer(slop_ns, queue_size)
