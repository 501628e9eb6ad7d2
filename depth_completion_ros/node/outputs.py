"""Publish CompletedDepth as messages, whose memory also serves as the buffers that results are written into."""

from __future__ import annotations

import copy
import time
from array import array
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from ..frame import CompletedDepth, Intrinsics, RgbdFrame
from ..geometry import depth_on_rgb_grid
from ..lens import rays
from ..preview import Range, colour_range, panel, smooth_range

_POINT_FIELDS = ("x", "y", "z", "rgb", "confidence")  # four bytes each
_RESULT_TOPICS = ("depth", "confidence", "sigma")
_IMAGE_TOPICS = (*_RESULT_TOPICS, "measured", "holdout")
_PREVIEW_PERIOD_S, _PREVIEW_WIDTH = 0.2, 960


class Outputs:
    """Publishers of all outputs: the images, ``~/camera_info`` and ``~/points``. Used by the worker."""

    def __init__(self, node: LifecycleNode):
        def publisher(message_type: type, topic: str) -> Any:
            return node.create_lifecycle_publisher(
                message_type,
                f"~/{topic}",
                QoSProfile(depth=2),  # reliable, keep last 2: late frames are of no use
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )

        self._node = node
        self._publishers = {topic: publisher(Image, topic) for topic in _IMAGE_TOPICS}
        self._publishers["camera_info"] = publisher(CameraInfo, "camera_info")
        self._publishers["points"] = publisher(PointCloud2, "points")
        self._publishers["preview"] = publisher(Image, "preview")
        self._colours: Range | None = None  # of depth in the last preview
        self._next_preview = 0.0  # monotonic clock [s]

    def wanted(self) -> bool:
        """Whether any output has a subscriber."""
        return any(self._listened(topic) for topic in self._publishers)

    def publish(
        self,
        messages: ResultMessages,
        frame: RgbdFrame,
        held: np.ndarray | None,
        header: Header,
        info: CameraInfo | None,
        encoding: str,
    ) -> None:
        """Publish a result on each topic that has subscribers; depth is published first.

        Args:
            messages: The messages, after the result has been written to ``messages.completed``.
            frame: The frame that was completed. Without intrinsics, no point cloud is published.
            held: (H, W) float32 [m], measurements that were hidden from completion, NaN elsewhere; None = nothing is
                hidden.
            header: Header of the RGB message.
            info: Calibration to publish; None if there is none.
            encoding: Encoding of depth, "32FC1" or "16UC1".
        """
        completed = messages.completed
        if self._listened("depth"):
            self._send("depth", messages.depth("depth", completed.depth, encoding), header)
        for topic in ("confidence", "sigma"):
            if self._listened(topic):
                self._send(topic, messages.images[topic], header)
        if self._listened("measured"):
            measured = np.where(completed.measured, depth_on_rgb_grid(frame), np.float32(np.nan))
            self._send("measured", messages.depth("measured", measured, encoding), header)
        if held is not None and self._listened("holdout"):
            self._send("holdout", messages.depth("holdout", held, encoding), header)
        if info is not None and self._listened("camera_info"):
            info = copy.copy(info)  # the input may be published once only, and belong to later images too
            info.header = header
            self._publishers["camera_info"].publish(info)
        if frame.intrinsics is not None and self._listened("points"):
            self._send("points", messages.points(frame.rgb, frame.intrinsics), header)
        if self._listened("preview") and time.monotonic() >= self._next_preview:
            self._next_preview = time.monotonic() + _PREVIEW_PERIOD_S
            self._send("preview", self._preview(messages.completed, frame), header)

    def _preview(self, completed: CompletedDepth, frame: RgbdFrame) -> Image:
        """A panel of colour, raw depth, completed depth and confidence as rgb8."""
        self._colours = smooth_range(self._colours, colour_range(completed.depth))
        pixels = panel(
            frame.rgb, frame.depth, completed.depth, completed.confidence, self._colours, width=_PREVIEW_WIDTH
        )
        message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="rgb8", step=pixels.strides[0])
        message.data = array("B", pixels.tobytes())
        return message

    def destroy(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)  # destroy_publisher would leave a reference in the node

    def _listened(self, topic: str) -> bool:
        return self._publishers[topic].get_subscription_count() > 0

    def _send(self, topic: str, message: Any, header: Header) -> None:
        message.header = header
        self._publishers[topic].publish(message)


class ResultMessages:
    """Messages of one image size, to be used again for each frame: assigning an array to ``data`` copies every byte.

    Attributes:
        size: Height and width.
        completed: The arrays to write the result to. They share the memory of the messages.
    """

    def __init__(self, height: int, width: int):
        self.size = height, width
        self.images: dict[str, Image] = {}
        self.completed = CompletedDepth.empty(height, width)
        for topic in _RESULT_TOPICS:
            self.images[topic], pixels = _image(height, width, "32FC1", np.float32)
            setattr(self.completed, topic, pixels)
        self._depths: dict[tuple[str, str], tuple[Image, np.ndarray]] = {}
        self._cloud: tuple[PointCloud2, np.ndarray] | None = None

    def depth(self, topic: str, depth: np.ndarray, encoding: str) -> Image:
        """The message of a topic with depth (H, W) float32 [m], NaN = missing.

        As 16UC1, depth is 0 where it is missing or too large for 16 bits (above 65.535 m).
        """
        if topic in self.images and encoding == "32FC1":
            return self.images[topic]  # shares its memory
        dtype = np.float32 if encoding == "32FC1" else np.uint16
        if (topic, encoding) not in self._depths:
            self._depths[topic, encoding] = _image(*self.size, encoding, dtype)
        message, pixels = self._depths[topic, encoding]
        if dtype is np.uint16:
            depth = np.rint(depth * np.float32(1000))
            with np.errstate(invalid="ignore"):
                depth[~((depth > 0) & (depth <= 65535))] = 0  # NaN too
        pixels[:] = depth
        return message

    def points(self, rgb: np.ndarray, intrinsics: Intrinsics) -> PointCloud2:
        """Organised cloud with fields x y z rgb confidence in the optical frame; NaN where depth is missing."""
        if self._cloud is None:
            self._cloud = _cloud(*self.size)
        x, y = rays(intrinsics)
        message, cloud = self._cloud
        depth = self.completed.depth
        np.multiply(depth, x, out=cloud[..., 0])
        np.multiply(depth, y, out=cloud[..., 1])
        cloud[..., 2] = depth
        cloud[..., 4] = self.completed.confidence
        colours = cloud.view(np.uint8).reshape(*self.size, 4 * len(_POINT_FIELDS))
        colours[..., 12:15] = rgb[..., ::-1]  # one 32-bit word 0x00RRGGBB, little endian
        return message


def _image(height: int, width: int, encoding: str, dtype: type) -> tuple[Image, np.ndarray]:
    step = width * np.dtype(dtype).itemsize
    message = Image(height=height, width=width, encoding=encoding, step=step, is_bigendian=0)
    message.data = array("B", bytes(height * step))
    return message, np.frombuffer(message.data, dtype).reshape(height, width)


def _cloud(height: int, width: int) -> tuple[PointCloud2, np.ndarray]:
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(_POINT_FIELDS)
    ]
    step = 4 * len(_POINT_FIELDS)
    message = PointCloud2(
        height=height,
        width=width,
        fields=fields,
        point_step=step,
        row_step=step * width,
        is_dense=False,
        is_bigendian=False,
    )
    message.data = array("B", bytes(height * width * step))
    return message, np.frombuffer(message.data, np.float32).reshape(height, width, len(_POINT_FIELDS))
