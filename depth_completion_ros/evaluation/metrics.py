"""Error and calibration of completed depth, accumulated over frames."""

from __future__ import annotations

from math import log

import numpy as np

from ..completer import TOLERANCE_M, TOLERANCE_RELATIVE
from ..frame import CompletedDepth
from .rank_statistics import sparsification_area, spearman
from .strata import DISTANCES_PX, STRATA, ScoredPixels

CONFIDENCE_BINS = 10
MOST_GROUPS = 1000  # an even number
COVERAGES = {"coverage50": 0.5, "coverage80": 0.8, "coverage": 0.9, "coverage95": 0.95}
_RANKED = ("ause", "ause_distance", "aurg", "aurg_distance", "spearman", "spearman_distance")
_BY_DISTANCE = ("at_distance", "absolute_at_distance")  # sums for ``Metric.by_distance``
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
    "sigma": "root mean square of sigma [m], which predicts rmse",
    "within": "share with error < max(5 cm, 2 % of depth), which confidence predicts",
    "confidence": "mean confidence",
    "ece": "expected calibration error: |confidence - within| over ten bins of confidence, weighted by pixels",
    **{
        name: f"share with an error inside the {nominal:.0%} interval given by sigma"
        for name, nominal in COVERAGES.items()
    },
    "nll": "mean negative log-likelihood of the error under the Laplace density given by sigma [nat, for metres]",
    "nll_distance": "nll of a density fitted to these errors, by distance to the nearest measurement alone",
    "ause": "area under the sparsification error of sigma, divided by the mean error; 0 = perfect ranking",
    "ause_distance": "ause of the distance to the nearest measurement, as a baseline for sigma",
    "aurg": "area under the random gain of sigma, divided by the mean error; 0 = no better than chance",
    "aurg_distance": "aurg of the distance to the nearest measurement, as a baseline for sigma",
    "spearman": "rank correlation of sigma and absolute error",
    "spearman_distance": "rank correlation of the distance to the nearest measurement and absolute error",
}
"""Names and meanings of the metrics. docs/evaluation.md lists them."""


class Metric:
    """Accumulates the scores of one model over frames, by stratum (``STRATA``).

    The pixels of all frames are pooled, so a frame with more scored pixels has more weight. The rank statistics (AUSE,
    Spearman) are computed for each frame separately, on at most ``RANK_PIXELS`` of its pixels, and averaged with the
    number of pixels as weight. Only sums are kept: over all frames, and for the bootstrap intervals three numbers for
    each of at most ``MOST_GROUPS`` groups of frames. A group is one frame, until there are more frames than that.

    Args:
        per_frame: Compute every metric for each frame, and average over the frames, as published protocols do.
    """

    def __init__(self, per_frame: bool = False) -> None:
        self._per_frame = per_frame
        self.reset()

    def reset(self) -> None:
        """Discard all frames."""
        self._sums: dict[str, np.ndarray] = {}
        self._groups: list[np.ndarray] = []
        self._group_size = 1  # frames
        self._frames = 0

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self._frames

    @property
    def groups(self) -> int:
        """Number of groups of neighbouring frames; each frame is one, up to ``MOST_GROUPS`` frames."""
        return len(self._groups)

    def update(self, completed: CompletedDepth, pixels: ScoredPixels) -> None:
        """Add a frame."""
        self.add(frame_sums(completed, pixels))

    def add(self, sums: dict[str, np.ndarray]) -> None:
        """Add a frame by its ``frame_sums``."""
        if self._per_frame:
            sums = _frame_figures(sums) | {name: sums[name] for name in _BY_DISTANCE}
        for name, values in sums.items():
            self._sums[name] = self._sums.get(name, 0) + values
        self._group(np.array([sums[name][STRATA.index("all")] for name in self._resampled_sums]))

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

    def by_distance(self) -> tuple[np.ndarray, np.ndarray]:
        """Number of pixels and mean absolute error [m] of each class of distance from a measurement, (D,) each."""
        all_pixels = STRATA.index("all")
        pixels, absolute = (self._sums[name][all_pixels] for name in _BY_DISTANCE)
        with np.errstate(invalid="ignore"):
            return pixels, absolute / pixels

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """RMSE and MAE over all pixels, (2, D) [m], with group i counted ``weights[d, i]`` times; (D, groups)."""
        count, first, absolute = (weights @ np.array(self._groups)).T
        return np.stack([first / count if self._per_frame else np.sqrt(first / count), absolute / count])

    def _group(self, sums: np.ndarray) -> None:
        """Add the sums of a frame to the last group; when there are too many groups, join neighbours."""
        if self._frames % self._group_size:
            self._groups[-1] += sums
        else:
            if len(self._groups) == MOST_GROUPS:
                self._groups = [one + other for one, other in zip(self._groups[::2], self._groups[1::2], strict=True)]
                self._group_size *= 2
            self._groups.append(sums)
        self._frames += 1

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
    count = pixels.sums()
    sums = {
        "pixels": count,
        "square": pixels.sums(error**2),
        "absolute": pixels.sums(error),
        "relative": pixels.sums(error / truth),
        "inverse_square": pixels.sums(inverse**2),
        "inverse": pixels.sums(inverse),
        **{name: pixels.sums(ratio < limit) for name, limit in DELTAS.items()},
        "similar": pixels.sums(similar),
        "ssim": pixels.sums(pixels.similarity.map(completed.depth)[pixels.where] * similar),
        "peak_square": count * truth.max() ** 2,
        "sigma_square": pixels.sums(sigma**2),
        "within": pixels.sums(within),
        "confidence": pixels.sums(confidence),
        **{name: pixels.sums(error < -log(1 - nominal) * b) for name, nominal in COVERAGES.items()},
        "nll": pixels.sums(np.log(2 * b) + error / b),
    }
    position = np.minimum((confidence * CONFIDENCE_BINS).astype(np.intp), CONFIDENCE_BINS - 1)
    sums["gaps"] = pixels.histogram(position, CONFIDENCE_BINS, confidence - within)
    classes = len(DISTANCES_PX) + 1
    sums["at_distance"] = pixels.histogram(pixels.distance_class, classes)
    sums["absolute_at_distance"] = pixels.histogram(pixels.distance_class, classes, error)
    return sums | _rank_sums(error, sigma, pixels, count)


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


def _rank_sums(error: np.ndarray, sigma: np.ndarray, pixels: ScoredPixels, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Rank statistics of a frame times its number of pixels, and that number; 0 for strata without ranked pixels."""
    sums = {name: np.zeros(len(STRATA)) for name in (*_RANKED, "ranked")}
    for position, stratum in enumerate(STRATA):
        drawn = pixels.drawn_of(stratum)
        if drawn.size > 1:
            errors = error[drawn]
            orders = sigma[drawn], pixels.distance[drawn]
            best, *areas = (sparsification_area(errors, order) for order in (errors, *orders))
            values = [area - best for area in areas] + [1 - area for area in areas]
            values += [spearman(errors, order) for order in orders]
            for name, value in zip((*_RANKED, "ranked"), (*values, 1.0), strict=True):
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
        "sigma": np.sqrt(sums["sigma_square"] / pixels),
        "within": sums["within"] / pixels,
        "confidence": sums["confidence"] / pixels,
        "ece": np.abs(sums["gaps"]).sum(axis=1) / pixels,
        **{name: sums[name] / pixels for name in COVERAGES},
        "nll": sums["nll"] / pixels,
        "nll_distance": _nll_of_classes(sums["at_distance"], sums["absolute_at_distance"]),
        **{name: sums[name] / sums["ranked"] for name in _RANKED},
    }


def _nll_of_classes(pixels: np.ndarray, absolute: np.ndarray) -> np.ndarray:
    """(S,), mean negative log-likelihood of errors with the best Laplace density of each class; 0.1 mm at least.

    The best scale of a Laplace density is the mean absolute error, for which the mean is log(2b) + 1.
    """
    scale = np.maximum(absolute / np.maximum(pixels, 1), 1e-4)
    return (pixels * np.log(2 * scale) + absolute / scale).sum(axis=1) / pixels.sum(axis=1)
