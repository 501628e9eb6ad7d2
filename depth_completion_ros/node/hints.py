"""Why nothing comes on a topic, read off the ROS graph, and how to fix it.

Each text continues "no rgb on /topic: ".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible

from .parameters import PARAMETERS

_IMAGE, _COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CLOUD = "sensor_msgs/msg/PointCloud2"
# What image_transport and point_cloud_transport put behind a topic's name.
_TRANSPORTS = (
    *("compressed", "compressedDepth", "theora", "ffmpeg", "foxglove", "zstd", "h264", "avif"),
    *("draco", "zlib", "cloudini"),
)
_MOST_NAMED = 3
# Of each policy, what a subscription asks for that takes any publisher.
_LEAST = {"RELIABILITY": ReliabilityPolicy.BEST_EFFORT, "DURABILITY": DurabilityPolicy.VOLATILE}


@dataclass(frozen=True)
class Wanted:
    """What a subscription wants. name: "rgb", "depth", "rgb_info" or "depth_info".

    own_topic: the topic's name before remapping; topic: its name in the graph; type_name: "sensor_msgs/msg/Image", ….
    """

    name: str
    own_topic: str
    topic: str
    type_name: str
    qos: QoSProfile


def why_silent(node: Node, wanted: Wanted, seconds: float) -> str:
    """Why the topic has been silent for that long, as far as the graph shows it."""
    publishers = node.get_publishers_info_by_topic(wanted.topic)
    if not publishers:
        return _where_else(node, wanted)
    fitting = [info for info in publishers if info.topic_type == wanted.type_name]
    if not fitting:
        return _other_type(wanted, sorted({info.topic_type for info in publishers}))
    misfits = [misfit for info in fitting if (misfit := _misfit(info.qos_profile, wanted))]
    if len(misfits) == len(fitting):
        return f"its publisher offers an incompatible QoS: {misfits[0]}"
    return f"nothing has come from its publisher{_name_of(fitting[0])} for {seconds:.1f} s: check the driver"


def qos_fix(topic: str, policy: str) -> str:
    """What to do where a publisher offers less than a subscription asks for; policy: "RELIABILITY", …"""
    override = f"qos_overrides.{topic}.subscription.{policy.lower()}"
    least = _LEAST.get(policy)
    if least is None:
        return f"{policy}: change it in the driver"
    return f"{policy}: start this node with the parameter {override} set to {least.name.lower()}"


def _misfit(offered: QoSProfile, wanted: Wanted) -> str:
    """Which policy does not fit and what to do about it; empty where all do."""
    compatibility, reason = qos_check_compatible(offered, wanted.qos)
    if compatibility != QoSCompatibility.ERROR:
        return ""
    for policy, least in _LEAST.items():
        if getattr(offered, policy.lower()) == least != getattr(wanted.qos, policy.lower()):
            return qos_fix(wanted.topic, policy)
    return reason


def _where_else(node: Node, wanted: Wanted) -> str:
    """Where messages come instead of the topic that nobody publishes."""
    published = dict(_published(node))
    base, given = _split(wanted.topic)
    parameter = PARAMETERS.get(f"{wanted.name}.transport")
    if given and _IMAGE in published.get(base, []):
        return f"images come as {base}: set {wanted.name}.transport to raw and give the topic's name without /{given}"
    siblings = {transport: f"{base}/{transport}" for transport in _TRANSPORTS if f"{base}/{transport}" in published}
    siblings.pop(given, None)
    for transport, topic in siblings.items():
        if parameter is not None and transport in (parameter.choices or ()) and _COMPRESSED_IMAGE in published[topic]:
            return f"images come as {topic}: set {wanted.name}.transport to {transport}"
    for transport, topic in siblings.items():
        return f"only {topic} comes ({published[topic][0]}), which this node does not read: run " + _republish(
            wanted, transport, base
        )
    if others := _similar(wanted, published):
        return f"nobody publishes it, but {wanted.type_name} comes as {' and '.join(others)}: remap {wanted.own_topic}"
    if len(node.get_node_names()) <= 1:
        return (
            "nobody publishes it, and no other node is seen: check that the driver runs and that its ROS_DOMAIN_ID fits"
        )
    return "nobody publishes it: check the driver and the remapping"


def _other_type(wanted: Wanted, types: list[str]) -> str:
    """What to do where the topic carries other types than ours."""
    text = f"it carries {' and '.join(types)}, but {wanted.type_name} is needed: "
    if "sensor_msgs/msg/CompressedImage" in types and wanted.type_name == _IMAGE:
        transport = PARAMETERS[f"{wanted.name}.transport"].choices[1]  # type: ignore[index]
        return f"{text}set {wanted.name}.transport to {transport} and remap {wanted.own_topic}/{transport} to it"
    if _CLOUD in types and wanted.name == "depth":
        return f"{text}set depth.source to points and remap points to it"
    if _IMAGE in types and wanted.type_name == _CLOUD:
        return f"{text}set depth.source to image and remap depth_registered/image_rect to it"
    if any("livox" in name for name in types):
        return f"{text}start the Livox driver with xfer_format 0"
    return f"{text}set the driver to that type, or convert it, or remap {wanted.own_topic} to another topic"


def _republish(wanted: Wanted, transport: str, base: str) -> str:
    package = "point_cloud_transport" if wanted.type_name == _CLOUD else "image_transport"
    # Until Iron the transports were arguments, since then they are parameters; either ignores the other.
    return (
        f"ros2 run {package} republish {transport} raw --ros-args -p in_transport:={transport} -p out_transport:=raw "
        f"-r in/{transport}:={base}/{transport} -r out:={base}"
    )


def _similar(wanted: Wanted, published: dict[str, list[str]]) -> list[str]:
    """Topics of the wanted type whose names are closest to what was looked for; no depth where colour is wanted."""
    names = [name for name, types in published.items() if wanted.type_name in types]
    if wanted.type_name == _IMAGE:
        names = [name for name in names if ("depth" in name) == (wanted.name == "depth")] or names
    names.sort(key=lambda name: -SequenceMatcher(None, wanted.topic, name).ratio())
    return names[:_MOST_NAMED]


def _published(node: Node) -> Iterator[tuple[str, list[str]]]:
    """Topics, with their types, that others publish and that are no inputs of this node yet."""

    def own(infos: list[Any]) -> bool:
        return (node.get_name(), node.get_namespace()) in {(info.node_name, info.node_namespace) for info in infos}

    for name, types in node.get_topic_names_and_types():
        publishers = node.get_publishers_info_by_topic(name)
        if publishers and not own(publishers) and not own(node.get_subscriptions_info_by_topic(name)):
            yield name, types


def _split(topic: str) -> tuple[str, str]:
    """A topic's name without its transport, and the transport, empty for none."""
    base, _, last = topic.rpartition("/")
    return (base, last) if last in _TRANSPORTS else (topic, "")


def _name_of(info: Any) -> str:
    """Empty for a node of which nothing more is known, as one that has crashed."""
    return "" if "UNKNOWN" in info.node_name else f" {info.node_namespace.rstrip('/')}/{info.node_name}"
