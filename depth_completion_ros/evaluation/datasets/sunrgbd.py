"""SUN RGB-D: Kinect v1 and v2, Xtion and RealSense, raw and refined depth.

Source: Song et al., SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite, CVPR 2015, and SUNRGBDtoolbox
(read3dPoints.m, readframeSUNRGBD.m). Depth is a 16-bit PNG whose bits are rotated left by three: the depth in
millimetres is (d >> 3) | (d << 13). ``depth`` is what the sensor measured, ``depth_bfx`` the refined depth, which is
the reference here. intrinsics.txt holds K row by row; extrinsics/*.txt the rotation (3, 4) to axes with y along
gravity.
"""

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

_CITE = "Song et al., SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite, CVPR 2015"
_NOTE = "the ground truth is depth_bfx, which SUN RGB-D refined from the same measurements"


def open_sunrgbd(path: Path) -> Dataset:
    """Open all frames in or below a folder: those with intrinsics.txt, ``image`` and ``depth``.

    Args:
        path: ``SUNRGBD``, one of its parts (``kv1``, ``kv2``, ``realsense``, ``xtion``), or a single frame. Frames of
            Kinect v2 have the profile ``tof``: give ``kv2`` on its own.

    Raises:
        InputError: If there are no such frames.
    """
    folders = sorted(file.parent for file in path.rglob("intrinsics.txt") if (file.parent / "depth").is_dir())
    if not folders:
        raise missing(path, "frames with intrinsics.txt, image/ and depth/: unzip SUNRGBD.zip, and give SUNRGBD")
    tof = all("kv2" in folder.resolve().parts for folder in folders)
    entries = [_entry(folder, path) for folder in folders]
    sensor = "Microsoft Kinect v2" if tof else "Kinect v1, Xtion or RealSense"
    name = f"sunrgbd-{path.resolve().name}"
    return Dataset(name, sensor, "tof" if tof else "kinect", path, entries, _CITE, _NOTE)


def _entry(folder: Path, path: Path) -> Entry:
    image = next(iter(images_in(folder / "image")), folder / "image" / "IMAGE.jpg")
    return Entry(str(folder.relative_to(path)), image, partial(_read, folder, image))


def _read(folder: Path, image: Path) -> Content:
    rgb = read_rgb(image)
    depth = _depth(first_file(images_in(folder / "depth")), folder / "depth")
    refined = first_file(images_in(folder / "depth_bfx"))
    pose = None
    if (extrinsics := first_file(sorted((folder / "extrinsics").glob("*.txt")))) is not None:
        pose = np.vstack([read_numbers(extrinsics, (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    return Content(
        rgb,
        depth,
        None if refined is None else _depth(refined, folder / "depth_bfx"),
        focal_and_centre(read_numbers(folder / "intrinsics.txt", (3, 3))),
        pose,
    )


def _depth(file: Path | None, folder: Path) -> np.ndarray:
    if file is None:
        raise problem(folder, "it has no image: copy the whole folder of the frame")
    counts = read_counts(file)
    return metres((counts >> 3) | (counts << 13), MILLIMETRES)
