"""The least a node can do with this data: subscribe to RGB and depth, publish the depth again. The bench's yardstick.

Its environment is prepared by the bench that starts it.
"""

from __future__ import annotations

import sys

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from .process import spin


class RelayNode(Node):
    """Same topics and QoS as the completion node; no synchronisation, no decoding, no thread."""

    def __init__(self) -> None:
        super().__init__("depth_completion")
        inputs = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = self.create_publisher(Image, "~/depth", QoSProfile(depth=2))
        self.create_subscription(Image, "rgb/image_rect_color", lambda message: None, inputs)
        self.create_subscription(Image, "depth_registered/image_rect", self._publisher.publish, inputs)

    def close(self) -> None:
        """It has no threads."""


if __name__ == "__main__":
    spin(RelayNode, sys.argv[1:])
