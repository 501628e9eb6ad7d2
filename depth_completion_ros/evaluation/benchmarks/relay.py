"""A node that only subscribes to RGB and depth and republishes depth: the baseline of ``bench node``.

The benchmark that starts it prepares its environment.
"""

from __future__ import annotations

import sys

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ...node.process import spin


class RelayNode(Node):
    """Uses the topics and QoS of the completion node, without synchronisation, decoding or threads."""

    def __init__(self) -> None:
        super().__init__("depth_completion")
        inputs = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = self.create_publisher(Image, "~/depth", QoSProfile(depth=2))
        self.create_subscription(Image, "rgb/image_rect_color", lambda message: None, inputs)
        self.create_subscription(Image, "depth_registered/image_rect", self._publisher.publish, inputs)

    def close(self) -> None:
        """Nothing to do: there are no threads to join."""


if __name__ == "__main__":
    spin(RelayNode, sys.argv[1:])
