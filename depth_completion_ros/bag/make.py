"""Make a rosbag2 from a folder of recorded frames, with their recorded stamps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import yaml
from rich.console import Console
from rich.progress import track

from ..conversion import encode_compressed_depth
from ..errors import ConfigurationError, InputError
from ..geometry import pose_of
from ..lens import resized
from .folders import FIXED_FRAME_ID, FolderFrame, FrameSet
from .frames import camera_info_topic
from .messages import camera_info, compressed_image, header, image, point_cloud, transform
from .reader import DEPTH_TOPIC, POINTS_TOPIC, RGB_TOPIC
from .transforms import TF_TOPIC
from .writer import BagWriter, Storage, writing_to

LIDAR_FRAME_ID = "lidar"
JPEG_QUALITY = 95
# A gap between frames that is longer than this many median periods means that frames were left out.
GAP_PERIODS = 1.5


@dataclass(frozen=True)
class BagOptions:
    """Options for making a bag.

    Attributes:
        storage: Storage format.
        rgb: "jpeg" or "raw".
        depth: "compressed" (compressedDepth), "16UC1" or "32FC1".
        width: RGB is scaled to this width [pixels]; None = keep the size.
        close_gaps: Whether gaps from left-out frames are shortened to one period. The colour and depth stamps of a
            frame are shifted together.
    """

    storage: Storage = "mcap"
    rgb: str = "jpeg"
    depth: str = "compressed"
    width: int | None = None
    close_gaps: bool = False


class _Entry(NamedTuple):
    stamp_ns: int
    topic: str
    message: Any


class _Cloud(NamedTuple):
    points: np.ndarray
    camera_from_lidar: np.ndarray


def make_bag(frames: FrameSet, out: Path, positions: list[int], options: BagOptions) -> None:
    """Write a bag with the given frames of a set, ``LICENSE.md`` and, for a LiDAR, ``parameters.yaml``.

    Header stamps and log times are those of the recording. If the set has points and their extrinsic, points are
    written instead of depth. Without intrinsics, no camera_info is written. Poses of the camera at the stamps of
    the colour images are written to /tf, in the frame odom.

    Args:
        frames: The set.
        out: Folder of the new bag.
        positions: Indices of the frames.
        options: See ``BagOptions``.

    Raises:
        ConfigurationError: If ``out`` exists or cannot be written to.
        InputError: If a frame cannot be used.
    """
    stamps = [frames.stamps_ns(position)[0] for position in positions]
    shifts = gap_shifts(stamps) if options.close_gaps else [0] * len(stamps)
    extrinsic: np.ndarray | None = None
    first: FolderFrame | None = None
    with BagWriter(out, options.storage) as bag:
        console = Console(stderr=True)
        progress = track(positions, "writing", console=console, transient=True, disable=not console.is_terminal)
        for position, shift_ns in zip(progress, shifts, strict=True):
            frame = frames[position]
            first = first or frame
            if (cloud := _cloud(frame)) is not None:
                extrinsic = _one_extrinsic(frame.id, extrinsic, cloud.camera_from_lidar)
            for entry in _entries(frame, shift_ns, options):
                bag.write_message(entry.topic, entry.stamp_ns, entry.message)
            if (pose := frame.frame.camera_pose) is not None:
                stamp_ns = frame.frame.stamp_ns + shift_ns
                message = transform(header(stamp_ns, FIXED_FRAME_ID), frame.frame.frame_id, pose_of(pose))
                bag.write_message(TF_TOPIC, stamp_ns, message)
        assert first is not None  # _positions gives at least one
        with writing_to(out):
            (out / "LICENSE.md").write_text(_licence_note(frames, first, positions, options), encoding="utf-8")
            if extrinsic is not None:
                (out / "parameters.yaml").write_text(_extrinsic_parameters(extrinsic), encoding="utf-8")


def gap_shifts(stamps_ns: list[int]) -> list[int]:
    """Offsets for ascending stamps [ns] that shorten each gap above 1.5 median periods to one median period."""
    gaps = np.diff(stamps_ns).tolist()
    period = round(median(gaps)) if gaps else 0
    shifts = [0]
    for gap in gaps:
        shifts.append(shifts[-1] - (gap - period if gap > GAP_PERIODS * period else 0))
    return shifts


def frame_positions(ranges: str, count: int) -> list[int]:
    """Ascending positions selected by "A:B,C:D". Raises ConfigurationError if a range is not valid or is empty."""
    positions: set[int] = set()
    for part in ranges.split(","):
        begin, colon, end = part.partition(":")
        try:
            chosen = range(count)[slice(int(begin or 0), int(end) if end else None)] if colon else range(0)
        except ValueError:
            chosen = range(0)
        if not chosen:
            raise ConfigurationError(
                f"--frames {ranges}: {part!r} selects none of the {count} frames: give A:B with A below B, 0 to {count}"
            )
        positions.update(chosen)
    return sorted(positions)


def _entries(frame: FolderFrame, shift_ns: int, options: BagOptions) -> list[_Entry]:
    """The messages of one frame, each camera_info before its image."""
    rgb_ns, depth_ns = frame.frame.stamp_ns + shift_ns, frame.depth_stamp_ns + shift_ns
    head = header(rgb_ns, frame.frame.frame_id)
    rgb = _scaled(frame.frame.rgb, options.width)
    entries = []
    if frame.frame.intrinsics is not None:
        intrinsics = resized(frame.frame.intrinsics, rgb.shape[1], rgb.shape[0])
        entries.append(_Entry(rgb_ns, camera_info_topic(RGB_TOPIC), camera_info(head, intrinsics)))
    if options.rgb == "raw":
        entries.append(_Entry(rgb_ns, RGB_TOPIC, image(head, "rgb8", rgb)))
    else:
        entries.append(_Entry(rgb_ns, f"{RGB_TOPIC}/compressed", compressed_image(head, "jpeg", _jpeg(frame, rgb))))

    if (cloud := _cloud(frame)) is not None:
        message = point_cloud(header(depth_ns, LIDAR_FRAME_ID), cloud.points)
        return [*entries, _Entry(depth_ns, POINTS_TOPIC, message)]
    head = header(depth_ns, frame.frame.frame_id)
    depth = frame.frame.depth
    if frame.frame.intrinsics is not None:
        intrinsics = resized(frame.frame.intrinsics, depth.shape[1], depth.shape[0])
        entries.append(_Entry(depth_ns, camera_info_topic(DEPTH_TOPIC), camera_info(head, intrinsics)))
    if options.depth == "compressed":
        message_format, data = encode_compressed_depth(_millimetres(depth))
        topic, message = f"{DEPTH_TOPIC}/compressedDepth", compressed_image(head, message_format, data)
    else:
        pixels = _millimetres(depth) if options.depth == "16UC1" else depth
        topic, message = DEPTH_TOPIC, image(head, options.depth, pixels)
    return [*entries, _Entry(depth_ns, topic, message)]


def _cloud(frame: FolderFrame) -> _Cloud | None:
    """The points of a frame, if they have rings and their extrinsic is known; else None."""
    if frame.points is None or frame.points.shape[1] != 5 or frame.camera_from_lidar is None:
        return None
    return _Cloud(frame.points, frame.camera_from_lidar)


def _one_extrinsic(frame_id: str, known: np.ndarray | None, extrinsic: np.ndarray) -> np.ndarray:
    """The extrinsic of the bag. Raises InputError if not all frames have the same one."""
    if known is not None and not np.array_equal(known, extrinsic):
        raise InputError(
            "folder",
            f"frame {frame_id} has another LiDAR extrinsic than the frames before: make a bag for each with --frames",
        )
    return extrinsic


def _scaled(rgb: np.ndarray, width: int | None) -> np.ndarray:
    if width is None or width == rgb.shape[1]:
        return rgb
    height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)


def _jpeg(frame: FolderFrame, rgb: np.ndarray) -> bytes:
    """The image as JPEG: the recorded file itself if it is a JPEG of this size."""
    if rgb is frame.frame.rgb and frame.rgb_file.suffix.lower() in (".jpg", ".jpeg"):
        return frame.rgb_file.read_bytes()
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def _millimetres(depth: np.ndarray) -> np.ndarray:
    """Depth in millimetres, uint16; 0 = missing or beyond 65.535 m."""
    counts = np.rint(np.nan_to_num(depth) * np.float64(1000))
    return np.where(counts <= np.iinfo(np.uint16).max, counts, 0).astype(np.uint16)


def _extrinsic_parameters(camera_from_lidar: np.ndarray) -> str:
    """The text of a ROS parameter file with the pose of the LiDAR in the optical frame of the camera."""
    pose = [round(float(value), 9) for value in pose_of(camera_from_lidar)]
    comment = "# Pose of the LiDAR in the camera's optical frame: x y z [m], qx qy qz qw.\n"
    return comment + yaml.safe_dump({"/**": {"ros__parameters": {"extrinsic": pose}}}, sort_keys=False)


def _licence_note(frames: FrameSet, first: FolderFrame, positions: list[int], options: BagOptions) -> str:
    """The text of the licence note: source and licence of the recording, and how it was changed."""
    changes = [f"{len(positions)} of its frames put into a rosbag2 by `depth-completion bag make`"]
    if options.close_gaps:
        changes.append("gaps where frames were left out shortened to one period; all other stamps keep their distances")
    if options.width is not None:
        changes.append(f"colour images scaled to a width of {options.width} pixels")
    if options.rgb == "jpeg" and (options.width is not None or first.rgb_file.suffix.lower() not in (".jpg", ".jpeg")):
        changes.append(f"colour images encoded as JPEG of quality {JPEG_QUALITY}")
    if _cloud(first) is None:
        changes.append("depth stored in metres" if options.depth == "32FC1" else "depth rounded to millimetres")
    if first.frame.intrinsics is None:
        changes.append("no camera_info: the intrinsics of this camera were not published")
    if frames.note:
        changes.append(f"earlier: {frames.note}")
    facts = {
        "Sensor": frames.sensor,
        "Licence": frames.licence.get("spdx", "unknown"),
        "Licence text says": f'"{frames.licence["quote"]}"' if "quote" in frames.licence else "",
        "Found in": frames.licence.get("quote_from", ""),
        "Cite": frames.licence.get("cite", ""),
        "Source": " at commit ".join(frames.source[key] for key in ("url", "commit") if key in frames.source),
    }
    lines = [f"# Recording: {frames.name}", "", *(f"- {name}: {fact}" for name, fact in facts.items() if fact)]
    return "\n".join([*lines, "", "Changes made:", "", *(f"- {change}" for change in changes), ""])
