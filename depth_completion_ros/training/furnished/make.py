"""Fills pools with pictures of random rooms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import views
from .photo import photograph
from .renderer import Picture, Renderer
from .rooms import RoomMaker

_VIEWS = 14  # of a room
_FIELDS = {
    "image": (np.uint8, 3),
    "depth": (np.float32, 1),
    "behind": (np.float16, 1),
    "normals": (np.int8, 3),
    "reflectance": (np.uint8, 1),
    "material": (np.uint8, 1),
}


def pictures(
    maker: RoomMaker, renderer: Renderer, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, Picture, tuple[float, float, float, float]]]:
    """Photographs, what is in them, and the intrinsics, without end."""
    while True:
        room = maker.make(rng)
        renderer.show(room.scene)
        for _ in range(_VIEWS):
            camera = views.view(room, rng, renderer.height, renderer.width)
            if camera is None:
                continue
            picture = renderer.render(camera)
            if views.worth(picture, rng):
                yield photograph(picture.light, rng), picture, camera.lens


def fill(folder: Path, count: int, source: Iterator, height: int, width: int) -> None:
    """Write a pool of ``count`` pictures into a new folder."""
    unfinished = folder.with_name(folder.name + ".part")
    unfinished.mkdir(parents=True)
    files = {
        name: np.lib.format.open_memmap(
            unfinished / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, channels, height, width)
        )
        for name, (dtype, channels) in _FIELDS.items()
    }
    lenses = np.zeros((count, 4), np.float32)
    start = time.perf_counter()
    for k in range(count):
        image, picture, lens = next(source)
        files["image"][k] = image.transpose(2, 0, 1)
        files["depth"][k, 0], files["behind"][k, 0] = picture.depth, picture.behind
        files["normals"][k] = np.round(picture.normals.transpose(2, 0, 1) * 127)
        files["reflectance"][k, 0] = np.round(picture.reflectance * 255)
        files["material"][k, 0] = picture.material
        lenses[k] = lens
        if k % 50 == 49:
            print(f"{folder.name}: {k + 1} of {count}, {(k + 1) / (time.perf_counter() - start):.2f}/s", flush=True)
    for file in files.values():
        file.flush()
    np.save(unfinished / "intrinsics.npy", lenses)
    unfinished.rename(folder)
