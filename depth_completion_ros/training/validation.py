"""Scores of a network on frames that are not used for training, compared with baselines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contract import MULTIPLE
from ..engines.classical_models import guided, nearest
from ..evaluation.protocols import Trial, make_trial
from ..evaluation.samples import SampleSet
from ..geometry import depth_on_rgb_grid
from ..preview import colour_depth, colour_range, save_picture
from .batches import within_predictable_range
from .scene_batch import SceneBatch

PROTOCOLS = ("raw", "blocks", "sparse500", "rows", "sr8", "lidar-rings")
_PICTURE_WIDTH = 256


class Case(NamedTuple):
    """A frame to complete.

    Attributes:
        group: Name of the recorded set, or kind of the scenes.
        protocol: Name of the protocol or of the simulated sensor.
        image: (H, W, 3) uint8, RGB.
        depth: (H, W) float32 [m], 0 = missing.
        truth: (H, W) float32 [m], NaN at pixels that are not evaluated.
    """

    group: str
    protocol: str
    image: np.ndarray
    depth: np.ndarray
    truth: np.ndarray


class Score(NamedTuple):
    """Errors over all pixels of all cases of a group and protocol [m]."""

    rmse: float
    mae: float

    def millimetres(self) -> str:
        """Return both errors in millimetres as text."""
        return f"{self.rmse * 1e3:.1f} / {self.mae * 1e3:.2f}"


Scores = dict[tuple[str, str], Score]  # by group and protocol


class Validation:
    """Cases and the scores of the baselines.

    Args:
        cases: The cases.
        start: Network whose result the trained network corrects: the base network, or an untrained network, which
            returns the prefill.
        device: Device of the networks.

    Attributes:
        baselines: Scores of ``nearest``, ``guided`` and ``start`` by name.
    """

    def __init__(self, cases: list[Case], start: nn.Module, device: torch.device):
        self._cases = cases
        self._device = device
        self._starts = self._completed(start)
        self.baselines = {
            model.__name__: self._scores(model(c.image, c.depth, c.depth > 0, median(c.depth)) for c in cases)
            for model in (nearest, guided)
        } | {
            "start": self._scores(self._starts),
        }

    def evaluate(self, network: nn.Module, pictures: Path | None = None) -> Scores:
        """Return the scores of a network, which must be in evaluation mode.

        Args:
            network: The network.
            pictures: PNG file to write, with a row for each group and protocol: colour, input, start, result, truth.
        """
        results = self._completed(network)
        if pictures is not None:
            first = {(case.group, case.protocol): i for i, case in reversed(list(enumerate(self._cases)))}
            rows = [_strip(self._cases[i], self._starts[i], results[i]) for i in sorted(first.values())]
            save_picture(pictures, np.concatenate(rows))
        return self._scores(results)

    def relative(self, scores: Scores) -> float:
        """Return the geometric mean of the ratios of scores to those of ``guided``, the best classical model.

        Below 1, the scores are better. The mean is taken over protocols, RMSE and MAE first, and then over groups, so
        that each group has the same weight.
        """
        by_group: dict[str, list[float]] = {}
        for (group, protocol), score in scores.items():
            pairs = zip(score, self.baselines["guided"][group, protocol], strict=True)
            by_group.setdefault(group, []).extend(math.log(max(s, 1e-9) / max(b, 1e-9)) for s, b in pairs)
        return math.exp(mean(mean(ratios) for ratios in by_group.values()))

    def _completed(self, network: nn.Module) -> list[np.ndarray]:
        return [complete(network, case, self._device) for case in self._cases]

    def _scores(self, completed: Iterable[np.ndarray]) -> Scores:
        sums: dict[tuple[str, str], np.ndarray] = {}
        for case, depth in zip(self._cases, completed, strict=True):
            error = (depth - case.truth)[np.isfinite(case.truth)].astype(np.float64)
            added = np.array([error.size, np.square(error).sum(), np.abs(error).sum()])
            sums[case.group, case.protocol] = sums.get((case.group, case.protocol), 0) + added
        return {key: Score(float(np.sqrt(square / n)), float(mae / n)) for key, (n, square, mae) in sums.items()}


def folder_cases(frames: SampleSet, count: int, protocols: Iterable[str] = PROTOCOLS) -> list[Case]:
    """Return cases of ``count`` frames at even distances in a set, for each protocol that is possible with the set."""
    indices = [position * len(frames) // count for position in range(min(count, len(frames)))]
    trials = [(p, trial) for p in protocols for i in indices if (trial := make_trial(p, frames, i)) is not None]
    return [_case(frames.name, protocol, trial) for protocol, trial in trials]


def scene_cases(group: str, scenes: SceneBatch, depth: Tensor, sensor: str) -> list[Case]:
    """Return cases of rendered scenes and the depth of a sensor. Pixels beyond its predictable range are not evaluated.

    Args:
        group: Kind of the scenes.
        scenes: The scenes.
        depth: Measured depth [m], 0 = missing, (N, 1, H, W).
        sensor: Name of the sensor.
    """
    images = (scenes.image * 255).round().byte().permute(0, 2, 3, 1).numpy()
    truths = torch.where(within_predictable_range(scenes.depth, depth), scenes.depth, torch.nan)[:, 0].numpy()
    views = zip(images, depth[:, 0].numpy(), truths, strict=True)
    return [Case(group, sensor, image, measured, truth) for image, measured, truth in views]


def _case(group: str, protocol: str, trial: Trial) -> Case:
    depth = np.nan_to_num(depth_on_rgb_grid(trial.frame), nan=0.0)
    return Case(group, protocol, trial.frame.rgb, depth, trial.truth)


def median(depth: np.ndarray) -> float:
    """Return the median of the measured depth [m], or 1 if nothing is measured."""
    measured = depth[depth > 0]
    return float(np.median(measured)) if measured.size else 1.0


def complete(network: nn.Module, case: Case, device: torch.device) -> np.ndarray:
    """Return a network's depth (H, W) float32 [m]."""
    return predict(network, case, device)[0]


@torch.inference_mode()
def predict(network: nn.Module, case: Case, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Return a network's depth and sigma, (H, W) float32 [m], with the frame padded as by the completer."""
    height, width = case.depth.shape
    padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    image = torch.from_numpy(case.image).to(device).permute(2, 0, 1)[None].float() / 255
    depth = F.pad(torch.from_numpy(case.depth).to(device)[None, None], padding)
    scale = torch.full((1, 1, 1, 1), median(case.depth), device=device)
    results: tuple[Tensor, Tensor] = network(F.pad(image, padding, mode="replicate"), depth, scale)
    completed, sigma = (result[0, 0, :height, :width].float().cpu().numpy() for result in results)
    return completed, sigma


def _strip(case: Case, start: np.ndarray, result: np.ndarray) -> np.ndarray:
    import cv2

    limits = colour_range(case.truth)
    truth = np.where(np.isfinite(case.truth), case.truth, case.depth)
    tiles = [case.image, *(colour_depth(depth, limits) for depth in (case.depth, start, result, truth))]
    size = (_PICTURE_WIDTH, _PICTURE_WIDTH * case.depth.shape[0] // case.depth.shape[1])
    return np.concatenate([cv2.resize(tile, size, interpolation=cv2.INTER_NEAREST) for tile in tiles], axis=1)
