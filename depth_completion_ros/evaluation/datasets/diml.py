"""DIML/CVL RGB-D: indoor frames of a Kinect v2, and outdoor frames of a stereo camera.

Source: Cho et al., DIML/CVL RGB-D Dataset: 2M RGB-D Images of Natural Indoor and Outdoor Scenes, 2021, and its
technical report. All depth is 16-bit PNG in millimetres, 0 = none. Three layouts: the whole indoor set with
col/*_c.png, warp_png/*_wd.png (measured, in the view of the colour image) and up_png/*_ud.png (filled); its samples
with color/*_c.png and depth_filled/*_depth_filled.png; outdoor samples with outleft/* and depthmap/*.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .dataset import MILLIMETRES, Content, Dataset, Entry, images_in, metres, missing, read_counts, read_rgb

_CITE = "Cho et al., DIML/CVL RGB-D Dataset: 2M RGB-D Images of Natural Indoor and Outdoor Scenes, 2021"
# Folder and ending of colour, measured depth and reference depth.
_LAYOUTS = (
    (("col", "_c.png"), ("warp_png", "_wd.png"), ("up_png", "_ud.png")),
    (("color", "_c.png"), None, ("depth_filled", "_depth_filled.png")),
    (("outleft", ".png"), None, ("depthmap", ".png")),
)
_OUTDOOR = "outleft"
_NOTE = "the ground truth is the depth that DIML filled or computed by stereo, not an independent measurement"


def open_diml(path: Path) -> Dataset:
    """Open all frames in or below a folder.

    Args:
        path: A scene, a part such as ``train/HR``, or all of the indoor or of the outdoor set.

    Raises:
        InputError: If no folder below has one of the layouts.
    """
    entries, outdoor = [], True
    for (colour, ending), measured, reference in _LAYOUTS:
        for folder in sorted(each for each in [path / colour, *path.rglob(f"*/{colour}")] if each.is_dir()):
            scene = folder.parent
            if not (scene / reference[0]).is_dir():
                continue
            outdoor &= colour == _OUTDOOR
            for image in images_in(folder):
                stem = image.name.removesuffix(ending)
                depth = measured and scene / measured[0] / f"{stem}{measured[1]}"
                truth = scene / reference[0] / f"{stem}{reference[1]}"
                entries.append(Entry(str(image.relative_to(path)), image, partial(_read, image, depth, truth)))
    if not entries:
        raise missing(path, "col/ and up_png/, color/ and depth_filled/, or outleft/ and depthmap/ in or below it")
    sensor, profile = ("ZED stereo camera", "lidar") if outdoor else ("Microsoft Kinect v2", "tof")
    return Dataset(f"diml-{path.resolve().name}", sensor, profile, path, entries, _CITE, _NOTE)


def _read(image: Path, depth: Path | None, truth: Path) -> Content:
    return Content(
        read_rgb(image),
        metres(read_counts(depth), MILLIMETRES) if depth is not None and depth.is_file() else None,
        metres(read_counts(truth), MILLIMETRES),
    )
