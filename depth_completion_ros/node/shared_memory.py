"""Explain why images are lost between processes; with Fast DDS the usual cause is too little shared memory."""

from __future__ import annotations

import re
from pathlib import Path

from rclpy import get_rmw_implementation_identifier

from .environment import (
    DDS_PROFILE_VARIABLES,
    ROOM_FOR_LARGE_SEGMENTS,
    SMALL_SEGMENT_BYTES,
    dds_profile_file,
    free_shared_memory,
)

# Fast DDS 2 and 3 name their segments fastdds_<id> or fastrtps_<id>.
_SEGMENT = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) .* /dev/shm/fast(?:dds|rtps)_[0-9a-f]{16}$", re.MULTILINE)
_HOLDS_IMAGES_BYTES = 1 << 20  # smaller segments are not meant for images

_ENLARGE = "enlarge it (docker run --shm-size=1g; without Docker: mount -o remount,size=1g /dev/shm)"


def no_room_for_this_process() -> str:
    """A warning if Fast DDS found no room in /dev/shm for this process, else empty. Call it after rclpy.init."""
    if not _fast_dds():
        return ""
    segments = _SEGMENT.findall(Path("/proc/self/maps").read_text())
    has_room = any(int(end, 16) - int(begin, 16) > _HOLDS_IMAGES_BYTES for begin, end in segments)
    return "" if has_room else _no_room()


def why_lost() -> str:
    """Why messages to this process get lost, and how to fix it."""
    if not _fast_dds():
        return "check whether this machine is overloaded or the network too slow for raw images"
    return _no_room() or (
        "their publisher has too little shared memory for images: start the camera driver with "
        f"{' and '.join(DDS_PROFILE_VARIABLES)} set to {dds_profile_file()}{_small()}; over a network, use compressed "
        "images"
    )


def _no_room() -> str:
    free = free_shared_memory()
    if free >= SMALL_SEGMENT_BYTES:
        return ""
    return (
        f"/dev/shm has only {int(free) >> 20} MB free, so Fast DDS sends images by UDP, which loses some: {_ENLARGE} "
        "and restart all nodes"
    )


def _small() -> str:
    free = free_shared_memory()
    return f", and as /dev/shm has only {int(free) >> 20} MB free, {_ENLARGE}" if free < ROOM_FOR_LARGE_SEGMENTS else ""


def _fast_dds() -> bool:
    return get_rmw_implementation_identifier().startswith("rmw_fastrtps")
