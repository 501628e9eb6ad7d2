"""``depth-completion bag play``: publish a recording into the ROS graph at its real times."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigurationError
from .environment import add_process_arguments, prepare_ros_environment


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or one .mcap or .db3 file")
    parser.add_argument("--rate", type=float, default=1.0, metavar="R", help="times real speed (default: 1)")
    parser.add_argument("--loop", action="store_true", help="play again and again; stamps go on, time never goes back")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after this long")
    parser.add_argument("--raw", action="store_true", help="publish decoded images, as a camera driver does")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="do not publish /clock")
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help="wait this long for a subscriber (10)")
    parser.add_argument("--delay", type=float, default=0.5, metavar="S", help="then wait for the others (0.5)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="CSV of topic, stamp_ns, published_ns (monotonic)")
    add_process_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Play until the end, ``--seconds`` or a signal."""
    if not args.rate > 0:
        raise ConfigurationError(f"--rate {args.rate} must be above zero")
    if args.seconds is not None and not args.seconds > 0:
        raise ConfigurationError(f"--seconds {args.seconds} must be above zero")
    prepare_ros_environment()
    from .player import PlayerNode, PlayOptions, PlayOutcome
    from .process import spin

    ros_arguments = ["--ros-args", *args.ros_arguments]
    names = PlayOptions.__dataclass_fields__
    options, outcome = PlayOptions(**{name: getattr(args, name) for name in names}), PlayOutcome()
    spin(lambda: PlayerNode(options, outcome), ros_arguments, args.exit_with)
    if outcome.error is not None:
        raise outcome.error
    print(f"published {outcome.published} messages in {outcome.seconds:.2f} s, {outcome.late} of them late")
    return 0
