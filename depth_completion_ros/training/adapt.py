"""Adapt a trained network to one place and camera: train it on a recording's own frames, a part of which is hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import ConfigurationError
from ..evaluation.evaluate import Key, evaluate
from ..evaluation.metrics import Metric
from ..evaluation.samples import SampleSet, open_folder
from ..evaluation.summary import Comparison, summarise
from ..model_file import WEIGHTS_SUFFIX
from ..networks.weights import WeightedNetwork, save_weights
from ..profiles import Profile
from .batches import Batches
from .checkpoint import load_checkpoint
from .held_out_scenes import open_synthetic
from .loop import CHECKPOINT, Log, Report, train
from .model_card import provenance
from .recipe import Recipe, read_splits
from .recording import TEST, TRAIN, Recording
from .scenes import KINDS
from .sources import open_sources
from .synthetic import rendered_pool
from .trainer import Budget, Trainer

BEFORE, AFTER = "before", "after"
PROTOCOLS = {"lidar": ("lidar-rings", "sparse500")}
_DENSE_PROTOCOLS = ("raw", "blocks", "sparse500")
_WITH_POSES = "sequence"
FORGOTTEN = 0.02  # largest increase of RMSE and MAE on rendered scenes
_ADAPTED = f"adapted{WEIGHTS_SUFFIX}"
# Patterns of dense images would leave hardly any point of a LiDAR.
_LIDAR_HIDING = {"points": 0.7, "gradients": 0.15, "rows": 0.15}


@dataclass(frozen=True)
class Result:
    """How the adapted weights compare with those before, on frames and scenes that were not used for training.

    Attributes:
        frames: Comparisons of the weights after with those before, by protocol, on the frames for the test.
        scenes: The same on rendered scenes, by kind.
        metrics: All metrics.
        complete: False if the evaluation was interrupted.
    """

    frames: list[Comparison]
    scenes: list[Comparison]
    metrics: dict[Key, Metric]
    complete: bool

    def reasons(self) -> list[str]:
        """Return why the weights after should not be used; empty if they should.

        They should if RMSE and MAE are not higher on the frames for the test, one of the two is lower beyond chance
        (its 95 % interval is below zero), and neither is more than 2 % higher on the rendered scenes.
        """
        reasons = []
        on_frames, on_scenes = (_total(part).changes for part in (self.frames, self.scenes))
        worse = [f"{error.upper()} {one.value:+.1%}" for error, one in on_frames.items() if one.value > 0]
        if worse:
            reasons.append(f"it is worse on the frames for the test ({', '.join(worse)})")
        elif not any(one.high < 0 for one in on_frames.values()):
            reasons.append("it is not better on the frames for the test than chance would explain")
        forgotten = [f"{error.upper()} {one.value:+.1%}" for error, one in on_scenes.items() if one.value > FORGOTTEN]
        if forgotten:
            reasons.append(f"it has forgotten other scenes ({', '.join(forgotten)})")
        return reasons


def adaptation_recipe(recipe: Recipe, recording: Recording) -> Recipe:
    """Return the recipe for the sensor of a recording."""
    hiding = _LIDAR_HIDING if recording.profile == "lidar" else recipe.hiding
    return replace(recipe, profile=recording.profile, hiding=hiding)


def open_trainer(
    recipe: Recipe,
    recording: Recording,
    start: Path,
    pools: Sequence[Path],
    cache: Path,
    device: torch.device,
    resume: bool,
) -> tuple[Trainer, list[str]]:
    """Return a trainer that continues from ``start``, or from its checkpoint, and lines that describe its data.

    Args:
        recipe: See ``adaptation_recipe``.
        recording: The recording. Its folder contains the checkpoint, too.
        start: Weights of the network of the recipe.
        pools: See ``open_sources``.
        cache: For rendered scenes.
        device: Device of the training.
        resume: Whether to continue from the checkpoint, if there is one.

    Raises:
        ConfigurationError: If the weights are those of another network.
    """
    splits = replace(read_splits(), train=(TRAIN,))
    if not pools and device.type == "cpu":
        pools = [rendered_pool(cache, seed=splits.train_scenes_seed, **recipe.scenes).directory]
    # The decoded frames are kept with the recording, not with the scenes that other adaptations use, too.
    sources, contents = open_sources(recipe, splits, [recording.folder], pools, recording.folder, device)
    trainer = Trainer(recipe, Batches(recipe, sources, device), device)
    trainer.begin_with(start)
    checkpoint = recording.folder / CHECKPOINT
    if resume and checkpoint.is_file():
        trainer.restore(load_checkpoint(checkpoint, device))
    return trainer, contents


def run_training(trainer: Trainer, budget: Budget, folder: Path, show: Callable[[Report], None]) -> bool:
    """Train until the budget is used up, with checkpoints and a log in ``folder``.

    Returns:
        Whether the budget is used up; False if a signal ended the training.
    """
    log = Log(folder / "log.csv", trainer.step)

    def report(report: Report) -> None:
        show(report)
        log.add(report.row())

    return train(trainer, budget, folder, report, lambda: None, float("inf"))


def save_adapted(trainer: Trainer, recording: Recording) -> Path:
    """Write the averaged weights to the recording's folder."""
    path = recording.folder / _ADAPTED
    save_weights(WeightedNetwork(trainer.ema, recording.profile), path, provenance(trainer.recipe, trainer))
    return path


def compare(before: Path, after: Path, recording: Recording, profile: Profile, frames: int, scenes: int) -> Result:
    """Compare two weights files on the frames for the test, and on rendered scenes with the profile's modelled sensor.

    Args:
        before: Weights file.
        after: Weights file.
        recording: The recording.
        profile: The depth sensor.
        frames: Number of frames, evenly spaced.
        scenes: Number of scenes of each kind.
    """
    limits = profile.min_range, profile.max_range
    samples = open_folder(recording.folder / TEST, profile.name, limits)
    protocols = [*PROTOCOLS.get(profile.name, _DENSE_PROTOCOLS)]
    if samples[0].frame.camera_pose is not None:
        protocols.append(_WITH_POSES)
    on_frames, metrics, complete = _compare([samples], protocols, before, after, frames)
    rendered = [open_synthetic(kind, scenes, profile.name) for kind in KINDS] if complete else []
    on_scenes, others, complete = _compare(rendered, ["given"], before, after, scenes)
    return Result(on_frames, on_scenes, metrics | others, complete and bool(rendered))


def _compare(
    sets: list[SampleSet], protocols: list[str], before: Path, after: Path, frames: int
) -> tuple[list[Comparison], dict[Key, Metric], bool]:
    evaluation = evaluate(sets, protocols, [str(before), str(after)], frames)
    if evaluation.failures:
        raise ConfigurationError(f"the weights cannot be compared: {next(iter(evaluation.failures.values()))}")
    names = {str(before): BEFORE, str(after): AFTER}
    metrics = {key._replace(model=names[key.model]): metric for key, metric in evaluation.metrics.items()}
    by_set, totals = ([one for one in part if one.model == AFTER] for part in summarise(metrics, (BEFORE,)))
    return by_set + totals[-1:], metrics, evaluation.complete


def _total(comparisons: list[Comparison]) -> Comparison:
    """Return the last comparison, which is that of all protocols and sets."""
    return comparisons[-1]
