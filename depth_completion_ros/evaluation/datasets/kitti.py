"""KITTI depth completion: sparse LiDAR depth, image, semi-dense ground truth.

Source: devkit/readme.txt of the depth completion benchmark (Uhrig et al., Sparsity Invariant CNNs, 3DV 2017). Depth is
16-bit PNG, depth [m] = count / 256, 0 = none; intrinsics/*.txt holds K row by row; P_rect_0X in calib_cam_to_cam.txt.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from .dataset import (
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

SENSOR, PROFILE = "Velodyne HDL-64E LiDAR and colour camera", "lidar"
_UNIT = 1 / 256
_CITE = "Uhrig et al., Sparsity Invariant CNNs, 3DV 2017"
_SELECTIONS = (".", "depth_selection/val_selection_cropped", "val_selection_cropped")


def open_depth_completion(path: Path) -> Dataset:
    """Open the selected validation images, the test images, or drives.

    Args:
        path: ``val_selection_cropped`` or ``test_depth_completion_anonymous``, the folder with the former, or a folder
            of drives (``train``, ``val``) with ``DRIVE/proj_depth/velodyne_raw/image_0X``.

    Raises:
        InputError: If the folder is none of these.
    """
    for name in _SELECTIONS:
        if (path / name / "velodyne_raw").is_dir() and (path / name / "image").is_dir():
            return _dataset(path / name, _selected(path / name))
    drives = sorted(path.glob("**/proj_depth/velodyne_raw/image_0[23]/*.png"))
    if not drives:
        raise missing(path, "image/ and velodyne_raw/, or DRIVE/proj_depth/velodyne_raw/image_02: unzip "
                      "data_depth_selection.zip, and give val_selection_cropped")  # fmt: skip
    return _dataset(path, [_of_drive(path, depth) for depth in drives])


def read_calibration(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a calibration file with lines ``NAME: NUMBERS``. Raises InputError if it is missing."""
    if not path.is_file():
        raise problem(path.parent, f"{path.name} is missing: copy the calibration from the data set")
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, numbers = line.partition(":")
        try:
            values[name.strip()] = np.array(numbers.split(), np.float64)
        except ValueError:
            continue  # dates
    return values


def calibrated(values: dict[str, np.ndarray], name: str, shape: tuple[int, int], path: Path) -> np.ndarray:
    """An array of a calibration file. Raises InputError if the file does not have it."""
    array = values.get(name, np.empty(0))
    if array.size != shape[0] * shape[1]:
        raise problem(path, f"it has no {name} with {shape[0] * shape[1]} numbers: copy it again")
    return array.reshape(shape)


def _dataset(folder: Path, entries: list[Entry]) -> Dataset:
    return Dataset(f"kitti-{folder.name}", SENSOR, PROFILE, folder, entries, _CITE)


def _selected(folder: Path) -> list[Entry]:
    """The files are named DRIVE_image_ID_image_0X.png, or just ID.png in the anonymous test set."""
    entries = []
    for image in images_in(folder / "image"):
        depth = folder / "velodyne_raw" / image.name.replace("_image_", "_velodyne_raw_", 1)
        truth = folder / "groundtruth_depth" / image.name.replace("_image_", "_groundtruth_depth_", 1)
        calibration = folder / "intrinsics" / f"{image.stem}.txt"
        wanted = truth if truth.parent.is_dir() else None
        entries.append(Entry(image.stem, image, partial(_read_selected, image, depth, wanted, calibration)))
    return entries


def _read_selected(image: Path, depth: Path, truth: Path | None, calibration: Path) -> Content:
    matrix = read_numbers(calibration, (3, 3))
    return _content(image, depth, truth, matrix)


def _of_drive(path: Path, depth: Path) -> Entry:
    """Images and calibration lie in the drive's folder, or in DATE/DRIVE and DATE as KITTI raw has them."""
    camera, drive = depth.parent.name, depth.parents[3]
    date = drive.name[:10]
    bases = [drive, *(above / date / drive.name for above in (path, path.parent))]
    images = [base / camera / "data" / depth.name for base in bases]
    calibrations = [folder / "calib_cam_to_cam.txt" for base in bases for folder in (base, base.parent)]
    truth = drive / "proj_depth" / "groundtruth" / camera / depth.name
    image = first_file(images) or images[0]
    calibration = first_file(calibrations) or calibrations[0]
    read = partial(_read_of_drive, image, depth, truth if truth.is_file() else None, calibration, camera[-2:])
    return Entry(f"{drive.name}_{camera}_{depth.stem}", image, read)


def _read_of_drive(image: Path, depth: Path, truth: Path | None, calibration: Path, camera: str) -> Content:
    matrix = calibrated(read_calibration(calibration), f"P_rect_{camera}", (3, 4), calibration)
    return _content(image, depth, truth, matrix)


def _content(image: Path, depth: Path, truth: Path | None, matrix: np.ndarray) -> Content:
    reference = None if truth is None else _depth(truth)
    return Content(read_rgb(image), _depth(depth), reference, focal_and_centre(matrix))


def _depth(path: Path) -> np.ndarray:
    counts = read_counts(path)
    if 0 < counts.max() <= 255:  # the check of the devkit: such a file once had 8 bits
        raise problem(path, f"its largest count is {counts.max()}, less than 1 m: give the original 16-bit file")
    return metres(counts, _UNIT)
