"""Read frames from folders and bags, and resize them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from ..frame import RgbdFrame
from .folders import read_folder
from .reader import read_frames


def read_source(path: Path) -> Iterator[RgbdFrame]:
    """The frames of a folder with a meta.json, or of a bag. Raises InputError if they cannot be read."""
    if (path / "meta.json").is_file():
        return (sample.frame for sample in read_folder(path))
    return read_frames(path)


def resized(frame: RgbdFrame, width: int, height: int) -> RgbdFrame:
    """A frame at another size, without intrinsics. Depth is not interpolated: each value is a measured one."""
    rgb = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA)
    return RgbdFrame(rgb=rgb, depth=cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST))
