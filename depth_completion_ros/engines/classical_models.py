"""The classical completion models. Each takes (image, depth, measured, scale) and returns dense depth.

image (H, W, 3) uint8; depth (H, W) float32 [m], 0 = missing; measured (H, W) bool, at least one pixel; scale [m], the
median of the measured depth. A model may return any values at measured pixels and beyond the range of the measured
depth: the engine restores the measured pixels and clips all others to that range.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import ConfigurationError

Model = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]

# Colour difference (0..255) at which the affinity of two neighbours falls to 1/e.
COLOUR_SIGMA = 8.0
# Sum of weights at which the correction of a level is halved. Where the weights are smaller, the result of the coarser
# levels remains. With this value, a measurement has an effect up to about ten smoothing lengths away.
HALF_WEIGHT = 1e-5


class _Level(NamedTuple):
    """One level of the pyramid.

    Attributes:
        ratio: Ratio of the resolution of the next finer level to the resolution of this level.
        stiffness: Squared smoothing length [pixels² of this level].
        sweeps: Number of passes of the smoother over rows and columns.
    """

    ratio: int
    stiffness: float
    sweeps: int


# The finest level interpolates over a few pixels only. Creating a smoother takes 0.7 ms even for a small level, so no
# level has 1/16 of the resolution.
LEVELS = (_Level(1, 1.0, 1), _Level(2, 3.0, 2), _Level(2, 10.0, 2), _Level(2, 10.0, 2), _Level(4, 10.0, 2))


def guided(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """The default model: a pyramid that interpolates the residuals of the measurements on each level, guided by colour.

    From coarse to fine, each level upsamples the estimate of the coarser level, guided by colour. It then interpolates
    the residuals of the measured cells by normalised convolution (Knutsson & Westin 1993) and adds them. The kernel of
    the convolution is the fast global smoother guided by colour (Min et al. 2014).
    """
    value, weight = depth, measured.astype(np.float32)
    levels = [(LEVELS[0], image, value, weight)]
    for level in LEVELS[1:]:
        value, weight = _downscaled(value, weight, level.ratio)
        image = cv2.resize(image, value.shape[::-1], interpolation=cv2.INTER_AREA)
        levels.append((level, image, value, weight))
    dense, coarse_image = np.full_like(value, value.sum() / weight.sum()), image
    for level, image, value, weight in reversed(levels):
        smoother = _smoother(image, level.stiffness, level.sweeps)
        similarity = _similarity(image, coarse_image)
        prior = cv2.multiply(_resized(dense, image), similarity)
        dense = cv2.divide(smoother.filter(prior), smoother.filter(similarity))
        residual = cv2.multiply(cv2.subtract(value, dense), weight)
        total_weight = smoother.filter(weight)
        total_weight += HALF_WEIGHT
        dense = cv2.add(dense, cv2.divide(smoother.filter(residual), total_weight))
        coarse_image = image
    return dense


def _similarity(image: np.ndarray, coarse_image: np.ndarray) -> np.ndarray:
    """Return the weight of the coarser level at each pixel, (H, W) float32 in 0..1.

    If the brightness of a coarse cell differs from that of the pixel, the cell contains an edge, and its depth is a
    mean of both sides.
    """
    grey, coarse_grey = (cv2.cvtColor(array, cv2.COLOR_RGB2GRAY) for array in (image, coarse_image))
    return cv2.LUT(cv2.absdiff(grey, _resized(coarse_grey, grey)), _SIMILARITY_OF_DIFFERENCE)


def _resized(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    return cv2.resize(array, like.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def fast_global_smoother(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """Fast global smoother guided by colour (Min et al. 2014), weighted by confidence, after a push-pull fill."""
    confidence = np.where(measured, np.float32(1), np.float32(HALF_WEIGHT))
    smoother = _smoother(image, stiffness=30.0, sweeps=3)
    prefill = push_pull(image, depth, measured, scale)
    return cv2.divide(smoother.filter(cv2.multiply(prefill, confidence)), smoother.filter(confidence))


def push_pull(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """Fill holes with means from a pyramid of coarser grids, beginning with the coarsest (Gortler et al. 1996)."""
    levels = [(depth, measured.astype(np.float32))]
    while max(levels[-1][0].shape) > 1:
        levels.append(_downscaled(*levels[-1], ratio=2))
    dense = levels[-1][0]
    for value, weight in reversed(levels[:-1]):
        dense = _resized(dense, value)
        np.copyto(dense, value, where=weight > 0)
    return dense


def nearest(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """Return the value of the nearest measured pixel by OpenCV's 5x5 chamfer distance (within 2 % of the Euclidean)."""
    _, labels = cv2.distanceTransformWithLabels(
        (~measured).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of_label = np.empty(labels.max() + 1, np.float32)
    value_of_label[labels[measured]] = depth[measured]
    return value_of_label[labels]


def linear(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """Linear interpolation on the Delaunay triangles of the measured pixels; nearest outside their convex hull.

    The corners of a triangle that contains a missing pixel are next to missing pixels. Only such measured pixels are
    triangulated.
    """
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import QhullError

    dense = nearest(image, depth, measured, scale)
    missing = ~measured
    rim = measured & cv2.dilate(missing.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    try:
        values = LinearNDInterpolator(np.argwhere(rim), depth[rim])(np.argwhere(missing))
    except (QhullError, ValueError):  # fewer than three measured pixels, or all on one line
        return dense
    np.copyto(values, dense[missing], where=np.isnan(values))
    dense[missing] = values
    return dense


def ip_basic(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """IP-Basic: morphological filling that prefers the nearer surface (Ku, Harakeh & Waslander, CRV 2018, section III).

    Steps and kernel sizes are those of the paper, except that the last fill is repeated until no pixel is empty.
    """
    far = 2 * np.float32(depth.max())
    inverted = np.where(measured, far - depth, np.float32(0))
    inverted = cv2.dilate(inverted, _DIAMOND)
    inverted = cv2.morphologyEx(inverted, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    inverted = _fill_empty(inverted, 7)
    top = np.argmax(inverted > 0, axis=0)
    columns = np.arange(inverted.shape[1])
    above = np.arange(inverted.shape[0])[:, None] < top
    np.copyto(inverted, inverted[top, columns], where=above)
    while not inverted.all():
        inverted = _fill_empty(inverted, 31)
    inverted = cv2.medianBlur(inverted, 5)
    return far - cv2.GaussianBlur(inverted, (5, 5), 0)


def inpaint(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """OpenCV's inpainting by fast marching (Telea 2004) on 16-bit depth; does not use the colour image."""
    unit = depth.max() / np.float32(65535)
    quantised = np.rint(depth / unit).astype(np.uint16)
    return cv2.inpaint(quantised, (~measured).view(np.uint8), 5, cv2.INPAINT_TELEA) * unit


def measured_only(image: np.ndarray, depth: np.ndarray, measured: np.ndarray, scale: float) -> np.ndarray:
    """Return ``scale`` at missing pixels. Serves to measure the time of everything except the model."""
    return np.where(measured, depth, np.float32(scale))


def _smoother(image: np.ndarray, stiffness: float, sweeps: int) -> cv2.ximgproc.FastGlobalSmootherFilter:
    return cv2.ximgproc.createFastGlobalSmootherFilter(image, stiffness, COLOUR_SIGMA, 0.25, sweeps)


def _downscaled(value: np.ndarray, weight: np.ndarray, ratio: int) -> tuple[np.ndarray, np.ndarray]:
    """Return value and weight on a grid that is coarser by ``ratio``; its size is rounded up.

    The value of a coarse cell is the mean of its measured cells and its weight is 1; both are 0 if none is measured.
    """
    size = (-(-value.shape[1] // ratio), -(-value.shape[0] // ratio))
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(value, size, interpolation=cv2.INTER_AREA)
    return cv2.divide(total, np.maximum(share, np.float32(1e-9))), (share > 0).astype(np.float32)


def _fill_empty(inverted: np.ndarray, size: int) -> np.ndarray:
    """Fill empty (zero) pixels with the largest value of the size x size pixels around them."""
    return np.where(inverted > 0, inverted, cv2.dilate(inverted, np.ones((size, size), np.uint8)))


_DIAMOND = np.array(
    [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]],
    np.uint8,
)


def check_requirements(model: str) -> None:
    """Raise ConfigurationError if a library that the model needs is not installed."""
    if model == "linear" and find_spec("scipy") is None:
        raise ConfigurationError("the model 'linear' needs scipy: pip install scipy, or choose another model")
    if model in ("guided", "fast_global_smoother") and not hasattr(cv2, "ximgproc"):
        raise ConfigurationError(
            f"the model {model!r} needs OpenCV's ximgproc: uninstall the installed OpenCV with pip and run pip install "
            "opencv-contrib-python-headless, or choose another model"
        )


# By brightness difference. It is always above zero, so that every pixel gets a value.
_SIMILARITY_OF_DIFFERENCE = (np.exp(-np.arange(256) / COLOUR_SIGMA) + 1e-3).astype(np.float32)

DEFAULT_MODEL = "guided"
MEASURED = "measured"
MODELS: dict[str, Model] = {
    DEFAULT_MODEL: guided,
    "fast_global_smoother": fast_global_smoother,
    "push_pull": push_pull,
    "nearest": nearest,
    "linear": linear,
    "ip_basic": ip_basic,
    "inpaint": inpaint,
    MEASURED: measured_only,
}
