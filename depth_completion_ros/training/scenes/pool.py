"""Render procedural scenes once and store them in a pool for training on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ...errors import ConfigurationError
from ..cache import new_directory
from ..pool import PoolFrame, PoolInfo, ScenePool, frame_path, prepare_pool, write_frame
from ..scene_batch import SceneBatch
from .render import KINDS, render_scenes

_BATCH_SIZE = 96  # the time to set up a batch hardly depends on the number of scenes


def render_pool(
    directory: Path,
    count: int,
    height: int,
    width: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    progress: Callable[[int], None] = lambda done: None,
) -> ScenePool:
    """Render scenes into a new folder and open the pool.

    Args:
        directory: The folder.
        count: Number of scenes.
        height: Height of the frames [pixels].
        width: Width of the frames [pixels].
        seed: Seed of the scenes.
        kinds: Kinds of scenes.
        progress: Called with the number of completed scenes.

    Raises:
        ConfigurationError: If the folder exists.
    """
    if directory.exists():
        raise ConfigurationError(f"{directory} exists: open it with ScenePool, or remove it")
    generator = torch.Generator().manual_seed(seed)
    with new_directory(directory) as unfinished:
        prepare_pool(unfinished, PoolInfo(height, width, "procedural scenes", "train", seed))
        for first in range(0, count, _BATCH_SIZE):
            batch = render_scenes(kinds, min(_BATCH_SIZE, count - first), height, width, generator=generator)
            for number, frame in enumerate(_frames(batch), first):
                write_frame(frame_path(unfinished, number), frame)
            progress(min(first + _BATCH_SIZE, count))
    return ScenePool(directory)


def _frames(batch: SceneBatch) -> list[PoolFrame]:
    image = (batch.image * 255).round().byte().permute(0, 2, 3, 1).numpy()
    normals = batch.normals.permute(0, 2, 3, 1).numpy()
    depth, behind, reflectance, material = (
        values[:, 0].numpy() for values in (batch.depth, batch.behind, batch.reflectance, batch.material)
    )
    fields = zip(image, depth, behind, normals, reflectance, material, batch.intrinsics.numpy(), strict=True)
    return [PoolFrame(*values) for values in fields]
