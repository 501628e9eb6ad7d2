"""Decode compressed images: JPEG, PNG, TIFF and others with OpenCV, RVL here; and detect video. No ROS."""

from __future__ import annotations

import re
import struct
from typing import Any

import cv2
import numpy as np

from .errors import InputError

_VIDEO = re.compile(r"h\.?26[45]|hevc|av1|vp[89]|mpeg|ffmpeg|theora", re.IGNORECASE)
_H264_START = (b"\0\0\0\1", b"\0\0\1")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RVL_SIZE = struct.Struct("<II")  # columns, rows
# A JPEG marker within its compressed data: neither a stuffed 0xFF byte, nor a restart, nor a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def decode_image(role: str, data: Any, flags: int) -> np.ndarray:
    """Decode an image like ``cv2.imdecode``.

    Data after the end of the image is ignored, such as padding or additional data of a driver.

    Raises:
        InputError: With the cause "truncated", if the image is not complete.
    """
    data = np.frombuffer(data, np.uint8)
    # The decoders fill a missing end with grey or noise and only print a warning.
    try:
        image = cv2.imdecode(data, flags) if _is_whole(data.tobytes()) else None
    except cv2.error:  # OpenCV 4, for a damaged header
        image = None
    if image is None:
        raise InputError(
            "truncated",
            f"the {data.size} bytes of the compressed {role} image are not a complete image (JPEG, PNG, TIFF, …): "
            "check whether its driver sends another format, or only a part of each image",
        )
    return image


def decode_rvl(data: np.ndarray) -> np.ndarray:
    """Decode RVL, which compressedDepth may contain, to counts (h, w) uint16.

    Wilson, "Fast Lossless Depth Image Compression" (ISS 2017). The data repeats: the length of a run of zeros, the
    length of a run of other values, and the difference of each of these values from the previous one. All numbers are
    stored in groups of three bits.

    Raises:
        InputError: With the cause "truncated".
    """
    if data.size < _RVL_SIZE.size:
        raise InputError(
            "truncated", f"RVL depth has only {data.size} bytes, less than its header: check its publisher"
        )
    columns, rows = _RVL_SIZE.unpack(data[: _RVL_SIZE.size].tobytes())
    pixels, words = columns * rows, data[_RVL_SIZE.size :]
    # A word of 32 bits consists of eight groups. A run may have up to 2^32 pixels, so the size must be checked first.
    if pixels == 0 or pixels > 64 << 20:
        raise InputError(
            "truncated", f"RVL depth has a size of {columns}x{rows} pixels: its data is damaged, check its publisher"
        )
    values = _variable_lengths(words[: words.size // 4 * 4])
    numbers = values.tolist()  # Python integers are faster when used one by one
    heads: list[int] = []  # indices of the lengths of each run of zeros
    place, at = 0, 0
    while place < pixels and at + 1 < len(numbers):
        heads.append(at)
        place += numbers[at] + numbers[at + 1]
        at += 2 + numbers[at + 1]
    if place != pixels or at > len(numbers):
        raise InputError("truncated", f"RVL depth of {columns}x{rows} is cut or damaged: check its publisher")
    runs = np.stack([values[heads], values[np.array(heads) + 1]], axis=1)
    odd = np.arange(runs.size) % 2 == 1
    occupied = np.repeat(odd, runs.ravel())
    runs[:, 0] = 2  # two lengths, then the differences of the second
    is_difference = np.repeat(odd, runs.ravel())
    differences = values[:at][is_difference]
    counts = np.zeros(pixels, np.uint16)
    # Even values encode differences >= 0, odd values negative differences.
    counts[occupied] = np.cumsum((differences >> 1) ^ -(differences & 1)).astype(np.uint16)
    return counts.reshape(rows, columns)


def _variable_lengths(words: np.ndarray) -> np.ndarray:
    """Decode variable-length numbers (N,) int64.

    They are stored in little-endian words of eight groups, the highest group first. A group has three bits of the
    number, and its highest bit says whether the next group continues it.
    """
    swapped = words.reshape(-1, 4)[:, ::-1].ravel()
    groups = np.empty(2 * swapped.size, np.uint8)
    groups[0::2], groups[1::2] = swapped >> 4, swapped & 15
    last = np.flatnonzero(groups < 8)
    first = np.concatenate([[0], last[:-1] + 1]) if last.size else last
    longest = last - first
    groups &= 7
    values = groups[first].astype(np.int64)
    # A difference has 16 bits and a sign, a run at most 32 bits. Longer numbers are damaged and are truncated.
    for k in range(1, min(int(longest.max(initial=0)), 11) + 1):
        longer = np.flatnonzero(longest >= k)
        values[longer] |= groups[first[longer] + k].astype(np.int64) << 3 * k
    return values


def video_name(message_format: str, data: Any) -> str:
    """The kind of video in a CompressedImage; "" if it is an image."""
    if found := _VIDEO.search(message_format):
        return found.group().lower()
    return "h264 or h265" if bytes(data[:4]).startswith(_H264_START) else ""


def _is_whole(data: bytes) -> bool:
    """Whether a JPEG or PNG is complete. OpenCV itself rejects other formats if they are truncated."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg_ends(data)
    if data.startswith(_PNG_SIGNATURE):
        return _png_ends(data)
    return len(data) > 0


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG has its end marker. Skips segments by their length, as a preview in one has an end marker too."""
    at = 2
    while (marker := _MARKER.search(data, at)) is not None:
        kind, at = data[marker.end() - 1], marker.end()
        if kind == _END_OF_IMAGE:
            return True
        at += int.from_bytes(data[at : at + 2], "big")
    return False


def _png_ends(data: bytes) -> bool:
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(data):  # length, name, data, checksum
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False
