"""``depth-completion bag play``: publish a recording to the ROS graph at the recorded rate."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigurationError
from ..node.environment import add_process_arguments, prepare_ros_environment


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or one .mcap or .db3 file")
    parser.add_argument(
        "--rate", type=float, default=1.0, metavar="R", help="playback speed, 2.0 = twice as fast (default: 1)"
    )
    parser.add_argument("--loop", action="store_true", help="repeat until stopped; stamps keep increasing")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds (default: at the end)")
    parser.add_argument(
        "--raw", action="store_true", help="decode compressed images before publishing, as a camera driver would"
    )
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="do not publish /clock")
    parser.add_argument(
        "--wait", type=float, default=10.0, metavar="S", help="longest wait for the first subscriber [s] (default: 10)"
    )
    parser.add_argument(
        "--delay",
        type=float,
        default=0.5,
        metavar="S",
        help="additional wait after the first subscriber, for others to connect [s] (default: 0.5)",
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="write a CSV file with topic, stamp_ns and published_ns (monotonic clock) of each message",
    )
    add_process_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Play until the end of the recording, for ``--seconds``, or until a signal."""
    if not args.rate > 0:
        raise ConfigurationError(f"--rate {args.rate} must be above zero")
    if args.seconds is not None and not args.seconds > 0:
        raise ConfigurationError(f"--seconds {args.seconds} must be above zero")
    for option in ("wait", "delay"):
        if not getattr(args, option) >= 0:
            raise ConfigurationError(f"--{option} {getattr(args, option)} must be 0 or more")
    prepare_ros_environment()
    from ..bag.player import PlayerNode, PlayOptions, PlayOutcome
    from ..node.process import spin

    ros_arguments = ["--ros-args", *args.ros_arguments]
    names = PlayOptions.__dataclass_fields__
    options, outcome = PlayOptions(**{name: getattr(args, name) for name in names}), PlayOutcome()
    spin(lambda: PlayerNode(options, outcome), ros_arguments, args.exit_with)
    if outcome.error is not None:
        raise outcome.error
    print(f"published {outcome.published} messages in {outcome.seconds:.2f} s, {outcome.late} of them late")
    return 0
