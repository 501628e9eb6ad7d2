"""A ROS 2 node that uses completed depth: it logs the distance of the nearest object in each frame.

Run it beside the completion node: python3 examples/dense_depth_client.py
"""

from contextlib import suppress

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image


class DenseDepthClient(Node):
    def __init__(self):
        super().__init__("dense_depth_client")
        self.depth = self.confidence = None
        self.create_subscription(Image, "depth_completion/depth", self.on_depth, 2)
        self.create_subscription(Image, "depth_completion/confidence", self.on_confidence, 2)

    def on_depth(self, image):
        self.depth = image
        self.use()

    def on_confidence(self, image):
        self.confidence = image
        self.use()

    def use(self):
        if self.depth is None or self.confidence is None or self.depth.header != self.confidence.header:
            return  # wait until both images of a frame are here
        depth, confidence = (np.frombuffer(image.data, np.float32) for image in (self.depth, self.confidence))
        trusted = depth[confidence > 0.8]
        nearest = f"{trusted.min():.3f} m" if trusted.size else "unknown"
        stamp = self.depth.header.stamp
        self.get_logger().info(f"frame {stamp.sec}.{stamp.nanosec:09}: distance of the nearest object {nearest}")


if __name__ == "__main__":
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):  # Ctrl-C
        rclpy.spin(DenseDepthClient())
