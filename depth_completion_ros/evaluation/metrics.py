"""Error and calibration of completed depth, accumulated over frames."""

from __future__ import annotations

from math import log

import numpy as np

from ..completer import TOLERANCE_M, TOLERANCE_RELATIVE
from ..frame import CompletedDepth
from .rank_statistics import ause, spearman
from .strata import STRATA, ScoredPixels

CONFIDENCE_BINS = 10
NOMINAL_COVERAGE = 0.9
DELTAS = {"delta110": 1.1, "delta125": 1.25, "delta125_2": 1.25**2, "delta125_3": 1.25**3}

FIGURES = {
    "pixels": "number of scored pixels",
    "rmse": "root mean square error [m]",
    "mae": "mean absolute error [m]",
    "rel": "mean of absolute error divided by true depth",
    "mape": "rel in percent",
    "irmse": "root mean square error of inverse depth [1/km]",
    "imae": "mean absolute error of inverse depth [1/km]",
    **{name: f"share with max(depth/truth, truth/depth) < {limit:.6g}" for name, limit in DELTAS.items()},
    "ssim": "structural similarity, mean over windows in which at least half of the weight has a true depth",
    "psnr": "peak signal-to-noise ratio [dB]; the peak is the largest true depth of each frame",
    "within": "share with error < max(5 cm, 2 % of depth), which confidence predicts",
    "confidence": "mean confidence",
    "ece": "expected calibration error: |confidence - within| over ten bins of confidence, weighted by pixels",
    "coverage": f"share with an error inside the {NOMINAL_COVERAGE:.0%} interval given by sigma",
    "nll": "mean negative log-likelihood of the error under the Laplace density given by sigma [nat, for metres]",
    "ause": "area under the sparsification error of sigma, divided by the mean error; 0 = perfect ranking",
    "ause_distance": "ause of the distance to the nearest measurement, as a baseline for sigma",
    "spearman": "rank correlation of sigma and absolute error",
}
"""Names and meanings of the metrics. docs/evaluation.md lists them."""


class Metric:
    """Accumulates the scores of one model over frames, by stratum (``STRATA``).

    The pixels of all frames are pooled, so a frame with more scored pixels has more weight. The rank statistics (AUSE,
    Spearman) are computed for each frame separately, on at most ``RANK_PIXELS`` of its pixels, and averaged with the
    number of pixels as weight. Only sums are kept, and three numbers per frame for the bootstrap intervals.

    Args:
        per_frame: Compute every metric for each frame, and average over the frames, as published protocols do.
    """

    def __init__(self, per_frame: bool = False) -> None:
        self._per_frame = per_frame
        self.reset()

    def reset(self) -> None:
        """Discard all frames."""
        self._sums: dict[str, np.ndarray] = {}
        self._frames: list[np.ndarray] = []

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self._frames)

    def update(self, completed: CompletedDepth, pixels: ScoredPixels) -> None:
        """Add a frame."""
        self.add(frame_sums(completed, pixels))

    def add(self, sums: dict[str, np.ndarray]) -> None:
        """Add a frame by its ``frame_sums``."""
        if self._per_frame:
            sums = _frame_figures(sums)
        for name, values in sums.items():
            self._sums[name] = self._sums.get(name, 0) + values
        self._frames.append(np.array([sums[name][STRATA.index("all")] for name in self._resampled_sums]))

    def compute(self) -> dict[str, dict[str, float]]:
        """All metrics of ``FIGURES`` for each stratum of ``STRATA``; NaN where a stratum has no pixels."""
        if not self._sums:
            return {stratum: {"pixels": 0} | dict.fromkeys(list(FIGURES)[1:], float("nan")) for stratum in STRATA}
        with np.errstate(invalid="ignore", divide="ignore"):
            figures = _means(self._sums) if self._per_frame else _figures(self._sums)
        return {
            stratum: {"pixels": int(figures["pixels"][position])}
            | {name: float(figures[name][position]) for name in list(FIGURES)[1:]}
            for position, stratum in enumerate(STRATA)
        }

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """RMSE and MAE over all pixels, (2, D) [m], with frame i counted ``weights[d, i]`` times; (D, frames)."""
        count, first, absolute = (weights @ np.array(self._frames)).T
        return np.stack([first / count if self._per_frame else np.sqrt(first / count), absolute / count])

    @property
    def _resampled_sums(self) -> tuple[str, str, str]:
        return (_known("rmse"), "rmse", "mae") if self._per_frame else ("pixels", "square", "absolute")


def frame_sums(completed: CompletedDepth, pixels: ScoredPixels) -> dict[str, np.ndarray]:
    """The contribution of a frame to the sums of a metric, by name: (S,) or (S, bins) for S strata."""
    depth, sigma, confidence = pixels.of(completed)
    truth = pixels.truth
    error = np.abs(depth - truth)
    inverse = error / (depth * truth)
    ratio = np.maximum(depth / truth, truth / depth)
    b = sigma / np.sqrt(2)
    within = error < np.maximum(TOLERANCE_M, TOLERANCE_RELATIVE * depth)
    similar = pixels.similarity.valid[pixels.where]
    sums = {
        "pixels": pixels.sums(),
        "square": pixels.sums(error**2),
        "absolute": pixels.sums(error),
        "relative": pixels.sums(error / truth),
        "inverse_square": pixels.sums(inverse**2),
        "inverse": pixels.sums(inverse),
        **{name: pixels.sums(ratio < limit) for name, limit in DELTAS.items()},
        "similar": pixels.sums(similar),
        "ssim": pixels.sums(pixels.similarity.map(completed.depth)[pixels.where] * similar),
        "peak_square": pixels.sums() * truth.max() ** 2,
        "within": pixels.sums(within),
        "confidence": pixels.sums(confidence),
        "covered": pixels.sums(error < -log(1 - NOMINAL_COVERAGE) * b),
        "nll": pixels.sums(np.log(2 * b) + error / b),
    }
    position = np.minimum((confidence * CONFIDENCE_BINS).astype(np.intp), CONFIDENCE_BINS - 1)
    sums["gaps"] = pixels.histogram(position, CONFIDENCE_BINS, confidence - within)
    return sums | _rank_sums(error, sigma, pixels)


def _frame_figures(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics of a frame by name, 0 where they are not known, and for each of them where it is known, 0 or 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = _figures(sums)
    known = {name: np.isfinite(values) for name, values in figures.items()}
    return {name: np.where(known[name], values, 0.0) for name, values in figures.items()} | {
        _known(name): values.astype(float) for name, values in known.items()
    }


def _means(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The means of ``_frame_figures`` over the frames that have them, and the number of all pixels."""
    return {name: sums[name] / (1 if name == "pixels" else sums[_known(name)]) for name in FIGURES}


def _known(name: str) -> str:
    return f"frames with {name}"


def _rank_sums(error: np.ndarray, sigma: np.ndarray, pixels: ScoredPixels) -> dict[str, np.ndarray]:
    """Rank statistics of a frame times its number of pixels, and that number; 0 for strata without ranked pixels."""
    counts = pixels.sums()
    names = ("ause", "ause_distance", "spearman", "ranked")
    sums = {name: np.zeros(len(STRATA)) for name in names}
    for position, stratum in enumerate(STRATA):
        drawn = pixels.drawn_of(stratum)
        if drawn.size > 1:
            areas = (ause(error[drawn], of[drawn]) for of in (sigma, pixels.distance))
            values = (*areas, spearman(error[drawn], sigma[drawn]), 1.0)
            for name, value in zip(names, values, strict=True):
                sums[name][position] = value * counts[position]
    return sums


def _figures(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    pixels = sums["pixels"]
    relative = sums["relative"] / pixels
    return {
        "pixels": pixels,
        "rmse": np.sqrt(sums["square"] / pixels),
        "mae": sums["absolute"] / pixels,
        "rel": relative,
        "mape": 100 * relative,
        "irmse": 1000 * np.sqrt(sums["inverse_square"] / pixels),
        "imae": 1000 * sums["inverse"] / pixels,
        **{name: sums[name] / pixels for name in DELTAS},
        "ssim": sums["ssim"] / sums["similar"],
        "psnr": 10 * np.log10(sums["peak_square"] / sums["square"]),
        "within": sums["within"] / pixels,
        "confidence": sums["confidence"] / pixels,
        "ece": np.abs(sums["gaps"]).sum(axis=1) / pixels,
        "coverage": sums["covered"] / pixels,
        "nll": sums["nll"] / pixels,
        **{name: sums[name] / sums["ranked"] for name in ("ause", "ause_distance", "spearman")},
    }
