"""Middlebury stereo 2003, 2005/2006 and 2014 as ground truth: depth from disparity.

Source: vision.middlebury.edu/stereo/data and the papers named below.

- 2014 and MiddEval3 (Scharstein et al., GCPR 2014): im0.png, disp0.pfm or disp0GT.pfm, calib.txt with cam0, doffs and
  baseline [mm]; Z = baseline f / (d + doffs), infinite d = unknown.
- 2005 and 2006 (Scharstein & Pal, CVPR 2007): view1.png, disp1.png, dmin.txt; f = 3740 pixels at full size and a
  baseline of 160 mm. The counts are disparities at full size in all sizes, so that Z = 3740 · 160 mm / (d + dmin).
- 2003 (Scharstein & Szeliski, CVPR 2003): im2.png, disp2.png. No calibration is published, so depth is relative: the
  nearest surface of each image is put at 1 m.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from .dataset import Content, Dataset, Entry, first_file, missing, problem, read_numbers, read_rgb

_FOCAL_PX, _BASELINE_M = 3740.0, 0.16
_CITE = "Scharstein et al., High-Resolution Stereo Datasets with Subpixel-Accurate Ground Truth, GCPR 2014"
_RELATIVE = (
    "no calibration is published for Middlebury 2003: the nearest surface is taken as 1 m, so errors in metres have no "
    "meaning; compare models, rel and delta"
)
_DISPARITIES = {"disp0.pfm": "2014", "disp0GT.pfm": "2014", "disp1.png": "2005", "disp2.png": "2003",
                "disp2.pgm": "2003"}  # fmt: skip


def open_middlebury(path: Path) -> Dataset:
    """Open all scenes in or below a folder; the left view of each.

    Raises:
        InputError: If there are no scenes.
    """
    scenes: dict[Path, tuple[str, Path]] = {}
    for name, year in _DISPARITIES.items():
        for file in path.rglob(name):
            scenes.setdefault(file.parent, (year, file))
    if not scenes:
        raise missing(path, "scenes with disp0.pfm and calib.txt, disp1.png and dmin.txt, or disp2.png")
    readers = {"2014": _read_2014, "2005": _read_2005, "2003": _read_2003}
    colours = {"2014": ("im0",), "2005": ("view1",), "2003": ("im2",)}
    entries = []
    for folder, (year, file) in sorted(scenes.items()):
        names = [folder / f"{stem}{ending}" for stem in colours[year] for ending in (".png", ".ppm", ".pgm")]
        image = first_file(names) or names[0]
        entries.append(Entry(str(folder.relative_to(path)), image, partial(readers[year], image, file)))
    note = _RELATIVE if any(year == "2003" for year, _ in scenes.values()) else ""
    sensor = "camera and structured light"
    return Dataset(f"middlebury-{path.resolve().name}", sensor, "kinect", path, entries, _CITE, note)


def read_pfm(path: Path) -> np.ndarray:
    """(H, W) float32 of a PFM file with one channel. As in Middlebury's code, values are not multiplied by its scale.

    Raises InputError if it is not such a file.
    """
    content = path.read_bytes()
    header = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?[\d.eE+-]+)\s", content)
    if header is None:
        raise problem(path, "it is not a PFM file with one channel ('Pf'): download it again")
    width, height = int(header[1]), int(header[2])
    values = np.frombuffer(content, "<f4" if header[3].startswith(b"-") else ">f4", offset=header.end())
    if values.size != width * height:
        raise problem(path, f"it has {values.size} values for {width}x{height} pixels: download it again")
    return values.reshape(height, width)[::-1].astype(np.float32)  # the bottom row comes first


def _read_2014(image: Path, file: Path) -> Content:
    calibration = file.parent / "calib.txt"
    if not calibration.is_file():
        raise problem(file.parent, "calib.txt is missing: copy it from the data set")
    values = dict(re.findall(r"^(\w+)\s*=\s*(.+?)\s*$", calibration.read_text(encoding="utf-8"), re.MULTILINE))
    try:
        matrix = [float(number) for number in re.findall(r"[-\d.eE+]+", values["cam0"])]
        fx, cx, fy, cy = (matrix[position] for position in (0, 2, 4, 5))
        doffs, baseline = float(values["doffs"]), float(values["baseline"])
    except (KeyError, IndexError, ValueError) as error:
        raise problem(calibration, f"it lacks cam0, doffs or baseline ({error!r}): copy it again") from error
    disparity = read_pfm(file)
    return Content(read_rgb(image), truth=_depth(disparity + doffs, fx * baseline / 1000), intrinsics=(fx, fy, cx, cy))


def _read_2005(image: Path, file: Path) -> Content:
    counts = _counts(file)
    dmin = float(read_numbers(file.parent / "dmin.txt", (1,))[0])
    # The principal point is not published.
    return Content(read_rgb(image), truth=_depth(np.where(counts > 0, counts + dmin, 0), _FOCAL_PX * _BASELINE_M))


def _read_2003(image: Path, file: Path) -> Content:
    counts = _counts(file)
    return Content(read_rgb(image), truth=_depth(counts, float(counts.max())))


def _counts(file: Path) -> np.ndarray:
    counts = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if counts is None or counts.dtype != np.uint8 or counts.ndim != 2:
        raise problem(file, "it is not an 8-bit image with one channel: download it again")
    return counts.astype(np.float32)


def _depth(disparity: np.ndarray, product: float) -> np.ndarray:
    """Depth [m] from disparity [pixels] and focal length times baseline [pixels · m]; NaN where it is unknown."""
    known = (disparity > 0) & np.isfinite(disparity)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, product / disparity, np.nan).astype(np.float32)
