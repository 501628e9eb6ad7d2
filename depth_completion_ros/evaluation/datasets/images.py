"""Plain folders: colour images and depth images of the same names, for data in no published format."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from .dataset import (
    MILLIMETRES,
    Content,
    Dataset,
    Entry,
    first_file,
    focal_and_centre,
    images_in,
    metres,
    missing,
    problem,
    read_counts,
    read_numbers,
    read_rgb,
)

_COLOURS = ("rgb", "color", "image", "images")
_ENDINGS = (".png", ".npy")


def open_images(path: Path, unit: float = MILLIMETRES) -> Dataset:
    """Open a folder with colour images in ``rgb`` (or color, image, images) and depth of the same names in ``depth``.

    Args:
        path: The folder. Depth is 16-bit PNG, or .npy with float32 in metres; 0 and NaN = none. Optional: reference
            depth in ``gt``; intrinsics.txt with K row by row, or fx fy cx cy.
        unit: Length of one count of 16-bit depth [m].

    Raises:
        InputError: If the folders are missing, or no colour image has depth.
    """
    colour = next((path / name for name in _COLOURS if (path / name).is_dir()), None)
    if colour is None or not (path / "depth").is_dir():
        raise missing(path, f"depth/ and one of {', '.join(f'{name}/' for name in _COLOURS)}")
    file = path / "intrinsics.txt"
    camera = _camera(file) if file.is_file() else None
    pairs = [(image, _beside(path / "depth", image)) for image in images_in(colour)]
    entries = [
        Entry(image.stem, image, partial(_read, image, depth, _beside(path / "gt", image), camera, unit))
        for image, depth in pairs
        if depth is not None
    ]
    if not entries:
        raise problem(path, "no image has depth of the same name in depth/, as NAME.png or NAME.npy: rename the files")
    note = "" if camera else "no intrinsics.txt"
    return Dataset(f"images-{path.resolve().name}", path.resolve().name, "kinect", path, entries, "", note)


def _camera(file: Path) -> tuple[float, float, float, float]:
    numbers = read_numbers(file, (3, 3), (4,))
    return focal_and_centre(numbers) if numbers.ndim == 2 else tuple(map(float, numbers))  # type: ignore[return-value]


def _beside(folder: Path, image: Path) -> Path | None:
    return first_file(folder / f"{image.stem}{ending}" for ending in _ENDINGS)


def _read(image: Path, depth: Path, truth: Path | None, camera: tuple[float, ...] | None, unit: float) -> Content:
    return Content(read_rgb(image), _depth(depth, unit), None if truth is None else _depth(truth, unit), camera)


def _depth(file: Path, unit: float) -> np.ndarray:
    if file.suffix != ".npy":
        return metres(read_counts(file), unit)
    depth = np.load(file)
    if depth.dtype not in (np.float32, np.float64) or depth.ndim != 2:
        raise problem(file, f"it is {depth.shape} {depth.dtype}, not (H, W) float32 in metres: convert it")
    depth = depth.astype(np.float32)
    return np.where((depth > 0) & np.isfinite(depth), depth, np.float32(np.nan))
