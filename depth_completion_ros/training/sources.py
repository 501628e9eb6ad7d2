"""Open the data of a recipe: the sources of training batches, and the cases of the validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """Open the sources of a recipe.

    Args:
        recipe: The recipe.
        splits: Division into training and validation.
        data: Folders of recorded sets, and data sets FORMAT:PATH.
        pools: Folders of scene pools; empty = procedural scenes.
        cache: Folder for decoded frames and rendered scenes.
        device: Device of the training.
        render: Whether procedural scenes are rendered during training on a CPU too, as on a GPU.

    Returns:
        The sources whose weight is not zero, by name, and lines that describe their data to users.

    Raises:
        ConfigurationError: If the recipe needs recorded sets and there are none.
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
    """Open pools and check their split.

    Raises:
        ConfigurationError: If a pool is of the other split.
    """
    pools = [ScenePool(directory) for directory in directories]
    for directory, pool in zip(directories, pools, strict=True):
        if pool.info.split != split:
            option = "--validation-scenes" if pool.info.split == "validation" else "--scenes"
            raise ConfigurationError(f"the pool {directory} is made for {pool.info.split}: give it with {option}")
    return pools


def find_set(data: Sequence[Path], name: str) -> Path:
    """Return the folder of a recorded set, which is searched in the folders of ``data`` in order.

    Raises:
        ConfigurationError: If no folder contains the set.
    """
    found = next((folder / name for folder in data if (folder / name).is_dir()), None)
    if found is None:
        raise ConfigurationError(
            f"config/training/splits.yaml lists the set {name!r}, which is in none of {', '.join(map(str, data))}: "
            "give its folder with another --data"
        )
    return found


def recorded_cases(data: Sequence[Path], names: Iterable[str], count: int) -> list[Case]:
    """Return cases of ``count`` frames of each recorded set, from folders of sets.

    Raises:
        ConfigurationError: If no folder contains a set.
    """
    return [case for name in names for case in folder_cases(open_folder(find_set(data, name)), count)]


def validation_cases(
    recipe: Recipe, splits: Splits, data: Sequence[Path], pools: Sequence[Path], count: int
) -> list[Case]:
    """Return the cases of the validation.

    Args:
        recipe: The recipe.
        splits: Division into training and validation.
        data: Folders of recorded sets; empty = no recorded sets.
        pools: Folders of scene pools for validation, used in addition to procedural scenes.
        count: Number of frames of each recorded set, and of scenes for each sensor.

    Raises:
        ConfigurationError: If a set is missing or a pool is made for training.
    """
    holding = [place for place in data if not is_dataset(place)]
    cases = recorded_cases(holding, splits.validation, count) if holding else []
    generator = torch.Generator().manual_seed(splits.validation_scenes_seed)
    scenes = {"procedural": render_scenes(KINDS, count, _SCENE_HEIGHT, _SCENE_WIDTH, generator=generator)}
    for pool in open_pools(pools, "validation"):
        scenes[pool.info.kind] = pool.frames([k * len(pool) // count for k in range(count)])
    for profile in PROFILES if recipe.profile == "any" else (recipe.profile,):
        for group, batch in scenes.items() if profile != "any" else ():
            cases += scene_cases(group, batch, SensorMix(profile)(batch, generator), profile)
    return cases
