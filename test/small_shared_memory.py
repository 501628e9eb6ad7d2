"""Two cameras send VGA images at 30 Hz to the node and to a listener, to be run where /dev/shm is small.

The one on the colour topic has this package's settings of Fast DDS, the one on the depth topic has none. Prints how
many images each has sent, and how many of them the listener has received and knows to be lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from array import array
from collections import Counter
from typing import Any

from depth_completion_ros.node.environment import DDS_PROFILE_VARIABLES, prepare_ros_environment

SENT = 45
TOPICS = ("rgb/image_rect_color", "depth_registered/image_rect")


def camera(topic: str) -> None:
    if topic == TOPICS[0]:
        prepare_ros_environment()
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("camera_driver")
    publisher = node.create_publisher(Image, topic, 10)
    message = Image(height=480, width=640, encoding="rgb8", step=1920, data=array("B", bytes(480 * 1920)))
    deadline = time.monotonic() + 30
    while publisher.get_subscription_count() < 2:
        assert time.monotonic() < deadline, "nobody subscribed"
        time.sleep(0.02)
    time.sleep(0.5)
    for number in range(SENT):
        message.header.stamp.sec = 1 + number
        publisher.publish(message)
        time.sleep(1 / 30)
    time.sleep(0.5)  # what is on its way
    rclpy.try_shutdown()


def listen() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    prepare_ros_environment()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    from depth_completion_ros.node.completion_node import CompletionNode
    from depth_completion_ros.node.inputs import SubscriptionEventCallbacks

    rclpy.init()
    node = CompletionNode(parameter_overrides=[Parameter("engine", value="classical")])
    listener = rclpy.create_node("listener")
    received, lost = Counter[str](), Counter[str]()
    for topic in TOPICS:

        def receive(message: Image, topic: str = topic) -> None:
            received[topic] += 1

        def lose(event: Any, topic: str = topic) -> None:
            lost[topic] += event.total_count_change

        # Deep, so that nothing but the transport loses images.
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        events = SubscriptionEventCallbacks(message_lost=lose)
        listener.create_subscription(Image, topic, receive, qos, event_callbacks=events)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(listener)
    cameras = [subprocess.Popen([sys.executable, __file__, topic], env=environment) for topic in TOPICS]
    try:
        while any(process.poll() is None for process in cameras):
            executor.spin_once(timeout_sec=0.1)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        for process in cameras:
            process.kill()
            process.wait()
        node.close()
        executor.shutdown()
        rclpy.try_shutdown()
    for topic in TOPICS:
        print(SENT, received[topic], lost[topic])


if __name__ == "__main__":
    for name in DDS_PROFILE_VARIABLES:
        os.environ.pop(name, None)
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    camera(sys.argv[1]) if sys.argv[1:] else listen()
