"""Readers of published data sets, on files in the exact layout of each format, against numbers computed by hand."""

from __future__ import annotations

import re
import sys
from functools import partial

import cv2
import dataset_files as files
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from depth_completion_ros.errors import ConfigurationError, InputError
from depth_completion_ros.evaluation.datasets import FORMATS, is_dataset, open_dataset
from depth_completion_ros.evaluation.datasets.middlebury import read_pfm
from depth_completion_ros.evaluation.datasets.tum import associate
from depth_completion_ros.evaluation.protocols import make_trial
from depth_completion_ros.evaluation.samples import open_published

WRITERS = {
    "kitti": files.kitti_selection,
    "kitti-raw": files.kitti_raw,
    "kitti-object": files.kitti_object,
    "sunrgbd": files.sunrgbd,
    "tum": files.tum,
    "scannet": files.scannet,
    "diml": files.diml,
    "middlebury": files.middlebury_2014,
    "sintel": files.sintel,
    "images": files.images,
}


def second_row(depth: np.ndarray | None, count: int) -> list[float]:
    """The values that ``files.counts`` sets; all others are missing."""
    assert depth is not None and depth.dtype == np.float32
    others = depth.copy()
    others[1, :count] = np.nan
    assert np.isnan(others).all()
    return depth[1, :count].tolist()


def camera(frame) -> tuple[float, ...]:
    i = frame.intrinsics
    return i.fx, i.fy, i.cx, i.cy


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_yields_frames_that_an_evaluation_can_use(name, tmp_path):
    opened = WRITERS[name](tmp_path)
    dataset = open_dataset(f"{name}:{opened}")
    assert [each.id for each in dataset] == [entry["id"] for entry in dataset.meta["frames"]]
    for frame in dataset:
        assert frame.frame.rgb.shape[2] == 3 and frame.frame.rgb[0, 0, 0] > 150 > frame.frame.rgb[0, 0, 2]
        assert frame.rgb_file.is_file()
        assert np.isfinite(frame.frame.depth).any() and not (frame.frame.depth <= 0).any()
    samples = open_published(f"{name}:{opened}")
    assert len(samples) == len(dataset) and samples.name == dataset.name and "/" not in samples.name
    assert samples[0].frame.depth.shape == samples[0].frame.rgb.shape[:2]


def test_a_source_is_a_data_set_if_it_begins_with_a_format():
    assert is_dataset("kitti:/data") and is_dataset("nyu:") and set(FORMATS) == {*WRITERS, "nyu"}
    assert not any(map(is_dataset, ("kitti", "/data/kitti", "synthetic:room", "C:/data", "kittis:/data")))


def test_kitti_selection(tmp_path):
    files.kitti_selection(tmp_path)
    (frame,) = open_dataset(f"kitti:{tmp_path}")
    assert second_row(frame.frame.depth, 2) == [10.0, 3001 / 256]
    assert second_row(frame.ground_truth, 3) == [10.0, 11.0, 100.0]
    assert camera(frame.frame) == (721.5, 722.5, 596.5, 149.8)


def test_kitti_test_images_have_no_ground_truth(tmp_path):
    root = files.kitti_selection(tmp_path, truth=False)
    (frame,) = open_dataset(f"kitti:{root}")
    assert frame.ground_truth is None and second_row(frame.frame.depth, 2)[0] == 10.0


def test_kitti_drives_with_images_of_the_raw_data(tmp_path):
    (frame,) = open_dataset(f"kitti:{files.kitti_drives(tmp_path)}/train")
    assert second_row(frame.frame.depth, 1) == [2.0] and second_row(frame.ground_truth, 1) == [3.0]
    assert camera(frame.frame) == (5.0, 5.0, 4.0, 3.0), "P_rect_03"


@pytest.mark.parametrize("name", ["kitti-raw", "kitti-object"])
def test_kitti_sweeps_are_projected_into_the_second_camera(name, tmp_path):
    dataset = open_dataset(f"{name}:{WRITERS[name](tmp_path)}")
    depth = dataset[0].frame.depth
    assert list(zip(*np.nonzero(np.isfinite(depth)), strict=True)) == [(3, 6)] and depth[3, 6] == 2.0
    np.testing.assert_allclose(dataset[0].camera_from_lidar[:3, 3], [0.5, 0, 0.25])
    if name == "kitti-raw":
        assert [frame.id for frame in dataset] == ["0000000000", "0000000002"]
        assert dataset[1].frame.stamp_ns - dataset[0].frame.stamp_ns == 2_000_000_000
        assert dataset[0].frame.stamp_ns == 1317042145_964389445


def test_sun_rgbd_bits_are_rotated(tmp_path):
    (frame,) = open_dataset(f"sunrgbd:{files.sunrgbd(tmp_path)}")
    # 64003 = 8 * 8000 + 3: three low bits 011 become the highest: 3 * 8192 + 8000 = 32576 mm
    np.testing.assert_allclose(second_row(frame.frame.depth, 2), [2.0, 32.576], rtol=1e-6)
    np.testing.assert_allclose(second_row(frame.ground_truth, 3), [2.0, 8.0, 0.001], rtol=1e-6)
    assert camera(frame.frame) == (520.5, 520.7, 277.9, 215.1)
    np.testing.assert_array_equal(frame.frame.camera_pose[:3, :3], [[1, 0, 0], [0, 0, 1], [0, -1, 0]])


def test_sun_rgbd_frames_of_kinect_2_are_time_of_flight(tmp_path):
    files.sunrgbd(tmp_path, "kv2/kinect2data/000002")
    assert open_dataset(f"sunrgbd:{tmp_path}/SUNRGBD/kv2").profile == "tof"
    files.sunrgbd(tmp_path)
    assert open_dataset(f"sunrgbd:{tmp_path}/SUNRGBD").profile == "kinect"


def test_tum_pairs_by_stamp_with_interpolated_poses(tmp_path):
    dataset = open_dataset(f"tum:{files.tum(tmp_path)}")
    assert [frame.frame.stamp_ns for frame in dataset] == [100_000_000_000, 100_050_000_000]
    np.testing.assert_allclose(second_row(dataset[0].frame.depth, 3), [1.0, 2.469, 13.107], rtol=1e-6)
    # between 1 m at 99.9 s and 3 m at 100.1 s
    np.testing.assert_allclose([frame.frame.camera_pose[0, 3] for frame in dataset], [2.0, 2.5])
    assert camera(dataset[0].frame) == (517.3, 516.5, 318.6, 255.3)
    assert dataset.note == ""


def test_tum_says_that_the_camera_is_unknown(tmp_path):
    dataset = open_dataset(f"tum:{files.tum(tmp_path, 'my_recording')}")
    assert camera(dataset[0].frame)[0] == 525 and "525" in dataset.note


def test_stamps_are_paired_nearest_first_and_once():
    ms = 1_000_000
    assert associate([0, 30 * ms], [12 * ms, 18 * ms]) == [(0, 12 * ms), (30 * ms, 18 * ms)]
    assert associate([0, 10 * ms], [9 * ms]) == [(10 * ms, 9 * ms)]
    assert associate([0], [20 * ms]) == []


def test_scannet_depth_is_projected_into_the_larger_colour_image(tmp_path):
    dataset = open_dataset(f"scannet:{files.scannet(tmp_path)}")
    assert [frame.id for frame in dataset] == ["0", "2", "10"], "in order of number, not of name"
    assert dataset[1].frame.camera_pose is None, "tracking was lost"
    assert dataset[0].frame.camera_pose[0, 3] == 0.5
    assert dataset[2].frame.stamp_ns - dataset[1].frame.stamp_ns == 8 * 33_333_333
    assert second_row(dataset[0].frame.depth, 3)[0] == 1.0
    depth = open_published(f"scannet:{tmp_path}/scene0000_00")[0].frame.depth
    assert depth.shape == (12, 16)
    # column and row c of depth are 2 c of colour, as all intrinsics are twice as large
    assert depth[2, 0] == 1.0 and depth[2, 4] == np.float32(2.345)
    assert set(depth[np.isfinite(depth)]) == {1.0, np.float32(2.345)}, "a measurement covers several pixels of colour"


@pytest.mark.parametrize(
    "write, measured, profile",
    [(files.diml, [1.5], "tof"), (files.diml_samples, [1.5, 2.5], "tof"), (files.diml_outdoor, [20.5], "lidar")],
)
def test_diml_layouts(write, measured, profile, tmp_path):
    dataset = open_dataset(f"diml:{write(tmp_path)}")
    assert dataset.profile == profile and len(dataset) == 1
    assert second_row(dataset[0].frame.depth, len(measured)) == measured
    if profile == "tof":
        assert second_row(dataset[0].ground_truth, 2) == [1.5, 2.5]


def test_middlebury_2014(tmp_path):
    (frame,) = open_dataset(f"middlebury:{files.middlebury_2014(tmp_path)}")
    assert second_row(frame.ground_truth, 2) == [6.0, 3.0], "150 mm * 4000 / (90 + 10)"
    assert camera(frame.frame) == (4000, 4001, 1250.5, 750.25)


def test_middlebury_2005(tmp_path):
    (frame,) = open_dataset(f"middlebury:{files.middlebury_2005(tmp_path)}")
    depth = second_row(frame.ground_truth, 3)
    np.testing.assert_allclose([depth[0], depth[2]], [598.4 / 299, 598.4 / 399], rtol=1e-6)
    assert np.isnan(depth[1]) and frame.frame.intrinsics is None


def test_middlebury_2003_is_relative_and_says_so(tmp_path):
    dataset = open_dataset(f"middlebury:{files.middlebury_2003(tmp_path)}")
    depth = second_row(dataset[0].ground_truth, 4)
    assert depth[:2] == [1.0, 4.0] and np.isnan(depth[2]) and depth[3] == 2.0
    assert "no calibration" in dataset.note


def test_pfm_begins_with_the_bottom_row_and_is_not_scaled(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    files.write_pfm(tmp_path / "a.pfm", values)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), values)
    (tmp_path / "big.pfm").write_bytes(b"Pf\n3 2\n1.0\n" + values[::-1].astype(">f4").tobytes())
    np.testing.assert_array_equal(read_pfm(tmp_path / "big.pfm"), values)


def test_sintel(tmp_path):
    dataset = open_dataset(f"sintel:{files.sintel(tmp_path)}")
    assert [frame.id for frame in dataset][1:3] == ["alley_1/frame_0002", "market_2/frame_0001"]
    assert dataset[0].ground_truth[1, :3].tolist() == [2.5, 30.0, np.float32(1e12)]
    assert camera(dataset[0].frame) == (1120.0, 1121.0, 3.5, 2.5)
    assert dataset[0].frame.camera_pose[0, 3] == 2.0, "the inverse of the transform in the file"
    stamps = [frame.frame.stamp_ns for frame in dataset]
    assert stamps[1] - stamps[0] == 41_666_667 and stamps[2] - stamps[1] > 10_000_000_000, "scenes lie apart"
    assert np.isfinite(open_published(f"sintel:{tmp_path}")[0].ground_truth).sum() == 2, "the sky is out of range"


def test_plain_images_with_a_unit(tmp_path):
    files.images(tmp_path)
    first, second = open_dataset(f"images:{tmp_path}", unit=0.00025)
    assert second_row(first.frame.depth, 2) == [0.25, 1.0] and second_row(first.ground_truth, 3)[2] == 1.25
    assert second_row(second.frame.depth, 1) == [1.25] and second.ground_truth is None
    assert second_row(open_dataset(f"images:{tmp_path}")[0].frame.depth, 2) == [1.0, 4.0], "millimetres"
    assert camera(first.frame) == (50, 51, 3.5, 2.5)


def test_frames_that_are_no_sequence_are_not_taken_for_one(tmp_path):
    """Their poses tell gravity only, so that frames near in time would be compared wrongly."""
    for number in range(4):
        files.sunrgbd(tmp_path, f"kv1/NYUdata/NYU{number:04}")
    samples = open_published(f"sunrgbd:{tmp_path}/SUNRGBD")
    assert len(samples.around(1, 2.0, 2.0)) == 1
    assert make_trial("sequence-tf", samples, 1) is None


def remove(pattern, folder):
    (found,) = folder.rglob(pattern)
    found.unlink()


def eight_bits(pattern, folder):
    for path in folder.rglob(pattern):
        cv2.imwrite(str(path), np.full((files.HEIGHT, files.WIDTH), 10, np.uint8))


def overwrite(pattern, content, folder):
    for path in folder.rglob(pattern):
        path.write_bytes(content)


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        ("kitti", partial(remove, "intrinsics/*.txt"), "is missing: copy it from the data set"),
        ("kitti", partial(eight_bits, "velodyne_raw/*.png"), "it has 8 bits and 1 channel, but depth has 16"),
        ("kitti", partial(overwrite, "intrinsics/*.txt", b"1 2 3"), "contains 3 numbers instead of 3x3"),
        ("kitti", partial(overwrite, "image/*.png", b"nothing"), "cannot be decoded as an image"),
        ("kitti-raw", partial(remove, "calib_velo_to_cam.txt"), "calib_velo_to_cam.txt is neither in it nor"),
        ("kitti-raw", partial(overwrite, "calib_cam_to_cam.txt", b"R_rect_00: 1 2\n"), "has no R_rect_00 with 9"),
        ("kitti-raw", partial(overwrite, "timestamps.txt", b"2011-09-26 13:02:25.9\n"), "1 times for 3 images"),
        ("kitti-raw", partial(overwrite, "*.bin", b"12345"), "not a list of x y z reflectance"),
        ("kitti-object", partial(remove, "calib/*.txt"), "000000.txt is missing: copy the calibration"),
        ("sunrgbd", partial(remove, "depth/*.png"), "it has no image: copy the whole folder"),
        ("sunrgbd", partial(eight_bits, "depth/*.png"), "it has 8 bits"),
        ("tum", partial(remove, "depth.txt"), "does not have rgb.txt and depth.txt"),
        ("tum", partial(overwrite, "rgb.txt", b"100.0\n"), "'100.0' does not have 2 columns"),
        ("tum", partial(overwrite, "rgb.txt", b"first rgb/a.png\n"), "'first' is not a stamp"),
        ("tum", partial(overwrite, "rgb.txt", b"5.0 rgb/a.png\n"), "has a depth image within 0.02 s"),
        ("scannet", partial(remove, "intrinsic_depth.txt"), "intrinsic_depth.txt is missing"),
        ("scannet", partial(remove, "depth/0.png"), "0.png is missing: copy the whole folder"),
        ("diml", partial(remove, "up_png/*.png"), "is missing: copy the whole folder"),
        ("middlebury", partial(remove, "calib.txt"), "calib.txt is missing"),
        (
            "middlebury",
            partial(overwrite, "calib.txt", b"cam0=[1 0 0; 0 1 0; 0 0 1]\n"),
            "lacks cam0, doffs or baseline",
        ),
        ("middlebury", partial(overwrite, "*.pfm", b"PF\n1 1\n-1\n"), "not a PFM file with one channel"),
        ("middlebury", partial(overwrite, "*.pfm", b"Pf\n2 1\n-1\n1234"), "it has 1 values for 2x1 pixels"),
        ("sintel", partial(overwrite, "*.dpt", b"HEIP" + bytes(20)), "does not begin with the tag"),
        (
            "sintel",
            partial(overwrite, "*.cam", np.array([202021.25], "<f4").tobytes() + bytes(16)),
            "2 numbers instead",
        ),
        ("images", partial(eight_bits, "depth/a.png"), "it has 8 bits"),
        ("images", partial(overwrite, "intrinsics.txt", b"fx 50"), "contains more than numbers"),
    ],
)
def test_a_bad_file_gets_one_line_that_names_it(name, spoil, message, tmp_path):
    path = WRITERS[name](tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        list(open_dataset(f"{name}:{path}"))
    assert caught.value.cause == "dataset" and "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_kitti_depth_of_8_bits_in_a_16_bit_file_is_refused(tmp_path):
    root = files.kitti_selection(tmp_path)
    (path,) = (root / "velodyne_raw").iterdir()
    files.write_image(path, files.counts(255))
    with pytest.raises(InputError, match="its largest count is 255, less than 1 m"):
        open_dataset(f"kitti:{root}")[0]


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_folder_and_a_path_that_does_not_exist_get_one_line(name, tmp_path):
    with pytest.raises(InputError, match="does not have") as caught:
        open_dataset(f"{name}:{tmp_path}")
    assert caught.value.cause == "dataset" and "\n" not in str(caught.value)
    with pytest.raises(InputError, match=f"does not exist: give {name}:PATH"):
        open_dataset(f"{name}:{tmp_path}/nothing")


def test_a_layout_without_frames_gets_one_line(tmp_path):
    for name in ("image_2", "velodyne", "calib"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="it has no frames"):
        open_dataset(f"kitti-object:{tmp_path}")


def write_h5(path, rgb, depth):
    h5py = pytest.importorskip("h5py", reason="the files of NYU Depth v2 need h5py: pip install h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["rgb"], file["depth"] = rgb, depth


def test_nyu_h5_files(tmp_path):
    depth = np.zeros((480, 640), np.float32)
    depth[1, :2] = 1.5, 9.9
    image = files.rgb(480, 640)
    write_h5(tmp_path / "nyudepthv2/val/official/00002.h5", image.transpose(2, 0, 1), depth)
    write_h5(tmp_path / "nyudepthv2/val/official/00001.h5", image.transpose(2, 0, 1), depth)
    write_h5(tmp_path / "nyudepthv2/train/bedroom_0001/00001.h5", image.transpose(2, 0, 1), depth)
    dataset = open_dataset(f"nyu:{tmp_path}/nyudepthv2")
    assert [frame.id for frame in dataset] == ["00001", "00002"] and dataset.name == "nyu-official"
    np.testing.assert_array_equal(dataset[0].frame.rgb, image)
    assert second_row(dataset[0].ground_truth, 2) == [1.5, np.float32(9.9)]
    assert camera(dataset[0].frame)[:2] == (518.8579011745019, 519.4696111212749)
    assert [frame.id for frame in open_dataset(f"nyu:{tmp_path}/nyudepthv2/train")] == ["bedroom_0001/00001"]


def write_labelled(path, count=3):
    h5py = pytest.importorskip("h5py", reason="the files of NYU Depth v2 need h5py: pip install h5py")
    raw, depth = np.zeros((2, count, 8, 6), np.float32)
    raw[:, 0, 1], depth[:, 0, 1], depth[:, 1, 1] = 2.0, 2.0, 3.0  # column 0 and 1 of row 1
    with h5py.File(path, "w") as file:
        file["images"] = np.broadcast_to(files.rgb().transpose(2, 1, 0), (count, 3, 8, 6))
        file["rawDepths"], file["depths"] = raw, depth


def test_nyu_labelled_frames(tmp_path):
    write_labelled(tmp_path / "nyu_depth_v2_labeled.mat")
    dataset = open_dataset(f"nyu:{tmp_path}")
    assert len(dataset) == 3 and "splits.mat" in dataset.note
    np.testing.assert_array_equal(dataset[0].frame.rgb, files.rgb())
    assert second_row(dataset[0].frame.depth, 1) == [2.0]
    assert second_row(dataset[0].ground_truth, 2) == [2.0, 3.0]


def test_nyu_official_split(tmp_path):
    scipy_io = pytest.importorskip("scipy.io", reason="splits.mat needs SciPy: pip install scipy")
    write_labelled(tmp_path / "nyu_depth_v2_labeled.mat")
    splits = {"trainNdxs": np.array([[2]], np.uint16), "testNdxs": np.array([[1], [3]], np.uint16)}
    scipy_io.savemat(str(tmp_path / "splits.mat"), splits)
    dataset = open_dataset(f"nyu:{tmp_path}/nyu_depth_v2_labeled.mat")
    assert [frame.id for frame in dataset] == ["00001", "00003"] and dataset.note == ""


def test_nyu_bad_files_get_one_line(tmp_path):
    write_h5(tmp_path / "short/1.h5", np.zeros((3, 4, 5), np.uint8), np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match=r"rgb is \(3, 4, 5\) uint8 and depth \(4, 4\)"):
        open_dataset(f"nyu:{tmp_path}/short")[0]
    (tmp_path / "short/1.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        open_dataset(f"nyu:{tmp_path}/short")[0]


def test_nyu_without_h5py_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "1.h5").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"needs h5py .*: pip install h5py"):
        open_dataset(f"nyu:{tmp_path}")
