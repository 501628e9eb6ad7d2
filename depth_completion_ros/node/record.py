"""``depth-completion bag record``: record topics of the ROS graph into a rosbag2."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from ..data.bags import STORAGES
from ..errors import ConfigurationError
from .environment import prepare_ros_environment


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topics", nargs="+", metavar="TOPIC", help="topics; each is recorded as soon as it appears")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new bag")
    parser.add_argument("--storage", choices=STORAGES, default="mcap")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after this long")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="keep every N-th message of each topic (1)")
    parser.add_argument("--memory", type=int, default=2000, metavar="MB", help="keep no more than this (2000)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="CSV of topic, stamp_ns, received_ns (monotonic)")
    parser.add_argument(
        "--ros-args", dest="ros_arguments", nargs=argparse.REMAINDER, default=[], help="as of every ROS executable"
    )


def run(args: argparse.Namespace) -> int:
    """Record until ``--seconds`` or a signal, then write the bag."""
    if args.every < 1:
        raise ConfigurationError(f"--every {args.every} must be 1 or more")
    if args.seconds is not None and not args.seconds > 0:
        raise ConfigurationError(f"--seconds {args.seconds} must be above zero")
    if args.out.exists():
        raise ConfigurationError(f"{args.out} exists already: give another name, or take it away first")
    prepare_ros_environment()
    from .process import spin
    from .recorder import MessageStore, RecorderNode

    store = MessageStore(args.every, args.memory * 1_000_000)
    ros_arguments = ["--ros-args", *args.ros_arguments]
    spin(lambda: RecorderNode(args.topics, store, args.seconds, args.log), ros_arguments)
    # A second signal must not cut off the bag's end: a bag without it is no bag.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    store.save(args.out, args.storage)
    print(f"{args.out}: {store.summary()}")
    return 0
