"""The scored pixels of a trial, and their division into strata."""

from __future__ import annotations

import cv2
import numpy as np

from ..frame import CompletedDepth
from .ssim import StructuralSimilarity

NEAR_PX = 8.0  # largest distance of a "near" pixel from a measurement [pixels]
EDGE_PX = 5  # a pixel is at an edge if the known depths in a square of this size [pixels]
EDGE_RATIO = 1.05  # differ by more than this factor
RANGES_M = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # limits of the depth bands [m]
DISTANCES_PX = (0, 1, 2, 4, 8, 16, 32, 64)  # limits of the classes of distance from a measurement, inclusive [pixels]
RANK_PIXELS = 10_000  # number of random pixels of a frame for rank statistics

_KINDS = ("measured", "near", "far")
BANDS = tuple(
    f"{low:.0f}-{high:.0f} m" if high < np.inf else f"over {low:.0f} m"
    for low, high in zip((0, *RANGES_M), (*RANGES_M, np.inf), strict=True)
)
_CELLS = (len(_KINDS), 2, len(BANDS))  # kind, edge, band: each pixel is in one cell, each stratum is a set of cells


def _strata() -> dict[str, np.ndarray]:
    kind, edge, band = np.indices(_CELLS).reshape(3, -1)
    strata = {"all": kind >= 0, "filled": kind > 0}
    strata |= {name: kind == position for position, name in enumerate(_KINDS)}
    strata |= {"edges": edge == 1, "flat": edge == 0}
    return strata | {name: band == position for position, name in enumerate(BANDS)}


_MEMBERS = _strata()
STRATA = tuple(_MEMBERS)
"""Names of the strata."""
_MEMBERSHIP = np.array(list(_MEMBERS.values()))


class ScoredPixels:
    """The pixels of one trial that have ground truth. Made once and shared by all models.

    Strata: "measured" pixels (scored if the ground truth differs from the measurement); filled pixels, "near" to and
    "far" from the nearest measurement; "edges", with a depth step within 5 x 5 pixels, and "flat"; bands of true depth.

    Args:
        shown: (H, W) float32, the input depth [m], NaN = missing.
        truth: (H, W) float32, the ground truth [m], NaN = unknown; at least one pixel is known.
        measured: (H, W) bool, the pixels that the model uses as measurements.
        seed: Random seed for the pixels of rank statistics.

    Attributes:
        where: (H, W) bool, the N scored pixels.
        truth: (N,) float64, true depth of the scored pixels, row by row [m].
        distance: (N,) float32, distance of the scored pixels from the nearest measurement [pixels].
        distance_class: (N,), the class of this distance: 0 = measured, k = up to ``DISTANCES_PX[k]``, and one above.
        drawn: Indices of the scored pixels for rank statistics.
        similarity: Structural similarity with the ground truth.
    """

    def __init__(self, shown: np.ndarray, truth: np.ndarray, measured: np.ndarray, seed: int = 0):
        self.where = np.isfinite(truth)
        self.truth = truth[self.where].astype(np.float64)
        self.distance = cv2.distanceTransform((~measured).view(np.uint8), cv2.DIST_L2, 5)[self.where]
        self.distance_class = np.digitize(self.distance, DISTANCES_PX, right=True)
        kind = np.where(self.distance > NEAR_PX, 2, np.where(measured[self.where], 0, 1))
        edge = _edges(np.where(self.where, truth, shown))[self.where].astype(np.intp)
        self._cell = np.ravel_multi_index((kind, edge, np.digitize(self.truth, RANGES_M)), _CELLS)
        size = self.truth.size
        rng = np.random.default_rng(seed)
        self.drawn = np.arange(size) if size <= RANK_PIXELS else rng.choice(size, RANK_PIXELS, replace=False)
        self.similarity = StructuralSimilarity(truth)

    def of(self, completed: CompletedDepth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth, sigma and confidence of the scored pixels, (N,) float64 each."""
        arrays = (completed.depth, completed.sigma, completed.confidence)
        depth, sigma, confidence = (array[self.where].astype(np.float64) for array in arrays)
        return depth, sigma, confidence

    def sums(self, values: np.ndarray | None = None) -> np.ndarray:
        """(S,), the sum of values (N,) over the pixels of each stratum; None = the number of pixels."""
        return _MEMBERSHIP @ np.bincount(self._cell, values, _MEMBERSHIP.shape[1])

    def histogram(self, position: np.ndarray, bins: int, values: np.ndarray | None = None) -> np.ndarray:
        """(S, bins), the sum of values (N,) for each stratum and bin; position (N,) is the number of the bin.

        Without values, the number of pixels.
        """
        cells = _MEMBERSHIP.shape[1]
        return _MEMBERSHIP @ np.bincount(self._cell * bins + position, values, cells * bins).reshape(cells, bins)

    def drawn_of(self, stratum: str) -> np.ndarray:
        """The indices in ``drawn`` that belong to a stratum."""
        return self.drawn[_MEMBERS[stratum][self._cell[self.drawn]]]


def _edges(depth: np.ndarray) -> np.ndarray:
    """(H, W) bool, whether a pixel is at an edge. depth: (H, W) [m], NaN = unknown."""
    known = np.isfinite(depth)
    square = np.ones((EDGE_PX, EDGE_PX), np.uint8)
    farthest = cv2.dilate(np.where(known, depth, np.float32(0)), square)
    nearest = cv2.erode(np.where(known, depth, np.float32(np.inf)), square)
    return farthest / EDGE_RATIO > nearest
