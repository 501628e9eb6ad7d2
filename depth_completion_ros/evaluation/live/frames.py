"""Decode the messages of one frame that an evaluator has collected."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from ...conversion import decode_compressed_rgb, decode_depth, decode_rgb
from ...errors import InputError
from ...frame import CompletedDepth, RgbdFrame
from ...geometry import depth_on_rgb_grid, without_clipped
from .pairing import COLOUR, REFERENCE

_GREY = 128  # of pictures of frames without a colour image
_UNIT_DIFFERS = 100  # factor between the medians of reference and depth from which on the unit must be wrong


def decode_frame(
    messages: dict[str, Any], unit: float, same_view: bool
) -> tuple[RgbdFrame, np.ndarray, CompletedDepth]:
    """Decode the messages of a frame.

    Args:
        messages: "depth", "sigma", "confidence", "measured", "reference" and "rgb", which may be None.
        unit: Length of one count of the reference depth [m]; 0 = by encoding.
        same_view: Whether the reference depth shows the view of the depth, whatever the frames of both are.

    Returns:
        The frame with the depth that was completed, reference depth (H, W) float32 [m], NaN = unknown, and the result.

    Raises:
        InputError: If the messages do not fit together, or one of them cannot be decoded.
    """
    depth = decode_depth(messages["depth"])
    maps = {name: decode_depth(messages[name]) for name in ("sigma", "confidence", "measured")}
    for name, image in maps.items():
        if image.shape != depth.shape:
            raise InputError(
                "size",
                f"{name} is {_size(image)}, but depth is {_size(depth)}: remap both to topics of one completion node",
            )
    measured = maps["measured"]
    is_measured = measured > 0
    header = messages["depth"].header
    stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
    shown = np.where(is_measured, measured, np.float32(np.nan))
    frame = RgbdFrame(_colours(messages[COLOUR], depth.shape), shown, stamp_ns=stamp_ns, frame_id=header.frame_id)
    reference = _reference(messages, frame, unit, same_view)
    _check_unit(reference, depth)
    return frame, reference, CompletedDepth(depth, maps["sigma"], maps["confidence"], is_measured)


def _reference(messages: dict[str, Any], frame: RgbdFrame, unit: float, same_view: bool) -> np.ndarray:
    """Reference depth on the grid of a frame, (H, W) float32 [m]."""
    message = messages[REFERENCE]
    one, other = message.header.frame_id.lstrip("/"), frame.frame_id.lstrip("/")
    if one and other and one != other and not same_view:
        raise InputError(
            "frame_id",
            f"the reference depth is in the frame {one!r} and the completed depth in {other!r}, so they may show "
            "different views: use the topic that the driver aligns to colour; only if both show the same view, start "
            "this node with same_view set to true",
        )
    reference, _ = without_clipped(decode_depth(message, unit), unit or 0.001, np.inf)
    height, width = frame.depth.shape
    if abs(reference.shape[1] * height / (reference.shape[0] * width) - 1) > 0.02:
        raise InputError(
            "size",
            f"the reference depth is {_size(reference)} and the completed depth {_size(frame.depth)}: the aspect "
            "ratios differ, so they cannot show the same view: use the topic that the driver aligns to colour",
        )
    return depth_on_rgb_grid(RgbdFrame(frame.rgb, reference))


def _check_unit(reference: np.ndarray, depth: np.ndarray) -> None:
    medians = []
    for image in (reference, depth):
        some = image[::4, ::4]
        some = some[(some > 0) & (some < np.inf)]
        if not some.size:
            return
        medians.append(float(np.median(some)))
    ratio = medians[0] / medians[1]
    if not 1 / _UNIT_DIFFERS < ratio < _UNIT_DIFFERS:
        raise InputError(
            "unit",
            f"half of the reference depth is farther than {medians[0]:.4g} m, and half of the completed depth than "
            f"{medians[1]:.4g} m, so their units differ: set unit to the length of one count of the reference depth, "
            "0.001 for millimetres or 1 for metres",
        )


def _colours(message: Any, size: tuple[int, int]) -> np.ndarray:
    """The colour image (H, W, 3), or a grey one if it cannot be used: only pictures show it."""
    if message is not None:
        with suppress(InputError):
            rgb = decode_compressed_rgb(message) if hasattr(message, "format") else decode_rgb(message)
            if rgb.shape[:2] == size:
                return rgb
    return np.full((*size, 3), _GREY, np.uint8)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
