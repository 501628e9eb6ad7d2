"""``depth-completion evaluator`` and the ROS executable ``evaluator``: score completed depth in a running graph."""

from __future__ import annotations

import argparse
import shlex
import sys

from ..errors import ConfigurationError
from ..memory import keep_freed_memory
from ..node.environment import (
    add_process_arguments,
    exit_on_signals,
    parse_process_arguments,
    prepare_ros_environment,
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion evaluator``; its parameters are ROS parameters."""
    add_process_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the node until a signal. Prints the summary and writes the report at the end."""
    return _spin(["--ros-args", *args.ros_arguments], args.exit_with)


def main() -> int:
    """Entry point for ``ros2 run`` and launch files."""
    keep_freed_memory()
    return _spin(*parse_process_arguments("evaluator"))


def _spin(arguments: list[str], exit_with: int | None) -> int:
    exit_on_signals()
    prepare_ros_environment()
    from ..evaluation.live.evaluator_node import EvaluatorNode
    from ..node.process import spin

    command = shlex.join(["depth-completion", "evaluator", *arguments])
    try:
        spin(lambda: EvaluatorNode(command), arguments, exit_with)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
