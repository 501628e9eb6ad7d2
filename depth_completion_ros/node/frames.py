"""A pair of messages made into an RgbdFrame. Runs in the worker, so that callbacks stay short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..conversion import (
    decode_compressed_depth,
    decode_compressed_rgb,
    decode_depth,
    decode_points,
    decode_rgb,
    intrinsics_of,
)
from ..errors import InputError
from ..frame import Intrinsics, RgbdFrame
from ..geometry import projected, transform_from_pose
from .parameters import NodeParameters
from .statistics import Statistics

_MILLIMETRE = 0.001


class TransformSource(Protocol):
    """Where the pose of one frame in another comes from: tf, in a ROS installation."""

    def lookup(self, target_frame: str, source_frame: str) -> np.ndarray | None:
        """(4, 4) transform of source into target, None while it is unknown."""


@dataclass
class MessagePair:
    """What the synchroniser paired, the newest calibrations by then, and when it was received (monotonic seconds)."""

    rgb: Any
    depth: Any
    rgb_info: Any | None
    depth_info: Any | None
    stamp_ns: int
    received: float


class FrameBuilder:
    """Messages to frames, by the node's parameters. Raises InputError for what cannot be used."""

    def __init__(self, parameters: NodeParameters, statistics: Statistics, transforms: TransformSource | None):
        self._parameters = parameters
        self._statistics = statistics
        self._transforms = transforms
        self._intrinsics: dict[str, tuple[Any, Intrinsics]] = {}

    def build(self, pair: MessagePair) -> RgbdFrame:
        """Decodes both messages; projects points; finds intrinsics and extrinsic as far as they are needed."""
        rgb = decode_compressed_rgb(pair.rgb) if _is_compressed(pair.rgb) else decode_rgb(pair.rgb)
        frame_id = pair.rgb.header.frame_id
        if self._parameters["depth.source"] == "points":
            intrinsics = self._needed_intrinsics("rgb", pair.rgb_info, rgb.shape)
            points = decode_points(pair.depth)
            if len(points) == 0:
                raise InputError("empty_depth", "the point cloud holds no points: is the sensor covered, or starting?")
            depth = projected(points, self._depth_to_rgb(pair), intrinsics)
            return RgbdFrame(rgb, depth, intrinsics, pair.stamp_ns, frame_id)
        depth = self._decoded_depth(pair.depth)
        if self._parameters["depth.registered"]:
            return RgbdFrame(
                rgb, depth, self._known_intrinsics("rgb", pair.rgb_info, rgb.shape), pair.stamp_ns, frame_id
            )
        return RgbdFrame(
            rgb,
            depth,
            self._needed_intrinsics("rgb", pair.rgb_info, rgb.shape),
            pair.stamp_ns,
            frame_id,
            self._needed_intrinsics("depth", pair.depth_info, depth.shape),
            self._depth_to_rgb(pair),
        )

    def _decoded_depth(self, message: Any) -> np.ndarray:
        """(h, w) float32 [m]. Float images of some drivers hold millimetres, which only their size tells."""
        decode = decode_compressed_depth if _is_compressed(message) else decode_depth
        unit, largest = self._parameters["depth.unit"], self._parameters["depth.max_range"]
        depth = decode(message, unit)
        if unit == 0:
            some = depth[::8, ::8]
            with np.errstate(invalid="ignore"):
                some = some[(some > 0) & (some < np.inf)]
            median = float(np.median(some)) if some.size else 0.0
            if median > largest and self._parameters["depth.min_range"] <= median * _MILLIMETRE <= largest:
                raise InputError(
                    "unit",
                    f"half of this depth image lies beyond {median:.4g} m, so it seems to hold millimetres: set "
                    "depth.unit to 0.001, or to 1 if these are metres",
                )
        return depth

    def _needed_intrinsics(self, role: str, info: Any | None, shape: tuple[int, ...]) -> Intrinsics:
        if info is None:
            raise InputError(
                "camera_info",
                f"no camera_info for {role} yet, which this depth source needs: publish it beside the image",
            )
        known = self._intrinsics.get(role)
        if known is None or known[0] is not info:
            known = (info, intrinsics_of(info))
            self._intrinsics[role] = known
        if (known[1].height, known[1].width) != shape[:2]:
            raise InputError(
                "camera_info",
                f"{role} is {shape[1]}x{shape[0]} but its camera_info says {known[1].width}x{known[1].height}: "
                "publish the camera_info of this very image",
            )
        return known[1]

    def _known_intrinsics(self, role: str, info: Any | None, shape: tuple[int, ...]) -> Intrinsics | None:
        """For depth that is registered already: completion goes on without them, only points cannot be published."""
        try:
            return self._needed_intrinsics(role, info, shape) if info is not None else None
        except InputError as error:
            self._statistics.report(error.cause, str(error))
            return None

    def _depth_to_rgb(self, pair: MessagePair) -> np.ndarray:
        pose = self._parameters["extrinsic"]
        if pose:
            return transform_from_pose(np.array(pose))
        rgb_frame, depth_frame = pair.rgb.header.frame_id, pair.depth.header.frame_id
        if rgb_frame == depth_frame:
            return np.eye(4)
        transform = self._transforms.lookup(rgb_frame, depth_frame) if self._transforms is not None else None
        if transform is None:
            raise InputError(
                "extrinsic",
                f"the pose of {depth_frame!r} in {rgb_frame!r} is unknown: set the parameter extrinsic"
                + (", or publish it on tf" if self._transforms is not None else " (tf2_ros is not installed)"),
            )
        return transform


def _is_compressed(message: Any) -> bool:
    """Whether it is a CompressedImage, which has a format where an Image has an encoding."""
    return hasattr(message, "format")
