"""Procedural scenes that are rendered once and kept in a pool, so that training on a CPU need not render them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ...errors import ConfigurationError
from ..cache import new_directory
from ..pool import PoolFrame, PoolInfo, ScenePool, frame_path, prepare_pool, write_frame
from ..scene_batch import SceneBatch
from .render import KINDS, render_scenes

_AT_ONCE = 96  # setting up a batch takes about as long for many scenes as for few


def render_pool(
    directory: Path,
    count: int,
    height: int,
    width: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    progress: Callable[[int], None] = lambda done: None,
) -> ScenePool:
    """Render ``count`` scenes into a folder that is made for them, and open it.

    progress: called with the number of scenes that are done. Raises ConfigurationError if the folder exists.
    """
    if directory.exists():
        raise ConfigurationError(f"{directory} exists: open it with ScenePool, or remove it")
    generator = torch.Generator().manual_seed(seed)
    with new_directory(directory) as unfinished:
        prepare_pool(unfinished, PoolInfo(height, width, "procedural scenes", "train", seed))
        for first in range(0, count, _AT_ONCE):
            batch = render_scenes(kinds, min(_AT_ONCE, count - first), height, width, generator=generator)
            for number, frame in enumerate(_frames(batch), first):
                write_frame(frame_path(unfinished, number), frame)
            progress(min(first + _AT_ONCE, count))
    return ScenePool(directory)


def _frames(batch: SceneBatch) -> list[PoolFrame]:
    image = (batch.image * 255).round().byte().permute(0, 2, 3, 1).numpy()
    normals = batch.normals.permute(0, 2, 3, 1).numpy()
    depth, behind, reflectance, material = (
        values[:, 0].numpy() for values in (batch.depth, batch.behind, batch.reflectance, batch.material)
    )
    fields = zip(image, depth, behind, normals, reflectance, material, batch.intrinsics.numpy(), strict=True)
    return [PoolFrame(*values) for values in fields]
