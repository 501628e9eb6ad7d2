"""Convert sensor_msgs to NumPy and back. Works with messages of rclpy and of rosbags, as only their fields are used.

Decoded arrays may share the memory of the message. Every function raises InputError for a message that cannot be used.
Encodings that are unknown here are passed to cv_bridge if it is installed.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from typing import Any

import cv2
import numpy as np

from .errors import InputError
from .frame import Distortion, Intrinsics
from .image_codecs import decode_image, decode_rvl, video_name

# encoding -> (dtype, channels, OpenCV conversion to RGB or None if it is RGB already). ROS names a Bayer pattern by the
# 2x2 block in the corner, OpenCV by the 2x2 block one pixel further in: rggb is "BG".
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
    "rgba16": (np.uint16, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (np.uint16, 4, cv2.COLOR_BGRA2RGB),
    "16UC3": (np.uint16, 3, cv2.COLOR_BGR2RGB),
    "16UC4": (np.uint16, 4, cv2.COLOR_BGRA2RGB),
    "mono16": (np.uint16, 1, cv2.COLOR_GRAY2RGB),
    "16UC1": (np.uint16, 1, cv2.COLOR_GRAY2RGB),
    "32FC1": (np.float32, 1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (np.uint8, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (np.uint8, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (np.uint8, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (np.uint8, 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (np.uint16, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (np.uint16, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (np.uint16, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (np.uint16, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
}
# A full-resolution plane of luminance, then a half-resolution plane of interleaved chrominance.
_SEMI_PLANAR_ENCODINGS = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_DEPTH_ENCODINGS: dict[str, type] = {
    "16UC1": np.uint16,
    "mono16": np.uint16,
    "16SC1": np.int16,
    "32FC1": np.float32,
    "64FC1": np.float64,
}

# How colour images are decoded: all bits, and without an EXIF rotation, because the depth is not rotated either.
RGB_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
# The header of compressed_depth_image_transport before the PNG: int32 format, float32 quantisation A and B.
_COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")
_PNG_SIGNATURE = b"\x89PNG"
_SMALLEST_DEPTH = 1e-6  # [m]; if a whole image is nearer, its quantisation has no meaning
NOT_MEASURED = 65535  # the largest value of a 16-bit image, which sensors and filters use where nothing was measured
_DISTORTION_LENGTHS = {  # distortion_model -> numbers of coefficients in OpenCV
    "plumb_bob": (4, 5, 8, 12, 14),
    "rational_polynomial": (4, 5, 8, 12, 14),
    "equidistant": (4,),
}
_DISTORTION_NAMES = {  # names of other libraries for the same models
    "": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "radtan": "plumb_bob",
    "fisheye": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
}


def decode_rgb(message: Any) -> np.ndarray:
    """Decode a sensor_msgs/Image to (H, W, 3) uint8 RGB.

    More than 8 bits are reduced to 8: colour by a right shift until it fits, grey by stretching the contrast.

    Raises:
        InputError: With the cause "encoding", "size" or "truncated".
    """
    if message.encoding in _SEMI_PLANAR_ENCODINGS:
        return _semi_planar(message)
    if message.encoding not in _RGB_ENCODINGS:
        return _by_cv_bridge("rgb", message, "rgb8", _RGB_ENCODINGS | _SEMI_PLANAR_ENCODINGS, _DEPTH_ENCODINGS)
    dtype, channels, to_rgb = _RGB_ENCODINGS[message.encoding]
    pixels = _pixels(message, "rgb", dtype, channels)
    if channels == 2 and message.width % 2:
        raise InputError(
            "size", f"rgb image with encoding {message.encoding!r} is {message.width} pixels wide: it must be even"
        )
    if pixels.dtype != np.uint8:
        pixels = _stretched(pixels) if to_rgb == cv2.COLOR_GRAY2RGB else _halved(pixels)
    try:
        return pixels if to_rgb is None else cv2.cvtColor(pixels, to_rgb)
    except cv2.error as error:  # yuv422 of odd width, a Bayer image of one row
        raise InputError(
            "size", f"rgb image of {message.width}x{message.height} cannot hold encoding {message.encoding!r}"
        ) from error


def decode_depth(message: Any, unit: float = 0.0) -> np.ndarray:
    """Decode a depth image (REP 118) to (h, w) float32 metres, NaN = missing.

    Values of float images that are not positive may remain as they are.

    Args:
        message: sensor_msgs/Image.
        unit: Length of one count [m]; 0 = by encoding as in REP 118: 0.001 for 16-bit images, 1 for 32FC1.

    Raises:
        InputError: With the cause "encoding", "size" or "truncated".
    """
    if message.encoding not in _DEPTH_ENCODINGS:
        depth = _by_cv_bridge("depth", message, "passthrough", _DEPTH_ENCODINGS, _RGB_ENCODINGS)
    else:
        depth = _pixels(message, "depth", _DEPTH_ENCODINGS[message.encoding], 1)
    if depth.dtype == np.int16:  # values below zero are not measurements
        depth = np.maximum(depth, 0).astype(np.uint16)
    elif depth.dtype == np.float64:
        with np.errstate(over="ignore"):  # larger than float32: infinite, so not measured
            depth = depth.astype(np.float32)
    return _metres(depth, unit)


def decode_compressed_rgb(message: Any) -> np.ndarray:
    """Decode a sensor_msgs/CompressedImage (JPEG, PNG, TIFF, …) to (H, W, 3) uint8 RGB.

    An EXIF orientation is ignored, because the rotated image would not match the depth. A grey image whose format
    starts with a Bayer encoding is a mosaic, as compressed_image_transport sends it.

    Raises:
        InputError: With the cause "encoding" or "truncated".
    """
    _check_no_video("rgb", message)
    if "compressedDepth" in message.format:
        raise InputError(
            "encoding", f"rgb image has format {message.format!r}, which is depth: check whether the topics are swapped"
        )
    pixels = decode_image("rgb", message.data, RGB_FLAGS)
    encoding = message.format.partition(";")[0].strip()
    mosaic = _RGB_ENCODINGS[encoding][2] if encoding.startswith("bayer_") and encoding in _RGB_ENCODINGS else None
    return rgb_of_opencv(pixels, mosaic)


def rgb_of_opencv(pixels: np.ndarray, mosaic: int | None = None) -> np.ndarray:
    """Convert an image that OpenCV decoded with ``RGB_FLAGS`` to (H, W, 3) uint8 RGB; see ``decode_rgb`` about 16 bits.

    Args:
        pixels: (H, W) grey or (H, W, 3) BGR.
        mosaic: OpenCV conversion to RGB of a grey image that is a Bayer pattern; None = it is grey.
    """
    grey = pixels.ndim == 2
    if pixels.dtype != np.uint8:
        pixels = _stretched(pixels) if grey else _halved(pixels)
    return cv2.cvtColor(pixels, (mosaic or cv2.COLOR_GRAY2RGB) if grey else cv2.COLOR_BGR2RGB)


def decode_compressed_depth(message: Any, unit: float = 0.0) -> np.ndarray:
    """Decode a sensor_msgs/CompressedImage of depth to (h, w) float32 metres, NaN = missing.

    Accepts compressedDepth of image_transport, PNG or RVL (16UC1, or 32FC1 quantised by inverse depth; without an
    encoding in the format, the quantisation in the header tells which), and plain images: 16-bit PNG or TIFF, or TIFF
    of float metres. A PNG is recognised by its signature, whatever the format says.

    Args:
        message: The message.
        unit: See ``decode_depth``.

    Raises:
        InputError: With the cause "encoding" or "truncated".
    """
    _check_no_video("depth", message)
    data = np.frombuffer(message.data, np.uint8)
    size = _COMPRESSED_DEPTH_HEADER.size
    # Publishers make mistakes in the format, so the data is looked at first.
    plain = data[: len(_PNG_SIGNATURE)].tobytes() == _PNG_SIGNATURE
    png = data[size : size + len(_PNG_SIGNATURE)].tobytes() == _PNG_SIGNATURE
    if plain or not (png or "compressedDepth" in message.format):
        image = decode_image("depth", data, cv2.IMREAD_UNCHANGED)
        is_float = image.ndim == 2 and image.dtype == np.float32
        if image.dtype == np.uint16 and message.format.startswith("32FC1"):
            raise InputError(
                "encoding",
                f"depth has the format {message.format!r}, but its PNG has no header with the quantisation before it, "
                "so its counts have no known length: publish it with compressed_depth_image_transport, or send "
                "16-bit millimetres with the format '16UC1; compressedDepth png'",
            )
        return _metres(image if is_float else _sixteen_bit(message.format, image), unit)
    if data.size <= size:
        raise InputError(
            "truncated",
            f"compressedDepth has only {data.size} bytes, no more than its header: check its publisher",
        )
    _, a, b = _COMPRESSED_DEPTH_HEADER.unpack(data[:size].tobytes())
    if "rvl" in message.format.lower() and not png:
        counts = decode_rvl(data[size:])
    else:
        counts = _sixteen_bit(message.format, decode_image("depth", data[size:], cv2.IMREAD_UNCHANGED))
    # Counts are A / depth + B, so B is below all of them. Publishers of other encodings may leave A and B undefined.
    smallest = float(np.min(counts, where=counts > 0, initial=NOT_MEASURED))
    quantised = math.isfinite(a) and a > 0 and b < smallest and a / (smallest - b) > _SMALLEST_DEPTH
    if message.format.startswith("32FC1"):
        if not quantised:
            raise InputError(
                "encoding",
                f"compressedDepth of 32FC1 has the quantisation A = {a:g}, B = {b:g} in its header, but A must be "
                f"above zero and B below the smallest count, {smallest:g}: check its publisher",
            )
    elif not quantised or message.format.startswith(("16UC1", "mono16")):  # whose A and B have no meaning
        return _metres(counts, unit)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(a) / (counts - np.float32(b))
    depth = np.where(counts > 0, depth, np.float32(np.nan)).astype(np.float32, copy=False)
    return _metres(depth, unit)


def encode_compressed_depth(depth: np.ndarray, max_depth: float = 10.0) -> tuple[str, bytes]:
    """Encode depth as compressedDepth, like image_transport.

    Args:
        depth: (h, w) uint16 counts, which are kept exactly, or float32 metres, which are quantised by inverse depth.
        max_depth: Largest depth [m] for float32. Depth that is larger, too small for 16 bits (below about 15 cm), or
            not a positive number becomes missing.

    Returns:
        The fields ``format`` and ``data`` of the message.
    """
    a = b = 0.0
    encoding, counts = "16UC1", depth
    if depth.dtype == np.float32:
        # Default quantisation of image_transport: q = 100, A = q(q + 1), B = 1 - A / max.
        encoding, a = "32FC1", 100.0 * 101.0
        b = 1.0 - a / max_depth
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            counts = np.rint(a / depth + b)
            held = (depth > 0) & (depth <= max_depth) & (counts <= 65535)
        counts = np.where(held, counts, 0).astype(np.uint16)
    _, png = cv2.imencode(".png", counts)
    return f"{encoding}; compressedDepth png", _COMPRESSED_DEPTH_HEADER.pack(0, a, b) + png.tobytes()


def intrinsics_of(message: Any, size: tuple[int, int] | None = None, *, raw: bool = False) -> Intrinsics:
    """Intrinsics of an image from its sensor_msgs/CameraInfo: from P, or from K if P is empty; of a raw image, from K.

    The calibration is that of the whole sensor; the roi and the binning of the message are applied to it.

    Args:
        message: The CameraInfo.
        size: Width and height of the image [pixels], if known. Some drivers set roi or binning although the calibration
            is already that of the image; the size tells these cases apart.
        raw: Whether the image is not rectified, so that K and the distortion apply; P is then used only if K is empty.

    Raises:
        InputError: With the cause "camera_info", if the focal lengths or the size are 0, a number is NaN or infinite,
            or the distortion model is unknown.
    """
    k, p = _field(message, "k"), _field(message, "p")
    for name in ("k", "p", *(("d", "r") if raw else ())):
        if not np.isfinite(_field(message, name)).all():
            raise InputError(
                "camera_info", f"{name} of camera_info has values that are NaN or infinite: calibrate the camera again"
            )
    distortion = _distortion_of(message) if raw else None
    of_p = p[0] > 0 and not (raw and k[0] > 0)
    fx, cx, fy, cy = (p[0], p[2], p[5], p[6]) if of_p else (k[0], k[2], k[4], k[5])
    width, height = int(message.width), int(message.height)
    left, top, wide, high, across, down = _window_of(message)
    if (wide // across, high // down) != (width, height) and size != (width, height):
        fx, cx, fy, cy = fx / across, (cx - left) / across, fy / down, (cy - top) / down
        width, height = wide // across, high // down
    return Intrinsics(float(fx), float(fy), float(cx), float(cy), width, height, distortion)


def says_rectified(topic: str) -> bool:
    """Whether a topic name says that its images are rectified: image_rect, image_rect_color, rectified/image."""
    return re.search(r"(?:^|[/_])rect", topic) is not None


def seems_raw(message: Any) -> bool:
    """Whether a sensor_msgs/CameraInfo seems to be that of a raw image: it has distortion, and P is equal to K."""
    k, p = np.reshape(_field(message, "k"), (3, 3)), np.reshape(_field(message, "p"), (3, 4))[:, :3]
    return bool(np.any(_field(message, "d")) and np.allclose(k, p))


def _distortion_of(message: Any) -> Distortion | None:
    coefficients = tuple(float(value) for value in _field(message, "d"))
    rotation = np.array(_field(message, "r"), np.float64).reshape(3, 3)
    turned = not np.allclose(rotation, np.eye(3), atol=1e-9) and abs(np.linalg.det(rotation) - 1) < 1e-3
    if not any(coefficients) and not turned:
        return None
    name = message.distortion_model.strip().lower().replace(" ", "_")
    model = _DISTORTION_NAMES.get(name, name)
    if not any(coefficients):
        coefficients, model = (0.0, 0.0, 0.0, 0.0), "plumb_bob"
    lengths = _DISTORTION_LENGTHS.get(model, ())
    if len(coefficients) not in lengths:  # some drivers append zeros, or leave them out
        used = tuple(np.trim_zeros(coefficients, "b"))
        length = min((length for length in lengths if length >= len(used)), default=None)
        if length is None:
            raise InputError(
                "camera_info",
                f"camera_info has distortion_model {message.distortion_model!r} with {len(coefficients)} coefficients, "
                f"but supported models are {', '.join(_DISTORTION_LENGTHS)}: rectify the image first, or set rectify "
                "off to ignore the distortion",
            )
        coefficients = used + (0.0,) * (length - len(used))
    turn = tuple(rotation.ravel().tolist()) if turned else Distortion.rotation
    return Distortion(coefficients, model == "equidistant", turn)


def _window_of(message: Any) -> tuple[int, int, int, int, int, int]:
    """The part of the sensor that an image shows: left, top, width and height [pixels of the sensor], and binning."""
    roi = getattr(message, "roi", None)
    across = max(1, int(getattr(message, "binning_x", 1)))
    down = max(1, int(getattr(message, "binning_y", 1)))
    if roi is None or roi.width == 0 or roi.height == 0:
        return 0, 0, int(message.width), int(message.height), across, down
    return int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height), across, down


def _field(message: Any, name: str) -> Any:
    """A matrix of a CameraInfo. Messages of ROS 1 have upper-case names in rosbags."""
    return getattr(message, name) if hasattr(message, name) else getattr(message, name.upper(), ())


def _pixels(message: Any, role: str, dtype: type, channels: int) -> np.ndarray:
    """The pixels as (H, W) or (H, W, channels) in native byte order, without a copy if possible."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * np.dtype(dtype).itemsize
    if height == 0 or width == 0:
        raise InputError("size", f"{role} image is {width}x{height} pixels: check its driver")
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < step * (height - 1) + row:  # some drivers leave out the padding of the last row
        raise InputError(
            "truncated",
            f"{role} image of {width}x{height} {message.encoding} has step {step} and {data.size} bytes, but needs a "
            f"step of at least {row} and step x height = {max(step, row) * height} bytes: check its driver",
        )
    item = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    strides = (step, channels * item.itemsize, item.itemsize)
    pixels = np.ndarray((height, width, channels), item, data, strides=strides)
    if channels == 1:
        pixels = pixels[..., 0]
    return pixels.astype(item.newbyteorder("="), copy=False)


def _semi_planar(message: Any) -> np.ndarray:
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    if height == 0 or width == 0 or height % 2 or width % 2:
        raise InputError(
            "size", f"rgb image with encoding {message.encoding!r} is {width}x{height} pixels: both must be even"
        )
    if step < width or data.size < step * height * 3 // 2:
        raise InputError(
            "truncated",
            f"rgb image of {width}x{height} {message.encoding} has step {step} and {data.size} bytes, but needs a step "
            f"of at least {width} and 1.5 x step x height bytes: check its driver",
        )
    planes = data[: step * height * 3 // 2].reshape(height * 3 // 2, step)[:, :width]
    return cv2.cvtColor(np.ascontiguousarray(planes), _SEMI_PLANAR_ENCODINGS[message.encoding])


def _stretched(grey: np.ndarray) -> np.ndarray:
    """Convert 16-bit or float grey to uint8, from black at the 1 % quantile to white at the 99 % quantile.

    Infrared and thermal cameras use different small parts of the 16-bit range.
    """
    sample = grey[::4, ::4].astype(np.float32)
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (1, 99)) if sample.size else (0.0, 0.0)
    scale = 255 / (high - low) if high > low else 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        stretched = (grey.astype(np.float32) - np.float32(low)) * np.float32(scale)
    return np.clip(np.nan_to_num(stretched, nan=0.0), 0, 255).astype(np.uint8)


def _halved(colour: np.ndarray) -> np.ndarray:
    """Convert 16-bit colour, of which a camera may use 10, 12 or 14 bits, to uint8."""
    if colour.dtype != np.uint16:
        return _stretched(colour)
    return (colour >> max(0, int(colour.max()).bit_length() - 8)).astype(np.uint8)


@functools.cache
def _cv_bridge() -> Any | None:
    """The converter of ROS; None if it is not installed."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # if its compiled part was built for another NumPy, it fails with various exceptions
        return None


def _by_cv_bridge(role: str, message: Any, wanted: str, known: dict, other: dict) -> np.ndarray:
    """Decode an encoding that is unknown here with cv_bridge. Raises InputError if that does not work either."""
    if (bridge := _cv_bridge()) is None:
        raise _wrong_encoding(role, message.encoding, known, other)
    try:
        pixels = np.asarray(bridge.imgmsg_to_cv2(message, wanted))
    except Exception as error:  # its compiled part raises its own types
        raise _wrong_encoding(role, message.encoding, known, other) from error
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if role == "depth" and pixels.ndim == 2 and pixels.dtype in _DEPTH_ENCODINGS.values():
        return pixels
    if role == "rgb" and pixels.ndim == 3 and pixels.dtype == np.uint8:
        return pixels
    raise _wrong_encoding(role, message.encoding, known, other)


def _metres(depth: np.ndarray, unit: float) -> np.ndarray:
    """Convert uint16 or float32 values to metres; unit 0: uint16 values are millimetres and float32 values metres."""
    if depth.dtype != np.uint16:
        return depth * np.float32(unit) if unit not in (0.0, 1.0) else depth
    metres = depth * np.float32(unit or 0.001)
    metres[(depth == 0) | (depth == NOT_MEASURED)] = np.nan
    return metres


def _check_no_video(role: str, message: Any) -> None:
    if video := video_name(message.format, message.data):
        raise InputError(
            "encoding",
            f"{role} is {video} video (format {message.format!r}), whose packets cannot be decoded one by one: decode "
            "it first, for example with `ros2 run image_transport republish`, or configure the driver to send "
            + ("JPEG" if role == "rgb" else "compressedDepth"),
        )


def _sixteen_bit(message_format: str, image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint16 or image.ndim != 2:
        raise InputError(
            "encoding",
            f"depth has format {message_format!r} and decodes to {image.dtype} {image.shape}, but one channel of 16 "
            "bits is needed: check whether the topics are swapped or depth is sent as JPEG; use compressedDepth",
        )
    return image


def _wrong_encoding(role: str, encoding: str, known: dict, other: dict) -> InputError:
    hint = "check whether the topics are swapped; " if encoding in other else ""
    return InputError(
        "encoding", f"{role} image has encoding {encoding!r}: {hint}supported encodings are {', '.join(known)}"
    )
