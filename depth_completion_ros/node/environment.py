"""Arguments and environment variables that a ROS process needs before rclpy is imported."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..resources import share_directory

# Kilted and later read the first name; Jazzy and Humble read only the second.
DDS_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
# Size of a segment of config/dds/fastdds_small.xml, including the overhead of Fast DDS.
SMALL_SEGMENT_BYTES = 11 << 20
# Size of the segments of four processes with config/dds/fastdds.xml.
ROOM_FOR_LARGE_SEGMENTS = 4 * (66 << 20)


def parse_process_arguments(executable: str) -> tuple[list[str], int | None]:
    """Parse the command line of an executable that ``ros2 run`` and launch files start.

    Returns:
        The ROS arguments, and the process that the node ends with (``--exit-with``).
    """
    parser = argparse.ArgumentParser(prog=executable, add_help=False)
    add_process_arguments(parser)
    args, others = parser.parse_known_args()
    return [*others, "--ros-args", *args.ros_arguments], args.exit_with


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--exit-with`` and ``--ros-args``. The latter must be the last option because it takes all that follows."""
    parser.add_argument(
        "--exit-with",
        type=int,
        metavar="PID",
        help="process ID: exit when that process has ended (ros2 launch does not stop its children on SIGTERM)",
    )
    parser.add_argument(
        "--ros-args",
        dest="ros_arguments",
        nargs=argparse.REMAINDER,
        default=[],
        help="ROS arguments, as for every ROS executable",
    )


def exit_on_signals() -> None:
    """Exit at once on SIGINT and SIGTERM until ``process.spin`` handles them.

    Until then, packages are imported, and some of them turn an exception into an ImportError.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))


def has_ended(process: int) -> bool:
    """Whether the process with this ID has ended or is a zombie."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def dds_profile_file() -> Path:
    """The Fast DDS profile with shared-memory segments for images, large or small depending on free /dev/shm.

    The default segment of Fast DDS is smaller than a VGA image. Images that do not fit into a segment are sent by UDP,
    which loses frames.
    """
    name = "fastdds.xml" if free_shared_memory() >= ROOM_FOR_LARGE_SEGMENTS else "fastdds_small.xml"
    return share_directory() / "config" / "dds" / name


def free_shared_memory() -> float:
    """Free bytes in /dev/shm; infinite on a system without it."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return math.inf
    return status.f_bavail * status.f_frsize


def prepare_ros_environment() -> None:
    """Set environment variables that rclpy reads. Call it before rclpy is imported. Variables already set are kept.

    Sets the Fast DDS profile and, if rclpy comes from wheels instead of a ROS installation, the paths of its packages
    and logs.
    """
    if not any(os.environ.get(name) for name in DDS_PROFILE_VARIABLES):
        os.environ[dds_profile_variable()] = str(dds_profile_file())
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    if "HOME" not in os.environ:
        os.environ.setdefault("ROS_LOG_DIR", "/tmp/ros_log")


def dds_profile_variable() -> str:
    """The one of ``DDS_PROFILE_VARIABLES`` that this ROS reads. Kilted and later warn if the old one is set at all."""
    new, old = DDS_PROFILE_VARIABLES
    for distribution in ("rclpy", "ros-rclpy"):  # from a ROS installation, or from wheels
        with suppress(PackageNotFoundError):
            return new if int(version(distribution).split(".")[0]) >= 9 else old  # 9 = Kilted
    return old
