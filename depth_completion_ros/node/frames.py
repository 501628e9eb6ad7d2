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
from ..geometry import moved, project_points, transform_from_pose
from .parameters import NodeParameters
from .statistics import Statistics


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
        compressed = self._parameters["rgb.transport"] == "compressed"
        rgb = decode_compressed_rgb(pair.rgb) if compressed else decode_rgb(pair.rgb)
        frame_id = pair.rgb.header.frame_id
        if self._parameters["depth.source"] == "points":
            intrinsics = self._needed_intrinsics("rgb", pair.rgb_info, rgb.shape)
            points = moved(decode_points(pair.depth), self._depth_to_rgb(pair))
            depth = project_points(points, intrinsics)
            return RgbdFrame(rgb, depth, intrinsics, pair.stamp_ns, frame_id)
        decode = decode_compressed_depth if self._parameters["depth.transport"] == "compressedDepth" else decode_depth
        depth = decode(pair.depth, self._parameters["depth.unit"])
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
