"""Scores of frames that arrive one by one, for hours: sums over all of them, and a few frames with pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...errors import InputError
from ...frame import CompletedDepth, RgbdFrame
from ...profiles import Profile
from ..details import Details, FrameDetails, TrialDetails
from ..evaluate import Evaluation, Key
from ..html.page import Results
from ..metrics import Metric, frame_sums
from ..protocols import Trial
from ..samples import Sample, SampleSet
from ..strata import STRATA, ScoredPixels
from ..summary import summarise

KEPT = 15  # frames that are kept at random, beside the worst and the best one
_ALL = STRATA.index("all")


class KeptFrames:
    """The worst and the best frame by RMSE, and ``KEPT`` frames at random (reservoir sampling, Vitter 1985)."""

    def __init__(self) -> None:
        self._random: list[FrameDetails] = []
        self._worst: tuple[float, FrameDetails] | None = None
        self._best: tuple[float, FrameDetails] | None = None
        self._seen = 0
        self._rng = np.random.default_rng(0)

    def add(self, rmse: float, make: Callable[[], FrameDetails]) -> None:
        """Add a frame; its details are only made if it is kept."""
        place = self._seen if self._seen < KEPT else int(self._rng.integers(self._seen + 1))
        self._seen += 1
        worst = self._worst is None or rmse > self._worst[0]
        best = self._best is None or rmse < self._best[0]
        if not (worst or best or place < KEPT):
            return
        frame = make()
        if worst:
            self._worst = rmse, frame
        if best:
            self._best = rmse, frame
        if place < KEPT:
            self._random[place : place + 1] = [frame]

    def frames(self) -> list[FrameDetails]:
        """The kept frames in the order of their indices."""
        extremes = [kept[1] for kept in (self._worst, self._best) if kept is not None]
        frames = {frame.index: frame for frame in (*extremes, *self._random)}
        return [frames[index] for index in sorted(frames)]


@dataclass
class Scores:
    """The scores of one model; ``metric`` and ``details`` are sums over all frames.

    Attributes:
        profile: The depth sensor.
        size: Height and width of the last frame [pixels].
        reference_pixels: Number of pixels with reference depth.
        missing_pixels: How many of them have no completed depth, because its confidence is too small.
    """

    profile: Profile

    def __post_init__(self) -> None:
        self.metric = Metric()
        self.details = Details()
        self.kept = KeptFrames()
        self.size = (0, 0)
        self.reference_pixels = 0
        self.missing_pixels = 0

    def add(self, frame: RgbdFrame, reference: np.ndarray, completed: CompletedDepth) -> None:
        """Score a frame.

        Args:
            frame: The frame as it was completed, with depth on the grid of rgb.
            reference: (H, W) float32 [m], NaN = unknown. Pixels are not scored where the input has the same depth.
            completed: The result; NaN = missing.

        Raises:
            InputError: With the cause "nothing_to_score".
        """
        reference = np.where((reference > 0) & (reference < np.inf), reference, np.float32(np.nan))
        known = np.isfinite(reference)
        if not known.any():
            raise InputError(
                "nothing_to_score",
                "the reference depth holds no measurement: check whether its sensor is covered or out of range",
            )
        usable = (completed.depth > 0) & np.isfinite(completed.depth) & (completed.sigma > 0)
        truth = np.where(usable & (reference != frame.depth), reference, np.float32(np.nan))
        if not np.isfinite(truth).any():
            raise InputError("nothing_to_score", _why_nothing(known, reference, frame.depth))
        self.size = truth.shape
        self.reference_pixels += int(known.sum())
        self.missing_pixels += int((known & ~usable).sum())
        # Metrics compute with all pixels, and leave out those without a truth afterwards.
        completed = replace(completed, depth=np.where(usable, completed.depth, np.float32(0)))
        pixels = ScoredPixels(frame.depth, truth, completed.measured)
        sums = frame_sums(completed, pixels)
        trial = TrialDetails(self.metric.frames, Trial(frame, truth), pixels, completed.measured, self.profile)
        self.metric.add(sums)
        self.details.add(trial.sums(completed))
        rmse = float(np.sqrt(sums["square"][_ALL] / sums["pixels"][_ALL]))
        self.kept.add(rmse, lambda: trial.frame(completed))

    @property
    def missing(self) -> float:
        """Share of the pixels with reference depth that have no completed depth."""
        return self.missing_pixels / max(self.reference_pixels, 1)


def _why_nothing(known: np.ndarray, reference: np.ndarray, measured: np.ndarray) -> str:
    if np.array_equal(reference[known], measured[known]):
        return (
            "the reference depth is the depth that was completed, so that there is nothing to score: use the depth of "
            "another sensor, or set holdout of the completion node to 0.1 and leave the parameter reference empty"
        )
    return (
        "there is no completed depth where there is reference depth: set min_confidence of the completion node to 0 "
        "while you evaluate"
    )


def results_of(
    scores: dict[str, Scores], name: str, protocol: str, about: dict[str, str], engines: dict[str, str], command: str
) -> Results:
    """The results of the model with the most frames, for tables and the report.

    Args:
        scores: By model; at least one has frames.
        name: What was evaluated.
        protocol: What it was scored against.
        about: As ``SampleSet.about``.
        engines: Engine and model by model.
        command: The command that runs.
    """
    model = max(scores, key=lambda each: scores[each].metric.frames)
    chosen = scores[model]
    key = Key(name, protocol, model)
    frames = chosen.metric.frames
    details = replace(chosen.details, frames=chosen.kept.frames())
    notes = []
    if len(details.frames) < frames:
        notes.append(
            f"of {frames:,} frames, the worst, the best and {KEPT} random ones are kept; the median is one of them"
        )
    if chosen.missing_pixels:
        notes.append(
            f"{chosen.missing:.1%} of the reference pixels are not scored, because no depth is published there"
        )
    for other, those in scores.items():
        if other != model and those.metric.frames:
            rmse = those.metric.compute()["all"]["rmse"]
            notes.append(f"{those.metric.frames:,} other frames were completed by {other}, RMSE {rmse * 1e3:.3g} mm")
    evaluation = Evaluation(
        metrics={key: chosen.metric},
        notes={name: "; ".join(notes)},
        engines={model: engines.get(model, model)},
        details={key: details},
    )
    by_set, totals = summarise(evaluation.metrics, ())
    samples = SampleSet(name, chosen.profile, "", frames, _unread, about=about)
    return Results(evaluation, {key: chosen.metric.compute()}, by_set, totals, [samples], 0, command)


def _unread(index: int) -> Sample:
    raise InputError("live", f"frame {index} was not recorded")
