"""Completion without a learned network: the baseline, the fallback while an engine loads, the answer on tiny boards."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import ConfigurationError
from ..profiles import Profile
from . import Engine
from .classical_models import DEFAULT_MODEL, MODELS

# Standard deviation of a filled pixel: NEAR·scale where it touches a measurement, growing with the square root of the
# distance to it in pixels.
SIGMA_NEAR = 0.005
SIGMA_GROWTH = 0.012


class ClassicalEngine(Engine):
    """One of the classical models (``MODELS``; "auto" is the best of them).

    threads: CPU threads OpenCV may use, 0 = as many as it likes; a setting of the whole process.
    Raises ConfigurationError for an unknown model.
    """

    engine = "classical"

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0):
        self.model = DEFAULT_MODEL if model == "auto" else model
        if self.model not in MODELS:
            raise ConfigurationError(f"no classical model {model!r}: choose one of {', '.join(MODELS)}")
        self._complete = MODELS[self.model]
        self._profile = profile
        cv2.setNumThreads(threads if threads > 0 else -1)

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        measured = depth > 0
        dense = self._complete(image, depth, measured)
        dense[measured] = depth[measured]
        distance = cv2.distanceTransform((~measured).view(np.uint8), cv2.DIST_L2, 3)
        sigma = np.sqrt(distance, out=distance)
        sigma *= SIGMA_GROWTH * scale
        sigma += SIGMA_NEAR * scale
        np.copyto(sigma, self._profile.measurement_sigma(depth), where=measured)
        return dense, sigma
