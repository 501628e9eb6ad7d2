"""Train and evaluate variants one after another, with the same batches and the same number of steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean

import torch
from rich.console import Console
from rich.progress import track

from ...errors import ConfigurationError
from ..batches import Batches, Source
from ..model_card import commit, device_name
from ..recipe import Recipe, read_recipe, read_splits
from ..sources import open_sources, validation_cases
from ..trainer import Budget, Trainer
from ..validation import Score, Scores, Validation
from . import variants
from .results import Result, append_result, read_results, table
from .variant import Variant

# On a CPU, more steps reduce the error more than larger crops. The weights are averaged over the last hundred steps.
_SETTINGS = ("batch=4", "crop=128", "ema_decay=0.99")


@dataclass(frozen=True)
class Study:
    """Settings that all variants share.

    Attributes:
        steps: Number of training steps.
        seeds: Seeds with which each variant is trained.
        validation_frames: Number of frames of each validation set.
        settings: Settings that replace those of the recipes, such as "batch=8".
        data: See ``open_sources``.
        pools: See ``open_sources``.
        cache: See ``open_sources``.
        out: Folder for ablations.csv and ablations.md.
        device: Device of the training.
    """

    steps: int
    seeds: Sequence[int]
    validation_frames: int
    settings: Sequence[str]
    data: Sequence[Path]
    pools: Sequence[Path]
    cache: Path
    out: Path
    device: torch.device

    def run(self, methods: Sequence[str]) -> None:
        """Train and evaluate the variants that are not in ablations.csv. Write the table after each variant.

        Raises:
            ConfigurationError: If the file contains results with other settings.
        """
        work = [(recipe, self._missing(recipe)) for recipe in map(self._recipe, methods)]
        for recipe, missing in work:
            if missing:
                self._run_method(recipe, missing)

    def _recipe(self, method: str) -> Recipe:
        recipe = read_recipe(method, (*_SETTINGS, *self.settings))
        if (recipe.network, recipe.size) != (method, "small"):
            raise ConfigurationError("ablations use the size small of each method: omit network and size in --set")
        return recipe

    def _missing(self, recipe: Recipe) -> list[tuple[Variant, int]]:
        """Return variants and seeds without results."""
        method, path = recipe.network, self.out / "ablations.csv"
        done = set()
        for result in read_results(path):
            if result.method == method:
                recipe_hash = replace(recipe, seed=result.seed).hash()
                requested = (self.steps, self.validation_frames, recipe_hash)
                if (result.steps, result.validation_frames, result.recipe) != requested:
                    raise ConfigurationError(
                        f"{path} contains results of {method} with other settings ({result.budget()}, recipe "
                        f"{result.recipe}): use the same settings, or use another --out"
                    )
                done.add((result.variant, result.seed))
        return [(v, seed) for seed in self.seeds for v in variants(method) if (v.name, seed) not in done]

    def _run_method(self, recipe: Recipe, missing: Sequence[tuple[Variant, int]]) -> None:
        splits = read_splits()
        sources, _ = open_sources(recipe, splits, self.data, self.pools, self.cache, self.device)
        cases = validation_cases(recipe, splits, self.data, (), self.validation_frames)
        untrained = variants(recipe.network)[0].build().to(self.device).eval()
        validation = Validation(cases, untrained, self.device)
        for variant, seed in missing:
            result = self._run_variant(variant, replace(recipe, seed=seed), sources, validation)
            append_result(self.out / "ablations.csv", result)
            (self.out / "ablations.md").write_text(table(read_results(self.out / "ablations.csv")), encoding="utf-8")
            scores = f"ratio to prefill: RMSE {result.rmse:.3f}, MAE {result.mae:.3f}; {result.steps_per_s:.2f} steps/s"
            print(f"{_title(variant, seed)}: {scores}", file=sys.stderr, flush=True)

    def _run_variant(
        self, variant: Variant, recipe: Recipe, sources: Mapping[str, Source], validation: Validation
    ) -> Result:
        trainer = Trainer(recipe, Batches(recipe, sources, self.device), self.device, build=variant.build)
        budget = Budget(steps=self.steps)
        console = Console(stderr=True)
        started = time.monotonic()
        for step in track(
            range(self.steps), _title(variant, recipe.seed), console=console, disable=not console.is_terminal
        ):
            total = trainer.train_step(budget.progress(step, 0.0))["total"]
        total.item()  # waits for the device
        seconds = time.monotonic() - started
        score = relative(validation.evaluate(trainer.ema), validation.baselines["start"])
        return Result(
            method=variant.method,
            variant=variant.name,
            seed=recipe.seed,
            parameters=sum(parameter.numel() for parameter in trainer.network.parameters()),
            rmse=score.rmse,
            mae=score.mae,
            steps_per_s=self.steps / seconds,
            steps=self.steps,
            batch=recipe.batch,
            crop=recipe.crop,
            validation_frames=self.validation_frames,
            device=device_name(self.device),
            commit=commit(),
            recipe=recipe.hash(),
        )


def relative(scores: Scores, start: Scores) -> Score:
    """Return scores divided by those of the start: geometric means over groups and protocols; below 1 is better."""
    ratios = ([max(s, 1e-9) / b for s, b in zip(scores[key], start[key], strict=True)] for key in scores)
    return Score(*(geometric_mean(column) for column in zip(*ratios, strict=True)))


def _title(variant: Variant, seed: int) -> str:
    return f"{variant.method}, {variant.name}, seed {seed}"
