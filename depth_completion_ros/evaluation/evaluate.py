"""Run all models on the same trials and score them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..completer import DepthCompleter
from ..errors import EngineError, InputError, in_options
from ..frame import CompletedDepth, RgbdFrame
from ..profiles import Profile
from .details import Details, TrialDetails
from .metrics import Metric, frame_sums
from .models import open_model
from .protocols import PUBLISHED, Trial, make_trial
from .samples import SampleSet
from .strata import ScoredPixels

MakeTrial = Callable[[str, SampleSet, int, int], "Trial | None"]  # of a protocol, set, index and seed


class Key(NamedTuple):
    """The set, protocol and model of one metric."""

    set: str
    protocol: str
    model: str


@dataclass
class Evaluation:
    """The results of an evaluation.

    Attributes:
        metrics: One metric for each set, protocol and model, in the requested order. Those are missing for which no
            sample of the set can be used with the protocol, or the model failed on the set.
        notes: Remarks about the sets, by name.
        engines: Engine and model that ran, by the name of the model in all tables.
        failures: Error messages by set and model, or by set and frame.
        details: What a report shows beyond the metrics, by the same keys; empty if no report is wanted.
        complete: False if the evaluation was interrupted.
    """

    metrics: dict[Key, Metric] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    details: dict[Key, Details] = field(default_factory=dict)
    complete: bool = True

    def of_set(self, name: str, protocols: list[str]) -> Evaluation:
        """The results of one set, ordered by protocol and model, without models that failed on it."""
        keys = [Key(name, protocol, model) for protocol in protocols for model in self.engines]
        keys = [key for key in keys if key in self.metrics and (name, key.model) not in self.failures]
        return Evaluation(
            metrics={key: self.metrics[key] for key in keys},
            notes={key: note for key, note in self.notes.items() if key == name},
            engines=self.engines,
            failures={key: error for key, error in self.failures.items() if key[0] == name},
            details={key: self.details[key] for key in keys if key in self.details},
        )


def joined(evaluations: Iterable[Evaluation]) -> Evaluation:
    """The results of evaluations of different sets, in their order."""
    result = Evaluation()
    for one in evaluations:
        result.metrics |= one.metrics
        result.notes |= one.notes
        result.engines |= one.engines
        result.failures |= one.failures
        result.details |= one.details
        result.complete &= one.complete
    return result


def evaluate(
    sets: list[SampleSet],
    protocols: list[str],
    models: list[str],
    frames: int,
    seed: int = 0,
    *,
    with_details: bool = False,
    finished: Callable[[str, Evaluation], object] = lambda name, results: None,
    make: MakeTrial = make_trial,
) -> Evaluation:
    """Score models on evenly spaced samples of each set. Shows a progress bar; Ctrl-C ends it early.

    Frames that cannot be read are skipped. A model is skipped on a set if its engine fails there. A trial is counted
    for all other models or for none.

    Args:
        sets: Sets with unique names.
        protocols: Names of protocols.
        models: Names of models.
        frames: Number of samples of each set.
        seed: Random seed of the protocols.
        with_details: Whether to collect ``Evaluation.details``, which takes more time.
        finished: Called with the name and the results of each set when it is finished.
        make: Makes the trial of a protocol; with another function, ``protocols`` are names that it understands.

    Raises:
        ConfigurationError: If a protocol is unknown or a model cannot be opened.
    """
    evaluation = Evaluation(notes={samples.name: samples.note for samples in sets})
    picks = [(samples, _spread(len(samples), frames)) for samples in sets]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    completers: dict[str, DepthCompleter] = {}
    profile = None
    try:
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=sum(len(indices) for _, indices in picks) * len(protocols))
            for samples, indices in picks:
                if samples.profile != profile:
                    _close(completers)
                    profile, completers = samples.profile, _open(models, samples.profile)
                    evaluation.engines.update(
                        {name: f"{model.engine.engine} {model.engine.model}" for name, model in completers.items()}
                    )
                for index, protocol in itertools.product(indices, protocols):
                    progress.update(task, description=f"{samples.name} {protocol}")
                    _score(evaluation, completers, samples, index, protocol, seed, with_details, make)
                    progress.advance(task)
                finished(samples.name, evaluation.of_set(samples.name, protocols))
    except KeyboardInterrupt:
        evaluation.complete = False
    finally:
        _close(completers)
    return replace(joined(evaluation.of_set(samples.name, protocols) for samples in sets), complete=evaluation.complete)


def _spread(count: int, wanted: int) -> list[int]:
    """``wanted`` evenly spaced positions out of ``count``, or all of them."""
    wanted = min(count, wanted)
    return [position * count // wanted for position in range(wanted)]


def _score(
    evaluation: Evaluation,
    completers: dict[str, DepthCompleter],
    samples: SampleSet,
    index: int,
    protocol: str,
    seed: int,
    with_details: bool,
    make: MakeTrial,
) -> None:
    """Add the result of one trial to the metrics of all models that have not failed on the set."""
    try:
        trial = make(protocol, samples, index, seed)
    except InputError as error:
        evaluation.failures[samples.name, f"frame {index}"] = in_options(error, bags=True)
        return
    if trial is None:
        return
    pixels = None
    shared = None
    sums, details = {}, {}
    for name, completer in completers.items():
        if (samples.name, name) in evaluation.failures:
            continue
        try:
            completed = _completed(completer, trial.frame)
        except EngineError as error:
            evaluation.failures[samples.name, name] = str(error)
            continue
        pixels = pixels or ScoredPixels(trial.frame.depth, trial.truth, completed.measured, seed)
        sums[name] = frame_sums(completed, pixels)
        if with_details:
            shared = shared or TrialDetails(index, trial, pixels, completed.measured, samples.profile)
            details[name] = shared.of(completed)
    for name, frame in sums.items():
        metric = Metric(per_frame=protocol in PUBLISHED)
        evaluation.metrics.setdefault(Key(samples.name, protocol, name), metric).add(frame)
    for name, seen in details.items():
        evaluation.details.setdefault(Key(samples.name, protocol, name), Details()).add(seen)


def _completed(completer: DepthCompleter, frame: RgbdFrame) -> CompletedDepth:
    completed = completer.complete(frame)
    if not (np.isfinite(completed.depth).all() and (completed.depth > 0).all()):
        raise EngineError(f"model {completer.engine.model} returned depth that is not finite or not positive")
    return completed


def _open(models: list[str], profile: Profile) -> dict[str, DepthCompleter]:
    """Open all models, by name; the names of models with random weights are marked as untrained."""
    completers = {name: open_model(name, profile) for name in models}
    return {name + ("" if one.engine.trained else " (untrained)"): one for name, one in completers.items()}


def _close(completers: dict[str, DepthCompleter]) -> None:
    for completer in completers.values():
        completer.close()
    completers.clear()
