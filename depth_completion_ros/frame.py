"""The input and output of completion: RGB-D frame and completed depth. Plain NumPy, without ROS."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .errors import InputError


@dataclass(frozen=True)
class Distortion:
    """Lens distortion of an image that is not rectified, as in OpenCV and sensor_msgs/CameraInfo.

    Attributes:
        coefficients: k1 k2 p1 p2 (k3 (k4 k5 k6 …)) of a polynomial (plumb_bob, rational_polynomial), or the four
            coefficients of a fisheye lens (equidistant).
        fisheye: Whether the lens is a fisheye lens (equidistant).
        rotation: R, row by row, which rotates the axes of the camera to those of the rectified image; it differs from
            the identity only for stereo cameras.
    """

    coefficients: tuple[float, ...]
    fisheye: bool = False
    rotation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Intrinsics:
    """Intrinsics of an image. Pixel centres have integer coordinates, the top left one (0, 0), as in OpenCV and ROS.

    Attributes:
        fx: Focal length along x [pixels].
        fy: Focal length along y [pixels].
        cx: Principal point, x [pixels].
        cy: Principal point, y [pixels].
        width: Width of the image [pixels].
        height: Height of the image [pixels].
        distortion: Distortion of a raw image; None if the image is rectified.

    Raises:
        InputError: With the cause "camera_info", if the focal lengths, principal point or size are not valid.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: Distortion | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite([self.fx, self.fy, self.cx, self.cy]).all() and self.fx > 0 and self.fy > 0):
            raise InputError(
                "camera_info",
                f"intrinsics fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy} are not valid: calibrate the camera, "
                "or publish a camera_info with its focal lengths",
            )
        if self.width <= 0 or self.height <= 0:
            raise InputError(
                "camera_info", f"camera_info says {self.width}x{self.height} pixels: publish the real image size"
            )


@dataclass(frozen=True)
class Recalled:
    """Depth that earlier frames measured, moved into the view of a frame, at the resolution of its colour image.

    Attributes:
        depth: (H, W) float32 [m]; 0 where nothing is recalled, which includes all pixels that are measured now.
        sigma: (H, W) float32, standard deviation of depth [m].
        age: (H, W) float32, time since the depth was measured [s].
        motion: (4, 4) transform [m] of points from the axes of the camera at the last frame to those at this frame.
        elapsed: Time since the last frame [s].
    """

    depth: np.ndarray
    sigma: np.ndarray
    age: np.ndarray
    motion: np.ndarray
    elapsed: float


@dataclass(frozen=True)
class RgbdFrame:
    """A colour image and its measured depth.

    Attributes:
        rgb: (H, W, 3) uint8, RGB.
        depth: (h, w) or (h, w, 1) float32, metres along the optical axis; NaN = missing (zero, negative and infinite
            values count as missing too). If ``depth_to_rgb`` is None, rgb and depth must show the same field of view;
            the resolutions may differ.
        intrinsics: Intrinsics of rgb.
        stamp_ns: Stamp of rgb [ns].
        frame_id: RGB optical frame (REP 103).
        depth_intrinsics: Intrinsics of depth.
        depth_to_rgb: (4, 4) rigid transform [m] from the optical frame of the depth camera to the RGB optical frame, if
            depth comes from another camera. It needs the intrinsics of both cameras.
        camera_pose: (4, 4) rigid transform [m] from the RGB optical frame to a frame that does not move, if known.
        recalled: What ``TemporalMemory`` recalls for this frame; None = nothing.
        depth_age: Time between the measurement of depth and the image [s], if depth was measured for another image.

    Raises:
        InputError: If types, shapes or sizes are not valid.
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: Intrinsics | None = None
    stamp_ns: int = 0
    frame_id: str = ""
    depth_intrinsics: Intrinsics | None = None
    depth_to_rgb: np.ndarray | None = None
    camera_pose: np.ndarray | None = None
    recalled: Recalled | None = None
    depth_age: float = 0.0

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or 0 in self.rgb.shape:
            raise InputError("rgb", f"rgb must be (H, W, 3) uint8, not {self.rgb.shape} {self.rgb.dtype}")
        if self.depth.ndim == 3 and self.depth.shape[2] == 1:
            object.__setattr__(self, "depth", self.depth[..., 0])
        if self.depth.dtype != np.float32 or self.depth.ndim != 2 or 0 in self.depth.shape:
            raise InputError(
                "depth", f"depth must be (h, w) float32 in metres, not {self.depth.shape} {self.depth.dtype}"
            )
        _check_size("rgb", self.rgb.shape[:2], self.intrinsics)
        _check_size("depth", self.depth.shape, self.depth_intrinsics)
        if self.depth_to_rgb is not None:
            if self.intrinsics is None or self.depth_intrinsics is None:
                raise InputError(
                    "camera_info",
                    "depth from another camera needs the intrinsics of both: publish camera_info for rgb and depth",
                )
            if self.depth_to_rgb.shape != (4, 4) or not np.isfinite(self.depth_to_rgb).all():
                raise InputError("extrinsic", "depth_to_rgb must be a finite (4, 4) rigid transform")


def _check_size(role: str, shape: tuple[int, ...], intrinsics: Intrinsics | None) -> None:
    if intrinsics is not None and (intrinsics.height, intrinsics.width) != tuple(shape):
        raise InputError(
            "size",
            f"{role} is {shape[1]}x{shape[0]}, but its camera_info says {intrinsics.width}x{intrinsics.height}: "
            "publish the camera_info that belongs to this image",
        )


@dataclass
class CompletedDepth:
    """Dense depth at the RGB resolution with its uncertainty.

    Attributes:
        depth: (H, W) float32 [m]; NaN only where confidence is below ``min_confidence`` of the completer.
        sigma: (H, W) float32, standard deviation of depth [m].
        confidence: (H, W) float32, 0..1, probability that the error of depth is below max(5 cm, 2 % of depth).
        measured: (H, W) bool, whether the sensor measured the pixel in this frame.
        timings_ms: Time of each stage [ms].
        recalled: (H, W) bool, whether the pixel is not measured, but an earlier frame measured what it shows
            (``TemporalMemory``); None = nowhere.
    """

    depth: np.ndarray
    sigma: np.ndarray
    confidence: np.ndarray
    measured: np.ndarray
    timings_ms: dict[str, float] = field(default_factory=dict)
    recalled: np.ndarray | None = None

    @classmethod
    def empty(cls, height: int, width: int) -> CompletedDepth:
        """Uninitialised arrays of this size, for ``DepthCompleter.complete(frame, out=…)``."""
        return cls(
            depth=np.empty((height, width), np.float32),
            sigma=np.empty((height, width), np.float32),
            confidence=np.empty((height, width), np.float32),
            measured=np.empty((height, width), bool),
        )
