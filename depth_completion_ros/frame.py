"""The two things that flow: an RGB-D frame in, a completed depth out. Plain NumPy, no ROS."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .errors import InputError


@dataclass(frozen=True)
class Distortion:
    """What a lens does to an image that nobody rectified, as OpenCV and sensor_msgs/CameraInfo describe it.

    coefficients: k1 k2 p1 p2 (k3 (k4 k5 k6 …)), of a polynomial (plumb_bob, rational_polynomial), or the four of a
    fisheye lens (equidistant). rotation: the nine numbers of R, which turns the camera's axes into those of the
    rectified image, row by row; only stereo cameras have one.
    """

    coefficients: tuple[float, ...]
    fisheye: bool = False
    rotation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Intrinsics:
    """Intrinsics of an image: focal lengths and principal point in pixels, size in pixels, distortion of a raw image.

    Pixel centres lie on whole numbers (the top left one is (0, 0)), as in OpenCV and sensor_msgs/CameraInfo.
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
                f"intrinsics fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy} are not those of a camera: "
                "calibrate it, or publish a camera_info with its focal lengths",
            )
        if self.width <= 0 or self.height <= 0:
            raise InputError(
                "camera_info", f"camera_info says {self.width}x{self.height} pixels: publish its real size"
            )


@dataclass(frozen=True)
class RgbdFrame:
    """A colour image and the depth measured with it.

    rgb: (H, W, 3) uint8, red first. depth: (h, w) or (h, w, 1) float32, metres along the optical axis; NaN is missing
    (zero, negative and infinite values are taken as missing too). Where (h, w) differs from (H, W) and
    ``depth_to_rgb`` is None, both are taken to show the same field of view. Otherwise the depth camera is another one:
    ``depth_to_rgb`` is the (4, 4) rigid transform of its optical frame into the RGB optical frame, in metres, and
    both ``intrinsics`` are needed.

    intrinsics: of rgb. stamp_ns: nanoseconds, of rgb. frame_id: the RGB optical frame (REP 103).
    Raises InputError where types, shapes or sizes do not fit.
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: Intrinsics | None = None
    stamp_ns: int = 0
    frame_id: str = ""
    depth_intrinsics: Intrinsics | None = None
    depth_to_rgb: np.ndarray | None = None

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
            f"{role} is {shape[1]}x{shape[0]} but its camera_info says {intrinsics.width}x{intrinsics.height}: "
            "publish the camera_info of this very image",
        )


@dataclass
class CompletedDepth:
    """Dense depth at the RGB resolution and how far to trust it.

    depth: (H, W) float32, metres; NaN only where confidence lies below the completer's ``min_confidence``.
    sigma: (H, W) float32, metres, standard deviation of depth. confidence: (H, W) float32, 0..1, the probability that
    depth is off by less than max(5 cm, 2 % of depth). measured: (H, W) bool, the sensor measured this pixel.
    timings_ms: milliseconds by stage.
    """

    depth: np.ndarray
    sigma: np.ndarray
    confidence: np.ndarray
    measured: np.ndarray
    timings_ms: dict[str, float] = field(default_factory=dict)

    @classmethod
    def empty(cls, height: int, width: int) -> CompletedDepth:
        """Uninitialised arrays of one size, for ``DepthCompleter.complete(frame, out=…)`` to write into."""
        return cls(
            depth=np.empty((height, width), np.float32),
            sigma=np.empty((height, width), np.float32),
            confidence=np.empty((height, width), np.float32),
            measured=np.empty((height, width), bool),
        )
