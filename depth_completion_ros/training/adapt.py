"""Adapt a trained network to one place and camera: train it on a recording's own frames, a part of which is hidden."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import ConfigurationError
from ..evaluation.evaluate import Key, evaluate
from ..evaluation.metrics import Metric
from ..evaluation.samples import SampleSet, open_folder
from ..evaluation.summary import Comparison, summarise
from ..model_file import WEIGHTS_SUFFIX
from ..networks import create
from ..networks.weights import WeightedNetwork, load_weights, save_weights
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
SHARES = (1.0, 0.5, 0.25)  # of the adapted weights in their mixtures with those before
# Patterns of dense images would leave hardly any point of a LiDAR.
_LIDAR_HIDING = {"points": 0.7, "gradients": 0.15, "rows": 0.15}


@dataclass(frozen=True)
class Result:
    """How the adapted weights compare with those before, on frames and scenes that were not used for training.

    Attributes:
        share: Share of the weights after the training in the mixture that is compared, 0..1.
        weights: File of the mixture.
        frames: Comparisons of the weights after with those before, by protocol, on the frames for the test.
        scenes: The same on rendered scenes, by kind.
        metrics: All metrics.
    """

    share: float
    weights: Path
    frames: list[Comparison]
    scenes: list[Comparison]
    metrics: dict[Key, Metric]

    @property
    def complete(self) -> bool:
        """Whether nothing interrupted the comparison."""
        return bool(self.frames and self.scenes)

    def reasons(self) -> list[str]:
        """Return why the weights after should not be used; empty if they should.

        They should if RMSE and MAE are not higher on the frames for the test, one of the two is lower beyond chance
        (its 95 % interval is below zero), and neither is more than 2 % higher on the rendered scenes.
        """
        reasons = []
        on_frames = _total(self.frames).changes
        worse = [f"{error.upper()} {one.value:+.1%}" for error, one in on_frames.items() if one.value > 0]
        if worse:
            reasons.append(f"it is worse on the frames for the test ({', '.join(worse)})")
        elif not any(one.high < 0 for one in on_frames.values()):
            reasons.append("it is not better on the frames for the test than chance would explain")
        if forgotten := _forgotten(self.scenes):
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


def save_adapted(trainer: Trainer, recording: Recording, start: Path) -> dict[float, Path]:
    """Write mixtures of the weights before and after the training to the recording's folder.

    A mixture keeps most of what the training gained, and forgets less (Wortsman et al., Robust fine-tuning of zero-shot
    models, CVPR 2022).

    Returns:
        The weights files by the share of the weights after the training, largest first.
    """
    before, after = load_weights(start).network.state_dict(), trainer.ema.state_dict()
    network = create(trainer.recipe.network, trainer.recipe.size)
    files = {}
    for share in SHARES:
        mixed = {
            name: value.cpu() if share == 1 or not value.is_floating_point() else before[name].lerp(value.cpu(), share)
            for name, value in after.items()
        }
        network.load_state_dict(mixed)
        files[share] = recording.folder / f"adapted-{share:g}{WEIGHTS_SUFFIX}"
        about = provenance(trainer.recipe, trainer) | {"share_of_adapted_weights": f"{share:g}"}
        save_weights(WeightedNetwork(network, recording.profile), files[share], about)
    return files


def compare(
    before: Path, candidates: Mapping[float, Path], recording: Recording, profile: Profile, frames: int, scenes: int
) -> Result:
    """Choose among weights by what they have forgotten, and compare those with the weights before.

    The candidates are compared on rendered scenes with the profile's modelled sensor. The first one that has forgotten
    nothing, or else the last one, is compared on the frames for the test, which have no influence on the choice.

    Args:
        before: Weights file.
        candidates: Weights files by share, see ``save_adapted``.
        recording: The recording.
        profile: The depth sensor.
        frames: Number of frames, evenly spaced.
        scenes: Number of scenes of each kind.
    """
    rendered = [open_synthetic(kind, scenes, profile.name) for kind in KINDS]
    results = _compare(rendered, ["given"], before, candidates, scenes)
    share = next((share for share, (found, _) in results.items() if not _forgotten(found)), min(candidates))
    on_scenes, scene_metrics = results.get(share, ([], {}))

    samples = open_folder(recording.folder / TEST, profile.name, (profile.min_range, profile.max_range))
    protocols = [*PROTOCOLS.get(profile.name, _DENSE_PROTOCOLS)]
    if samples[0].frame.camera_pose is not None:
        protocols.append(_WITH_POSES)
    results = _compare([samples], protocols, before, {share: candidates[share]}, frames) if on_scenes else {}
    on_frames, metrics = results.get(share, ([], {}))
    return Result(share, candidates[share], on_frames, on_scenes, metrics | scene_metrics)


def _compare(
    sets: list[SampleSet], protocols: list[str], before: Path, candidates: Mapping[float, Path], frames: int
) -> dict[float, tuple[list[Comparison], dict[Key, Metric]]]:
    """Return the comparisons and metrics of each candidate; empty if the evaluation was interrupted."""
    evaluation = evaluate(sets, protocols, [str(before), *map(str, candidates.values())], frames)
    if evaluation.failures:
        raise ConfigurationError(f"the weights cannot be compared: {next(iter(evaluation.failures.values()))}")
    results = {}
    for share, path in candidates.items() if evaluation.complete else ():
        names = {str(before): BEFORE, str(path): AFTER}
        metrics = {
            key._replace(model=names[key.model]): metric
            for key, metric in evaluation.metrics.items()
            if key.model in names
        }
        by_set, totals = ([one for one in part if one.model == AFTER] for part in summarise(metrics, (BEFORE,)))
        results[share] = by_set + totals[-1:], metrics
    return results


def _forgotten(scenes: list[Comparison]) -> list[str]:
    """Return the errors that are more than 2 % higher on the rendered scenes, in words."""
    changes = _total(scenes).changes.items()
    return [f"{error.upper()} {one.value:+.1%}" for error, one in changes if one.value > FORGOTTEN]


def _total(comparisons: list[Comparison]) -> Comparison:
    """Return the last comparison, which is that of all protocols and sets."""
    return comparisons[-1]
