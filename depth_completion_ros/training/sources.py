"""Open the sources of a recipe: data for batches and data for validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import ConfigurationError
from ..evaluation.datasets import is_dataset
from ..evaluation.samples import open_folder
from .batches import Source, clean_source, real_source, synthetic_source
from .pool import ScenePool
from .real_frames import RealFrames
from .recipe import Recipe, Splits
from .scenes import KINDS, render_scenes
from .sensors import PROFILES, SensorMix
from .synthetic import RenderedScenes, Scenes, pooled_scenes, rendered_pool
from .validation import Case, folder_cases, scene_cases

_SCENE_HEIGHT, _SCENE_WIDTH = 480, 640


def open_sources(
    recipe: Recipe,
    splits: Splits,
    data: Sequence[Path],
    pools: Sequence[Path],
    cache: Path,
    device: torch.device,
    render: bool = False,
) -> tuple[dict[str, Source], list[str]]:
    """The recipe's sources by name, without those of no weight, and what is in them, for people.

    data: folders of recorded sets, and data sets FORMAT:PATH. pools: of scenes; none for the recipe's. render: whether
    scenes are rendered as they are needed on a CPU too, as they are on a GPU.
    Raises ConfigurationError where the recipe needs recorded sets and there are none.
    """
    sources: dict[str, Source] = {}
    contents: list[str] = []
    frames: RealFrames | None = None
    if recipe.sources.get("real"):
        if not data:
            raise ConfigurationError(
                f"the recipe {recipe.name} needs recorded frames: give their folder with --data, or set "
                "'sources: {synthetic: 0.7, clean: 0.3}' in your own recipe"
            )
        sets = [place for place in data if is_dataset(place)]
        if folders := [place for place in data if not is_dataset(place)]:
            sets += [find_set(folders, name) for name in splits.train]
        frames = RealFrames(sets, cache, splits.max_turn_rad, device)
        sources["real"] = real_source(frames, recipe)
        contents += frames.contents
    if recipe.sources.get("synthetic") or recipe.sources.get("clean"):
        masks = frames.hole_masks() if frames is not None else None
        seed = splits.train_scenes_seed
        scenes: Scenes = RenderedScenes()
        number, opened = "procedural scenes, rendered as they were needed", []
        if pools or (device.type == "cpu" and not render):
            opened = open_pools(pools, "train") or [rendered_pool(cache, seed=seed, **recipe.scenes)]
            scenes, number = pooled_scenes(opened), " + ".join(f"{len(pool)} {pool.info.kind}" for pool in opened)
        if recipe.sources.get("synthetic"):
            sources["synthetic"] = synthetic_source(scenes, SensorMix(recipe.profile, masks), recipe)
        if recipe.sources.get("clean"):
            sources["clean"] = clean_source(scenes, masks, recipe)
        contents.append(f"scenes: {number}; modelled sensors: {recipe.profile}")
        contents += dict.fromkeys(line for pool in opened for line in pool.info.credits)
    return sources, contents


def open_pools(directories: Sequence[Path], split: str) -> list[ScenePool]:
    """Pools of one split. Raises ConfigurationError for pools of the other one."""
    pools = [ScenePool(directory) for directory in directories]
    for directory, pool in zip(directories, pools, strict=True):
        if pool.info.split != split:
            option = "--validation-scenes" if pool.info.split == "validation" else "--scenes"
            raise ConfigurationError(f"the pool {directory} is made for {pool.info.split}: give it with {option}")
    return pools


def find_set(data: Sequence[Path], name: str) -> Path:
    """The folder of a recorded set, in the first of the folders that holds one of this name.

    Raises ConfigurationError where none does.
    """
    found = next((folder / name for folder in data if (folder / name).is_dir()), None)
    if found is None:
        raise ConfigurationError(
            f"config/training/splits.yaml lists the set {name!r}, which is in none of {', '.join(map(str, data))}: "
            "give its folder with another --data"
        )
    return found


def validation_cases(
    recipe: Recipe, splits: Splits, data: Sequence[Path], pools: Sequence[Path], count: int
) -> list[Case]:
    """``count`` frames of each recorded set that is for validation, and as many scenes for each sensor.

    pools: of scenes for validation, besides procedural scenes. Raises ConfigurationError for pools for training.
    """
    holding = [place for place in data if not is_dataset(place)]
    folders = [find_set(holding, name) for name in splits.validation] if holding else []
    cases = [case for folder in folders for case in folder_cases(open_folder(folder), count)]
    generator = torch.Generator().manual_seed(splits.validation_scenes_seed)
    scenes = {"procedural": render_scenes(KINDS, count, _SCENE_HEIGHT, _SCENE_WIDTH, generator=generator)}
    for pool in open_pools(pools, "validation"):
        scenes[pool.info.kind] = pool.frames([k * len(pool) // count for k in range(count)])
    for profile in PROFILES if recipe.profile == "any" else (recipe.profile,):
        for group, batch in scenes.items() if profile != "any" else ():
            cases += scene_cases(group, batch, SensorMix(profile)(batch, generator), profile)
    return cases
