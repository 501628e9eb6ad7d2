"""Scenes for training: crops from pools on a CPU, or procedural scenes that are rendered during training on a GPU."""

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
from .pool import ScenePool
from .scene_batch import SceneBatch
from .scenes import KINDS, render_pool, render_scenes

_USES = 4  # number of uses of each scene on a GPU, where rendering takes longer than a training step
_RENDERED_AT_ONCE = 256

# Draws a number of square scenes of a size [pixels]. The generators are those of a Source.
Scenes = Callable[[int, int, Generator, Generator], SceneBatch]


def pooled_scenes(pools: Sequence[ScenePool]) -> Scenes:
    """Return a function that draws crops from several pools, in proportion to their numbers of frames.

    The crops are on the device of the generator ``noise``.
    """
    sizes = torch.tensor([float(len(pool)) for pool in pools])

    def scenes(number: int, size: int, choices: Generator, noise: Generator) -> SceneBatch:
        picks = torch.multinomial(sizes, number, replacement=True, generator=choices)
        counts = picks.bincount(minlength=len(pools)).tolist()
        parts = [pool.sample(n, size, size, choices) for pool, n in zip(pools, counts, strict=True) if n]
        names = [field.name for field in fields(SceneBatch)]
        return SceneBatch(**{n: torch.cat([getattr(part, n) for part in parts]).to(noise.device) for n in names})

    return scenes


def rendered_pool(cache: Path, count: int, height: int, width: int, seed: int) -> ScenePool:
    """Return a pool of procedural scenes in ``cache``; it is rendered if it does not exist."""
    directory = cache / f"scenes-{count}x{height}x{width}-{seed}-{_renderer_hash()}"
    if directory.is_dir():
        return ScenePool(directory)
    console = Console(stderr=True)
    console.print(f"rendering {count} scenes into {directory}; later trainings reuse them")
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("scenes", total=count)
        return render_pool(
            directory, count, height, width, seed, progress=lambda done: bar.update(task, completed=done)
        )


class RenderedScenes:
    """Procedural scenes that are rendered on the device of ``noise``. Each rendered scene is used several times."""

    def __init__(self) -> None:
        self._scenes: SceneBatch | None = None
        self._remaining = 0

    def __call__(self, number: int, size: int, choices: Generator, noise: Generator) -> SceneBatch:
        if self._scenes is None or self._remaining < number:
            self._scenes = render_scenes(KINDS, _RENDERED_AT_ONCE, size, size, generator=noise)
            self._remaining = _USES * _RENDERED_AT_ONCE
        self._remaining -= number
        index = torch.randint(_RENDERED_AT_ONCE, (number,), generator=noise, device=noise.device)
        return SceneBatch(**{field.name: getattr(self._scenes, field.name)[index] for field in fields(self._scenes)})


def _renderer_hash() -> str:
    """Return a hash of the code of renderer and pools, so that the cache is not used after a change of the code."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(scenes.__file__).parent.glob("*.py")), Path(__file__).with_name("pool.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
