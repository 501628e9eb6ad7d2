"""MPI Sintel: rendered film scenes with exact depth and cameras.

Source: Butler et al., A Naturalistic Open Source Movie for Optical Flow Evaluation, ECCV 2012, and
sdk/python/sintel_io.py of MPI-Sintel-depth. depth/SCENE/*.dpt: float32 202021.25, int32 width, int32 height, then depth
row by row in float32 (along the optical axis, taken as metres); camdata_left/SCENE/*.cam: the same tag, K (3, 3) and
the transform (3, 4) from the world to the camera, in float64. Images are those of the final pass, or else of the clean
pass.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from .dataset import START_NS, Content, Dataset, Entry, focal_and_centre, images_in, missing, problem, read_rgb

_TAG = 202021.25
_SCENE_NS, _PERIOD_NS = 1_000_000_000_000, 41_666_667  # scenes lie apart; the film has 24 frames a second
_CITE = "Butler et al., A Naturalistic Open Source Movie for Optical Flow Evaluation, ECCV 2012"


def open_sintel(path: Path) -> Dataset:
    """Open all training scenes.

    Args:
        path: ``training``, with ``depth``, ``camdata_left`` and ``final`` or ``clean``; or the folder with it.

    Raises:
        InputError: If one of these is missing.
    """
    folder = next((each for each in (path, path / "training") if (each / "depth").is_dir()), path)
    passes = [folder / name for name in ("final", "clean") if (folder / name).is_dir()]
    if not passes or not (folder / "depth").is_dir() or not (folder / "camdata_left").is_dir():
        raise missing(
            path, "depth/, camdata_left/ and final/ or clean/: unzip the images and the depth into one folder"
        )
    entries = []
    for scene, images in enumerate(sorted(each for each in passes[0].iterdir() if each.is_dir())):
        for position, image in enumerate(images_in(images)):
            depth = folder / "depth" / images.name / f"{image.stem}.dpt"
            camera = folder / "camdata_left" / images.name / f"{image.stem}.cam"
            stamp = START_NS + scene * _SCENE_NS + position * _PERIOD_NS
            entries.append(Entry(f"{images.name}/{image.stem}", image, partial(_read, image, depth, camera), stamp))
    return Dataset("sintel", "rendered", "lidar", folder, entries, _CITE)


def _read(image: Path, depth: Path, camera: Path) -> Content:
    header = _tagged(depth)
    width, height = (int(number) for number in np.frombuffer(header, "<i4", 2))
    values = np.frombuffer(header, "<f4", offset=8)
    if values.size != width * height:
        raise problem(depth, f"it has {values.size} values for {width}x{height} pixels: download it again")
    numbers = np.frombuffer(_tagged(camera), "<f8")
    if numbers.size != 21:
        raise problem(camera, f"it has {numbers.size} numbers instead of 21: download it again")
    truth = values.reshape(height, width)
    truth = np.where((truth > 0) & np.isfinite(truth), truth, np.float32(np.nan))
    pose = np.linalg.inv(np.vstack([numbers[9:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]]))
    return Content(read_rgb(image), truth=truth, intrinsics=focal_and_centre(numbers[:9].reshape(3, 3)), pose=pose)


def _tagged(path: Path) -> bytes:
    """The contents of a file after its tag."""
    if not path.is_file():
        raise problem(path.parent, f"{path.name} is missing: unzip MPI-Sintel-depth-training into the same folder")
    content = path.read_bytes()
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != _TAG:
        raise problem(path, f"it does not begin with the tag {_TAG}: download it again")
    return content[4:]
