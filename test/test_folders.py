"""Folders of frames: what is read is what was written, and each thing that can be wrong gets one clear error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from frame_sets import INTRINSICS, edit_meta, write_meta, write_set

from depth_completion_ros.bag.folders import FRAME_ID, read_folder
from depth_completion_ros.errors import InputError


def test_every_array_comes_back_as_written(tmp_path):
    arrays = write_set(tmp_path)
    frames = read_folder(tmp_path)
    assert (frames.name, frames.sensor, frames.licence, frames.source) == (
        "small",
        "made up",
        {"spdx": "CC0-1.0"},
        {"repo": "a/b"},
    )
    assert len(frames) == 3 and [frame.id for frame in frames] == ["0000", "0001", "0002"]
    first = frames[0]
    np.testing.assert_array_equal(first.frame.rgb, arrays["rgb"])
    np.testing.assert_array_equal(np.isnan(first.frame.depth), arrays["depth"] == 0)
    measured = arrays["depth"] > 0
    expected = (arrays["depth"][measured].astype(np.float64) / 5000).astype(np.float32)
    np.testing.assert_allclose(first.frame.depth[measured], expected, rtol=2e-7)
    np.testing.assert_allclose(first.ground_truth, arrays["gt"] / 5000, rtol=2e-7)
    np.testing.assert_array_equal(first.rings, arrays["ring"])
    np.testing.assert_array_equal(first.points, arrays["points"])
    np.testing.assert_array_equal(first.camera_from_lidar @ [1, 2, 3, 1], [-1.9, -2.8, 1.3, 1])
    assert first.frame.intrinsics.fx == 50 and first.frame.frame_id == FRAME_ID
    assert (first.frame.stamp_ns, first.depth_stamp_ns) == (1305031229596600000, 1305031229596617000)


def test_65535_is_missing_and_a_16_bit_infrared_image_is_stretched(tmp_path):
    arrays = write_set(tmp_path)
    arrays["depth"][10, 5:9] = 65535
    ramp = np.linspace(300, 900, 24 * 32).reshape(24, 32).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "depth/0.png"), arrays["depth"])
    cv2.imwrite(str(tmp_path / "rgb/0.png"), ramp)
    frame = read_folder(tmp_path)[0].frame
    assert np.isnan(frame.depth[10, 5:9]).all() and np.isfinite(frame.depth[10]).sum() == 28
    assert frame.rgb.shape == (24, 32, 3)
    assert (frame.rgb[0, 0, 0], frame.rgb[-1, -1, 0]) == (0, 255)


def test_indexing_is_that_of_a_sequence(tmp_path):
    write_set(tmp_path)
    frames = read_folder(tmp_path)
    assert frames[-1].id == "0002" and [frame.id for frame in frames[1:]] == ["0001", "0002"]
    with pytest.raises(IndexError):
        frames[3]


def test_sets_without_depth_give_ground_truth_and_without_stamps_30_hz(tmp_path):
    def strip(meta):
        for entry in meta["frames"]:
            for key in ("depth", "ring", "points", "T_cam_lidar", "t_rgb", "t_depth"):
                del entry[key]

    write_set(tmp_path)
    edit_meta(tmp_path, strip)
    frames = read_folder(tmp_path)
    first = frames[0]
    np.testing.assert_array_equal(first.frame.depth, first.ground_truth)
    assert first.frame.depth is not first.ground_truth
    assert first.rings is None and first.points is None and first.camera_from_lidar is None
    stamps = [frame.frame.stamp_ns for frame in frames]
    assert stamps[0] > 0 and np.all(np.diff(stamps) == 33_333_333)
    assert stamps == [frame.depth_stamp_ns for frame in frames]


def test_intrinsics_of_a_frame_win_over_those_of_the_set(tmp_path):
    write_set(tmp_path)
    edit_meta(tmp_path, lambda meta: meta["frames"][1].update(intrinsics={**INTRINSICS, "fx": 99.0}))
    frames = read_folder(tmp_path)
    assert [frame.frame.intrinsics.fx for frame in frames] == [50, 99, 50]


@pytest.mark.parametrize("intrinsics", [None, {"fx": 1.0, "fy": 1.0, "cx": None, "cy": None}])
def test_missing_or_partial_intrinsics_are_none(tmp_path, intrinsics):
    write_set(tmp_path, intrinsics=intrinsics)
    assert read_folder(tmp_path)[0].frame.intrinsics is None


@pytest.mark.parametrize(
    ("meta", "fix"),
    [
        ([], "frames"),
        ({"frames": []}, "at least one"),
        ({"frames": [{}]}, "scale_to_m"),
        ({"frames": [{}], "depth": {"scale_to_px": 1}}, "only metric depth"),
        ({"frames": [{}], "depth": {"scale_to_m": 0}}, "only metric depth"),
    ],
)
def test_errors_about_an_unusable_meta_say_what_is_missing(tmp_path, meta, fix):
    write_meta(tmp_path, meta)
    with folder_error(fix):
        read_folder(tmp_path)


def test_missing_folder_and_invalid_json_are_rejected(tmp_path):
    with folder_error("it does not exist"):
        read_folder(tmp_path / "nowhere")
    with folder_error("no meta.json"):
        read_folder(tmp_path)
    (tmp_path / "meta.json").write_bytes(b"\xff{")
    with folder_error("write it as JSON"):
        read_folder(tmp_path)


def test_a_bad_frame_is_named_and_the_next_one_is_fine(tmp_path):
    cases = {
        "rgb": (b"no image", "cannot be decoded"),
        "depth": (cv2.imencode(".png", np.zeros((24, 32), np.uint8))[1].tobytes(), "16-bit"),
        "gt": (None, "does not exist"),
        "ring": (cv2.imencode(".png", np.zeros((2, 3), np.uint8))[1].tobytes(), "size of rgb"),
        "points": (b"no array", ".npy"),
    }
    for key, (content, words) in cases.items():
        folder = tmp_path / key
        write_set(folder)
        name = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["frames"][1][key]
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        frames = read_folder(folder)
        with folder_error(words, name):
            frames[1]
        assert frames[2].id == "0002"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda entry: entry.pop("rgb"), "rgb"),
        (lambda entry: (entry.pop("depth"), entry.pop("gt")), "neither"),
        (lambda entry: entry.update(T_cam_lidar=[[1, 2]]), "frame 1"),
        (lambda entry: entry.update(t_rgb="yesterday"), "frame 1"),
        (lambda entry: entry.update(intrinsics={**INTRINSICS, "width": 31}), "31x24"),
    ],
)
def test_an_unusable_entry_is_reported(tmp_path, edit, words):
    write_set(tmp_path)
    edit_meta(tmp_path, lambda meta: edit(meta["frames"][1]))
    with folder_error(words):
        read_folder(tmp_path)[1]


@contextmanager
def folder_error(*words: str) -> Iterator[None]:
    with pytest.raises(InputError) as caught:
        yield
    assert caught.value.cause == "folder"
    for word in words:
        assert word in str(caught.value)


def test_frames_of_a_lidar_without_stamps_are_100_ms_apart(tmp_path):
    write_set(tmp_path)
    edit_meta(tmp_path, lambda meta: [entry.pop("t_rgb") and entry.pop("t_depth") for entry in meta["frames"]])
    frames = read_folder(tmp_path)
    assert np.all(np.diff([frames.stamps_ns(position)[0] for position in range(3)]) == 100_000_000)
