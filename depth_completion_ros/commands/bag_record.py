"""``depth-completion bag record``: record topics of the ROS graph to a rosbag2."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bag.writer import STORAGES
from ..errors import ConfigurationError
from ..node.environment import add_process_arguments, prepare_ros_environment


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topics", nargs="+", metavar="TOPIC", help="topics; each one is recorded as soon as it is published"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new bag")
    parser.add_argument("--storage", choices=STORAGES, default="mcap", help="storage format of the bag (default: mcap)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds (default: until a signal)")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="keep every N-th message of each topic (default: 1)"
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="write a CSV file with topic, stamp_ns and received_ns (monotonic clock) of each message",
    )
    add_process_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Record for ``--seconds`` or until a signal. Messages received so far are in the bag even after a kill."""
    if args.every < 1:
        raise ConfigurationError(f"--every {args.every} must be 1 or more")
    if args.seconds is not None and not args.seconds > 0:
        raise ConfigurationError(f"--seconds {args.seconds} must be above zero")
    prepare_ros_environment()
    from ..bag.recorder import BagRecording, RecorderNode
    from ..node.process import spin

    ros_arguments = ["--ros-args", *args.ros_arguments]
    with BagRecording(args.out, args.storage, args.every) as recording:
        spin(lambda: RecorderNode(args.topics, recording, args.seconds, args.log), ros_arguments, args.exit_with)
    if recording.error is not None:
        raise recording.error
    print(f"{args.out}: {recording.summary()}")
    return 0
