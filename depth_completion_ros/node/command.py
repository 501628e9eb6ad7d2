"""``depth-completion node`` and the ROS executable ``completion_node``: start the node and end it cleanly."""

from __future__ import annotations

import argparse
import signal
import sys

from ..errors import ConfigurationError
from ..memory import keep_freed_memory
from ..profiles import profile_file, profile_names
from .environment import prepare_ros_environment


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", choices=profile_names(), default="kinect", help="sensor profile (default: kinect)")
    parser.add_argument(
        "--ros-args", dest="ros_arguments", nargs=argparse.REMAINDER, default=[], help="as of every ROS executable"
    )


def run(args: argparse.Namespace) -> int:
    """Run the node with a profile's parameters; later ROS arguments override them."""
    return _spin(["--ros-args", "--params-file", str(profile_file(args.profile)), *args.ros_arguments])


def main() -> int:
    """Entry point for ``ros2 run`` and launch files, which give the parameter files themselves."""
    keep_freed_memory()
    return _spin(sys.argv[1:])


def _spin(ros_arguments: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):  # until rclpy takes them over
        signal.signal(number, lambda *_: sys.exit(0))
    prepare_ros_environment()
    from .completion_node import CompletionNode
    from .process import spin

    try:
        spin(CompletionNode, ros_arguments)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
