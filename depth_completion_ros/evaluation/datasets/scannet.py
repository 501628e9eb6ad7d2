"""ScanNet: scans that SensReader has exported from .sens files.

Source: Dai et al., ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes, CVPR 2017, and SensReader/python of
its repository. color/N.jpg; depth/N.png, 16 bits, millimetres; pose/N.txt, the (4, 4) transform from the camera to the
world, -inf where tracking was lost; intrinsic/ has (4, 4) matrices of both cameras and their extrinsics (usually the
identity). The two cameras have different resolutions, so depth is projected into the colour image.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from .dataset import (
    MILLIMETRES,
    START_NS,
    Content,
    Dataset,
    Entry,
    focal_and_centre,
    images_in,
    metres,
    missing,
    read_counts,
    read_numbers,
    read_rgb,
)

_PERIOD_NS = 33_333_333  # the sensor takes 30 frames a second, and exports keep their numbers
_CITE = "Dai et al., ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes, CVPR 2017"


def open_scannet(path: Path) -> Dataset:
    """Open one exported scan.

    Args:
        path: The folder with ``color``, ``depth``, ``pose`` and ``intrinsic``.

    Raises:
        InputError: If one of the first two or ``intrinsic`` is missing.
    """
    if not all((path / name).is_dir() for name in ("color", "depth", "intrinsic")):
        raise missing(path, "color/, depth/ and intrinsic/: export one scan with SensReader, and give its folder")
    names = ("intrinsic_color", "intrinsic_depth")
    colour, depth = (focal_and_centre(read_numbers(path / "intrinsic" / f"{name}.txt", (4, 4))) for name in names)
    to_rgb = np.linalg.inv(_extrinsic(path, "color")) @ _extrinsic(path, "depth")
    images = sorted((image for image in images_in(path / "color") if image.stem.isdigit()), key=lambda i: int(i.stem))
    entries = [
        Entry(
            image.stem,
            image,
            partial(_read, path, image, colour, depth, to_rgb),
            START_NS + int(image.stem) * _PERIOD_NS,
        )
        for image in images
    ]
    return Dataset(f"scannet-{path.resolve().name}", "Structure Sensor on an iPad", "kinect", path, entries, _CITE)


def _extrinsic(path: Path, camera: str) -> np.ndarray:
    file = path / "intrinsic" / f"extrinsic_{camera}.txt"
    return read_numbers(file, (4, 4)) if file.is_file() else np.eye(4)


def _read(path: Path, image: Path, colour: tuple[float, ...], depth: tuple[float, ...], to_rgb: np.ndarray) -> Content:
    file = path / "pose" / f"{image.stem}.txt"
    pose = read_numbers(file, (4, 4)) if file.is_file() else None
    return Content(
        read_rgb(image),
        metres(read_counts(path / "depth" / f"{image.stem}.png"), MILLIMETRES),
        intrinsics=colour,
        pose=pose if pose is not None and np.isfinite(pose).all() else None,
        depth_intrinsics=depth,
        depth_to_rgb=to_rgb,
    )
