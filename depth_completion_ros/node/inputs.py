"""The node's subscriptions: counts what comes, pairs it, hands pairs on, and knows which input is silent and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ..errors import ConfigurationError
from ..synchronizer import Stream, Synchronizer
from .frames import MessagePair
from .parameters import NodeParameters
from .statistics import Statistics

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_TRANSPORTS = {"rgb": "compressed", "depth": "compressedDepth"}  # beside raw
# Keep last 2, best effort: the QoS of a camera driver, and old images are of no use.
_INPUT_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass
class _Input:
    topic: str
    subscription: Any
    last_received: float
    incompatible: str | None = None


class Inputs:
    """Subscribes on construction. deliver: called with each MessagePair, in the executor's thread."""

    def __init__(
        self, node: Node, parameters: NodeParameters, statistics: Statistics, deliver: Callable[[MessagePair], None]
    ):
        self._node = node
        self._parameters = parameters
        self._statistics = statistics
        self._deliver = deliver
        self._synchronizer = _make_synchronizer(parameters, statistics)
        self._told: Counter[str] = Counter()
        self._jumps = 0
        self._newest: dict[Stream, int] = {}
        self._infos: dict[Stream, CameraInfo | None] = {"rgb": None, "depth": None}
        self._inputs: dict[str, _Input] = {}
        self._last_pair = time.monotonic()

        points = parameters["depth.source"] == "points"
        # Calibrations first: of messages that wait together, rclpy hands out those of the older subscription first.
        self._subscribe("rgb_info", CameraInfo, "rgb/camera_info")
        if not points and not parameters["depth.registered"]:
            self._subscribe("depth_info", CameraInfo, "depth_registered/camera_info")
        rgb_compressed = parameters["rgb.transport"] == "compressed"
        self._subscribe(
            "rgb",
            CompressedImage if rgb_compressed else Image,
            "rgb/image_rect_color",
            "/compressed" if rgb_compressed else "",
        )
        if points:
            self._subscribe("depth", PointCloud2, "points")
        elif parameters["depth.transport"] == "compressedDepth":
            self._subscribe("depth", CompressedImage, "depth_registered/image_rect", "/compressedDepth")
        else:
            self._subscribe("depth", Image, "depth_registered/image_rect")
        # Nothing is lost without it where depth is registered and nobody wants points.
        self._required = {"rgb", "depth", *(["rgb_info"] if points or not parameters["depth.registered"] else [])}
        self._required |= {name for name in self._inputs if name == "depth_info"}

    def destroy(self) -> None:
        for one in self._inputs.values():
            self._node.destroy_subscription(one.subscription)

    def topics(self) -> list[str]:
        """The full names of all that is subscribed to."""
        return [one.topic for one in self._inputs.values()]

    def silent(self) -> dict[str, str]:
        """What keeps pairs from coming: by its cause, a line that names it and the mend. Called once a second."""
        timeout, now = self._parameters["watchdog.timeout"], time.monotonic()
        lines = {}
        for name in sorted(self._required):
            one = self._inputs[name]
            if now - one.last_received <= timeout:
                continue
            if one.incompatible:
                why = f"its publisher offers an incompatible QoS ({one.incompatible}): override it with qos_overrides"
            elif self._node.count_publishers(one.topic) == 0:
                why = self._elsewhere(name) or "nobody publishes it: check the driver and the remapping"
            else:
                why = f"its publisher has sent nothing for {now - one.last_received:.1f} s: check the driver"
            lines[f"silent_{name}"] = f"no {name} on {one.topic}: {why}"
        if not lines and now - self._last_pair > timeout and len(self._newest) == 2:
            apart = abs(self._newest["rgb"] - self._newest["depth"]) * 1e-9
            lines["no_pairs"] = (
                f"rgb and depth come but do not pair: their newest stamps are {apart:.3f} s apart, sync.slop is "
                f"{self._parameters['sync.slop']:g} s: use one clock for both, or a larger sync.slop"
            )
        return lines

    def _elsewhere(self, name: str) -> str:
        """What to do where images come by another transport than the one subscribed to; empty if they do not."""
        topic, transport = self._inputs[name].topic, _TRANSPORTS.get(name, "")
        compressed = topic.endswith(f"/{transport}")
        other = topic.removesuffix(f"/{transport}") if compressed else f"{topic}/{transport}"
        if not transport or self._node.count_publishers(other) == 0:
            return ""
        return f"images come as {other}: set {name}.transport to {'raw' if compressed else transport}"

    def _subscribe(self, name: str, message_type: type, topic: str, transport: str = "") -> None:
        # As image_transport does it: the transport's suffix follows the remapped name.
        resolved = self._node.resolve_topic_name(topic) + transport

        def receive(message: Any) -> None:
            self._inputs[name].last_received = time.monotonic()
            if name == "rgb_info":
                self._infos["rgb"] = message
            elif name == "depth_info":
                self._infos["depth"] = message
            else:
                self._take_in("rgb" if name == "rgb" else "depth", message)

        def incompatible(event: Any) -> None:
            self._inputs[name].incompatible = str(qos_policy_name_from_kind(event.last_policy_kind))
            self._statistics.report(
                "qos",
                f"a publisher of {resolved} offers an incompatible QoS ({self._inputs[name].incompatible}): nothing "
                "will come from it; override ours with qos_overrides, or change its",
            )

        subscription = self._node.create_subscription(
            message_type,
            resolved,
            receive,
            _INPUT_QOS,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._inputs[name] = _Input(resolved, subscription, time.monotonic())

    def _take_in(self, stream: Stream, message: Any) -> None:
        self._statistics.count(stream)
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if stamp == 0:
            self._statistics.report(
                "zero_stamp",
                f"{stream} messages have no stamp: taking the time they arrive; make the driver stamp them",
            )
            stamp = self._node.get_clock().now().nanoseconds
        before = self._newest.get(stream, stamp)
        self._newest[stream] = stamp
        received = time.monotonic()
        self._synchronizer.slop_ns = int(self._parameters["sync.slop"] * 1e9)
        for pair in self._synchronizer.add(stream, stamp, message):
            self._last_pair = received
            self._statistics.count("pairs")
            self._statistics.time("sync_offset", abs(pair.rgb_ns - pair.depth_ns) * 1e-6)
            self._deliver(
                MessagePair(pair.rgb, pair.depth, self._infos["rgb"], self._infos["depth"], pair.rgb_ns, received)
            )
        if self._synchronizer.jumps > self._jumps:
            self._jumps = self._synchronizer.jumps
            self._statistics.report(
                "time_jump",
                f"{stream} stamps went back by {(before - stamp) * 1e-9:.3f} s: a clock was set or a recording begun "
                "again; pairing starts anew",
            )
        self._tell_drops(stream)

    def _tell_drops(self, stream: Stream) -> None:
        messages = {
            "duplicate_stamp": f"two {stream} messages carry the same stamp: the second is dropped; mend the driver",
            "late": f"a {stream} message is older than one already used: dropped; do two drivers publish this topic?",
        }
        for cause, number in (self._synchronizer.dropped - self._told).items():
            self._statistics.drop(cause, messages.get(cause), number)
        self._told = Counter(self._synchronizer.dropped)


def _make_synchronizer(parameters: NodeParameters, statistics: Statistics) -> Any:
    slop_ns, queue_size = int(parameters["sync.slop"] * 1e9), parameters["sync.queue_size"]
    if parameters["sync.method"] == "message_filters":
        from .message_filters_synchronizer import MessageFiltersSynchronizer

        try:
            return MessageFiltersSynchronizer(slop_ns, queue_size)
        except ConfigurationError as error:
            statistics.report("sync_method", f"{error}; taking nearest")
    return Synchronizer(slop_ns, queue_size)
