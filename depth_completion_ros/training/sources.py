"""Opens what a recipe draws its batches from and what it is validated on."""

from __future__ import annotations

from pathlib import Path

import torch

from ..data.folders import read_folder
from ..errors import ConfigurationError
from .batches import Source, real_source
from .real_frames import RealFrames
from .recipe import Recipe, Splits
from .validation import Case, folder_cases


def open_sources(
    recipe: Recipe, splits: Splits, data: Path | None, cache: Path, device: torch.device
) -> tuple[dict[str, Source], list[str]]:
    """The recipe's sources by name, without those of no weight, and what is in them, for people.

    data: the folder of recorded sets.
    Raises ConfigurationError where the recipe needs recorded sets and there are none.
    """
    sources: dict[str, Source] = {}
    contents: list[str] = []
    if recipe.sources.get("real"):
        if data is None:
            raise ConfigurationError(
                f"the recipe {recipe.name} learns from recorded frames too: name their folder with --data, or set "
                "'sources: {synthetic: 1.0}' in a recipe of your own"
            )
        frames = RealFrames([data / name for name in splits.train], cache, splits.max_turn_rad, device)
        sources["real"] = real_source(frames, recipe)
        contents += frames.contents
    return sources, contents


def validation_cases(splits: Splits, data: Path | None, count: int) -> list[Case]:
    """``count`` frames of each recorded set that is for validation."""
    folders = [] if data is None else [data / name for name in splits.validation]
    return [case for folder in folders for case in folder_cases(read_folder(folder), count)]
