"""Published data sets, read as they are downloaded: one file for each format, chosen as ``FORMAT:PATH``.

The format is named and not recognised from the folder's layout: many layouts look alike (``color/`` and ``depth/``),
but a count is 1/256, 1/1000 or 1/5000 m, and a wrong guess would be wrong depth without any message.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ...errors import InputError
from .dataset import Dataset

# The module of each format, and the function in it that takes a path and returns a Dataset.
_FORMATS = {
    "kitti": ("kitti", "open_depth_completion"),
    "kitti-raw": ("kitti_raw", "open_raw"),
    "kitti-object": ("kitti_raw", "open_object"),
    "nyu": ("nyu", "open_nyu"),
    "sunrgbd": ("sunrgbd", "open_sunrgbd"),
    "tum": ("tum", "open_tum"),
    "scannet": ("scannet", "open_scannet"),
    "diml": ("diml", "open_diml"),
    "middlebury": ("middlebury", "open_middlebury"),
    "sintel": ("sintel", "open_sintel"),
    "images": ("images", "open_images"),
}
FORMATS = tuple(_FORMATS)
"""Names of the formats."""


def is_dataset(source: str | Path) -> bool:
    """Whether a source on the command line is ``FORMAT:PATH``."""
    return str(source).partition(":")[0] in _FORMATS and ":" in str(source)


def open_dataset(source: str | Path, unit: float | None = None) -> Dataset:
    """Open a data set.

    Args:
        source: ``FORMAT:PATH``, with a format of ``FORMATS``.
        unit: Length of one count of 16-bit depth [m], for the format ``images``; None = millimetres. All others define
            their unit.

    Raises:
        InputError: With the cause "dataset", if the path does not exist or does not have the layout of the format.
        ConfigurationError: If a package that reads the format is not installed.
    """
    name, _, place = str(source).partition(":")
    path = Path(place).expanduser()
    if not place or not path.exists():
        raise InputError("dataset", f"{source}: {place or 'the path'} does not exist: give {name}:PATH")
    module, function = _FORMATS[name]
    opened: Dataset = getattr(import_module(f".{module}", __name__), function)(
        path, **({"unit": unit} if name == "images" and unit is not None else {})
    )
    return opened
