"""What a ROS process is started with: its arguments, its parent, and the variables that rclpy reads once at start."""

from __future__ import annotations

import argparse
import math
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..resources import share_directory

# Kilted and later read the first name, Jazzy and Humble only the second.
DDS_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
# A segment of config/dds/fastdds_small.xml and what Fast DDS needs beside it.
SMALL_SEGMENT_BYTES = 11 << 20
# Room for the segments of four processes with config/dds/fastdds.xml.
ROOM_FOR_LARGE_SEGMENTS = 4 * (66 << 20)


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """``--exit-with`` and ``--ros-args``, the last one: it takes all that follows."""
    parser.add_argument(
        "--exit-with",
        type=int,
        metavar="PID",
        help="end when this process has ended: ros2 launch leaves its children behind on SIGTERM",
    )
    parser.add_argument(
        "--ros-args", dest="ros_arguments", nargs=argparse.REMAINDER, default=[], help="as of every ROS executable"
    )


def has_ended(process: int) -> bool:
    """Whether the process of this number is gone, or dead and only not yet seen to by its parent."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def dds_profile_file() -> Path:
    """The Fast DDS profile with shared-memory segments for images, large or small as /dev/shm has room.

    Fast DDS's own segment is smaller than a VGA image; where a segment finds no room at all, images go by UDP. Either
    way frames get lost.
    """
    name = "fastdds.xml" if free_shared_memory() >= ROOM_FOR_LARGE_SEGMENTS else "fastdds_small.xml"
    return share_directory() / "config" / "dds" / name


def free_shared_memory() -> float:
    """Bytes that are free in /dev/shm; infinite on a system without it."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:
        return math.inf
    return status.f_bavail * status.f_frsize


def prepare_ros_environment() -> None:
    """Call before rclpy is imported. What the user has set stays as it is.

    Sets the Fast DDS profile, and, where rclpy comes from wheels rather than a ROS installation, what it needs to find
    its packages and a place for its logs.
    """
    if not any(os.environ.get(name) for name in DDS_PROFILE_VARIABLES):
        # From Kilted on it warns of the old name, even beside the new one.
        os.environ[DDS_PROFILE_VARIABLES[0 if _knows_new_name() else 1]] = str(dds_profile_file())
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    if "HOME" not in os.environ:
        os.environ.setdefault("ROS_LOG_DIR", "/tmp/ros_log")


def _knows_new_name() -> bool:
    """Whether rclpy is of Kilted (9) or later, from a ROS installation or from wheels."""
    for distribution in ("rclpy", "ros-rclpy"):
        try:
            return int(version(distribution).split(".")[0]) >= 9
        except PackageNotFoundError:
            continue
    return False
