"""sensor_msgs to NumPy and back. Messages are only looked at by their fields, so those of rclpy and of rosbags both do.

Decoded arrays may share the message's memory. Every function raises InputError for a message that cannot be used.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from .errors import InputError
from .frame import Intrinsics

# encoding -> (dtype, channels, OpenCV conversion to RGB; None where it is RGB already). ROS names a Bayer pattern by
# its first two rows from the corner, OpenCV by the 2x2 block one pixel further in: rggb is "BG".
_RGB_ENCODINGS: dict[str, tuple[type, int, int | None]] = {
    "rgb8": (np.uint8, 3, None),
    "bgr8": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "8UC4": (np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "rgb16": (np.uint16, 3, None),
    "bgr16": (np.uint16, 3, cv2.COLOR_BGR2RGB),
    "bayer_rggb8": (np.uint8, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (np.uint8, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (np.uint8, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (np.uint8, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
}
_DEPTH_ENCODINGS: dict[str, type] = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}

# compressed_depth_image_transport puts this before the PNG: int32 format, float32 quantisation A and B.
_COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")
_POINT_FIELD_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def decode_rgb(message: Any) -> np.ndarray:
    """sensor_msgs/Image to (H, W, 3) uint8, red first. Causes: "encoding", "size", "truncated"."""
    if message.encoding not in _RGB_ENCODINGS:
        raise _wrong_encoding("rgb", message.encoding, _RGB_ENCODINGS, _DEPTH_ENCODINGS)
    dtype, channels, to_rgb = _RGB_ENCODINGS[message.encoding]
    pixels = _pixels(message, "rgb", dtype, channels)
    if channels == 2 and message.width % 2:
        raise InputError("size", f"rgb image of {message.encoding!r} is {message.width} pixels wide: it must be even")
    if pixels.dtype != np.uint8:
        pixels = (pixels >> 8).astype(np.uint8)
    try:
        return pixels if to_rgb is None else cv2.cvtColor(pixels, to_rgb)
    except cv2.error as error:  # yuv422 of odd width, a Bayer image of one row
        raise InputError(
            "size", f"rgb image of {message.width}x{message.height} cannot hold encoding {message.encoding!r}"
        ) from error


def decode_depth(message: Any, unit: float = 0.0) -> np.ndarray:
    """sensor_msgs/Image to (h, w) float32 metres, missing = NaN (REP 118); what is not positive may stay as it is.

    unit: metres per count; 0: as REP 118 has it, 0.001 for 16 bits and 1 for 32FC1. Causes: "encoding", "size",
    "truncated".
    """
    if message.encoding not in _DEPTH_ENCODINGS:
        raise _wrong_encoding("depth", message.encoding, _DEPTH_ENCODINGS, _RGB_ENCODINGS)
    depth = _pixels(message, "depth", _DEPTH_ENCODINGS[message.encoding], 1)
    return _metres(depth, unit)


def decode_compressed_rgb(message: Any) -> np.ndarray:
    """sensor_msgs/CompressedImage (JPEG or PNG) to (H, W, 3) uint8, red first. Causes: "encoding", "truncated"."""
    # image_transport names the encoding first: "16UC1; png compressed", "16UC1; compressedDepth png"
    if "compressedDepth" in message.format or message.format.partition(";")[0].strip() in _DEPTH_ENCODINGS:
        raise InputError(
            "encoding", f"rgb image has format {message.format!r}, which is depth: are the topics swapped?"
        )
    return cv2.cvtColor(_decoded("rgb", message.data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def decode_compressed_depth(message: Any, unit: float = 0.0) -> np.ndarray:
    """sensor_msgs/CompressedImage of depth to (h, w) float32 metres, missing = NaN.

    compressedDepth as image_transport writes it (16UC1, or 32FC1 quantised by inverse depth) or a plain 16-bit PNG.
    unit: as of ``decode_depth``. Causes: "encoding", "truncated".
    """
    data = np.frombuffer(message.data, np.uint8)
    if "compressedDepth" not in message.format:
        return _metres(_sixteen_bit(message.format, data), unit)
    if "rvl" in message.format:
        raise InputError(
            "encoding", f"depth has format {message.format!r}: set the publisher's compressedDepth format to png"
        )
    if data.size <= _COMPRESSED_DEPTH_HEADER.size:
        raise InputError("truncated", f"compressedDepth holds {data.size} bytes, not even its header and an image")
    _, a, b = _COMPRESSED_DEPTH_HEADER.unpack(data[: _COMPRESSED_DEPTH_HEADER.size].tobytes())
    counts = _sixteen_bit(message.format, data[_COMPRESSED_DEPTH_HEADER.size :])
    if message.format.startswith("32FC1"):
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = np.float32(a) / (counts - np.float32(b))
        depth = np.where(counts > 0, depth, np.float32(np.nan)).astype(np.float32, copy=False)
        return _metres(depth, unit)
    return _metres(counts, unit)


def encode_compressed_depth(depth: np.ndarray, max_depth: float = 10.0) -> tuple[str, bytes]:
    """The ``format`` and ``data`` of a compressedDepth message, as image_transport writes them.

    depth: (h, w), uint16 counts (kept exactly) or float32 metres (quantised by inverse depth up to max_depth [m]; what
    lies beyond, nearer than 16 bits can tell (about 15 cm), or is not a positive number, becomes missing).
    """
    a = b = 0.0
    encoding, counts = "16UC1", depth
    if depth.dtype == np.float32:
        # image_transport's default: quantisation 100 steps at the far end, A = q(q + 1), B = 1 - A / max.
        encoding, a = "32FC1", 100.0 * 101.0
        b = 1.0 - a / max_depth
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            counts = np.rint(a / depth + b)
            held = (depth > 0) & (depth <= max_depth) & (counts <= 65535)
        counts = np.where(held, counts, 0).astype(np.uint16)
    _, png = cv2.imencode(".png", counts)
    return f"{encoding}; compressedDepth png", _COMPRESSED_DEPTH_HEADER.pack(0, a, b) + png.tobytes()


def decode_points(message: Any) -> np.ndarray:
    """sensor_msgs/PointCloud2 to (N, 3) float32 x y z [m], in its own frame. Causes: "points", "truncated"."""
    fields = {field.name: field for field in message.fields}
    order = ">" if message.is_bigendian else "<"
    try:
        formats = [order + _POINT_FIELD_TYPES[fields[name].datatype] for name in "xyz"]
        offsets = [fields[name].offset for name in "xyz"]
    except KeyError as error:
        raise InputError(
            "points",
            f"the point cloud has fields {sorted(fields)}, of which {error} cannot be used: publish x, y and z",
        ) from error
    data = np.frombuffer(message.data, np.uint8)
    count, rows = message.width * message.height, message.height
    if data.size < message.row_step * rows or message.row_step < message.point_step * message.width:
        raise InputError(
            "truncated",
            f"the point cloud holds {data.size} bytes for {rows} rows of {message.width} points: row_step, point_step "
            "and data do not agree",
        )
    if count == 0:
        return np.empty((0, 3), np.float32)
    try:
        layout = np.dtype(
            {"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": message.point_step}
        )
    except ValueError as error:
        raise InputError("points", f"the fields x y z do not fit a point of {message.point_step} bytes") from error
    points = np.ndarray((rows, message.width), layout, data, strides=(message.row_step, message.point_step))
    return np.stack([points[name].ravel().astype(np.float32) for name in "xyz"], axis=1)


def intrinsics_of(message: Any) -> Intrinsics:
    """Intrinsics of the rectified image of a sensor_msgs/CameraInfo: of its P, or of its K where P is empty.

    Raises InputError (cause "camera_info") for zeros or a size of nothing.
    """
    k = getattr(message, "k", None)
    k = message.K if k is None else k  # rosbags keeps the capitals of ROS 1
    p = getattr(message, "p", None)
    p = message.P if p is None else p
    fx, cx, fy, cy = (p[0], p[2], p[5], p[6]) if p[0] > 0 else (k[0], k[2], k[4], k[5])
    return Intrinsics(float(fx), float(fy), float(cx), float(cy), int(message.width), int(message.height))


def _pixels(message: Any, role: str, dtype: type, channels: int) -> np.ndarray:
    """The message's pixels as (H, W) or (H, W, channels) in native byte order, without a copy where possible."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * np.dtype(dtype).itemsize
    if height == 0 or width == 0:
        raise InputError("size", f"{role} image is {width}x{height} pixels: check its driver")
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < step * height:
        raise InputError(
            "truncated",
            f"{role} image of {width}x{height} {message.encoding} has step {step} and {data.size} bytes, but needs a "
            f"step of {row} or more and step x height = {max(step, row) * height} bytes: check its driver",
        )
    item = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    strides = (step, channels * item.itemsize, item.itemsize)
    pixels = np.ndarray((height, width, channels), item, data, strides=strides)
    if channels == 1:
        pixels = pixels[..., 0]
    return pixels.astype(item.newbyteorder("="), copy=False)


def _metres(depth: np.ndarray, unit: float) -> np.ndarray:
    """uint16 counts or float32 values in metres; unit 0: in millimetres and metres as they come."""
    if depth.dtype != np.uint16:
        return depth * np.float32(unit) if unit not in (0.0, 1.0) else depth
    metres = depth * np.float32(unit or 0.001)
    metres[depth == 0] = np.nan
    return metres


def _decoded(role: str, data: Any, flags: int) -> np.ndarray:
    data = np.frombuffer(data, np.uint8)
    # The decoders fill up what is cut off at the end with grey or noise and only print a warning. Zeros behind the end
    # are no fault: cameras send JPEGs in buffers of fixed size.
    tail = data.tobytes().rstrip(b"\0")[-64:]
    whole = tail.endswith(b"\xff\xd9") or b"IEND" in tail
    try:
        image = cv2.imdecode(data, flags) if whole else None
    except cv2.error:  # OpenCV 4, for a damaged header
        image = None
    if image is None:
        raise InputError("truncated", f"the {data.size} bytes of the compressed {role} image are no whole JPEG or PNG")
    return image


def _sixteen_bit(message_format: str, data: np.ndarray) -> np.ndarray:
    image = _decoded("depth", data, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise InputError(
            "encoding",
            f"depth has format {message_format!r} and decodes to {image.dtype} {image.shape}, not to 16 bits and one "
            "channel: are the topics swapped, or is depth sent as JPEG? Use compressedDepth",
        )
    return image


def _wrong_encoding(role: str, encoding: str, known: dict, other: dict) -> InputError:
    hint = "are the topics swapped? It" if encoding in other else "it"
    return InputError("encoding", f"{role} image has encoding {encoding!r}: {hint} must be one of {', '.join(known)}")
