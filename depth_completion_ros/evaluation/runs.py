"""Models over samples: every model on the same trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..completer import DepthCompleter
from ..errors import EngineError, InputError, in_options
from ..frame import CompletedDepth, RgbdFrame
from ..profiles import Profile
from .metrics import Metric, frame_sums
from .models import open_model
from .protocols import make_trial
from .samples import SampleSet
from .strata import ScoredPixels


class Key(NamedTuple):
    """What one metric is about."""

    set: str
    protocol: str
    model: str


@dataclass
class Evaluation:
    """metrics: one for each set, protocol and model, in the order asked for; none where no sample of the set has what
    the protocol needs, or the model failed on the set. notes: what must be said of a set, by its name. engines: what
    runs each model, by its name in all tables. failures: by set and model, or by set and frame, what went wrong.
    complete: False where it was interrupted.
    """

    metrics: dict[Key, Metric] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    complete: bool = True


def evaluate(sets: list[SampleSet], protocols: list[str], models: list[str], frames: int, seed: int = 0) -> Evaluation:
    """Score models on ``frames`` samples of each set, evenly spread. Shows a progress bar; Ctrl-C ends it early.

    A frame that cannot be read is left out, and so is a model on a set where its engine fails. A trial counts for all
    models or for none. Set names must differ. Raises ConfigurationError for an unknown protocol or a model that cannot
    be opened.
    """
    evaluation = Evaluation(notes={samples.name: samples.note for samples in sets})
    picks = [(samples, index) for samples in sets for index in _spread(len(samples), frames)]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    completers: dict[str, DepthCompleter] = {}
    profile = None
    try:
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=len(picks) * len(protocols))
            for samples, index in picks:
                if samples.profile != profile:
                    _close(completers)
                    profile, completers = samples.profile, _open(models, samples.profile)
                    evaluation.engines.update(
                        {name: f"{model.engine.engine} {model.engine.model}" for name, model in completers.items()}
                    )
                for protocol in protocols:
                    progress.update(task, description=f"{samples.name} {protocol}")
                    _score(evaluation, completers, samples, index, protocol, seed)
                    progress.advance(task)
    except KeyboardInterrupt:
        evaluation.complete = False
    finally:
        _close(completers)
    names = list(evaluation.engines)
    keys = [Key(samples.name, protocol, name) for samples in sets for protocol in protocols for name in names]
    evaluation.metrics = {
        key: evaluation.metrics[key]
        for key in keys
        if key in evaluation.metrics and (key.set, key.model) not in evaluation.failures
    }
    return evaluation


def _spread(count: int, wanted: int) -> list[int]:
    """``wanted`` positions evenly spread over ``count``, or all of them."""
    wanted = min(count, wanted)
    return [position * count // wanted for position in range(wanted)]


def _score(
    evaluation: Evaluation,
    completers: dict[str, DepthCompleter],
    samples: SampleSet,
    index: int,
    protocol: str,
    seed: int,
) -> None:
    """Add one trial to the metrics of all models that have not failed on the set."""
    try:
        trial = make_trial(protocol, samples, index, seed)
    except InputError as error:
        evaluation.failures[samples.name, f"frame {index}"] = in_options(error)
        return
    if trial is None:
        return
    pixels = None
    sums = {}
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
    for name, frame in sums.items():
        evaluation.metrics.setdefault(Key(samples.name, protocol, name), Metric()).add(frame)


def _completed(completer: DepthCompleter, frame: RgbdFrame) -> CompletedDepth:
    completed = completer.complete(frame)
    if not (np.isfinite(completed.depth).all() and (completed.depth > 0).all()):
        raise EngineError(f"model {completer.engine.model} returned depth that is not finite or not above zero")
    return completed


def _open(models: list[str], profile: Profile) -> dict[str, DepthCompleter]:
    """By the models' names; those with random weights say so."""
    completers = {name: open_model(name, profile) for name in models}
    return {name + ("" if one.engine.trained else " (untrained)"): one for name, one in completers.items()}


def _close(completers: dict[str, DepthCompleter]) -> None:
    for completer in completers.values():
        completer.close()
    completers.clear()
