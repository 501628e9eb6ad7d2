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
    return (random.integers(1, 65536, (height, width)) * (random.random((height, width)) > 0.2)).tolist()


@pytest.mark.parametrize(
    ("message_format", "header"),
    [
        ("16UC1; compressedDepth png", struct.pack("<iff", 0, 0, 0)),
        ("16UC1; compressedDepth", struct.pack("<iff", 0, 5, 7)),
        ("png", b""),
        ("16UC1; png compressed ", b""),
    ],
)
@given(sizes, sizes, containers, st.integers(0, 99))
def test_sixteen_bit_png_depth_made_by_hand(message_format, header, height, width, container, seed):
    counts = random_counts(seed, height, width)
    message = compressed(message_format, header + png16(counts), container)
    expected = [[value * 0.0005 if value else np.nan for value in row] for row in counts]
    np.testing.assert_allclose(unchanged(decode_compressed_depth, message, 0.0005), expected, rtol=1e-6)


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


def textured(height=48, width=64):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


COMPRESSED = {
    "jpeg": (decode_compressed_rgb, "jpeg", cv2.imencode(".jpg", textured())[1].tobytes()),
    "png": (decode_compressed_rgb, "png", cv2.imencode(".png", textured())[1].tobytes()),
    "depth png": (decode_compressed_depth, "png", png16(random_counts(2, 48, 64))),
    "16UC1": (decode_compressed_depth, *encode_compressed_depth(np.array(random_counts(2, 48, 64), np.uint16))),
    "32FC1": (decode_compressed_depth, *encode_compressed_depth(np.linspace(0.2, 9, 4800, dtype=np.float32)[None])),
}


@pytest.mark.parametrize("kind", sorted(COMPRESSED))
@given(st.data())
def test_a_compressed_image_cut_anywhere_is_refused(kind, data):
    decode, message_format, whole = COMPRESSED[kind]
    cut = data.draw(st.one_of(st.integers(0, len(whole) - 1), st.integers(len(whole) - 30, len(whole) - 1)))
    filled_up = data.draw(st.sampled_from([0, 0, 5, 500]))
    try:
        decoded = decode(compressed(message_format, whole[:cut] + bytes(filled_up)))
    except InputError as error:
        assert error.cause == "truncated"
    else:  # only the check sum of the empty last chunk of a PNG can be missed
        assert kind != "jpeg" and cut >= len(whole) - 4
        np.testing.assert_array_equal(decoded, decode(compressed(message_format, whole)))


@pytest.mark.parametrize("kind", sorted(COMPRESSED))
@pytest.mark.parametrize("zeros", [1, 100, 4096])
def test_zeros_behind_a_compressed_image_do_no_harm(kind, zeros):
    """UVC cameras send their JPEGs in buffers of fixed size."""
    decode, message_format, whole = COMPRESSED[kind]
    decoded = decode(compressed(message_format, whole + bytes(zeros)))
    np.testing.assert_array_equal(decoded, decode(compressed(message_format, whole)))


@given(
    st.sampled_from([decode_compressed_rgb, decode_compressed_depth]),
    st.sampled_from(["", "jpeg", "png", "16UC1; compressedDepth png", "32FC1; compressedDepth", "\0;"]),
    st.sampled_from([b"", bytes(12), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(12) + b"\x89PNG\r\n\x1a\n"]),
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd9", b"IEND\xaeB`\x82"]),
    containers,
)
@settings(max_examples=300)
def test_garbage_in_a_compressed_image_is_only_ever_an_input_error(decode, kind, start, middle, end, container):
    with pytest.raises(InputError):
        decode(compressed(kind, start + middle + end, container))


@given(st.sampled_from(sorted(COMPRESSED)), st.data())
@settings(max_examples=300)
def test_flipped_bytes_are_only_ever_an_input_error(kind, data):
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


def test_compressed_depth_that_is_not_png_is_refused_with_the_mend():
    assert "png" in refusal("encoding", decode_compressed_depth, compressed("16UC1; compressedDepth rvl", bytes(100)))


def test_the_format_of_the_other_role_hints_at_swapped_topics():
    counts = np.full((8, 8), 3000, np.uint16)
    png = cv2.imencode(".png", counts)[1].tobytes()
    assert "swapped" in refusal("encoding", decode_compressed_rgb, compressed("16UC1; png compressed ", png))
    assert "swapped" in refusal("encoding", decode_compressed_rgb, compressed(*encode_compressed_depth(counts)))
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert "swapped" in refusal("encoding", decode_compressed_depth, compressed("rgb8; jpeg compressed bgr8", jpeg))


@pytest.mark.parametrize("size", [2**16, 2**31 - 1])
def test_a_png_that_says_it_is_enormous_is_refused(size):
    header = struct.pack(">IIBBBBB", size, size, 16, 0, 0, 0, 0)
    png = bytearray(png16([[1, 2], [3, 4]]))
    png[16:33] = header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    refusal("truncated", decode_compressed_depth, compressed("png", bytes(png)))
