"""A completion node and a peer that talks to it over DDS, in one process, for the tests."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from depth_completion_ros.node.completion_node import CompletionNode

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 33_333_333
FRAME_ID = "camera_color_optical_frame"
DEFAULTS = {"engine": "classical", "watchdog.timeout": 60.0}


def stamped(message: Any, stamp_ns: int, frame_id: str = FRAME_ID) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    return message


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def image_message(pixels: np.ndarray, encoding: str, stamp_ns: int, frame_id: str = FRAME_ID) -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels.strides[0])
    message.data = array("B", pixels.tobytes())
    return stamped(message, stamp_ns, frame_id)


def camera_info(width: int, height: int, focal: float, stamp_ns: int = START_NS) -> CameraInfo:
    message = CameraInfo(width=width, height=height)
    message.k = [focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, (width - 1) / 2, 0.0, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return stamped(message, stamp_ns)


def pixels_of(message: Image) -> np.ndarray:
    dtype = {"32FC1": np.float32, "16UC1": np.uint16}[message.encoding]
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def scene(width: int = 160, height: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """rgb (H, W, 3) uint8 and depth (H, W) uint16 mm: a slanted floor, a box of another colour, holes of both kinds."""
    rows, columns = np.mgrid[:height, :width]
    depth = 1500 + 8 * rows + 2 * columns
    rgb = np.stack([60 + rows // 2, 90 + columns // 3, np.full_like(rows, 120)], axis=2)
    box = (slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3))
    depth[box], rgb[box] = 1000, (220, 40, 30)
    depth[height // 4 : height // 2, width // 4 : width // 2] = 0
    depth[np.random.default_rng(0).random(depth.shape) < 0.05] = 0
    return rgb.astype(np.uint8), depth.astype(np.uint16)


class RosGraph:
    """One node under test and one peer in a context of their own; ``close`` leaves nothing behind.

    Unless ``parameters`` say otherwise, the node runs the classical engine, which serves from the first frame on, and
    lets a minute pass before it calls an input silent: the time a test spends on other things is no fault of its own.
    """

    def __init__(
        self,
        parameters: dict[str, Any] | None = None,
        listen: tuple[tuple[type, str], ...] = (),
        remappings: dict[str, str] | None = None,
        namespace: str = "",
    ):
        self.context = Context()
        rclpy.init(context=self.context)
        overrides = [Parameter(name, value=value) for name, value in (DEFAULTS | (parameters or {})).items()]
        rules = [word for name, topic in (remappings or {}).items() for word in ("-r", f"{name}:={topic}")]
        self.node = CompletionNode(
            context=self.context,
            parameter_overrides=overrides,
            cli_args=["--ros-args", *rules] if rules else None,
            namespace=namespace,
        )
        self.peer = Node("peer", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.peer)
        self.received: dict[str, list[Any]] = {}
        self._publishers: dict[tuple[type, str], Any] = {}
        self.listen(DiagnosticArray, "/diagnostics")
        for message_type, topic in listen or ((Image, "/depth_completion/depth"),):
            self.listen(message_type, topic)
        self._stamp = START_NS

    def listen(self, message_type: type, topic: str) -> None:
        messages = self.received.setdefault(topic, [])
        self.peer.create_subscription(message_type, topic, messages.append, QoSProfile(depth=50))

    def publish(self, topic: str, message: Any, qos: QoSProfile | int = 10) -> None:
        """Publish once the subscriber, if the node has one, is known."""
        key = (type(message), topic)
        if key not in self._publishers:
            self._publishers[key] = self.peer.create_publisher(type(message), topic, qos)
            self.spin(lambda: self._publishers[key].get_subscription_count() > 0, 2.0)
        self._publishers[key].publish(message)

    def send_pair(
        self,
        rgb: Image | None = None,
        depth: Image | None = None,
        depth_topic: str = "depth_registered/image_rect",
        offset_ns: int = 0,
        prefix: str = "",
    ) -> int:
        """Publish the pair (by default of ``scene``) with the next stamp; returns it."""
        self._stamp += PERIOD_NS
        if rgb is None or depth is None:
            colours, millimetres = scene()
            rgb = rgb or image_message(colours, "rgb8", 0)
            depth = depth or image_message(millimetres, "16UC1", 0)
        self.publish(f"{prefix}rgb/image_rect_color", stamped(rgb, self._stamp, rgb.header.frame_id or FRAME_ID))
        depth_frame = depth.header.frame_id or FRAME_ID
        self.publish(f"{prefix}{depth_topic}", stamped(depth, self._stamp + offset_ns, depth_frame))
        return self._stamp

    def spin(self, until: Callable[[], Any], timeout: float = 10.0) -> bool:
        """Spin until the condition holds; whether it came to hold in time."""
        end = time.monotonic() + timeout
        while not until():
            if time.monotonic() > end:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True

    def output(self, stamp_ns: int, topic: str = "/depth_completion/depth", timeout: float = 10.0) -> Any:
        """The message of this stamp on an output topic; fails where none comes."""

        def found() -> Any:
            return next((m for m in self.received[topic] if stamp_of(m) == stamp_ns), None)

        assert self.spin(found, timeout), f"nothing on {topic} for stamp {stamp_ns}; drops {self.drops()}"
        return found()

    def completed_pair(self, **arguments: Any) -> Any:
        """Send a pair and wait for its depth: the node works."""
        return self.output(self.send_pair(**arguments))

    def drops(self) -> dict[str, int]:
        return dict(self.node.statistics.drops())

    def problems(self) -> dict[str, int]:
        return dict(self.node.statistics.problems())

    def diagnostics(self, timeout: float = 3.0) -> tuple[Any, dict[str, str]]:
        """The next status published and its values."""
        before = len(self.received["/diagnostics"])
        assert self.spin(lambda: len(self.received["/diagnostics"]) > before, timeout), "no diagnostics"
        status = self.received["/diagnostics"][-1].status[0]
        return status, {value.key: value.value for value in status.values}

    def said(self) -> str:
        """The message of the last status published so far."""
        statuses = self.received["/diagnostics"]
        return statuses[-1].status[0].message if statuses else ""

    def close(self) -> None:
        self.node.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.peer.destroy_node()
        rclpy.try_shutdown(context=self.context)
