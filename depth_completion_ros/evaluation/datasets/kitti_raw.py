"""KITTI raw and object detection: LiDAR sweeps (.bin), projected into the left colour camera by the calibration.

Source: the raw development kit (Geiger et al., Vision meets Robotics: The KITTI Dataset, IJRR 2013) and
devkit_object/readme.txt. A sweep is (N, 4) float32: x y z [m] reflectance. A pixel of the rectified camera 2 is
P_rect_02 R_rect_00 (R|T) x, with (R|T) of calib_velo_to_cam.txt; P2 R0_rect Tr_velo_to_cam x for objects.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np

from ...frame import Intrinsics
from ...geometry import moved, project_points
from .dataset import Content, Dataset, Entry, first_file, focal_and_centre, images_in, missing, problem, read_rgb
from .kitti import PROFILE, SENSOR, calibrated, read_calibration

_CITE = "Geiger et al., Vision meets Robotics: The KITTI Dataset, IJRR 2013"


def open_raw(path: Path) -> Dataset:
    """Open one drive.

    Args:
        path: ``DATE/DRIVE``, with ``image_02/data`` and ``velodyne_points/data``; the calibration lies in ``DATE``.

    Raises:
        InputError: If the folder has no such files, or no calibration.
    """
    folder, sweeps = path / "image_02" / "data", path / "velodyne_points" / "data"
    if not (folder.is_dir() and sweeps.is_dir()):
        raise missing(path, "image_02/data and velodyne_points/data: give DATE/DRIVE, a drive of KITTI raw (synced)")
    matrices = _raw_calibration(path)
    images = images_in(folder)
    stamps = _stamps(path / "image_02" / "timestamps.txt", len(images))
    entries = [
        Entry(image.stem, image, partial(_read, image, sweeps / f"{image.stem}.bin", *matrices), stamp)
        for image, stamp in zip(images, stamps, strict=True)
        if (sweeps / f"{image.stem}.bin").is_file()  # some drives lack a few sweeps
    ]
    return Dataset(f"kitti-raw-{path.resolve().name}", SENSOR, PROFILE, path, entries, _CITE)


def open_object(path: Path) -> Dataset:
    """Open the object detection images.

    Args:
        path: ``training`` or ``testing``, with ``image_2``, ``velodyne`` and ``calib``, or the folder above.

    Raises:
        InputError: If the folder has no such folders.
    """
    folder = next((each for each in (path, path / "training") if (each / "image_2").is_dir()), path)
    if not all((folder / name).is_dir() for name in ("image_2", "velodyne", "calib")):
        raise missing(path, "image_2, velodyne and calib: give the folder training of the object benchmark")
    entries = [
        Entry(image.stem, image, partial(_read_object, image, folder)) for image in images_in(folder / "image_2")
    ]
    return Dataset(f"kitti-object-{folder.name}", SENSOR, PROFILE, folder, entries, _CITE)


def _raw_calibration(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """P (3, 4) of the rectified camera 2, and (4, 4) from the LiDAR to the rectified camera 0."""
    files = []
    for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt"):
        found = first_file(folder / name for folder in (path.resolve().parent, path))
        if found is None:
            raise problem(path, f"{name} is neither in it nor in the folder above: unzip DATE_calib.zip there")
        files.append((read_calibration(found), found))
    (cameras, cameras_file), (lidar, lidar_file) = files
    motion = np.hstack([calibrated(lidar, "R", (3, 3), lidar_file), calibrated(lidar, "T", (3, 1), lidar_file)])
    rotation = calibrated(cameras, "R_rect_00", (3, 3), cameras_file)
    return calibrated(cameras, "P_rect_02", (3, 4), cameras_file), _rectified(rotation, motion)


def _rectified(rotation: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return np.vstack([rotation @ motion, [0.0, 0.0, 0.0, 1.0]])


def _read_object(image: Path, folder: Path) -> Content:
    file = folder / "calib" / f"{image.stem}.txt"
    values = read_calibration(file)
    motion = _rectified(calibrated(values, "R0_rect", (3, 3), file), calibrated(values, "Tr_velo_to_cam", (3, 4), file))
    return _read(image, folder / "velodyne" / f"{image.stem}.bin", calibrated(values, "P2", (3, 4), file), motion)


def _read(image: Path, sweep: Path, projection: np.ndarray, motion: np.ndarray) -> Content:
    rgb, values = read_rgb(image), focal_and_centre(projection)
    if not sweep.is_file() or sweep.stat().st_size % 16:
        raise problem(sweep, "it is missing or not a list of x y z reflectance in float32: copy it again")
    points = np.fromfile(sweep, np.float32).reshape(-1, 4)
    # The last column of P is K times the position of the camera relative to camera 0.
    camera = np.eye(4)
    camera[:3, 3] = np.linalg.solve(projection[:, :3], projection[:, 3])
    camera = camera @ motion
    intrinsics = Intrinsics(*values, width=rgb.shape[1], height=rgb.shape[0])
    depth = project_points(moved(points[:, :3], camera), intrinsics)
    return Content(rgb, depth, intrinsics=values, points=points, camera_from_lidar=camera)


def _stamps(file: Path, count: int) -> list[int | None]:
    """Stamps of the images [ns]; a LiDAR turns ten times a second, so without the file they are 0.1 s apart."""
    if not file.is_file():
        return [1_000_000_000 + position * 100_000_000 for position in range(count)]
    lines = file.read_text(encoding="utf-8").split("\n")
    stamps: list[int | None] = []
    for line in filter(None, map(str.strip, lines)):
        time, _, fraction = line.partition(".")
        try:
            seconds = datetime.strptime(time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
            stamps.append(round(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9]))
        except ValueError as error:
            raise problem(file, f"the line {line!r} is not a time ({error}): copy it again") from error
    if len(stamps) != count:
        raise problem(file, f"it has {len(stamps)} times for {count} images: copy the whole drive")
    return stamps
