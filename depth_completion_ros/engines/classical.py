"""Completion without a network: the baseline, the fallback while an engine loads, and an engine for small computers."""

from __future__ import annotations

import cv2
import numpy as np

from ..profiles import Profile
from . import Progress, SelectableEngine, check_model
from .classical_models import DEFAULT_MODEL, MEASURED, MODELS, check_requirements

# Sigma of a filled pixel is the sigma of a measurement plus
# d / (d + HALF_DISTANCE_PX) · (DISTANCE_FACTOR · d · depth + RANGE_FACTOR · range), where d [pixels] is the distance to
# the nearest measurement and range [m] is the range of the completed depth around the pixel. The factors were fitted to
# the default model (docs/classical.md).
HALF_DISTANCE_PX = 20.0
DISTANCE_FACTOR = 0.00075  # per pixel
RANGE_FACTOR = 1.25
RANGE_SPACING_PX = 4  # range is that of 3 x 3 samples at this distance from each other
UNKNOWN_SIGMA = 1e3  # in units of scale, for pixels that the model did not complete


class ClassicalEngine(SelectableEngine):
    """Runs one of the classical models.

    Measured pixels keep their depth. The depth of all other pixels lies within the range of the measured depth.

    Args:
        model: One of ``MODELS``; "auto" selects the best one.
        profile: The depth sensor, for the sigma of measurements.
        threads: Number of CPU threads of OpenCV, for the whole process; 0 = library default.
        progress: Not used.

    Raises:
        ConfigurationError: If the model is unknown or its library is not installed.
    """

    engine = "classical"

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0, progress: Progress | None = None):
        check_model(self.engine, model)
        self.model = DEFAULT_MODEL if model == "auto" else model
        check_requirements(self.model)
        self._complete = MODELS[self.model]
        self._profile = profile
        cv2.setNumThreads(threads if threads > 0 else -1)

    @classmethod
    def model_names(cls) -> list[str]:
        return list(MODELS)

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        measured = depth > 0
        dense = self._complete(image, depth, measured, scale)
        low, high, _, _ = cv2.minMaxLoc(depth, measured.view(np.uint8))
        np.clip(dense, np.float32(low), np.float32(high), out=dense)
        np.copyto(dense, depth, where=measured)
        sigma = self._profile.measurement_sigma(dense)
        if self.model == MEASURED:
            np.copyto(sigma, UNKNOWN_SIGMA * scale, where=~measured)
        else:
            sigma += _fill_sigma(dense, measured)
        return dense, sigma


def _fill_sigma(dense: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return the standard deviation [m] that filling adds, (H, W) float32; zero at measured pixels."""
    distance = cv2.distanceTransform((~measured).view(np.uint8), cv2.DIST_L2, 3)
    samples = np.ascontiguousarray(dense[::RANGE_SPACING_PX, ::RANGE_SPACING_PX])
    window = np.ones((3, 3), np.uint8)
    depth_range = cv2.subtract(cv2.dilate(samples, window), cv2.erode(samples, window))
    depth_range = cv2.resize(depth_range, dense.shape[::-1], interpolation=cv2.INTER_LINEAR)
    sigma = cv2.addWeighted(cv2.multiply(distance, dense), DISTANCE_FACTOR, depth_range, RANGE_FACTOR, 0)
    return cv2.multiply(sigma, cv2.divide(distance, distance + np.float32(HALF_DISTANCE_PX)), dst=sigma)
