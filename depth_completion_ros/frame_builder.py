"""Build an RgbdFrame from a pair of messages, and check what the messages say about themselves. Needs no ROS."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .conversion import (
    decode_compressed_depth,
    decode_compressed_rgb,
    decode_depth,
    decode_rgb,
    intrinsics_of,
    says_rectified,
    seems_raw,
)
from .deskew import deskewed
from .errors import InputError
from .frame import Intrinsics, RgbdFrame
from .geometry import moved, projected, transform_from_pose, without_clipped
from .lens import rectify_depth, rectify_rgb, resized
from .point_clouds import decode_timed_points

_MILLIMETRE = 0.001
_STILL = 1e-4  # largest element of a motion [m or rad] that changes no pixel
_FAR_M = 100.0  # no camera measures farther; also out of reach of 16 bits, which are millimetres by REP 118


class TransformSource(Protocol):
    """Provides the pose of one frame in another. In a ROS installation this is tf."""

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> tuple[np.ndarray, bool]:
        """Look up the transform from ``source_frame`` to ``target_frame`` at ``stamp_ns``.

        Returns:
            The (4, 4) transform, and whether it is the one at the stamp (otherwise it is the newest available).

        Raises:
            InputError: With the cause "extrinsic", if no valid transform is known.
        """


class PoseSource(Protocol):
    """Provides the pose of a moving frame. In a ROS installation this is tf."""

    def pose(self, fixed_frame: str, frame: str, stamp_ns: int) -> np.ndarray | None:
        """The pose (4, 4) of a frame in a fixed one at ``stamp_ns``; None if it is not known by now."""


@dataclass
class MessagePair:
    """A pair of messages, the newest calibrations at that time, and the time of arrival.

    Attributes:
        rgb: Image or CompressedImage.
        depth: Image, CompressedImage or PointCloud2.
        rgb_info: CameraInfo of rgb; None if none has arrived.
        depth_info: CameraInfo of depth; None if none has arrived.
        stamp_ns: Stamp of rgb [ns].
        depth_ns: When depth was measured [ns], by the clock of ``stamp_ns``: its stamp; without stamps, by the times
            of arrival.
        received: Time of arrival of the later message, monotonic clock [s].
    """

    rgb: Any
    depth: Any
    rgb_info: Any | None
    depth_info: Any | None
    stamp_ns: int
    depth_ns: int
    received: float


@dataclass(frozen=True)
class FrameSettings:
    """How messages become frames. The node's parameters of these names are described in docs/parameters.md.

    Attributes:
        points: Whether depth comes as points (depth.source).
        registered: Whether the depth image shows the same view as the colour image (depth.registered).
        unit: Length of one count of depth images [m]; 0 = by encoding (depth.unit).
        min_range: Smallest depth that the sensor measures [m] (depth.min_range).
        max_range: Largest depth that the sensor measures [m] (depth.max_range).
        rectify: "auto", "on" or "off" (rectify).
        extrinsic: Pose of the depth sensor in the optical frame of the camera: x y z [m] qx qy qz qw; empty = from the
            frames of the messages (extrinsic).
        fixed_frame: Frame that does not move, in which the pose of the camera is looked up; empty = it is not
            (temporal.fixed_frame).
        slop: Difference of stamps [s] from which on depth counts as measured for another image (sync.slop).
        static: Whether the camera does not move (temporal.motion).
    """

    points: bool = False
    registered: bool = True
    unit: float = 0.0
    min_range: float = 0.0
    max_range: float = np.inf
    rectify: str = "auto"
    extrinsic: Sequence[float] = ()
    fixed_frame: str = ""
    slop: float = np.inf
    static: bool = False

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> FrameSettings:
        """Make settings from the node's parameters with flat names, for example "depth.unit"."""
        return cls(
            points=parameters["depth.source"] == "points",
            registered=parameters["depth.registered"],
            unit=parameters["depth.unit"],
            min_range=parameters["depth.min_range"],
            max_range=parameters["depth.max_range"],
            rectify=parameters["rectify"],
            extrinsic=parameters["extrinsic"],
            fixed_frame=parameters["temporal.fixed_frame"] if parameters["temporal.motion"] in ("tf", "auto") else "",
            slop=parameters["sync.slop"],
            static=parameters["temporal.motion"] == "static",
        )


class FrameBuilder:
    """Builds frames from messages. The node and the reader of bags use it, so they decide alike.

    Args:
        settings: How messages become frames; it can be changed between frames.
        report: Called with a cause and a warning about suspicious input, which is used all the same.
        transforms: Source of extrinsics; None if tf is not available.
        topics: Full topic names of "rgb" and "depth". A name can indicate that the images are rectified.
        poses: Source of the poses of a moving camera; None if there is none.
    """

    def __init__(
        self,
        settings: FrameSettings,
        report: Callable[[str, str], object],
        transforms: TransformSource | None,
        topics: Mapping[str, str],
        poses: PoseSource | None = None,
    ):
        self.settings = settings
        self._report = report
        self._transforms = transforms
        self._topics = topics
        self._poses = poses

    def build(self, pair: MessagePair) -> RgbdFrame:
        """Decode both messages, project points, and determine intrinsics and extrinsic where they are needed.

        If the image is rectified here, ``pair.rgb_info`` is replaced by the calibration of the rectified image; if it
        is that of an image of another size, it is removed.

        Raises:
            InputError: If the messages cannot be used.
        """
        camera_pose = self._camera_pose(pair)
        depth_age = self._depth_age(pair)
        frame = self._frame(pair, camera_pose, depth_age)
        if depth_age > 0 and not self.settings.points:
            frame = self._depth_moved(frame, pair, camera_pose)
        return replace(frame, camera_pose=camera_pose, depth_age=depth_age)

    def _frame(self, pair: MessagePair, camera_pose: np.ndarray | None, depth_age: float) -> RgbdFrame:
        _check_two_images(pair)
        rgb = decode_compressed_rgb(pair.rgb) if _is_compressed(pair.rgb) else decode_rgb(pair.rgb)
        if self.settings.points:
            intrinsics = self._needed_intrinsics("rgb", pair, rgb.shape)
            if rectified := self._rectified(pair, intrinsics):
                rgb, intrinsics = rectify_rgb(rgb, intrinsics, rectified), rectified
            depth = self._projected(pair, intrinsics, camera_pose, depth_age)
            return RgbdFrame(rgb, depth, intrinsics, pair.stamp_ns, pair.rgb.header.frame_id)
        depth = self._decoded_depth(pair.depth)
        depth, clipped = without_clipped(depth, self.settings.unit or _MILLIMETRE, self.settings.max_range)
        if clipped:
            self._report("clipped", clipped)
        if self.settings.registered:
            self._doubt_registered(pair)
            known = self._known_intrinsics(pair, rgb.shape)
            if known is not None and (rectified := self._rectified(pair, known)):
                rgb, depth = rectify_rgb(rgb, known, rectified), rectify_depth(depth, known, rectified)
                known = rectified
            return RgbdFrame(rgb, depth, known, pair.stamp_ns, pair.rgb.header.frame_id)
        intrinsics = self._needed_intrinsics("rgb", pair, rgb.shape)
        if rectified := self._rectified(pair, intrinsics):
            rgb, intrinsics = rectify_rgb(rgb, intrinsics, rectified), rectified
        return RgbdFrame(
            rgb,
            depth,
            intrinsics,
            pair.stamp_ns,
            pair.rgb.header.frame_id,
            self._needed_intrinsics("depth", pair, depth.shape),
            self._depth_to_rgb(pair),
        )

    def _depth_age(self, pair: MessagePair) -> float:
        """Time between depth and the image [s] if depth was measured for another image, else 0."""
        age = abs(pair.stamp_ns - pair.depth_ns) * 1e-9
        return age if age > self.settings.slop else 0.0

    def _depth_moved(self, frame: RgbdFrame, pair: MessagePair, camera_pose: np.ndarray | None) -> RgbdFrame:
        """The frame with depth that was measured for another image, moved with the camera to the time of this one."""
        then = None
        if camera_pose is not None and frame.intrinsics is not None:
            then = self._pose(pair.rgb.header.frame_id, pair.depth_ns)
        if camera_pose is None or then is None:
            self._report_unmoved(pair)
            return frame
        motion = np.linalg.inv(camera_pose) @ then
        if np.abs(motion - np.eye(4)).max() < _STILL:
            return frame
        if frame.depth_to_rgb is not None:
            return replace(frame, depth_to_rgb=motion @ frame.depth_to_rgb)
        assert frame.intrinsics is not None  # else ``then`` is not known
        height, width = frame.depth.shape
        return replace(frame, depth_intrinsics=resized(frame.intrinsics, width, height), depth_to_rgb=motion)

    def _report_unmoved(self, pair: MessagePair) -> None:
        if not self.settings.static:
            self._report(
                "motion",
                f"depth was measured at another time than the image, and the motion of {pair.rgb.header.frame_id!r} in "
                "between is not known, so depth is used as if the camera had not moved: publish the pose of this frame "
                "in temporal.fixed_frame on tf, and the camera_info of rgb; or set temporal.motion to static if the "
                "camera does not move",
            )

    def _projected(
        self, pair: MessagePair, intrinsics: Intrinsics, camera_pose: np.ndarray | None, depth_age: float
    ) -> np.ndarray:
        """Sparse depth (H, W) float32 [m] of a point cloud at the time of the image."""
        points, seconds, why = decode_timed_points(pair.depth, self.settings.unit)
        if len(points) == 0:
            raise InputError(
                "empty_depth", "the point cloud holds no points: check whether the sensor is covered or starting up"
            )
        if why:
            self._report("point_times", why)
        transform = self._depth_to_rgb(pair)
        found = None
        if camera_pose is not None:
            found = self._deskewed(pair, points, seconds, transform, np.linalg.inv(camera_pose))
        if found is None:
            found = moved(points, transform)
            if depth_age > 0:
                self._report_unmoved(pair)
        apart = bool(transform[:3, 3].any())  # else the camera sees what the sensor sees
        return projected(found, intrinsics, only_visible=apart)

    def _deskewed(
        self,
        pair: MessagePair,
        points: np.ndarray,
        seconds: np.ndarray | None,
        transform: np.ndarray,
        to_camera: np.ndarray,
    ) -> np.ndarray | None:
        """The points (N, 3) in the optical frame at the time of the image; None if the motion is not known."""
        frame = pair.depth.header.frame_id

        def to_image(time: float) -> np.ndarray | None:
            moment = pair.depth_ns + round(time * 1e9)
            if not len(self.settings.extrinsic):  # the sensor need not move with the camera, and may be the fixed frame
                pose = self._pose(frame, moment)
                return None if pose is None else to_camera @ pose
            pose = self._pose(pair.rgb.header.frame_id, moment)
            return None if pose is None else to_camera @ pose @ transform

        found = deskewed(points, seconds, to_image)
        if found is None and seconds is not None:
            self._report(
                "motion",
                f"the motion of {frame!r} in {self.settings.fixed_frame!r} is not known for the whole "
                "sweep of the point cloud, so its points are used as if the sensor had not moved: publish this pose "
                "earlier or at a higher rate, and use one clock for both",
            )
        return found

    def _decoded_depth(self, message: Any) -> np.ndarray:
        """(h, w) float32 [m]. Rejects float images that seem to hold millimetres, as some drivers publish them."""
        decode = decode_compressed_depth if _is_compressed(message) else decode_depth
        unit, largest = self.settings.unit, self.settings.max_range
        depth = decode(message, unit)
        if unit == 0:
            some = depth[::8, ::8]
            with np.errstate(invalid="ignore"):
                some = some[(some > 0) & (some < np.inf)]
            median = float(np.median(some)) if some.size else 0.0
            if median > max(largest, _FAR_M) and self.settings.min_range <= median * _MILLIMETRE <= largest:
                raise InputError(
                    "unit",
                    f"half of this depth image is farther than {median:.4g} m, so its values are probably in "
                    "millimetres: set depth.unit to 0.001, or to 1 if they are metres",
                )
        return depth

    def _needed_intrinsics(self, role: str, pair: MessagePair, shape: tuple[int, ...]) -> Intrinsics:
        image, info = (pair.rgb, pair.rgb_info) if role == "rgb" else (pair.depth, pair.depth_info)
        if info is None:
            raise InputError(
                "camera_info",
                f"no camera_info for {role} has arrived yet, but this depth source needs it: publish it with the image",
            )
        intrinsics = intrinsics_of(info, (shape[1], shape[0]), raw=self._is_raw(role, info))
        if (intrinsics.height, intrinsics.width) != shape[:2]:
            raise InputError(
                "camera_info",
                f"{role} is {shape[1]}x{shape[0]}, but its camera_info says {intrinsics.width}x{intrinsics.height}: "
                "publish the camera_info that belongs to this image",
            )
        if _other_frames(image.header.frame_id, info.header.frame_id):
            self._report(
                "camera_info",
                f"{role} is in the frame {image.header.frame_id!r}, but its camera_info is that of "
                f"{info.header.frame_id!r}, so it is probably the calibration of another camera: remap it to the "
                "camera_info topic that the driver publishes beside this image, or set the same frame_id in both if "
                "it is the right one",
            )
        return intrinsics

    def _known_intrinsics(self, pair: MessagePair, shape: tuple[int, ...]) -> Intrinsics | None:
        """Intrinsics for registered depth; None if unusable, in which case only the point cloud cannot be published."""
        info = pair.rgb_info
        if info is None:
            return None
        try:
            return self._needed_intrinsics("rgb", pair, shape)
        except InputError as error:
            self._report(error.cause, str(error))
            if (info.width, info.height) != (shape[1], shape[0]):
                pair.rgb_info = None  # it must not be published beside the result
            return None

    def _is_raw(self, role: str, info: Any) -> bool:
        """Whether the distortion in camera_info applies to the image; camera_info of a rectified image has it too."""
        rectify = self.settings.rectify
        if rectify == "off" or not says_rectified(self._topics[role]):
            return rectify != "off"
        if rectify == "on" and role == "rgb":
            return True
        if seems_raw(info):
            self._report(
                "rectification",
                f"the topic name {self._topics[role]} says that its images are rectified, but its camera_info has "
                "distortion and P equal to K, as for raw images. Set rectify to on if the images are raw, or to off if "
                "they are rectified",
            )
        return False

    def _rectified(self, pair: MessagePair, raw: Intrinsics) -> Intrinsics | None:
        """The intrinsics of the rectified image; None if the image is not rectified here."""
        if self.settings.rectify != "on":
            return None
        rectified = intrinsics_of(pair.rgb_info, (raw.width, raw.height))
        if rectified == raw:
            return None
        pair.rgb_info = _rectified_info(pair.rgb_info, rectified)
        return rectified

    def _doubt_registered(self, pair: MessagePair) -> None:
        rgb_frame, depth_frame = pair.rgb.header.frame_id, pair.depth.header.frame_id
        if _other_frames(rgb_frame, depth_frame):
            self._report(
                "frame_id",
                f"rgb is in the frame {rgb_frame!r} and depth in {depth_frame!r}, but depth.registered is true, which "
                "means that both show the same view: use the depth topic that the driver aligns to colour, or set "
                "depth.registered false and provide both camera_infos and the extrinsic. Ignore this warning if rgb is "
                "the infrared image of the depth camera",
            )

    def _doubt_second_camera(self, info: Any, frame_id: str) -> None:
        """Warn about the P of a second stereo camera, whose points are in the frame of the first one."""
        if info.p[3] != 0 and info.p[0] > 0:
            self._report(
                "stereo",
                f"camera_info of rgb is that of the second camera of a stereo pair, {-info.p[3] / info.p[0]:.3g} m "
                f"beside the first one. {frame_id!r} is taken for the frame of the second camera itself: if it is that "
                "of the first one, set extrinsic to the pose of the depth sensor in the second camera",
            )

    def _depth_to_rgb(self, pair: MessagePair) -> np.ndarray:
        self._doubt_second_camera(pair.rgb_info, pair.rgb.header.frame_id)
        if len(self.settings.extrinsic):
            return transform_from_pose(np.array(self.settings.extrinsic))
        rgb_frame, depth_frame = pair.rgb.header.frame_id, pair.depth.header.frame_id
        if rgb_frame == depth_frame:
            if not rgb_frame:
                self._report(
                    "extrinsic",
                    "neither rgb nor depth has a frame_id, so both are taken to be in one frame: set frame_id in the "
                    "drivers, or set the parameter extrinsic",
                )
            return np.eye(4)
        if self._transforms is None:
            raise InputError(
                "extrinsic",
                f"the pose of {depth_frame!r} in {rgb_frame!r} is unknown: set the parameter extrinsic (tf2_ros is not "
                "installed)",
            )
        transform, at_stamp = self._transforms.lookup(rgb_frame, depth_frame, pair.stamp_ns)
        if not at_stamp:
            self._report(
                "tf_stamp",
                f"tf has no pose of {depth_frame!r} in {rgb_frame!r} at the time of the image: the newest pose is used "
                "instead, which is wrong if these frames move. Publish the pose earlier or at a higher rate, and use "
                "one clock for both",
            )
        return transform

    def _camera_pose(self, pair: MessagePair) -> np.ndarray | None:
        """(4, 4) pose of the camera in the fixed frame at the time of the image; None if tf does not know it yet."""
        return self._pose(pair.rgb.header.frame_id, pair.stamp_ns)

    def _pose(self, frame: str, stamp_ns: int) -> np.ndarray | None:
        """(4, 4) pose of a frame in the fixed frame; None if it is not known."""
        if not self.settings.fixed_frame or self._poses is None:
            return None
        return self._poses.pose(self.settings.fixed_frame, frame, stamp_ns)


def _check_two_images(pair: MessagePair) -> None:
    """Reject the same image on both topics: 16-bit grey is a valid rgb input, so depth would guide itself."""
    same = getattr(pair.rgb, "encoding", "rgb") == getattr(pair.depth, "encoding", "depth")
    if same and np.array_equal(np.frombuffer(pair.rgb.data, np.uint8), np.frombuffer(pair.depth.data, np.uint8)):
        raise InputError(
            "encoding",
            f"the rgb and depth topics carry the same image, with encoding {pair.rgb.encoding!r}: check the "
            "remapping of both topics",
        )


def _other_frames(one: str, other: str) -> bool:
    """Whether two messages are in different frames; the slash that frames of ROS 1 begin with makes no difference."""
    one, other = one.lstrip("/"), other.lstrip("/")
    return bool(one and other) and one != other


def _rectified_info(info: Any, intrinsics: Intrinsics) -> Any:
    """The CameraInfo of the rectified image; ``info`` is that of the raw image."""
    i, rectified = intrinsics, copy.copy(info)
    rectified.width, rectified.height = i.width, i.height
    rectified.k = [i.fx, 0.0, i.cx, 0.0, i.fy, i.cy, 0.0, 0.0, 1.0]
    rectified.p = [i.fx, 0.0, i.cx, 0.0, 0.0, i.fy, i.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    rectified.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    rectified.d = [0.0] * len(info.d)
    rectified.binning_x = rectified.binning_y = 0
    rectified.roi = type(info.roi)()
    return rectified


def _is_compressed(message: Any) -> bool:
    """Whether a message is a CompressedImage, which has the field ``format`` instead of ``encoding``."""
    return hasattr(message, "format")
