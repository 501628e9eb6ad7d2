"""Complete large images at a half, a third, … of their size, and bring the result back to full size.

Networks learnt on images of about 640x480 pixels. For larger ones, the reduced size costs little accuracy on average
(docs/models.md) and takes a fraction of the time.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

_SPREAD_PX = 0.4  # standard deviation [pixels of the reduced image] with which measured depth corrects its surroundings
_EPSILON = 1e-3  # weight of no correction


def reduction(height: int, width: int, pixels: int) -> int:
    """The smallest whole number by which both sides must be divided for an image to have at most ``pixels`` pixels."""
    factor = max(1, math.isqrt(height * width // pixels))
    while -(-height // factor) * -(-width // factor) > pixels:
        factor += 1
    return factor


def reduced(rgb: np.ndarray, depth: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and its depth at 1/factor of their size.

    Args:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 [m], 0 = missing.
        factor: Whole number of pixels that become one, along each side.

    Returns:
        (h, w, 3) uint8, the mean colour, and (h, w) float32 [m], the harmonic mean of the measured depth, 0 = missing;
        h = ceil(H / factor), w = ceil(W / factor).
    """
    height, width = depth.shape
    down, right = -height % factor, -width % factor
    size = ((width + right) // factor, (height + down) // factor)
    if down or right:
        rgb = cv2.copyMakeBorder(rgb, 0, down, 0, right, cv2.BORDER_REPLICATE)
        depth = cv2.copyMakeBorder(depth, 0, down, 0, right, cv2.BORDER_CONSTANT, value=0)
    measured = (depth > 0).astype(np.float32)
    inverse = np.divide(np.float32(1), depth, out=np.zeros_like(depth), where=depth > 0)
    share = cv2.resize(measured, size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(inverse, size, interpolation=cv2.INTER_AREA)
    small = np.divide(share, mean, out=np.zeros_like(share), where=mean > 0)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), small


def enlarged(dense: np.ndarray, sigma: np.ndarray, depth: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Completed depth and its sigma at the full size of the measured depth, which corrects the completed depth near it.

    The correction is the relative difference between measured and interpolated depth, spread by normalised convolution
    (Knutsson, Westin, Normalized and Differential Convolution, CVPR 1993).

    Args:
        dense: (h, w) float32 [m], completed depth at 1/factor of the size.
        sigma: (h, w) float32 [m], of the same size.
        depth: (H, W) float32 [m], measured depth, 0 = missing.
        factor: As for ``reduced``.

    Returns:
        Depth and sigma, both (H, W) float32 [m], positive.
    """
    height, width = depth.shape
    size = (dense.shape[1] * factor, dense.shape[0] * factor)
    dense = cv2.resize(dense, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    sigma = cv2.resize(sigma, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    measured = (depth > 0).astype(np.float32)
    correction = cv2.divide(depth, dense) - measured
    spread = _SPREAD_PX * factor
    weight = cv2.GaussianBlur(measured, (0, 0), spread) + np.float32(_EPSILON)
    scaling = cv2.divide(cv2.GaussianBlur(correction, (0, 0), spread), weight) + np.float32(1)
    return cv2.multiply(dense, scaling), sigma
