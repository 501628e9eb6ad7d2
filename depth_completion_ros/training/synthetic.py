"""Procedural scenes for training: drawn from a pool on a CPU, rendered afresh on a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Generator

from . import scenes
from .scene_batch import SceneBatch
from .scenes import KINDS, ScenePool, render_scenes

_USES = 4  # of each scene that is rendered on a GPU, where a step takes less time than its scenes
_AT_ONCE = 256

# Draws so many square scenes of a size; generators as those of a Source.
Scenes = Callable[[int, int, Generator, Generator], SceneBatch]


def pooled_scenes(pools: Sequence[ScenePool]) -> Scenes:
    """Crops of the scenes of several pools, each drawn from as often as it holds scenes, on the device of ``noise``."""
    sizes = torch.tensor([float(len(pool)) for pool in pools])

    def scenes(number: int, size: int, choices: Generator, noise: Generator) -> SceneBatch:
        picks = torch.multinomial(sizes, number, replacement=True, generator=choices)
        counts = picks.bincount(minlength=len(pools)).tolist()
        parts = [pool.sample(n, size, size, choices) for pool, n in zip(pools, counts, strict=True) if n]
        names = [field.name for field in fields(SceneBatch)]
        return SceneBatch(**{n: torch.cat([getattr(part, n) for part in parts]).to(noise.device) for n in names})

    return scenes


def rendered_pool(cache: Path, count: int, height: int, width: int, seed: int) -> ScenePool:
    """A pool in ``cache``, which is rendered the first time that it is asked for."""
    directory = cache / f"scenes-{count}x{height}x{width}-{seed}-{_renderer_hash()}"
    if directory.is_dir():
        return ScenePool(directory)
    console = Console(stderr=True)
    console.print(f"rendering {count} scenes into {directory}, this once")
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("scenes", total=count)
        return ScenePool.create(
            directory, count, height, width, seed, progress=lambda done: bar.update(task, completed=done)
        )


class RenderedScenes:
    """Scenes rendered on the device of ``noise``, many at once, each of them used a few times."""

    def __init__(self) -> None:
        self._scenes: SceneBatch | None = None
        self._left = 0

    def __call__(self, number: int, size: int, choices: Generator, noise: Generator) -> SceneBatch:
        if self._scenes is None or self._left < number:
            self._scenes = render_scenes(KINDS, _AT_ONCE, size, size, generator=noise)
            self._left = _USES * _AT_ONCE
        self._left -= number
        index = torch.randint(_AT_ONCE, (number,), generator=noise, device=noise.device)
        return SceneBatch(**{field.name: getattr(self._scenes, field.name)[index] for field in fields(self._scenes)})


def _renderer_hash() -> str:
    """Of the renderer's code: scenes of another one are not taken from the cache."""
    digest = hashlib.sha256()
    for path in sorted(Path(scenes.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
