"""Small pictures of one frame for the HTML report: colour image, depth, error and sigma, as WebP files."""

from __future__ import annotations

import cv2
import numpy as np

from ..preview import Range, colour_depth, colour_range, visible_depth
from ..profiles import Profile

WIDTH = 480  # of the pictures [pixels]
SPARSE = 0.15  # share of scored pixels below which they are enlarged to be visible
_QUALITY = 80
_FADED = 0.35  # contrast of the grey image where there is no error to show

# Without grey, which marks pixels without an error, and readable for people who do not see all colours.
_ERROR_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8).reshape(256, 1), cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]


def error_limits(profile: Profile) -> Range:
    """The errors [m] at both ends of the colour scale of a sensor: three decades, up to about a third of its range."""
    top = 3 * 10.0 ** np.floor(np.log10(profile.max_range / 3))
    return float(top / 1000), float(top)


def error_colours(count: int) -> list[str]:
    """Evenly spaced colours of the scale of errors, as #rrggbb."""
    positions = np.linspace(0, 255, count).round().astype(int)
    return ["#{:02x}{:02x}{:02x}".format(*_ERROR_COLOURS[position]) for position in positions]


def picture_of_rgb(rgb: np.ndarray) -> bytes:
    """Of the colour image, (H, W, 3) uint8."""
    return _webp(cv2.resize(rgb, _size(rgb), interpolation=cv2.INTER_AREA))


def picture_of_depth(depth: np.ndarray, known: np.ndarray, limits: Range | None = None) -> tuple[Range, bytes]:
    """Of depth (H, W) [m], NaN = missing; also returns the colour range, by default that of ``known``."""
    limits = limits or colour_range(known)
    return limits, _webp(colour_depth(visible_depth(depth, _size(depth)), limits))


def picture_of_sigma(sigma: np.ndarray, limits: Range) -> bytes:
    """Of the standard deviation (H, W) [m]."""
    return _webp(_coloured(_nearest(sigma), limits))


def picture_of_error(error: np.ndarray, rgb: np.ndarray, limits: Range) -> bytes:
    """Of the absolute error (H, W) [m] on a logarithmic scale; where it is unknown (NaN), of the faded grey image."""
    known = np.isfinite(error)
    values = np.where(known, error, np.float32(-1))
    if known.mean() < SPARSE:
        side = 2 * round(0.75 * max(1.0, error.shape[1] / WIDTH)) + 1
        values = cv2.dilate(values, np.ones((side, side), np.uint8))
    values = _nearest(values)
    grey = cv2.cvtColor(cv2.resize(rgb, _size(rgb), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    faded = (255 - _FADED * (255 - grey.astype(np.float32))).astype(np.uint8)
    return _webp(np.where((values >= 0)[..., None], _coloured(values, limits), faded[..., None]))


def _coloured(values: np.ndarray, limits: Range) -> np.ndarray:
    low, high = np.log(limits)
    position = (np.log(np.maximum(values, np.float32(1e-6))) - low) / (high - low)
    return _ERROR_COLOURS[(position.clip(0, 1) * 255).astype(np.uint8)]


def _size(image: np.ndarray) -> tuple[int, int]:
    height, width = image.shape[:2]
    shown = min(WIDTH, width)
    return shown, max(1, round(height * shown / width))


def _nearest(values: np.ndarray) -> np.ndarray:
    return cv2.resize(values, _size(values), interpolation=cv2.INTER_NEAREST)


def _webp(image: np.ndarray) -> bytes:
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1].tobytes()
