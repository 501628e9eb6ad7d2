"""What published protocols do to images before they are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..frame import Intrinsics, RgbdFrame
from .samples import Sample

_FULL = 640, 480
_WEIGHTS = np.array([1, 3, 3, 1]) / 8  # of Pillow's bilinear filter when it halves an image: it widens with the step


def at_half_size(sample: Sample, width: int, height: int) -> Sample:
    """Halve a sample of 640x480 pixels, and crop the centre.

    The images are resized as torchvision's ``Resize(240)`` does it for Pillow images (bilinear, antialiased), with
    which NLSPN and others load NYU Depth v2. A depth is missing if one of the sixteen that it is the mean of is
    missing.

    Args:
        sample: The sample.
        width: Width of the result [pixels].
        height: Height of the result [pixels].

    Raises:
        InputError: With the cause "protocol", if the image has another size.
    """
    frame = sample.frame
    if frame.rgb.shape[1::-1] != _FULL:
        raise InputError(
            "protocol",
            f"this protocol is defined for images of 640x480 pixels, not {frame.rgb.shape[1]}x{frame.rgb.shape[0]}: "
            "use sparse500 or given",
        )
    left, top = (_FULL[0] // 2 - width) // 2, (_FULL[1] // 2 - height) // 2
    window = slice(top, top + height), slice(left, left + width)
    return Sample(
        RgbdFrame(
            np.ascontiguousarray(_halved(frame.rgb)[window]),
            np.ascontiguousarray(_halved(frame.depth)[window]),
            _halved_intrinsics(frame.intrinsics, left, top, width, height),
            frame.stamp_ns,
            frame.frame_id,
        ),
        None if sample.ground_truth is None else np.ascontiguousarray(_halved(sample.ground_truth)[window]),
    )


def _halved(image: np.ndarray) -> np.ndarray:
    """Rows after columns, as Pillow does it; bytes are rounded after each of the two."""
    for axis in (1, 0):
        size = image.shape[axis]
        positions = 2 * np.arange(size // 2)[:, None] + np.arange(-1, 3)
        inside = (positions >= 0) & (positions < size)
        weights = np.where(inside, _WEIGHTS, 0)
        weights /= weights.sum(axis=1, keepdims=True)
        rows = np.moveaxis(image, axis, 0)[np.clip(positions, 0, size - 1)].astype(np.float64)
        # At the border, a neighbour that does not exist is replaced by one that does, with no weight.
        mean = np.einsum("nk,nk...->n...", weights, rows)
        if image.dtype == np.uint8:
            mean = np.floor(mean + 0.5)
        image = np.moveaxis(mean, 0, axis).astype(image.dtype)
    return image


def _halved_intrinsics(
    intrinsics: Intrinsics | None, left: int, top: int, width: int, height: int
) -> Intrinsics | None:
    if intrinsics is None:
        return None
    return replace(
        intrinsics,
        fx=intrinsics.fx / 2,
        fy=intrinsics.fy / 2,
        cx=(intrinsics.cx + 0.5) / 2 - 0.5 - left,
        cy=(intrinsics.cy + 0.5) / 2 - 0.5 - top,
        width=width,
        height=height,
    )
