"""A simulated camera for benchmarks: publishes a recording in a loop, as a driver does, with stamps of its own clock.

The benchmark that starts it prepares its environment and may kill it at any time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import rclpy
from rclpy.qos import QoSProfile

from ...bag.message_types import message_class
from ...bag.messages import has_header, stamp_of, with_stamp
from ...bag.playback import Recording

_DISCOVERY_S = 0.5  # wait after the last required subscriber, until discovery is complete


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bag", type=Path)
    parser.add_argument("--clock-offset", type=float, default=0.0, help="offset of the camera's clock [s] (default: 0)")
    parser.add_argument("--log", type=Path, required=True, help="file to which the topic of each message is appended")
    args = parser.parse_args()

    recording = Recording(args.bag, raw=True)
    rclpy.init()
    node = rclpy.create_node("camera")
    publishers = {
        topic.name: node.create_publisher(kind, topic.name, QoSProfile(depth=10))
        for topic in recording.topics.values()
        if (kind := message_class(topic.type)) is not None
    }
    while not all(publisher.get_subscription_count() for name, publisher in publishers.items() if "image" in name):
        time.sleep(0.02)
    time.sleep(_DISCOVERY_S)
    start = time.monotonic_ns()
    clock_ns = time.time_ns() + round(args.clock_offset * 1e9)
    with args.log.open("a", buffering=1) as log:
        for message in recording.messages(loop=True):
            since_start = message.log_ns - recording.start_ns
            time.sleep(max(0, start + since_start - time.monotonic_ns()) * 1e-9)
            data = message.data
            if has_header(message.type):
                data = with_stamp(data, clock_ns + stamp_of(data) - recording.start_ns)
            log.write(f"{message.topic}\n")
            publishers[message.topic].publish(data)


if __name__ == "__main__":
    main()
