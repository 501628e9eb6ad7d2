"""TUM RGB-D: sequences of a Kinect or Xtion with the poses of a motion capture system.

Source: Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012, its page "File formats" and its
tool associate.py. Depth is 16-bit PNG, depth [m] = count / 5000, 0 = none, registered to the colour image. rgb.txt and
depth.txt list "stamp file"; images are paired by stamp, nearest first, up to 0.02 s apart. groundtruth.txt lists "stamp
tx ty tz qx qy qz qw", the pose of the colour camera, which is interpolated at the stamp of the colour image.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import partial
from pathlib import Path

import numpy as np

from ...bag.folders import FIXED_FRAME_ID, FRAME_ID
from ...bag.transforms import BagTransforms
from .dataset import Content, Dataset, Entry, metres, missing, problem, read_counts, read_rgb

_UNIT = 1 / 5000
_SLOP_NS = 20_000_000  # max_difference of associate.py
# fx fy cx cy of the colour cameras, by a word in the name of the sequence; otherwise those of OpenNI's driver.
_CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
_DEFAULT = (525.0, 525.0, 319.5, 239.5)
_CITE = "Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012"


def open_tum(path: Path) -> Dataset:
    """Open one sequence.

    Args:
        path: The folder with rgb.txt, depth.txt and usually groundtruth.txt. Its name determines the intrinsics
            (``rgbd_dataset_freiburg1_desk``: freiburg1).

    Raises:
        InputError: If the lists are missing, are not valid or have no pairs.
    """
    if not ((path / "rgb.txt").is_file() and (path / "depth.txt").is_file()):
        raise missing(path, "rgb.txt and depth.txt: give the folder of one sequence")
    rgb, depth = (_listed(path / name) for name in ("rgb.txt", "depth.txt"))
    poses = _poses(path / "groundtruth.txt")
    name = path.resolve().name
    camera = next((values for word, values in _CAMERAS.items() if word in name), _DEFAULT)
    entries = [
        Entry(
            rgb[colour].stem,
            rgb[colour],
            partial(_read, rgb[colour], depth[measured], camera, poses, colour),
            colour,
        )
        for colour, measured in associate(sorted(rgb), sorted(depth))
    ]
    if not entries:
        raise problem(path, "no colour image has a depth image within 0.02 s: copy rgb.txt and depth.txt again")
    note = "" if camera is not _DEFAULT else "no freiburg1, 2 or 3 in the name of the folder: focal length 525 pixels"
    return Dataset(f"tum-{name}", "Microsoft Kinect v1", "kinect", path, entries, _CITE, note)


def associate(first: list[int], second: list[int]) -> list[tuple[int, int]]:
    """Pairs of stamps [ns] that differ by less than 0.02 s, in order of time. The nearest are paired first."""
    candidates = [
        (abs(stamp - other), stamp, other)
        for stamp in first
        for other in second[bisect_right(second, stamp - _SLOP_NS) : bisect_left(second, stamp + _SLOP_NS)]
    ]
    used: set[int] = set()
    taken: set[int] = set()
    pairs = []
    for _, stamp, other in sorted(candidates):
        if stamp not in used and other not in taken:
            used.add(stamp)
            taken.add(other)
            pairs.append((stamp, other))
    return sorted(pairs)


def _read(image: Path, depth: Path, camera: tuple[float, ...], poses: BagTransforms, stamp_ns: int) -> Content:
    pose = poses.pose(FIXED_FRAME_ID, FRAME_ID, stamp_ns)
    return Content(read_rgb(image), metres(read_counts(depth), _UNIT), intrinsics=camera, pose=pose)


def _listed(file: Path) -> dict[int, Path]:
    return {_nanoseconds(row[0], file): file.parent / row[1] for row in _rows(file, 2)}


def _poses(file: Path) -> BagTransforms:
    poses = BagTransforms()
    if file.is_file():
        for stamp, *pose in _rows(file, 8):
            try:
                values = np.array(pose, np.float64)
            except ValueError as error:
                raise problem(file, f"a pose is not numbers ({error}): copy it again") from error
            poses.add(FIXED_FRAME_ID, FRAME_ID, _nanoseconds(stamp, file), values, static=False)
    return poses


def _rows(file: Path, columns: int) -> list[list[str]]:
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            rows.append(line.replace(",", " ").split())
            if len(rows[-1]) != columns:
                raise problem(file, f"the line {line!r} does not have {columns} columns: copy it again")
    return rows


def _nanoseconds(seconds: str, file: Path) -> int:
    """Exact for any number of decimals, unlike a float."""
    whole, _, fraction = seconds.partition(".")
    try:
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])
    except ValueError as error:
        raise problem(file, f"{seconds!r} is not a stamp in seconds: copy it again") from error
