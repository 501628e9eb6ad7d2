"""The watchdog against real graphs: what it says of a silent input is so, and what it advises helps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_graph import PERIOD_NS, START_NS, RosGraph, camera_info, image_message, scene, stamped
from sensor_msgs.msg import CompressedImage, Image, LaserScan, PointCloud2, PointField

pytestmark = pytest.mark.ros

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
IDENTITY = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.fixture
def graph() -> Iterator[Callable[..., RosGraph]]:
    graphs: list[RosGraph] = []

    def make(remappings: dict[str, str] | None = None, **parameters: Any) -> RosGraph:
        named = {name.replace("__", "."): value for name, value in parameters.items()}
        graphs.append(RosGraph({"watchdog.timeout": 0.2} | named, remappings=remappings))
        return graphs[-1]

    yield make
    for one in graphs:
        one.close()


def jpeg(stamp_ns: int) -> CompressedImage:
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(cv2.imencode(".jpg", scene()[0])[1].tobytes())
    return stamped(message, stamp_ns)


def cloud(points: np.ndarray, stamp_ns: int) -> PointCloud2:
    fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")]
    message = PointCloud2(height=1, width=len(points), fields=fields, point_step=12, row_step=12 * len(points))
    message.data.frombytes(points.astype(np.float32).tobytes())
    return stamped(message, stamp_ns, "lidar")


@pytest.fixture
def stranger() -> Iterator[Node]:
    """A node in a participant of its own, as a driver is: within one a topic has but one type."""
    context = Context()
    rclpy.init(context=context)
    node = Node("driver", context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def comes_to_say(ros: RosGraph, words: str) -> bool:
    """Whether the watchdog finds the words once it has seen the graph."""
    return ros.spin(lambda: words in "; ".join(ros.node._inputs.check().values()), 8.0)


# Where messages come instead


def test_a_topic_without_publishers_is_reported(graph):
    ros = graph()
    assert comes_to_say(ros, "no rgb on /rgb/image_rect_color: nobody publishes it")


def test_a_topic_of_the_same_type_is_suggested(graph):
    ros = graph()
    words = "but sensor_msgs/msg/Image is published on /camera/color/image_raw: remap rgb/image_rect_color"
    for topic in ("/camera/color/image_raw", "/camera/depth/image_raw"):
        ros.peer.create_publisher(Image, topic, 10)
    assert comes_to_say(ros, words)
    assert comes_to_say(ros, "Image is published on /camera/depth/image_raw: remap depth_registered/image_rect")


def test_aligned_depth_and_colour_are_suggested_before_raw_depth_and_infrared(graph):
    """The topics of a RealSense camera, whose driver has a namespace and no remapping."""
    ros = graph()
    for name in (
        "infra1/image_rect_raw",
        "infra2/image_rect_raw",
        "depth/image_rect_raw",
        "aligned_depth_to_color/image_raw",
        "color/image_raw",
    ):
        ros.peer.create_publisher(Image, f"/camera/camera/{name}", 10)
    assert comes_to_say(ros, "on /camera/camera/color/image_raw and /camera/camera/infra1")
    assert comes_to_say(ros, "on /camera/camera/aligned_depth_to_color/image_raw and /camera/camera/depth")


@pytest.mark.parametrize(
    ("input_name", "topic", "message_type", "transport"),
    [
        ("rgb", "rgb/image_rect_color/compressed", CompressedImage, "compressed"),
        ("depth", "depth_registered/image_rect", Image, "raw"),
    ],
)
def test_images_that_come_by_another_transport_are_pointed_out(graph, input_name, topic, message_type, transport):
    ros = graph(depth__transport="compressedDepth")
    words = f"images are published on /{topic}: set {input_name}.transport to {transport}"
    ros.peer.create_publisher(message_type, topic, 10)
    assert comes_to_say(ros, words)


def test_an_unsupported_transport_is_reported_with_a_republish_command(graph):
    """LaserScan stands for a type of another package."""
    ros = graph(remappings={"rgb/image_rect_color": "/color/image_raw"})
    words = (
        "ros2 run image_transport republish ffmpeg raw --ros-args -p in_transport:=ffmpeg -p out_transport:=raw "
        "-r in/ffmpeg:=/color/image_raw/ffmpeg -r out:=/color/image_raw"
    )
    ros.peer.create_publisher(LaserScan, "/color/image_raw/ffmpeg", 10)
    assert comes_to_say(ros, words)


# What comes does not fit


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_topic_name_that_ends_in_its_transport_is_used_unchanged(graph, transport):
    topic = "/color/image_raw/compressed"
    ros = graph(remappings={"rgb/image_rect_color": topic}, rgb__transport=transport, watchdog__timeout=60.0)
    ros.publish(topic, jpeg(START_NS))
    ros.publish("depth_registered/image_rect", image_message(scene()[1], "16UC1", START_NS))
    ros.output(START_NS)


def test_compressed_images_on_any_topic_name_are_reported_and_the_fix_works(graph, stranger):
    ros = graph(remappings={"rgb/image_rect_color": "/front"})
    words = "set rgb.transport to compressed and remap rgb/image_rect_color/compressed to it"
    stranger.create_publisher(CompressedImage, "/front", 10)
    assert comes_to_say(ros, words)
    ros = graph(remappings={"rgb/image_rect_color/compressed": "/front"}, rgb__transport="compressed")
    ros.publish("/front", jpeg(START_NS))
    ros.publish("depth_registered/image_rect", image_message(scene()[1], "16UC1", START_NS))
    ros.output(START_NS)


@pytest.mark.parametrize(
    ("source", "message_type", "words"),
    [
        ("points", LaserScan, "it carries sensor_msgs/msg/LaserScan, but sensor_msgs/msg/PointCloud2 is needed"),
        ("points", Image, "set depth.source to image"),
        ("image", PointCloud2, "set depth.source to points"),
    ],
)
def test_another_type_on_the_topic_is_reported(graph, stranger, source, message_type, words):
    ros = graph(depth__source=source, extrinsic=IDENTITY)
    topic = "/points" if source == "points" else "/depth_registered/image_rect"
    stranger.create_publisher(message_type, topic, 10)
    assert comes_to_say(ros, words)


@pytest.mark.parametrize(
    ("policy", "asked", "taken"),
    [("reliability", "reliable", "best_effort"), ("durability", "transient_local", "volatile")],
)
def test_an_incompatible_qos_is_reported_with_the_parameter_that_fixes_it(graph, policy, asked, taken):
    parameter = f"qos_overrides./rgb/image_rect_color.subscription.{policy}"
    ros = graph(**{parameter: asked})
    camera = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
    ros.peer.create_publisher(Image, "rgb/image_rect_color", camera)
    words = f"{policy.upper()}: start this node with the parameter {parameter} set to {taken}"
    assert comes_to_say(ros, words)
    assert ros.spin(lambda: ros.problems().get("qos") == 1)


def test_overriding_the_qos_of_one_input_leaves_the_others(graph):
    ros = graph(**{"qos_overrides./rgb/camera_info.subscription.durability": "transient_local"})
    ros.completed_pair()
    assert "qos" not in ros.problems()


def test_streams_that_resume_after_a_pause_are_not_reported_as_unpaired(graph):
    """Both inputs come again, one after the other, and the last pair is long ago: that is no reason to speak."""
    ros = graph(watchdog__timeout=1.0)
    ros.completed_pair()
    ros.spin(lambda: False, 1.5)
    for _ in range(12):
        ros._stamp += PERIOD_NS
        ros.publish("rgb/image_rect_color", image_message(scene()[0], "rgb8", ros._stamp))
        ros.spin(lambda: False, 0.02)
    ros.send_pair()
    ros.spin(lambda: False, 0.3)
    assert "no_pairs" not in ros.problems()


# Calibration


@pytest.mark.parametrize("override", [False, True])
def test_calibration_latched_before_the_node_started_is_used(graph, override):
    durability = {"qos_overrides./rgb/camera_info.subscription.durability": "transient_local"} if override else {}
    ros = graph(depth__source="points", extrinsic=IDENTITY, watchdog__timeout=60.0, autostart=False, **durability)
    ros.peer.create_publisher(type(camera_info(1, 1, 1.0)), "/rgb/camera_info", LATCHED).publish(
        camera_info(160, 120, 130.0)
    )
    ros.node.trigger_configure()
    ros.node.trigger_activate()
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 3), (2000, 3))

    def completed() -> bool:
        ros._stamp += PERIOD_NS
        ros.publish("rgb/image_rect_color", image_message(scene()[0], "rgb8", ros._stamp))
        ros.publish("points", cloud(points, ros._stamp))
        ros.spin(lambda: False, 0.05)
        return bool(ros.received["/depth_completion/depth"])

    assert ros.spin(completed, 8.0), ros.drops()


def test_calibration_that_arrived_once_is_never_reported_as_silent(graph):
    ros = graph(depth__registered=False, extrinsic=IDENTITY)
    for topic in ("rgb/camera_info", "depth_registered/camera_info"):
        ros.publish(topic, camera_info(160, 120, 130.0))
    for _ in range(2):
        assert ros.spin(lambda: set(ros.node._inputs.check()) == {"silent_rgb", "silent_depth"})
        ros.spin(lambda: False, 0.4)


# Points


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ((-1, -1, -3), (1, 1, -2), "100% of them lie behind the camera"),
        ((9, -1, 2), (10, 1, 3), "0% of them lie behind"),
    ],
)
def test_points_outside_the_image_are_explained_by_the_pose(graph, capfd, low, high, words):
    ros = graph(depth__source="points", extrinsic=IDENTITY, watchdog__timeout=60.0)
    ros.publish("rgb/camera_info", camera_info(160, 120, 130.0))
    ros.spin(lambda: False, 0.2)
    ros.publish("rgb/image_rect_color", image_message(scene()[0], "rgb8", START_NS))
    ros.publish("points", cloud(np.random.default_rng(0).uniform(low, high, (500, 3)), START_NS))
    assert ros.spin(lambda: ros.drops() == {"outside": 1}), ros.drops()
    output: list[str] = []  # the line follows the count
    assert ros.spin(lambda: output.append(capfd.readouterr().err) or "none of 500 points" in "".join(output)), output
    line = next(line for line in "".join(output).splitlines() if "none of 500 points" in line)
    assert words in line and "extrinsic" in line and "unit" not in line


# Shared memory


def test_in_64_mb_of_shared_memory_vga_arrives_whole_and_what_another_camera_loses_is_explained():
    """A mount namespace of its own has a /dev/shm as in a container."""
    script = Path(__file__).with_name("small_shared_memory.py")
    inside = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" "$@"'
    command = ["unshare", "--mount", "sh", "-c", inside, sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("a mount namespace needs more rights than this user has")
    assert done.returncode == 0, done.stderr
    (sent, received, lost), (_, _, lost_by_another) = [
        list(map(int, line.split())) for line in done.stdout.splitlines()
    ]
    assert (received, lost) == (sent, 0), done.stderr
    if lost_by_another:  # on a fast machine UDP may lose none
        assert "/dev/shm has only" in done.stderr and "fastdds_small.xml" in done.stderr
