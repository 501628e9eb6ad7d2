"""Conversion against references written from the specifications, with struct and plain loops.

Messages are plain objects with the fields of sensor_msgs: the code asks for no more. One test has those of rosbags.
"""

from __future__ import annotations

import struct
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import CONTAINERS, containers, png16, refusal, sizes, unchanged

from depth_completion_ros.conversion import (
    decode_compressed_depth,
    decode_depth,
    decode_rgb,
    intrinsics_of,
    says_rectified,
)
from depth_completion_ros.errors import InputError
from depth_completion_ros.point_clouds import decode_points

padding = st.binary(max_size=7)
UINT32 = 2**32 - 1


def image(encoding, rows, width, *, pad=b"", big=False, container="bytes"):
    """A sensor_msgs/Image of packed rows, each followed by garbage."""
    data = CONTAINERS[container](b"".join(row + pad for row in rows))
    return SimpleNamespace(
        encoding=encoding, height=len(rows), width=width, step=len(rows[0]) + len(pad), is_bigendian=big, data=data
    )


def random_colours(seed, height, width, top=256):
    return np.random.default_rng(seed).integers(0, top, (height, width, 3)).tolist()


# How each encoding lays out one pixel of red, green and blue, by sensor_msgs/image_encodings.
PACKED = {
    "rgb8": lambda r, g, b: bytes([r, g, b]),
    "bgr8": lambda r, g, b: bytes([b, g, r]),
    "8UC3": lambda r, g, b: bytes([b, g, r]),
    "rgba8": lambda r, g, b: bytes([r, g, b, 77]),
    "bgra8": lambda r, g, b: bytes([b, g, r, 77]),
    "8UC4": lambda r, g, b: bytes([b, g, r, 77]),
}


@given(st.sampled_from(sorted(PACKED)), sizes, sizes, padding, containers, st.booleans(), st.integers(0, 99))
def test_packed_colour_comes_out_red_first_whatever_the_padding(encoding, height, width, pad, container, big, seed):
    colours = random_colours(seed, height, width)
    rows = [b"".join(PACKED[encoding](*pixel) for pixel in row) for row in colours]
    decoded = unchanged(decode_rgb, image(encoding, rows, width, pad=pad, big=big, container=container))
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == colours


@given(st.sampled_from(["mono8", "8UC1"]), sizes, sizes, padding, containers, st.integers(0, 99))
def test_grey_gives_three_equal_channels(encoding, height, width, pad, container, seed):
    grey = [[pixel[0] for pixel in row] for row in random_colours(seed, height, width)]
    decoded = unchanged(decode_rgb, image(encoding, [bytes(row) for row in grey], width, pad=pad, container=container))
    assert decoded.tolist() == [[[value] * 3 for value in row] for row in grey]


@given(st.sampled_from(["rgb16", "bgr16"]), sizes, sizes, padding, st.booleans(), st.integers(0, 99))
def test_sixteen_bit_colour_keeps_its_high_byte_in_both_byte_orders(encoding, height, width, pad, big, seed):
    colours = random_colours(seed, height, width, 65536)
    colours[0][0][0] = 65535
    order = slice(None) if encoding == "rgb16" else slice(None, None, -1)
    rows = [b"".join(struct.pack(">3H" if big else "<3H", *pixel[order]) for pixel in row) for row in colours]
    decoded = unchanged(decode_rgb, image(encoding, rows, width, pad=pad, big=big))
    assert decoded.tolist() == [[[value // 256 for value in pixel] for pixel in row] for row in colours]


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("encoding", ["rgb16", "bayer_rggb16"])
def test_colour_of_fewer_bits_in_sixteen_is_as_bright_as_in_eight(encoding, bits):
    """Cameras write 10 or 12 bits into 16; the high byte alone would be black."""
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) << (bits - 8)
    pixels = np.stack([grey] * 3, axis=2) if encoding == "rgb16" else grey
    decoded = decode_rgb(image(encoding, [row.tobytes() for row in pixels], 16))
    assert decoded.dtype == np.uint8 and decoded.max() > 235
    if encoding == "rgb16":
        np.testing.assert_array_equal(decoded[..., 0], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize(
    ("encoding", "low", "high"), [("mono16", 300, 900), ("16UC1", 7000, 8500), ("32FC1", 0.1, 0.3)]
)
def test_grey_of_more_than_eight_bits_is_stretched_to_what_it_uses(encoding, low, high):
    """Infrared and thermal cameras use a few hundred of 65536 values."""
    ramp = np.linspace(low, high, 4096).reshape(64, 64)
    pixels = ramp.astype(np.float32 if encoding == "32FC1" else np.uint16)
    if encoding == "32FC1":
        pixels[5, 5] = np.nan
    decoded = decode_rgb(image(encoding, [row.tobytes() for row in pixels], 64)).astype(int)
    assert (decoded == decoded[..., :1]).all()
    assert decoded[0, 0, 0] == 0 and decoded[-1, -1, 0] == 255 and decoded[5, 5, 0] <= 255
    expected = np.clip((ramp - low) / (high - low), 0.01, 0.99) * 255 / 0.98 - 255 * 0.01 / 0.98
    sure = np.ones(ramp.shape, bool)
    sure[5, 5] = False
    np.testing.assert_allclose(decoded[..., 0][sure], expected[sure], atol=12)  # quantiles of a sample


def test_a_uniform_grey_image_stays_uniform():
    decoded = decode_rgb(image("mono16", [struct.pack("<4H", *[500] * 4)] * 4, 4))
    assert len(np.unique(decoded)) == 1


@given(st.sampled_from(["nv12", "nv21"]), st.integers(1, 4), st.integers(1, 4), padding, containers, st.integers(0, 99))
def test_a_plane_of_grey_and_one_of_colour_follow_bt601(encoding, couples_down, couples, pad, container, seed):
    random = np.random.default_rng(seed)
    y = random.integers(16, 236, (2 * couples_down, 2 * couples))
    u, v = random.integers(16, 241, (2, couples_down, couples))
    pairs = np.stack([u, v] if encoding == "nv12" else [v, u], axis=2).reshape(couples_down, 2 * couples)
    planes = [bytes(row.tolist()) for row in np.concatenate([y, pairs])]
    message = image(encoding, planes, 2 * couples, pad=pad, container=container)
    message.height = 2 * couples_down
    decoded = unchanged(decode_rgb, message)
    blue, red = (np.kron(plane, np.ones((2, 2))) - 128 for plane in (u, v))
    grey = 1.164 * (y - 16)
    expected = np.stack([grey + 1.596 * red, grey - 0.813 * red - 0.391 * blue, grey + 2.018 * blue], axis=2)
    np.testing.assert_allclose(decoded, np.clip(expected, 0, 255), atol=3)


def test_planes_that_do_not_fit_are_rejected():
    good = image("nv12", [bytes(6)] * 6, 6)
    good.height = 4
    decode_rgb(good)
    for change, cause in [
        ({"data": good.data[:-1]}, "truncated"),
        ({"step": 5}, "truncated"),
        ({"height": UINT32 - 1}, "truncated"),
        ({"width": 5}, "size"),
        ({"height": 3}, "size"),
        ({"height": 0}, "size"),
    ]:
        refusal(cause, decode_rgb, SimpleNamespace(**{**vars(good), **change}))


BAYER = ["rggb", "bggr", "gbrg", "grbg"]


def bayer_channel(pattern, y, x):
    """0, 1, 2 for red, green, blue: the name lists the first two pixels of the first row, then of the second."""
    return "rgb".index(pattern[2 * (y % 2) + x % 2])


@given(st.sampled_from(BAYER), st.integers(3, 9), st.integers(3, 9), padding, st.integers(0, 99))
def test_bayer_keeps_what_was_measured_where_it_was_measured(pattern, height, width, pad, seed):
    raw = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    decoded = unchanged(decode_rgb, image(f"bayer_{pattern}8", [row.tobytes() for row in raw], width, pad=pad))
    assert decoded.shape == (height, width, 3)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            assert decoded[y, x, bayer_channel(pattern, y, x)] == raw[y, x]


@given(st.sampled_from(BAYER), st.integers(3, 9), st.integers(3, 9), st.tuples(*[st.integers(0, 255)] * 3))
def test_bayer_of_one_colour_comes_back_as_that_colour(pattern, height, width, colour):
    rows = [bytes(colour[bayer_channel(pattern, y, x)] for x in range(width)) for y in range(height)]
    decoded = decode_rgb(image(f"bayer_{pattern}8", rows, width))
    assert decoded.tolist() == [[list(colour)] * width] * height


def bt601(y, u, v):
    """ITU-R BT.601, limited range, to 8-bit R'G'B'."""
    luma, cb, cr = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    rgb = (luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb)
    return [min(max(value, 0.0), 255.0) for value in rgb]


@given(
    st.sampled_from(["yuv422", "uyvy", "yuv422_yuy2", "yuyv"]),
    sizes,
    st.integers(1, 5),
    padding,
    containers,
    st.integers(0, 99),
)
def test_yuv422_follows_bt601(encoding, height, couples, pad, container, seed):
    random = np.random.default_rng(seed)
    rows, expected = [], []
    for _ in range(height):
        row, colours = b"", []
        for y0, y1, u, v in random.integers(0, 256, (couples, 4)).tolist():
            row += bytes([u, y0, v, y1] if encoding in ("yuv422", "uyvy") else [y0, u, y1, v])
            colours += [bt601(max(y, 16), u, v) for y in (y0, y1)]  # below black is black
        rows.append(row)
        expected.append(colours)
    decoded = unchanged(decode_rgb, image(encoding, rows, 2 * couples, pad=pad, container=container))
    np.testing.assert_allclose(decoded.astype(float), expected, atol=2)


@given(
    st.sampled_from(["16UC1", "mono16"]),
    sizes,
    sizes,
    padding,
    containers,
    st.booleans(),
    st.sampled_from([0.001, 0.0001, 0.00025, 1 / 256]),
    st.integers(0, 99),
)
def test_depth_counts_become_metres_and_unmeasured_ones_become_nan(
    encoding, height, width, pad, container, big, unit, seed
):
    counts = np.random.default_rng(seed).choice([0, 1, 255, 256, 1234, 65535], (height, width)).tolist()
    rows = [struct.pack(f"{'>' if big else '<'}{width}H", *row) for row in counts]
    decoded = unchanged(decode_depth, image(encoding, rows, width, pad=pad, big=big, container=container), unit)
    assert decoded.dtype == np.float32
    expected = [[value * unit if 0 < value < 65535 else np.nan for value in row] for row in counts]
    np.testing.assert_allclose(decoded, expected, rtol=1e-6)


def test_depth_counts_are_millimetres_by_default():
    assert decode_depth(image("16UC1", [struct.pack("<H", 1500)], 1))[0, 0] == pytest.approx(1.5)


@given(sizes, sizes, padding, containers, st.booleans(), st.integers(0, 99))
def test_float_depth_passes_through_bit_for_bit(height, width, pad, container, big, seed):
    values = np.random.default_rng(seed).choice([0.0, -1.0, 1.5, 7.25, np.nan, np.inf, 1e-3], (height, width))
    rows = [struct.pack(f"{'>' if big else '<'}{width}f", *row) for row in values]
    decoded = unchanged(decode_depth, image("32FC1", rows, width, pad=pad, big=big, container=container))
    assert decoded.dtype == np.float32
    assert decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, values.astype(np.float32))


@given(st.sampled_from([0.001, 0.01, 1.0]), st.integers(0, 99))
def test_float_depth_is_in_the_unit_that_is_given(unit, seed):
    values = np.random.default_rng(seed).choice([0.0, -1.0, 543.1, np.nan, np.inf], (3, 4)).astype(np.float32)
    decoded = unchanged(decode_depth, image("32FC1", [row.astype("<f4").tobytes() for row in values], 4), unit)
    np.testing.assert_allclose(decoded, values * np.float32(unit), rtol=1e-6)


def test_an_unknown_encoding_is_reported():
    assert "'rgb9'" in refusal("encoding", decode_rgb, image("rgb9", [b"abc"], 1))
    assert "'64FC9'" in refusal("encoding", decode_depth, image("64FC9", [bytes(8)], 1))


def test_depth_of_signed_and_of_double_numbers():
    """Below zero nothing was measured."""
    signed = SimpleNamespace(
        height=1, width=3, encoding="16SC1", step=6, data=struct.pack("<3h", -5, 0, 1500), is_bigendian=0
    )
    np.testing.assert_allclose(decode_depth(signed), [[np.nan, np.nan, 1.5]])
    double = SimpleNamespace(
        height=1, width=2, encoding="64FC1", step=16, data=struct.pack("<2d", 0.25, 3.0), is_bigendian=0
    )
    depth = decode_depth(double)
    np.testing.assert_allclose(depth, [[0.25, 3.0]])
    assert depth.dtype == np.float32


def test_the_encoding_of_the_other_role_hints_at_swapped_topics():
    """Grey of 16 bits and float serve as a guide, so that only the depth can tell."""
    assert "swapped" in refusal("encoding", decode_depth, image("rgb8", [b"abc"], 1))
    assert "swapped" in refusal("encoding", decode_depth, image("mono8", [b"a"], 1))


@pytest.mark.parametrize(("decode", "encoding", "pixel"), [(decode_rgb, "rgb8", 3), (decode_depth, "32FC1", 4)])
def test_the_last_row_needs_no_padding(decode, encoding, pixel):
    padded = image(encoding, [bytes(range(1, 5 * pixel + 1)) + bytes(7)] * 4, 5)
    cut = SimpleNamespace(**{**vars(padded), "data": padded.data[:-7]})
    assert padded.step == 5 * pixel + 7
    np.testing.assert_array_equal(decode(cut), decode(padded))
    refusal("truncated", decode, SimpleNamespace(**{**vars(padded), "data": padded.data[:-8]}))


@pytest.mark.parametrize(("decode", "encoding", "pixel"), [(decode_rgb, "rgb8", 3), (decode_depth, "32FC1", 4)])
def test_sizes_that_do_not_fit_are_rejected(decode, encoding, pixel):
    good = image(encoding, [bytes(5 * pixel)] * 4, 5)
    decode(good)
    for change, cause in [
        ({"data": good.data[:-1]}, "truncated"),
        ({"data": b""}, "truncated"),
        ({"data": array("B")}, "truncated"),
        ({"step": 5 * pixel - 1}, "truncated"),
        ({"step": 0}, "truncated"),
        ({"step": UINT32}, "truncated"),
        ({"height": 5}, "truncated"),
        ({"width": UINT32, "height": UINT32, "step": UINT32}, "truncated"),
        ({"height": 0}, "size"),
        ({"width": 0}, "size"),
    ]:
        refusal(cause, decode, SimpleNamespace(**{**vars(good), **change}))


def test_yuv422_of_odd_width_is_rejected():
    refusal("size", decode_rgb, image("uyvy", [bytes(6)] * 2, 3))


known_encodings = ["rgb8", "bgra8", "mono8", "rgb16", "bayer_grbg8", "yuv422", "yuyv", "nv12", "16UC1", "32FC1", "8UC3"]
dimension = st.one_of(st.integers(0, 9), st.sampled_from([2**31 - 1, 2**31, UINT32]))


@given(
    st.sampled_from([decode_rgb, decode_depth]),
    st.one_of(st.sampled_from(known_encodings), st.text(max_size=8)),
    dimension,
    dimension,
    st.one_of(st.integers(0, 40), st.just(UINT32)),
    st.booleans(),
    st.binary(max_size=400),
    containers,
)
@settings(max_examples=500)
def test_any_fields_of_an_image_give_an_array_or_an_input_error(decode, encoding, h, w, step, big, data, container):
    message = SimpleNamespace(
        encoding=encoding, height=h, width=w, step=step, is_bigendian=big, data=CONTAINERS[container](data)
    )
    try:
        decoded = decode(message)
    except InputError:
        return
    assert decoded.shape == ((h, w, 3) if decode is decode_rgb else (h, w))


# Point clouds and calibrations


CODES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}  # sensor_msgs/PointField to struct


def field(name, offset, datatype=7):
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=1)


@given(st.data())
def test_points_are_found_by_their_fields(data):
    """Any order, offsets, types, byte order, padding between fields, points and rows; organised or not."""
    order = ">" if (big := data.draw(st.booleans())) else "<"
    width, height = data.draw(sizes), data.draw(st.integers(1, 4))
    names = data.draw(st.permutations(["x", "y", "z", "intensity", "ring"]))
    fields, end = [], 0
    for name in names:
        datatype = data.draw(st.sampled_from([7, 8] if name in "xyz" else sorted(CODES)))
        fields.append(field(name, end + data.draw(st.integers(0, 3)), datatype))
        end = fields[-1].offset + struct.calcsize("<" + CODES[datatype])
    point_step = end + data.draw(st.integers(0, 5))
    row_step = point_step * width + data.draw(st.integers(0, 9))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    cloud = bytearray(random.integers(0, 256, row_step * height, np.uint8).tobytes())
    expected = []
    for row in range(height):
        for column in range(width):
            point = random.choice([0.0, -1.25, 3.5, 1e3, np.nan, np.inf], 3).tolist()
            for one in fields:
                if one.name in "xyz":
                    place = row * row_step + column * point_step + one.offset
                    struct.pack_into(order + CODES[one.datatype], cloud, place, point["xyz".index(one.name)])
            if any(value != 0 for value in point):  # a beam that did not come back
                expected.append(point)
    message = SimpleNamespace(
        height=height, width=width, fields=fields, is_bigendian=big, point_step=point_step, row_step=row_step
    )
    message.data = CONTAINERS[data.draw(containers)](cloud)
    decoded = unchanged(decode_points, message)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, np.array(expected, np.float32).reshape(-1, 3))


def cloud(**changes):
    fields = [field(name, 4 * place) for place, name in enumerate("xyz")]
    whole = {"height": 1, "width": 3, "fields": fields, "is_bigendian": False, "point_step": 12, "row_step": 36}
    return SimpleNamespace(**{**whole, "data": bytes(36), **changes})


def test_an_empty_cloud_has_no_points():
    assert decode_points(cloud(width=0, row_step=0, data=b"")).shape == (0, 3)
    assert decode_points(cloud(width=0, height=0, row_step=0, data=array("B"))).shape == (0, 3)


@pytest.mark.parametrize("row_step", [0, 1, 36, 99])
def test_the_row_step_of_a_cloud_of_one_row_does_not_matter(row_step):
    data = np.arange(1, 10, dtype="<f4").tobytes()
    found = decode_points(cloud(row_step=row_step, data=data))
    np.testing.assert_array_equal(found, np.arange(1, 10, dtype=np.float32).reshape(3, 3))


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"data": bytes(35)}, "truncated"),
        ({"data": b""}, "truncated"),
        ({"height": 2}, "truncated"),
        ({"height": 3, "width": 1, "row_step": 11}, "truncated"),
        ({"height": 3, "width": 1, "row_step": 0}, "truncated"),
        ({"width": UINT32}, "truncated"),
        ({"point_step": 0}, "points"),
        ({"point_step": 11}, "points"),
        ({"fields": [field("x", 0), field("y", 4)]}, "points"),
        ({"fields": []}, "points"),
        ({"fields": [field("x", 0, 9), field("y", 4), field("z", 8)]}, "points"),
        ({"fields": [field("x", UINT32), field("y", 4), field("z", 8)]}, "points"),
    ],
)
def test_clouds_that_do_not_fit_are_rejected(changes, cause):
    refusal(cause, decode_points, cloud(**changes))


@given(
    dimension,
    dimension,
    st.lists(st.builds(field, st.sampled_from("xyzr"), dimension, st.integers(0, 255)), max_size=5),
    st.one_of(st.integers(0, 40), st.just(UINT32)),
    st.one_of(st.integers(0, 99), st.just(UINT32)),
    st.booleans(),
    st.binary(max_size=300),
)
@settings(max_examples=300)
def test_any_fields_of_a_cloud_give_points_or_an_input_error(h, w, fields, point_step, row_step, big, data):
    message = cloud(
        height=h, width=w, fields=fields, point_step=point_step, row_step=row_step, is_bigendian=big, data=data
    )
    try:
        decoded = decode_points(message)
    except InputError:
        return
    assert decoded.shape[0] <= h * w and decoded.shape[1] == 3


def test_doubles_beyond_float32_are_infinite_without_a_message_of_numpy():
    data = np.array([[1e300, 2.5, np.inf]], "<f8").tobytes()
    with np.errstate(over="raise"):
        decoded = decode_depth(image("64FC1", [data], 3))
    np.testing.assert_array_equal(decoded, np.float32([[np.inf, 2.5, np.inf]]))


K = [500.0, 0, 320.5, 0, 510.0, 240.5, 0, 0, 1]
P = [400.0, 0, 300.5, -7.5, 0, 410.0, 200.5, 0, 0, 0, 1, 0]


def calibration(k=K, p=P, width=640, height=480, **others):
    return SimpleNamespace(k=k, p=p, width=width, height=height, **others)


def test_the_rectified_intrinsics_are_those_of_p():
    found = intrinsics_of(calibration())
    assert (found.fx, found.fy, found.cx, found.cy) == (400.0, 410.0, 300.5, 200.5)
    assert (found.width, found.height) == (640, 480)


def test_k_is_used_if_p_is_empty():
    found = intrinsics_of(calibration(p=[0.0] * 12))
    assert (found.fx, found.fy, found.cx, found.cy) == (500.0, 510.0, 320.5, 240.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"k": [0.0] * 9, "p": [0.0] * 12},
        {"width": 0},
        {"height": 0},
        {"k": [np.nan] * 9, "p": [np.nan] * 12},
        {"p": [400.0, 0, np.inf, *P[3:]]},
        {"p": [400.0, 0, 300.5, 0, 0, -410.0, *P[6:]]},
    ],
)
def test_an_invalid_calibration_is_rejected(changes):
    refusal("camera_info", intrinsics_of, calibration(**changes))


def window(left, top, width, height):
    return SimpleNamespace(x_offset=left, y_offset=top, width=width, height=height, do_rectify=False)


def numbers_of(intrinsics):
    i = intrinsics
    return i.fx, i.fy, i.cx, i.cy, i.width, i.height


@pytest.mark.parametrize(
    ("changes", "size", "expected"),
    [
        ({"binning_x": 2, "binning_y": 4}, (320, 120), (200, 102.5, 150.25, 50.125, 320, 120)),
        ({"roi": window(100, 50, 320, 240)}, (320, 240), (400, 410, 200.5, 150.5, 320, 240)),
        (
            {"roi": window(100, 50, 320, 240), "binning_x": 2, "binning_y": 2},
            (160, 120),
            (200, 205, 100.25, 75.25, 160, 120),
        ),
        # drivers whose calibration is that of the very image, although they say how the sensor is read out
        ({"binning_x": 2, "binning_y": 2}, (640, 480), (400, 410, 300.5, 200.5, 640, 480)),
        ({"roi": window(100, 50, 320, 240)}, (640, 480), (400, 410, 300.5, 200.5, 640, 480)),
        # 0 and 1 are both no binning, and a window of no size is the whole sensor
        ({"binning_x": 1, "binning_y": 0, "roi": window(0, 0, 0, 0)}, None, (400, 410, 300.5, 200.5, 640, 480)),
    ],
)
def test_a_window_of_the_sensor_and_its_binning_are_applied(changes, size, expected):
    assert numbers_of(intrinsics_of(calibration(**changes), size)) == expected


def distorted(model="plumb_bob", d=(-0.3, 0.1, 0.001, 0.002, 0.0), r=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    return calibration(distortion_model=model, d=list(d), r=list(map(float, r)))


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", (-0.3, 0.1, 0.001, 0.002, 0.0)),
        ("rational_polynomial", (0.5, -2.5, 0.0005, -0.0004, 1.5, 0.4, -2.4, 1.4)),
        ("equidistant", (-0.02, 0.004, 0.001, -0.0002)),
    ],
)
def test_a_raw_image_uses_k_and_the_distortion(model, coefficients):
    raw = intrinsics_of(distorted(model, coefficients), (640, 480), raw=True)
    assert numbers_of(raw) == (500.0, 510.0, 320.5, 240.5, 640, 480)
    assert raw.distortion.coefficients == coefficients
    assert raw.distortion.fisheye == (model == "equidistant")
    rectified = intrinsics_of(distorted(model, coefficients), (640, 480))
    assert numbers_of(rectified) == (400.0, 410.0, 300.5, 200.5, 640, 480) and rectified.distortion is None


def test_a_raw_image_of_a_stereo_camera_is_rotated():
    turn = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert intrinsics_of(distorted(r=turn), raw=True).distortion.rotation == turn
    assert intrinsics_of(distorted(d=(), r=turn), raw=True).distortion.rotation == turn


@pytest.mark.parametrize("changes", [{"d": ()}, {"d": (0, 0, 0, 0, 0)}, {"d": (0,) * 5, "r": (0,) * 9, "model": ""}])
def test_a_raw_image_without_distortion_uses_k(changes):
    """P belongs to the image that would be rectified; it is taken only if K is empty."""
    message = distorted(**changes)
    found = intrinsics_of(message, raw=True)
    assert numbers_of(found) == (500.0, 510.0, 320.5, 240.5, 640, 480) and found.distortion is None
    message.k = [0.0] * 9
    assert intrinsics_of(message, raw=True) == intrinsics_of(message)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("", "plumb_bob"),
        ("radtan", "plumb_bob"),
        ("Brown Conrady", "plumb_bob"),
        ("fisheye", "equidistant"),
        ("kannala_brandt4", "equidistant"),
        ("Equidistant", "equidistant"),
    ],
)
def test_names_that_other_libraries_give_to_a_distortion_model_are_known(name, model):
    coefficients = (-0.02, 0.004, 0.001, -0.0002)
    assert intrinsics_of(distorted(name, coefficients), raw=True) == intrinsics_of(
        distorted(model, coefficients), raw=True
    )


@pytest.mark.parametrize(
    "changes", [{"model": "double_sphere"}, {"model": "equidistant", "d": (0.1,) * 5}, {"d": (0.1,) * 15}]
)
def test_a_distortion_that_is_not_known_is_reported(changes):
    said = refusal("camera_info", lambda message: intrinsics_of(message, raw=True), distorted(**changes))
    assert "distortion_model" in said and "rectify off" in said
    assert intrinsics_of(distorted(**changes)).distortion is None


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/rgb/image_rect_color", True),
        ("/camera/depth/image_rect_raw", True),
        ("/cam/image_rect/compressed", True),
        ("/rectified/image", True),
        ("rect", True),
        ("/cam/image_raw", False),
        ("/direct/image_color", False),
        ("/camera/color/image_raw", False),
    ],
)
def test_the_name_of_a_topic_says_whether_its_images_are_rectified(topic, rectified):
    assert says_rectified(topic) == rectified


def test_messages_of_a_recording_are_read_by_the_same_path():
    typesys = pytest.importorskip("rosbags.typesys", reason="the messages are those of rosbags: pip install rosbags")
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    types = store.types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 2), "camera")

    def recorded(name, *fields):
        message = types[name](header, *fields)
        return store.deserialize_cdr(store.serialize_cdr(message, name), name)

    rgb = recorded("sensor_msgs/msg/Image", 1, 2, "bgr8", 0, 6, np.arange(6, dtype=np.uint8))
    assert decode_rgb(rgb).tolist() == [[[2, 1, 0], [5, 4, 3]]]
    depth = recorded(
        "sensor_msgs/msg/CompressedImage",
        "16UC1; compressedDepth png",
        np.frombuffer(bytes(12) + png16([[1000, 0]]), np.uint8),
    )
    np.testing.assert_array_equal(decode_compressed_depth(depth), np.array([[1, np.nan]], np.float32))
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    info = recorded(
        "sensor_msgs/msg/CameraInfo",
        480,
        640,
        "plumb_bob",
        np.zeros(5),
        np.array(K),
        np.eye(3).ravel(),
        np.array(P),
        0,
        0,
        region,
    )
    assert intrinsics_of(info) == intrinsics_of(calibration())
    fields = [types["sensor_msgs/msg/PointField"](name, 4 * place, 7, 1) for place, name in enumerate("xyz")]
    points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    message = recorded("sensor_msgs/msg/PointCloud2", 1, 2, fields, False, 12, 24, points.view(np.uint8).ravel(), True)
    np.testing.assert_array_equal(decode_points(message), points)
