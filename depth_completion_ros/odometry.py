"""Estimate the motion of the camera between two frames with the RGB-D odometry of OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .frame import Intrinsics, RgbdFrame

_PIXELS = 20_000  # largest size of the images that are aligned: 160x120 for 640x480


def available() -> bool:
    """Whether the installed OpenCV has RGB-D odometry: OpenCV 5, or OpenCV 4 with its contributed modules."""
    return hasattr(cv2, "Odometry") or hasattr(cv2, "rgbd")


def motion_between(first: RgbdFrame, second: RgbdFrame, intrinsics: Intrinsics) -> np.ndarray | None:
    """The motion of the camera between two frames, from their colour and depth.

    Minimises the differences of brightness (Steinbrücker et al., Real-Time Visual Odometry from Dense RGB-D Images,
    ICCV Workshops 2011) and the distances of points to surfaces (Newcombe et al., KinectFusion, ISMAR 2011).

    Args:
        first: A frame with depth (H, W) on the grid of rgb [m], 0 = missing.
        second: A later frame, alike.
        intrinsics: Intrinsics of rgb in both; distortion is ignored.

    Returns:
        (4, 4) float64 transform of points from the axes of the camera at the first frame to those at the second [m];
        None if the frames cannot be aligned.
    """
    step = max(1, math.ceil(math.sqrt(first.depth.size / _PIXELS)))
    camera = np.eye(3, dtype=np.float32)
    camera[0, 0], camera[1, 1] = intrinsics.fx / step, intrinsics.fy / step
    camera[:2, 2] = (intrinsics.cx + 0.5) / step - 0.5, (intrinsics.cy + 0.5) / step - 0.5
    grey_0, depth_0 = _small(first, step)
    grey_1, depth_1 = _small(second, step)
    try:
        if hasattr(cv2, "Odometry"):
            settings = cv2.OdometrySettings()
            settings.setCameraMatrix(camera)
            aligner = cv2.Odometry(cv2.OdometryType_RGB_DEPTH, settings, cv2.OdometryAlgoType_COMMON)
            aligned, transform = aligner.compute(depth_0, grey_0, depth_1, grey_1)
        else:
            aligner = cv2.rgbd.RgbdICPOdometry_create(camera)  # type: ignore[attr-defined]
            aligned, transform = aligner.compute(grey_0, depth_0, None, grey_1, depth_1, None)
    except cv2.error:  # for example too few pixels with depth
        return None
    if not aligned or transform is None or not np.isfinite(transform).all():
        return None
    return np.asarray(transform, np.float64)


def _small(frame: RgbdFrame, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey image (h, w) uint8 and depth (h, w) float32 [m], NaN = missing, at 1/step of their size."""
    depth = frame.depth[step // 2 :: step, step // 2 :: step]
    grey = cv2.resize(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), depth.shape[::-1], interpolation=cv2.INTER_AREA)
    return grey, np.where(depth > 0, depth, np.float32(np.nan))
