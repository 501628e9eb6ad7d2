"""Compressed images against a PNG writer and formulas of their own, and against every kind of damage."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from messages import CONTAINERS, compressed, containers, png16, refusal, sizes, unchanged

from depth_completion_ros.conversion import decode_compressed_depth, decode_compressed_rgb, encode_compressed_depth
from depth_completion_ros.errors import InputError


def random_counts(seed, height, width):
    random = np.random.default_rng(seed)
    return (random.integers(1, 65535, (height, width)) * (random.random((height, width)) > 0.2)).tolist()


def rvl(counts):
    """RVL as Wilson's paper (2017) writes it, one nibble after the other."""
    pixels, nibbles, place, previous = [count for row in counts for count in row], [], 0, 0

    def number(value):
        while True:
            nibbles.append(value & 7 | (8 if value >> 3 else 0))
            value >>= 3
            if not value:
                return

    while place < len(pixels):
        start = place
        while place < len(pixels) and pixels[place] == 0:
            place += 1
        number(place - start)
        start = place
        while place < len(pixels) and pixels[place] != 0:
            place += 1
        number(place - start)
        for pixel in pixels[start:place]:
            difference, previous = pixel - previous, pixel
            number(difference << 1 if difference >= 0 else (-difference << 1) - 1)
    nibbles += [0] * (-len(nibbles) % 8)
    words = [sum(n << 28 - 4 * k for k, n in enumerate(nibbles[at : at + 8])) for at in range(0, len(nibbles), 8)]
    return struct.pack(f"<II{len(words)}I", len(counts[0]), len(counts), *words)


@pytest.mark.parametrize(
    ("message_format", "header"),
    [
        ("16UC1; compressedDepth png", struct.pack("<iff", 0, 0, 0)),
        ("16UC1; compressedDepth", struct.pack("<iff", 0, 5, 7)),
        ("16UC1; compressedDepth png", b""),
        ("compressedDepth", struct.pack("<iff", 0, 0, 0)),
        ("png", b""),
        ("16UC1; png compressed ", b""),
        ("png", struct.pack("<iff", 0, 0, 0)),
        ("", struct.pack("<iff", 0, 0, 0)),
        ("16UC1; compressedDepth rvl", struct.pack("<iff", 0, 0, 0)),
        ("mono16; compressedDepth png", struct.pack("<iff", 0, 5, 7)),
    ],
)
@given(sizes, sizes, containers, st.integers(0, 99))
def test_sixteen_bit_png_depth_made_by_hand(message_format, header, height, width, container, seed):
    counts = random_counts(seed, height, width)
    message = compressed(message_format, header + png16(counts), container)
    expected = [[value * 0.0005 if value else np.nan for value in row] for row in counts]
    np.testing.assert_allclose(unchanged(decode_compressed_depth, message, 0.0005), expected, rtol=1e-6)


@given(sizes, sizes, containers, st.integers(0, 99))
def test_rvl_depth_made_by_hand(height, width, container, seed):
    """Whole numbers, and floats quantised by inverse depth; what follows the last pixel does no harm."""
    counts = random_counts(seed, height, width)
    data = struct.pack("<iff", 0, 10100, -1009) + rvl(counts)
    decoded = unchanged(decode_compressed_depth, compressed("16UC1; compressedDepth rvl", data, container), 0.0005)
    expected = [[value * 0.0005 if value else np.nan for value in row] for row in counts]
    np.testing.assert_allclose(decoded, expected, rtol=1e-6)
    decoded = decode_compressed_depth(compressed("32FC1; compressedDepth rvl", data + bytes(8)))
    expected = [[10100 / (value + 1009) if value else np.nan for value in row] for row in counts]
    np.testing.assert_allclose(decoded, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((3, 5), int),
        np.full((3, 5), 65534),
        np.tile([1, 65534], (4, 4)),
        np.pad(np.full((3, 5), 2000), 2),
        np.tile(np.arange(640), (480, 1)),
    ],
)
def test_rvl_depth_of_extreme_images(counts):
    data = bytes(12) + rvl(counts.tolist())
    decoded = decode_compressed_depth(compressed("16UC1; compressedDepth rvl", data), 1.0)
    np.testing.assert_array_equal(np.nan_to_num(decoded), counts)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (2**32 - 1, 2**32 - 1), (5, 5)])
def test_rvl_depth_whose_size_does_not_fit_is_rejected(size):
    data = bytes(12) + struct.pack("<II", *size) + rvl([[7] * 4] * 4)[8:]
    refusal("truncated", decode_compressed_depth, compressed("16UC1; compressedDepth rvl", data))


@pytest.mark.parametrize("message_format", ["16UC1; tiff compressed ", "tiff"])
def test_depth_as_tiff(message_format):
    counts = np.array(random_counts(5, 12, 9), np.uint16)
    for stored, unit in [(counts, 0.5), (counts * np.float32(0.5), 0.0)]:
        data = cv2.imencode(".tiff", stored)[1].tobytes()
        decoded = decode_compressed_depth(compressed(message_format, data), unit)
        np.testing.assert_array_equal(np.nan_to_num(decoded), counts * np.float32(0.5))


@given(sizes, sizes, containers, st.floats(1, 300), st.floats(0.5, 200), st.integers(0, 99))
def test_quantised_float_depth_made_by_hand(height, width, container, quantisation, far, seed):
    """compressed_depth_image_transport: A = q (q + 1), B = 1 - A / max, depth = A / (count - B)."""
    a = quantisation * (quantisation + 1)
    b = 1 - a / far
    counts = random_counts(seed, height, width)
    data = struct.pack("<iff", 0, a, b) + png16(counts)
    decoded = unchanged(decode_compressed_depth, compressed("32FC1; compressedDepth png", data, container))
    expected = [[a / (value - b) if value else np.nan for value in row] for row in counts]
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, expected, rtol=1e-3)


def test_without_an_encoding_the_header_says_that_depth_is_quantised():
    depth = np.full((4, 6), 2, np.float32)
    _, data = encode_compressed_depth(depth)
    np.testing.assert_allclose(decode_compressed_depth(compressed("compressedDepth", data)), depth, rtol=1e-3)


@pytest.mark.parametrize(("a", "b"), [(1e-40, 0.0), (10_100.0, 5_000.0), (1.0, float("nan")), (1.0, float("inf"))])
def test_a_header_that_gives_no_depth_is_no_quantisation(a, b):
    """As publishers of millimetres leave it, who set neither the header nor the encoding."""
    data = struct.pack("<iff", 0, a, b) + png16([[0, 1000], [2000, 65535]])
    decoded = decode_compressed_depth(compressed("compressedDepth", data))
    np.testing.assert_array_equal(decoded, np.float32([[np.nan, 1], [2, np.nan]]))
    assert "B below the smallest count, 1000" in refusal(
        "encoding", decode_compressed_depth, compressed("32FC1; compressedDepth png", data)
    )


@pytest.mark.parametrize("message_format", ["32FC1; compressedDepth png", "32FC1; compressedDepth"])
def test_float_depth_without_the_header_of_its_quantisation_is_rejected(message_format):
    said = refusal("encoding", decode_compressed_depth, compressed(message_format, png16([[1, 2], [3, 4]])))
    assert "no header with the quantisation" in said and "16UC1; compressedDepth png" in said


@pytest.mark.parametrize("quantisation", [0.0, -1.0, float("nan"), float("inf")])
def test_float_depth_with_an_impossible_quantisation_is_rejected(quantisation):
    data = struct.pack("<iff", 0, quantisation, 0) + png16([[1, 2], [3, 4]])
    message = compressed("32FC1; compressedDepth", data)
    assert "A must be above zero" in refusal("encoding", decode_compressed_depth, message)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_in_a_png_becomes_colour(pattern):
    """A red scene: of each 2x2 pixels of the mosaic, only the one below the red filter is bright."""
    mosaic = np.zeros((16, 16), np.uint8)
    place = pattern.index("r")
    mosaic[place // 2 :: 2, place % 2 :: 2] = 200
    data = cv2.imencode(".png", mosaic)[1].tobytes()
    colour = decode_compressed_rgb(compressed(f"bayer_{pattern}8; png compressed ", data))
    assert (colour[4:12, 4:12] == (200, 0, 0)).all()


def test_counts_survive_our_compression_exactly():
    counts = np.array(random_counts(1, 20, 30), np.uint16)
    decoded = decode_compressed_depth(compressed(*encode_compressed_depth(counts)), 1.0)
    np.testing.assert_array_equal(np.nan_to_num(decoded), counts)


@given(st.floats(1, 100, width=32), st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_float_depth_survives_our_compression_or_becomes_missing(far, values):
    """Never a wrong depth: half a step of inverse depth at most, missing where it cannot be held."""
    depth = np.array([values], np.float32)
    decoded = decode_compressed_depth(compressed(*encode_compressed_depth(depth, far)))
    a = 100 * 101  # the default quantisation
    nearest_held = a / (65535 - (1 - a / far))
    for value, back in zip(values, decoded[0].tolist(), strict=True):
        if not 0 < value <= far or value < nearest_held * 0.9999:
            assert np.isnan(back)
        elif value > nearest_held * 1.0001:
            assert abs(back - value) <= 0.51 / a * value * back + 1e-5 * value


def test_colour_jpeg_and_png_come_out_red_first():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 2] = 255  # OpenCV's blue, green, red
    for extension, message_format in [(".png", "png"), (".jpg", "rgb8; jpeg compressed bgr8")]:
        data = cv2.imencode(extension, red)[1].tobytes()
        for container in CONTAINERS:
            decoded = unchanged(decode_compressed_rgb, compressed(message_format, data, container))
            assert decoded.shape == (16, 16, 3)
            assert (decoded[..., 0] > 250).all()
            assert (decoded[..., 1:] < 5).all()


@pytest.mark.parametrize("message_format", ["mono16; png compressed ", "16UC1; png compressed ", "png"])
def test_grey_of_sixteen_bits_as_png_is_a_guide(message_format):
    """Infrared, as image_transport compresses it: stretched like the raw one."""
    ramp = np.tile(np.linspace(300, 900, 64).astype(np.uint16), (16, 1))
    decoded = decode_compressed_rgb(compressed(message_format, png16(ramp.tolist())))
    assert decoded.shape == (16, 64, 3) and (decoded == decoded[..., :1]).all()
    assert decoded[0, 0, 0] == 0 and decoded[0, -1, 0] == 255


def exif(orientation):
    """An APP1 segment of Exif with one entry, the orientation (tag 0x0112, a short)."""
    body = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_come_as_they_are_stored_whatever_exif_says(orientation):
    jpeg = cv2.imencode(".jpg", np.add.outer(np.arange(0, 64, 4), np.arange(0, 180, 6)).astype(np.uint8))[1].tobytes()
    turned = jpeg[:2] + exif(orientation) + jpeg[2:]
    expected = decode_compressed_rgb(compressed("jpeg", jpeg))
    if orientation > 1:  # OpenCV by itself would turn it
        assert not np.array_equal(cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR), expected)
    np.testing.assert_array_equal(decode_compressed_rgb(compressed("jpeg", turned)), expected)


@pytest.mark.parametrize("message_format", ["h264", "rgb8; h265 compressed", "hevc", "bgr8;ffmpeg;libx264", ""])
def test_video_is_reported(message_format):
    data = b"\x00\x00\x00\x01\x67\x42\x00\x1f" + bytes(range(1, 250))
    for decode in (decode_compressed_rgb, decode_compressed_depth):
        said = refusal("encoding", decode, compressed(message_format, data))
        assert "video" in said and "republish" in said and repr(message_format) in said


def textured(height=48, width=64):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


COMPRESSED = {
    "jpeg": (decode_compressed_rgb, "jpeg", cv2.imencode(".jpg", textured())[1].tobytes()),
    "png": (decode_compressed_rgb, "png", cv2.imencode(".png", textured())[1].tobytes()),
    "depth png": (decode_compressed_depth, "png", png16(random_counts(2, 48, 64))),
    "16UC1": (decode_compressed_depth, *encode_compressed_depth(np.array(random_counts(2, 48, 64), np.uint16))),
    "rvl": (decode_compressed_depth, "16UC1; compressedDepth rvl", bytes(12) + rvl(random_counts(2, 48, 64))),
    "tiff": (decode_compressed_depth, "tiff", cv2.imencode(".tiff", np.uint16(random_counts(2, 48, 64)))[1].tobytes()),
    "32FC1": (decode_compressed_depth, *encode_compressed_depth(np.linspace(0.2, 9, 4800, dtype=np.float32)[None])),
}


@pytest.mark.parametrize("kind", sorted(COMPRESSED))
@given(st.data())
def test_a_compressed_image_cut_anywhere_is_rejected(kind, data):
    decode, message_format, whole = COMPRESSED[kind]
    cut = data.draw(st.one_of(st.integers(0, len(whole) - 1), st.integers(len(whole) - 30, len(whole) - 1)))
    filled_up = data.draw(st.sampled_from([0, 0, 5, 500])) if kind not in ("rvl", "tiff") else 0
    try:
        decoded = decode(compressed(message_format, whole[:cut] + bytes(filled_up)))
    except InputError as error:
        assert error.cause == "truncated"
    else:  # only what tells nothing can be missed: a last check sum in a PNG, a tag of a TIFF that says the usual
        assert kind != "jpeg"
        np.testing.assert_array_equal(decoded, decode(compressed(message_format, whole)))


@pytest.mark.parametrize("kind", sorted(COMPRESSED))
@pytest.mark.parametrize(
    "tail", [bytes(1), bytes(4096), b"\xff" * 100, b"a driver's own data" * 9, b"\xff\xd8\xff\xe0 two"]
)
def test_data_after_a_compressed_image_is_ignored(kind, tail):
    """UVC cameras send their JPEGs in buffers of fixed size, others write metadata behind the end."""
    decode, message_format, whole = COMPRESSED[kind]
    decoded = decode(compressed(message_format, whole + tail))
    np.testing.assert_array_equal(decoded, decode(compressed(message_format, whole)))


def test_the_end_of_a_preview_is_not_the_end_of_the_image():
    """Cameras put a small JPEG into a segment of the large one."""
    preview = cv2.imencode(".jpg", textured(8, 8))[1].tobytes()
    _, _, whole = COMPRESSED["jpeg"]
    with_preview = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + whole[2:]
    expected = decode_compressed_rgb(compressed("jpeg", whole))
    np.testing.assert_array_equal(decode_compressed_rgb(compressed("jpeg", with_preview)), expected)
    refusal("truncated", decode_compressed_rgb, compressed("jpeg", with_preview[: len(with_preview) // 2]))


def test_progressive_jpegs_are_read_to_their_end():
    whole = cv2.imencode(".jpg", textured(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[
        1
    ].tobytes()
    assert decode_compressed_rgb(compressed("jpeg", whole)).shape == (48, 64, 3)
    for cut in range(len(whole) - 200, len(whole), 7):
        refusal("truncated", decode_compressed_rgb, compressed("jpeg", whole[:cut]))


@given(
    st.sampled_from([decode_compressed_rgb, decode_compressed_depth]),
    st.sampled_from(["", "jpeg", "png", "16UC1; compressedDepth png", "32FC1; compressedDepth", "\0;"]),
    st.sampled_from([b"", bytes(12), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(12) + b"\x89PNG\r\n\x1a\n"]),
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd9", b"IEND\xaeB`\x82"]),
    containers,
)
@settings(max_examples=300)
def test_random_bytes_in_a_compressed_image_only_raise_input_errors(decode, kind, start, middle, end, container):
    with pytest.raises(InputError):
        decode(compressed(kind, start + middle + end, container))


@given(st.sampled_from(sorted(COMPRESSED)), st.data())
@settings(max_examples=300)
def test_flipped_bytes_only_raise_input_errors(kind, data):
    decode, message_format, whole = COMPRESSED[kind]
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)):
        damaged[place] ^= data.draw(st.integers(1, 255))
    assume(not (size := declared_pixels(bytes(damaged))) or size < 10**7)  # a bomb is a matter of memory, not of this
    try:
        decoded = decode(compressed(message_format, bytes(damaged)))
    except InputError:
        return
    assert decoded.dtype == (np.uint8 if decode is decode_compressed_rgb else np.float32)


def declared_pixels(data):
    """Width times height in a PNG's header, 0 where there is none."""
    place = data.find(b"IHDR", 0, 64)
    if place < 0:
        return 0
    width, height = struct.unpack_from(">II", data, place + 4)
    return width * height


def test_the_format_of_the_other_role_hints_at_swapped_topics():
    counts = np.full((8, 8), 3000, np.uint16)
    assert "swapped" in refusal("encoding", decode_compressed_rgb, compressed(*encode_compressed_depth(counts)))
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert "swapped" in refusal("encoding", decode_compressed_depth, compressed("rgb8; jpeg compressed bgr8", jpeg))


@pytest.mark.parametrize("size", [2**16, 2**31 - 1])
def test_a_png_that_says_it_is_enormous_is_rejected(size):
    header = struct.pack(">IIBBBBB", size, size, 16, 0, 0, 0, 0)
    png = bytearray(png16([[1, 2], [3, 4]]))
    png[16:33] = header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    refusal("truncated", decode_compressed_depth, compressed("png", bytes(png)))
