"""Find out from the ROS graph why no messages arrive on a topic, and say how to fix it.

Each returned text completes a line that begins with "no rgb on /topic: ".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible

from .parameters import PARAMETERS

_IMAGE, _COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CLOUD = "sensor_msgs/msg/PointCloud2"
# The suffixes that image_transport and point_cloud_transport append to a topic name.
_TRANSPORTS = (
    *("compressed", "compressedDepth", "theora", "ffmpeg", "foxglove", "zstd", "h264", "avif"),
    *("draco", "zlib", "cloudini"),
)
_MOST_SUGGESTIONS = 3
# What drivers call depth that shows the view of the colour image, and colour images beside infrared ones.
_ALIGNED = re.compile(r"aligned|registered|to_(color|colour|rgb)")
_COLOUR = re.compile(r"color|colour|rgb")
# For each QoS policy, the value with which a subscription is compatible with every publisher.
_LEAST_STRICT = {"RELIABILITY": ReliabilityPolicy.BEST_EFFORT, "DURABILITY": DurabilityPolicy.VOLATILE}


@dataclass(frozen=True)
class Wanted:
    """What a subscription expects.

    Attributes:
        name: "rgb", "depth", "rgb_info" or "depth_info"; or another name, if no parameter sets the transport.
        own_topic: The node's own name of the topic, before remapping.
        topic: The full name of the topic in the ROS graph.
        type_name: The message type, for example "sensor_msgs/msg/Image".
        qos: The QoS that the subscription requests.
    """

    name: str
    own_topic: str
    topic: str
    type_name: str
    qos: QoSProfile


def why_silent(node: Node, wanted: Wanted, seconds: float) -> str:
    """The reason why no message arrived on the topic for ``seconds``, as far as the ROS graph shows it."""
    publishers = node.get_publishers_info_by_topic(wanted.topic)
    if not publishers:
        return _where_else(node, wanted)
    fitting = [info for info in publishers if info.topic_type == wanted.type_name]
    if not fitting:
        return _other_type(wanted, sorted({info.topic_type for info in publishers}))
    misfits = [misfit for info in fitting if (misfit := _misfit(info.qos_profile, wanted))]
    if len(misfits) == len(fitting):
        return f"its publisher offers an incompatible QoS: {misfits[0]}"
    return f"its publisher{_name_of(fitting[0])} has sent nothing for {seconds:.1f} s: check the driver"


def qos_fix(topic: str, policy: str) -> str:
    """How to fix a publisher that offers less than the subscription requests. policy: for example "RELIABILITY"."""
    override = f"qos_overrides.{topic}.subscription.{policy.lower()}"
    least = _LEAST_STRICT.get(policy)
    if least is None:
        return f"{policy}: change it in the driver"
    return f"{policy}: start this node with the parameter {override} set to {least.name.lower()}"


def _misfit(offered: QoSProfile, wanted: Wanted) -> str:
    """The incompatible QoS policy and how to fix it; empty if all policies are compatible."""
    compatibility, reason = qos_check_compatible(offered, wanted.qos)
    if compatibility != QoSCompatibility.ERROR:
        return ""
    for policy, least in _LEAST_STRICT.items():
        if getattr(offered, policy.lower()) == least != getattr(wanted.qos, policy.lower()):
            return qos_fix(wanted.topic, policy)
    return reason


def _where_else(node: Node, wanted: Wanted) -> str:
    """Where the messages are published instead, for a topic that has no publisher."""
    published = dict(_published(node))
    base, given = _split(wanted.topic)
    parameter = PARAMETERS.get(f"{wanted.name}.transport")
    if given and _IMAGE in published.get(base, []):
        return f"images are published on {base}: set {wanted.name}.transport to raw and use the name without /{given}"
    siblings = {transport: f"{base}/{transport}" for transport in _TRANSPORTS if f"{base}/{transport}" in published}
    siblings.pop(given, None)
    for transport, topic in siblings.items():
        if parameter is not None and transport in (parameter.choices or ()) and _COMPRESSED_IMAGE in published[topic]:
            return f"images are published on {topic}: set {wanted.name}.transport to {transport}"
    for transport, topic in siblings.items():
        return f"only {topic} is published ({published[topic][0]}), which this node cannot read: run " + _republish(
            wanted, transport, base
        )
    if others := _similar(wanted, published):
        return (
            f"nobody publishes it, but {wanted.type_name} is published on {' and '.join(others)}: "
            f"remap {wanted.own_topic}"
        )
    if len(node.get_node_names()) <= 1:
        return (
            "nobody publishes it, and no other node is visible: check that the driver is running and that it uses the "
            "same ROS_DOMAIN_ID"
        )
    return "nobody publishes it: check the driver and the remapping"


def _other_type(wanted: Wanted, types: list[str]) -> str:
    """How to fix a topic that carries another message type."""
    text = f"it carries {' and '.join(types)}, but {wanted.type_name} is needed: "
    parameter = PARAMETERS.get(f"{wanted.name}.transport")
    if _COMPRESSED_IMAGE in types and wanted.type_name == _IMAGE and parameter is not None and parameter.choices:
        transport = parameter.choices[1]
        return f"{text}set {wanted.name}.transport to {transport} and remap {wanted.own_topic}/{transport} to it"
    if _CLOUD in types and wanted.name == "depth":
        return f"{text}set depth.source to points and remap points to it"
    if _IMAGE in types and wanted.type_name == _CLOUD:
        return f"{text}set depth.source to image and remap depth_registered/image_rect to it"
    if any("livox" in name for name in types):
        return f"{text}start the Livox driver with xfer_format 0"
    return f"{text}configure the driver to publish that type, convert it, or remap {wanted.own_topic} to another topic"


def _republish(wanted: Wanted, transport: str, base: str) -> str:
    package = "point_cloud_transport" if wanted.type_name == _CLOUD else "image_transport"
    # The transports are positional arguments up to Iron and parameters in later releases. Each ignores the other form.
    return (
        f"ros2 run {package} republish {transport} raw --ros-args -p in_transport:={transport} -p out_transport:=raw "
        f"-r in/{transport}:={base}/{transport} -r out:={base}"
    )


def _similar(wanted: Wanted, published: dict[str, list[str]]) -> list[str]:
    """Topics of the wanted type with the most similar names; depth topics are not suggested for colour."""
    names = [name for name, types in published.items() if wanted.type_name in types]
    if wanted.type_name == _IMAGE:
        names = [name for name in names if ("depth" in name) == (wanted.name.endswith("depth"))] or names
    likely = _ALIGNED if wanted.name.endswith("depth") else _COLOUR
    names.sort(key=lambda name: (not likely.search(name), -SequenceMatcher(None, wanted.topic, name).ratio()))
    return names[:_MOST_SUGGESTIONS]


def _published(node: Node) -> Iterator[tuple[str, list[str]]]:
    """Topics and their types that other nodes publish and to which this node is not subscribed."""

    def own(infos: list[Any]) -> bool:
        return (node.get_name(), node.get_namespace()) in {(info.node_name, info.node_namespace) for info in infos}

    for name, types in node.get_topic_names_and_types():
        publishers = node.get_publishers_info_by_topic(name)
        if publishers and not own(publishers) and not own(node.get_subscriptions_info_by_topic(name)):
            yield name, types


def _split(topic: str) -> tuple[str, str]:
    """A topic name without its transport suffix, and the transport (empty if there is none)."""
    base, _, last = topic.rpartition("/")
    return (base, last) if last in _TRANSPORTS else (topic, "")


def _name_of(info: Any) -> str:
    """The publishing node's name with a leading space; empty if it is unknown, for example after a crash."""
    return "" if "UNKNOWN" in info.node_name else f" {info.node_namespace.rstrip('/')}/{info.node_name}"
