"""``depth-completion node`` and the ROS executable ``completion_node``: run the completion node."""

from __future__ import annotations

import argparse
import sys

from ..cameras import camera, camera_names, remappings, resolved_topics
from ..errors import ConfigurationError
from ..memory import keep_freed_memory
from ..node.environment import (
    add_process_arguments,
    exit_on_signals,
    parse_process_arguments,
    prepare_ros_environment,
)
from ..profiles import profile_file, profile_names


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", choices=profile_names(), help="sensor profile (default: that of the camera, or kinect)"
    )
    parser.add_argument("--camera", choices=camera_names(), help="camera driver to subscribe to (default: none)")
    parser.add_argument(
        "--camera-name",
        default="",
        help="camera_name that the driver was started with, or a topic prefix that begins with / (default: the "
        "driver's default name)",
    )
    add_process_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the node with a profile's parameters and a camera's topics; ROS arguments override them."""
    return _spin(ros_arguments(args), args.exit_with)


def ros_arguments(args: argparse.Namespace) -> list[str]:
    """The ROS arguments of the node: parameter file, parameters and remappings."""
    chosen = camera(args.camera, args.camera_name) if args.camera else None
    profile = args.profile or (chosen.profile if chosen is not None else "kinect")
    arguments = ["--ros-args", "--params-file", str(profile_file(profile))]
    if chosen is not None:
        arguments += [text for name, value in chosen.parameters.items() for text in ("-p", f"{name}:={value}")]
    # ROS applies the first of two remapping rules for a topic, but the last of two values for a parameter.
    rules = [text for own, topic in remappings(resolved_topics({}, chosen)) for text in ("-r", f"{own}:={topic}")]
    return [*arguments, *args.ros_arguments, *rules]


def main() -> int:
    """Entry point for ``ros2 run`` and launch files, which pass the parameter files themselves."""
    keep_freed_memory()
    return _spin(*parse_process_arguments("completion_node"))


def _spin(arguments: list[str], exit_with: int | None) -> int:
    exit_on_signals()
    prepare_ros_environment()
    from ..node.completion_node import CompletionNode
    from ..node.parameter_files import unused_files
    from ..node.process import spin

    def make_node() -> CompletionNode:
        node = CompletionNode()
        for line in unused_files(arguments, node.get_fully_qualified_name()):
            node.statistics.report("parameter", line, throttled=False)
        return node

    try:
        spin(make_node, arguments, exit_with)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
