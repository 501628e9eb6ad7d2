"""Completion of files: what is written is what DepthCompleter gives, and one bad file does not stop the others."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_completion_ros import ConfigurationError, DepthCompleter, InputError, RgbdFrame, load_profile
from depth_completion_ros.cli import main
from depth_completion_ros.files import find_pairs, read_depth, read_rgb


def scene(seed: int, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 RGB and (H, W) uint16 depth in millimetres with a hole, 0 = missing."""
    generator = np.random.default_rng(seed)
    rgb = generator.integers(0, 255, (height, width, 3), np.uint8)
    depth = (1000 + 10 * np.arange(width)[None] + 5 * np.arange(height)[:, None] + seed).astype(np.uint16)
    depth[10:20, 20:35] = 0
    return rgb, depth


def write_scene(folder, name: str, seed: int, **size: int) -> tuple[np.ndarray, np.ndarray]:
    rgb, depth = scene(seed, **size)
    for role, image in (("rgb", rgb[..., ::-1]), ("depth", depth)):
        (folder / role).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / role / f"{name}.png"), image)
    return rgb, depth


def complete(folder, *options: str) -> int:
    arguments = ["--rgb", str(folder / "rgb"), "--depth", str(folder / "depth"), "--out", str(folder / "out")]
    return main(["complete", *arguments, "--engine", "classical", *options])


def metres(depth: np.ndarray) -> np.ndarray:
    return np.where(depth > 0, depth * np.float32(0.001), np.float32(np.nan)).astype(np.float32)


def stored(folder, name: str) -> np.ndarray:
    return cv2.imread(str(folder / "out" / name), cv2.IMREAD_UNCHANGED)


def test_every_output_file_has_the_result_of_the_completer(tmp_path):
    rgb, depth = write_scene(tmp_path, "a", 1)
    assert complete(tmp_path) == 0
    expected = DepthCompleter("kinect", "classical").complete(RgbdFrame(rgb, metres(depth)))
    np.testing.assert_array_equal(np.load(tmp_path / "out/a_depth.npy"), expected.depth)
    np.testing.assert_array_equal(np.load(tmp_path / "out/a_sigma.npy"), expected.sigma)
    np.testing.assert_array_equal(stored(tmp_path, "a_depth.png"), np.rint(expected.depth * 1000).astype(np.uint16))
    np.testing.assert_array_equal(stored(tmp_path, "a_confidence.png"), np.rint(expected.confidence * 255))
    assert stored(tmp_path, "a_preview.png").shape[1:] == (1296, 3)
    assert not (tmp_path / "out/a.ply").exists()


def test_depth_below_min_confidence_is_zero_in_the_png_and_nan_in_the_array(tmp_path):
    rgb, depth = write_scene(tmp_path, "a", 1)
    confidence = DepthCompleter("kinect", "classical").complete(RgbdFrame(rgb, metres(depth))).confidence
    threshold = float(np.median(confidence[confidence < confidence.max()]))
    assert complete(tmp_path, "--min-confidence", str(threshold)) == 0
    gated = confidence < threshold
    assert 0 < gated.sum() < gated.size
    np.testing.assert_array_equal(stored(tmp_path, "a_depth.png") == 0, gated)
    np.testing.assert_array_equal(np.isnan(np.load(tmp_path / "out/a_depth.npy")), gated)


def test_fill_only_keeps_what_was_measured(tmp_path):
    _, depth = write_scene(tmp_path, "a", 1)
    assert complete(tmp_path, "--fill-only") == 0
    np.testing.assert_array_equal(stored(tmp_path, "a_depth.png")[depth > 0], depth[depth > 0])


def test_depth_scale_and_depth_of_another_size(tmp_path):
    """0.25 mm per unit, and depth at half the resolution of the colour image."""
    rgb, depth = scene(2)
    half = depth[::2, ::2]
    for role, image in (("rgb", rgb[..., ::-1]), ("depth", half * 4)):
        (tmp_path / role).mkdir()
        cv2.imwrite(str(tmp_path / role / "a.png"), image)
    assert complete(tmp_path, "--depth-unit", "0.00025", "--profile", "tof") == 0
    expected = DepthCompleter("tof", "classical").complete(RgbdFrame(rgb, metres(half))).depth
    np.testing.assert_allclose(np.load(tmp_path / "out/a_depth.npy"), expected, rtol=1e-5)


@pytest.mark.parametrize("suffix", ["npy", "npz", "tiff"])
def test_floating_point_depth_is_metres_unless_a_unit_is_given(tmp_path, suffix):
    depth = metres(scene(3)[1])
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, depth)
    elif suffix == "npz":
        np.savez(path, depth=depth, other=np.zeros(3))
    else:
        cv2.imwrite(str(path), depth)
    np.testing.assert_array_equal(read_depth(path), depth)
    np.testing.assert_array_equal(read_depth(path, unit=0.5), depth * np.float32(0.5))


def test_zero_negative_and_infinite_depth(tmp_path):
    """Zero and negative values are missing; infinity is left for the completer, which takes it as missing."""
    np.save(tmp_path / "a.npy", np.float64([[0, -1, np.nan, np.inf, 2.5]]))
    np.testing.assert_array_equal(read_depth(tmp_path / "a.npy"), np.float32([[np.nan, np.nan, np.nan, np.inf, 2.5]]))


def test_an_exif_rotation_is_ignored_so_that_colour_matches_depth(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    orientation_6 = bytes.fromhex("ffe1002245786966000049492a00080000000100120103000100000006000000") + b"\0\0\0\0"
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + orientation_6 + jpeg[2:])
    assert cv2.imread(str(tmp_path / "a.jpg")).shape[:2] == (60, 40), "the file must really ask for a rotation"
    assert read_rgb(tmp_path / "a.jpg").shape == (40, 60, 3)


def test_folders_are_matched_by_name_in_natural_order(tmp_path):
    for name in ("f10", "f2", "f1"):
        write_scene(tmp_path, name, 1)
    (tmp_path / "rgb/f3.png").write_bytes(b"")
    (tmp_path / "depth/notes.txt").write_text("no image")
    pairs, left_over, rule = find_pairs(tmp_path / "rgb", tmp_path / "depth")
    assert [pair.name for pair in pairs] == ["f1", "f2", "f10"]
    assert left_over == [tmp_path / "rgb/f3.png"] and rule == ""


def matched(folder, rgb: list[str], depth: list[str]) -> tuple[list[tuple[str, str]], str]:
    """Which of these files are paired, and by what."""
    for role, names in (("rgb", rgb), ("depth", depth)):
        (folder / role).mkdir()
        for name in names:
            (folder / role / name).write_bytes(b"")
    pairs, left_over, rule = find_pairs(folder / "rgb", folder / "depth")
    assert len(left_over) == len(rgb) + len(depth) - 2 * len(pairs)
    return [(pair.rgb.name, pair.depth.name) for pair in pairs], rule


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        ("rgb_{:04}.png", "depth_{:04}.png"),
        ("frame-{:06}.color.jpg", "frame-{:06}.depth.png"),
        ("{}.jpg", "d16_{:03}.png"),
    ],
)
def test_files_are_matched_by_the_number_in_their_names(tmp_path, pattern, other):
    numbers = [3, 20, 100]
    names = [pattern.format(n) for n in numbers], [other.format(n) for n in (*numbers, 7)]
    pairs, rule = matched(tmp_path, *names)
    assert pairs == [(pattern.format(n), other.format(n)) for n in numbers]
    assert "numbers" in rule


@pytest.mark.parametrize(
    ("rgb", "depth", "pairs"),
    [
        # Model of the camera, size of the image, serial number: equal in all names.
        (["d435_1_color", "d435_3_color", "d435_4_color"], ["d435_1_depth", "d435_2_depth", "d435_4_depth"], [0, 2]),
        (["640x480_1_rgb", "640x480_3_rgb"], ["320x240_1_d", "320x240_3_d"], [0, 1]),
        (["831612070123_1", "831612070123_2"], ["831612070123_2_d", "831612070123_3_d"], [(1, 0)]),
        (["d435_7_color"], ["d435_6_depth", "d435_7_depth"], [(0, 1)]),
        (["7"], ["d16_006", "d16_007"], [(0, 1)]),
        # More than one number tells the frames apart.
        (["s1_f1", "s1_f2", "s2_f1"], ["s1_1_d", "s2_1_d", "s2_2_d"], [0, (2, 1)]),
        # A counter of 13 digits is no time, for which 6 would be as good as 5.
        (["rgb_0000000000005"], ["d_0000000000005", "d_0000000000006"], [0]),
    ],
)
def test_numbers_that_are_equal_in_all_names_do_not_tell_frames_apart(tmp_path, rgb, depth, pairs):
    rgb, depth = [f"{name}.png" for name in rgb], [f"{name}.png" for name in depth]
    expected = [(rgb[one], depth[other]) for one, other in ((at, at) if isinstance(at, int) else at for at in pairs)]
    assert matched(tmp_path, rgb, depth) == (expected, "the numbers in their names")


@pytest.mark.parametrize(
    ("rgb", "depth"),
    [
        (["1700000000.100000", "1700000000.200000"], ["1700003600.100000", "1700003600.200000"]),
        (["20240101_1", "20240101_2"], ["20240102_1", "20240102_2"]),
        (["rgb_1", "rgb_3", "rgb_5"], ["depth_2", "depth_4", "depth_6"]),
    ],
)
def test_times_or_numbers_that_differ_are_not_paired_by_order(tmp_path, rgb, depth):
    with pytest.raises(ConfigurationError, match="no file name, number or time in common: rename"):
        matched(tmp_path, [f"{name}.png" for name in rgb], [f"{name}.png" for name in depth])


def test_one_folder_is_split_by_the_words_in_the_names(tmp_path):
    for name in ("frame-2.color.jpg", "frame-2.depth.png", "frame-3.color.jpg", "frame-3.depth.png", "notes.png"):
        (tmp_path / name).write_bytes(b"")
    pairs = find_pairs(tmp_path, tmp_path / ".." / tmp_path.name).pairs
    assert [(pair.rgb.name, pair.depth.name) for pair in pairs] == [
        (f"frame-{n}.color.jpg", f"frame-{n}.depth.png") for n in (2, 3)
    ]


def test_depth_is_not_its_own_guide(tmp_path):
    write_scene(tmp_path, "a", 1)
    with pytest.raises(ConfigurationError, match="put the words rgb and depth into the names"):
        find_pairs(tmp_path / "depth", tmp_path / "depth")
    with pytest.raises(ConfigurationError, match=r"a\.png is given for colour and for depth"):
        find_pairs(tmp_path / "depth/a.png", tmp_path / "depth/a.png")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/a.png").symlink_to(tmp_path / "depth/a.png")
    with pytest.raises(ConfigurationError, match=r"a\.png is given for colour and for depth"):
        find_pairs(tmp_path / "linked", tmp_path / "depth")


@pytest.mark.parametrize("seconds", [True, False])
def test_files_whose_names_are_times_are_paired_with_the_nearest(tmp_path, seconds):
    """In seconds as TUM RGB-D names them, or in nanoseconds.

    The second colour image has no depth within 20 ms, the last depth no colour image."""
    offsets = [(0.0, 0.013), (0.033, None), (0.066, 0.08), (0.1, 0.096), (None, 0.4)]

    def name(offset: float) -> str:
        time = 1305031102.175 + offset
        return (f"{time:.6f}" if seconds else str(round(time * 1e9))) + ".png"

    pairs, rule = matched(
        tmp_path, [name(r) for r, _ in offsets if r is not None], [name(d) for _, d in offsets if d is not None]
    )
    assert pairs == [(name(r), name(d)) for r, d in offsets if r is not None and d is not None]
    assert "times" in rule and "20 ms" in rule


def test_files_without_matching_names_are_paired_by_order_with_a_message(tmp_path, capsys):
    write_scene(tmp_path, "a", 1)
    write_scene(tmp_path, "b", 2)
    for old, new in (("a", "first"), ("b", "second")):
        (tmp_path / "depth" / f"{old}.png").rename(tmp_path / "depth" / f"{new}.png")
    assert complete(tmp_path) == 0
    assert "matched by their order, as no names match: a.png with first.png" in capsys.readouterr().err
    alone = DepthCompleter("kinect", "classical").complete(RgbdFrame(scene(2)[0], metres(scene(2)[1])))
    np.testing.assert_array_equal(np.load(tmp_path / "out/b_depth.npy"), alone.depth)


def test_depth_nearer_than_the_profile_counts_where_the_range_says_so(tmp_path, capsys):
    """Counts of 0.1 mm: all depth lies between 0.1 and 0.2 m."""
    rgb, depth = write_scene(tmp_path, "a", 1)
    arguments = ["--depth-unit", "0.0001"]
    assert complete(tmp_path, *arguments) == 1
    message = capsys.readouterr().err
    assert "no depth between 0.3 and 10" in message and "--depth-unit" in message and "depth.unit" not in message
    assert complete(tmp_path, *arguments, "--min-range", "0.05", "--max-range", "0.5") == 0
    profile = replace(load_profile("kinect"), min_range=0.05, max_range=0.5)
    near = np.where(depth > 0, depth * np.float32(0.0001), np.float32(np.nan))
    expected = DepthCompleter(profile, "classical").complete(RgbdFrame(rgb, near)).depth
    np.testing.assert_array_equal(np.load(tmp_path / "out/a_depth.npy"), expected)


def break_by_cutting(path):
    path.write_bytes(path.read_bytes()[:200])


def break_by_emptying(path):
    path.write_bytes(b"")


def break_by_a_cut_archive(path):
    path.unlink()
    path.with_suffix(".npz").write_bytes(b"PK\x03\x04x")


def break_by_a_damaged_archive(path):
    path.unlink()
    np.savez_compressed(path.with_suffix(".npz"), depth=np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
    data = bytearray(path.with_suffix(".npz").read_bytes())
    data[60:400] = bytes(340)
    path.with_suffix(".npz").write_bytes(data)


def break_by_eight_bits(path):
    cv2.imwrite(str(path), np.zeros((48, 64), np.uint8))


def break_by_covering(path):
    cv2.imwrite(str(path), np.zeros((48, 64), np.uint16))


@pytest.mark.parametrize(
    "damage",
    [
        break_by_cutting,
        break_by_emptying,
        break_by_a_cut_archive,
        break_by_a_damaged_archive,
        break_by_eight_bits,
        break_by_covering,
    ],
)
def test_a_bad_file_is_reported_and_the_others_are_completed(tmp_path, capsys, damage):
    for name in ("f1", "f2", "f3"):
        write_scene(tmp_path, name, 1)
    damage(tmp_path / "depth/f2.png")
    assert complete(tmp_path) == 1
    out, err = capsys.readouterr()
    assert "f2" in err and len(err.strip().splitlines()) == 1
    assert "2 of 3 frames" in out
    assert (tmp_path / "out/f1_depth.png").exists() and (tmp_path / "out/f3_depth.png").exists()
    assert not (tmp_path / "out/f2_depth.png").exists()


def test_depth_beyond_sixteen_bits_is_zero_in_the_png_with_one_warning(tmp_path, capsys):
    for name in ("a", "b"):
        write_scene(tmp_path, name, 1)
    assert complete(tmp_path, "--depth-unit", "0.05", "--profile", "lidar") == 0
    dense = np.load(tmp_path / "out/a_depth.npy")
    assert dense.min() < 65.535 < dense.max()
    np.testing.assert_array_equal(stored(tmp_path, "a_depth.png") == 0, dense > 65.535)
    assert capsys.readouterr().err.count("65.535") == 1


def test_intrinsics_add_a_point_cloud_that_reads_back(tmp_path):
    rgb, _ = write_scene(tmp_path, "a", 1)
    assert complete(tmp_path, "--intrinsics", "50,60,31,23") == 0
    header, body = (tmp_path / "out/a.ply").read_bytes().split(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert f"element vertex {48 * 64}".encode() in header
    vertices = np.frombuffer(body, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "u1", 3)])
    dense = np.load(tmp_path / "out/a_depth.npy")
    at = 30 * 64 + 45
    z = dense[30, 45]
    np.testing.assert_allclose([vertices[k][at] for k in "xyz"], [(45 - 31) * z / 50, (30 - 23) * z / 60, z], rtol=1e-5)
    np.testing.assert_array_equal(vertices["rgb"][at], rgb[30, 45])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--depth-unit", "0"], "--depth-unit"),
        (["--depth-unit", "inf"], "--depth-unit inf must be a number above zero"),
        (["--min-confidence", "1.5"], "--min-confidence"),
        (["--min-range", "3", "--max-range", "2"], "--min-range 3.0 m must be smaller than --max-range 2.0 m"),
        (["--profile", "sonar"], "sonar"),
        (["--model", "nothing"], "nothing"),
    ],
)
def test_a_wrong_setting_is_reported_before_any_work(tmp_path, capsys, options, named):
    write_scene(tmp_path, "a", 1)
    assert complete(tmp_path, *options) == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "words"), [("bag_0.mcap", "is a recording"), ("notes.txt", "contains no image files")]
)
def test_folders_without_images_are_reported(tmp_path, file, words):
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=words):
        find_pairs(tmp_path, tmp_path)


def test_each_mismatch_of_paths_has_its_own_message(tmp_path):
    write_scene(tmp_path, "a", 1)
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_pairs(tmp_path / "nowhere", tmp_path / "depth")
    with pytest.raises(ConfigurationError, match="two files or two folders"):
        find_pairs(tmp_path / "rgb/a.png", tmp_path / "depth")
    (tmp_path / "depth/a.png").rename(tmp_path / "depth/b.png")
    (tmp_path / "depth/c.png").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="no file name, number or time in common"):
        find_pairs(tmp_path / "rgb", tmp_path / "depth")
    (tmp_path / "rgb/a.jpg").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="the same name"):
        find_pairs(tmp_path / "rgb", tmp_path / "depth")


def test_an_npz_with_several_arrays_needs_one_named_depth(tmp_path):
    np.savez(tmp_path / "a.npz", z=np.ones((2, 2)), w=np.ones((2, 2)))
    with pytest.raises(InputError, match="name the depth array 'depth'"):
        read_depth(tmp_path / "a.npz", 1)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"b\.npy"):
        read_depth(tmp_path / "b.npy", 1)


def test_depth_files_with_a_channel_axis_are_read(tmp_path):
    depth = np.float32([[1.5, np.nan], [2.5, 3.5]])
    np.save(tmp_path / "a.npy", depth[..., None])
    np.testing.assert_array_equal(read_depth(tmp_path / "a.npy", 1), depth)


def test_the_largest_16_bit_value_is_missing(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.uint16([[0, 1000, 65534, 65535]]))
    expected = np.float32([[np.nan, 1, 65.534, np.nan]])
    np.testing.assert_allclose(read_depth(tmp_path / "a.png", 0.001), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4", "<u4", "<i8"])
def test_65535_is_missing_in_integers_of_every_kind(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([[0, 1000, 65534, 65535]], dtype))
    expected = np.float32([[np.nan, 1, 65.534, np.nan]])
    np.testing.assert_allclose(read_depth(tmp_path / "a.npy"), expected, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize(("low", "high"), [(300, 900), (7000, 8500)])
def test_16_bit_infrared_guides_as_8_bit_infrared_does(tmp_path, low, high, suffix):
    """A camera that uses 10 bits, or a small part of 16, as thermal cameras do: from black to white."""
    ramp = np.linspace(low, high, 64 * 48).reshape(48, 64).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), ramp)
    image = read_rgb(tmp_path / f"a.{suffix}")
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    assert (image[0, 0].tolist(), image[-1, -1].tolist()) == ([0] * 3, [255] * 3)
    assert 110 < image[24, 0, 0] < 145


def test_16_bit_colour_keeps_its_channels(tmp_path):
    image = np.zeros((4, 6, 3), np.uint16)
    image[...] = (1 << 12) - 1, 1 << 11, 1 << 8  # blue, green, red of 12 bits
    cv2.imwrite(str(tmp_path / "a.png"), image)
    assert read_rgb(tmp_path / "a.png")[0, 0].tolist() == [16, 128, 255]


def test_an_area_at_the_largest_count_of_a_sensor_is_missing_with_one_line_for_the_folder(tmp_path, capsys):
    for name in ("a", "b"):
        _, depth = write_scene(tmp_path, name, 1)
        depth[20:40, 40:60] = 4095
        cv2.imwrite(str(tmp_path / "depth" / f"{name}.png"), depth)
    assert complete(tmp_path) == 0
    assert np.load(tmp_path / "out/b_depth.npy").max() < 2.5
    assert capsys.readouterr().err.count("exactly 4.095 m") == 1
    depth[depth == 4095] = 5000
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), depth)
    assert complete(tmp_path) == 0
    assert np.load(tmp_path / "out/a_depth.npy").max() > 4
    assert (
        "a: a whole area of depth is exactly 5 m" in (said := capsys.readouterr().err)
        and "set --max-range to 5" in said
    )
    assert complete(tmp_path, "--max-range", "5") == 0
    assert "exactly 5 m" not in capsys.readouterr().err


def test_openexr_files_are_rejected_with_formats_that_are_read(tmp_path):
    (tmp_path / "a.exr").write_bytes(b"v/1\x01")
    with pytest.raises(InputError, match="TIFF"):
        read_depth(tmp_path / "a.exr", 1)
