"""Bags: what is written comes back, frames are those of the folder, and a bag that cannot be used says why."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

import yaml
from frame_sets import edit_meta, write_set
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_completion_ros.bag.folders import read_folder
from depth_completion_ros.bag.frames import camera_info_topic, depth_encoding, frames_of, read_frames
from depth_completion_ros.bag.info import summarize
from depth_completion_ros.bag.make import gap_shifts
from depth_completion_ros.bag.messages import (
    TF,
    TYPESTORE,
    BagMessage,
    compressed_image,
    deserialize,
    has_header,
    header,
    image,
    serialize,
    stamp_of,
    transform,
    with_stamp,
)
from depth_completion_ros.bag.playback import Recording
from depth_completion_ros.bag.reader import (
    DEPTH_TOPIC,
    POINTS_TOPIC,
    RGB_TOPIC,
    BagReader,
)
from depth_completion_ros.bag.writer import STORAGES, BagWriter, Storage
from depth_completion_ros.cameras import TOPICS
from depth_completion_ros.cli import main
from depth_completion_ros.conversion import intrinsics_of
from depth_completion_ros.errors import ConfigurationError, InputError
from depth_completion_ros.frame_builder import FrameSettings
from depth_completion_ros.geometry import transform_from_pose
from depth_completion_ros.point_clouds import decode_points
from depth_completion_ros.profiles import read_parameters
from depth_completion_ros.resources import share_directory

MS = 1_000_000


@pytest.fixture
def kinect_set(tmp_path: Path) -> Path:
    """Three frames with stamps, depth in 1/5000 m, without a LiDAR."""
    folder = tmp_path / "set"
    write_set(folder, note="made up", licence={"spdx": "CC0-1.0", "quote": "No rights.", "cite": "Nobody, 2020"})
    edit_meta(folder, lambda meta: [entry.pop("points") for entry in meta["frames"]])
    return folder


def make(folder: Path, *options: str) -> Path:
    out = folder.parent / f"bag{len(list(folder.parent.iterdir()))}"
    assert main(["bag", "make", str(folder), str(out), *options]) == 0
    return out


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("rgb", ["jpeg", "raw"])
@pytest.mark.parametrize("depth", ["compressed", "16UC1", "32FC1"])
def test_frames_of_a_bag_are_those_of_its_folder(kinect_set, storage, rgb, depth):
    bag = make(kinect_set, "--storage", storage, "--rgb", rgb, "--depth", depth)
    frames = list(read_frames(bag))
    assert len(frames) == 3
    for frame, original in zip(frames, read_folder(kinect_set), strict=True):
        recorded = original.frame
        assert (frame.stamp_ns, frame.frame_id, frame.intrinsics) == (
            recorded.stamp_ns,
            recorded.frame_id,
            recorded.intrinsics,
        )
        if rgb == "raw":
            np.testing.assert_array_equal(frame.rgb, recorded.rgb)
        else:
            _, data = cv2.imencode(".jpg", recorded.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            np.testing.assert_array_equal(frame.rgb, cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        if depth == "32FC1":
            np.testing.assert_array_equal(frame.depth, recorded.depth)
        else:
            # Recorded in 1/5000 m; below half a millimetre rounds to 0, which is missing.
            millimetres = np.rint(np.nan_to_num(recorded.depth) * np.float64(1000))
            np.testing.assert_array_equal(np.nan_to_num(frame.depth), (millimetres * np.float32(0.001)).astype("f4"))


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_keep_their_bytes_times_and_order(tmp_path, storage):
    rng = np.random.default_rng(3)
    written = [
        ("/a" if index % 3 else "/b", "sensor_msgs/msg/Image", index * 7, rng.bytes(int(rng.integers(20, 5000))))
        for index in range(50)
    ]
    with BagWriter(tmp_path / "bag", storage) as bag:
        for message in written:
            bag.write(*message)
    with BagReader(tmp_path / "bag") as bag:
        assert [tuple(message) for message in bag.messages()] == written
        assert [tuple(message) for message in bag.messages({"/b"})] == [m for m in written if m[0] == "/b"]
        assert {name: topic.count for name, topic in bag.topics.items()} == {"/a": 33, "/b": 17}
        assert (bag.start_ns, bag.end_ns) == (0, 49 * 7)


def test_a_storage_file_is_read_without_its_metadata(kinect_set):
    for storage, suffix in (("mcap", ".mcap"), ("sqlite3", ".db3")):
        bag = make(kinect_set, "--storage", storage)
        (bag / "metadata.yaml").unlink()
        assert len(list(read_frames(bag / f"{bag.name}{suffix}"))) == 3
        assert len(list(read_frames(bag))) == 3


def test_jpeg_files_are_copied_unchanged_unless_scaled(kinect_set):
    def to_jpeg(meta):
        for entry in meta["frames"]:
            image_file = kinect_set / entry["rgb"]
            entry["rgb"] = entry["rgb"].replace(".png", ".jpg")
            cv2.imwrite(str(kinect_set / entry["rgb"]), cv2.imread(str(image_file)))

    edit_meta(kinect_set, to_jpeg)
    files = [frame.rgb_file.read_bytes() for frame in read_folder(kinect_set)]
    for width, same in (("32", True), ("16", False)):
        with BagReader(make(kinect_set, "--width", width)) as bag:
            data = [bag.deserialize(m).data.tobytes() for m in bag.messages({f"{RGB_TOPIC}/compressed"})]
        assert (data == files) == same


def test_scaled_rgb_keeps_its_view(kinect_set):
    """A ray through a pixel of the large image goes through the same place of the small one."""
    bag = make(kinect_set, "--width", "16", "--rgb", "raw")
    frame, original = next(iter(read_frames(bag))), read_folder(kinect_set)[0].frame
    assert frame.rgb.shape == (12, 16, 3) and frame.depth.shape == (24, 32)
    # Averaged over blocks of 2x2 pixels, whose centres lie at 0.5, 2.5, …
    np.testing.assert_allclose(frame.rgb, original.rgb.reshape(12, 2, 16, 2, 3).mean((1, 3)), atol=0.51)
    small, large = frame.intrinsics, original.intrinsics
    for column in range(16):
        assert (column - small.cx) / small.fx == pytest.approx((2 * column + 0.5 - large.cx) / large.fx)
    with BagReader(bag) as reader:
        info = next(reader.messages({"/depth_registered/camera_info"}))
        assert intrinsics_of(reader.deserialize(info)) == large


def test_stamps_are_log_times_and_colour_and_depth_keep_their_offset(kinect_set):
    with BagReader(make(kinect_set)) as bag:
        messages = list(bag.messages())
    assert all(stamp_of(message.data) == message.log_ns for message in messages)
    assert [m.log_ns for m in messages] == sorted(m.log_ns for m in messages)
    depth = [m.log_ns for m in messages if m.topic.endswith("compressedDepth")]
    rgb = [m.log_ns for m in messages if m.topic.endswith("compressed")]
    assert [d - r for d, r in zip(depth, rgb, strict=True)] == [17_000] * 3


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_come_in_the_order_of_time_across_frames(kinect_set, storage):
    """A depth image may be later than the next colour image; a player that reads on must not find it too late."""
    edit_meta(kinect_set, lambda meta: [entry.update(t_depth=entry["t_rgb"] + 0.04) for entry in meta["frames"]])
    with BagReader(make(kinect_set, "--storage", storage)) as bag:
        times = [message.log_ns for message in bag.messages()]
    assert times == sorted(times)


def test_gaps_become_one_period():
    stamps = [0, 33, 67, 100, 500, 533, 1000]
    shifted = [stamp + shift for stamp, shift in zip(stamps, gap_shifts(stamps), strict=True)]
    assert np.diff(shifted).tolist() == [33, 34, 33, 34, 33, 34]
    assert gap_shifts([5]) == [0]


def test_close_gaps_moves_both_stamps_of_a_frame(kinect_set):
    def tear(meta):
        frames = meta["frames"]
        meta["frames"] = [dict(frames[0], t_rgb=t, t_depth=t + 0.01) for t in (1.0, 1.03, 1.06, 9.0, 9.03)]

    edit_meta(kinect_set, tear)
    frames = list(read_frames(make(kinect_set, "--close-gaps")))
    assert [frame.stamp_ns // MS for frame in frames] == [1000, 1030, 1060, 1090, 1120]


def test_frames_are_chosen_by_position(kinect_set):
    bag = make(kinect_set, "--frames", "2:,0:1,2:3")
    stamps = [frame.frame.stamp_ns for frame in read_folder(kinect_set)]
    assert [frame.stamp_ns for frame in read_frames(bag)] == [stamps[0], stamps[2]]


@pytest.mark.parametrize("frames", ["5:9", "a:b", "2", "2:1", ""])
def test_a_range_without_frames_is_rejected_before_anything_is_written(kinect_set, frames, capsys):
    out = kinect_set.parent / "none"
    assert main(["bag", "make", str(kinect_set), str(out), "--frames", frames]) == 1
    assert "selects none of the 3 frames" in capsys.readouterr().err
    assert not out.exists()


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Like a full disk: a file cannot grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("storage", "size"), [("mcap", 6000), ("mcap", 15_000), ("sqlite3", 6000), ("sqlite3", 40_000)]
)
def test_a_bag_that_does_not_fit_on_the_disk_is_removed_with_one_line(kinect_set, storage, size, capsys):
    out = kinect_set.parent / "bag"
    arguments = ["bag", "make", str(kinect_set), str(out), "--rgb", "raw", "--depth", "32FC1", "--storage", storage]
    with files_no_larger_than(size):
        assert main(arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{out} cannot be " in line and "free some disk space" in line
    assert not out.exists()


def test_an_existing_bag_is_not_overwritten(kinect_set):
    bag = make(kinect_set)
    before = hashlib.sha256((bag / "metadata.yaml").read_bytes()).hexdigest()
    assert main(["bag", "make", str(kinect_set), str(bag)]) == 1
    assert hashlib.sha256((bag / "metadata.yaml").read_bytes()).hexdigest() == before
    with pytest.raises(ConfigurationError, match="already exists"):
        BagWriter(bag)


def test_points_are_written_with_the_pose_of_the_lidar(tmp_path):
    folder = tmp_path / "set"
    arrays = write_set(folder)
    arrays["points"][:, 4] = np.arange(7)
    for index in range(3):
        np.save(folder / f"points/{index}.npy", arrays["points"])
    bag = make(folder)
    with BagReader(bag) as reader:
        assert DEPTH_TOPIC + "/compressedDepth" not in reader.topics
        cloud = reader.deserialize(next(reader.messages({POINTS_TOPIC})))
    np.testing.assert_array_equal(decode_points(cloud), arrays["points"][:, :3])
    types = {7: "<f4", 4: "<u2"}
    for column, field in enumerate(cloud.fields):
        dtype = np.dtype(
            {"names": ["v"], "formats": [types[field.datatype]], "offsets": [field.offset], "itemsize": 18}
        )
        np.testing.assert_array_equal(cloud.data.view(dtype)["v"], arrays["points"][:, column])
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity", "ring"]
    pose = read_parameters(bag / "parameters.yaml")["extrinsic"]
    np.testing.assert_allclose(transform_from_pose(pose), read_folder(folder)[0].camera_from_lidar, atol=1e-8)


def test_frames_with_different_extrinsics_do_not_share_a_bag(tmp_path, capsys):
    folder = tmp_path / "set"
    write_set(folder)
    edit_meta(folder, lambda meta: meta["frames"][1]["T_cam_lidar"][0].__setitem__(3, 0.5))
    assert main(["bag", "make", str(folder), str(tmp_path / "bag")]) == 1
    assert "frame 0001 has another LiDAR extrinsic" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_without_intrinsics_there_is_no_camera_info(kinect_set):
    edit_meta(kinect_set, lambda meta: meta.pop("intrinsics"))
    bag = make(kinect_set)
    with BagReader(bag) as reader:
        assert not [name for name in reader.topics if name.endswith("camera_info")]
    assert "no camera_info" in (bag / "LICENSE.md").read_text(encoding="utf-8")
    assert next(iter(read_frames(bag))).intrinsics is None


def test_the_licence_note_states_source_licence_and_changes(kinect_set):
    note = (make(kinect_set, "--width", "16", "--close-gaps") / "LICENSE.md").read_text(encoding="utf-8")
    for words in ("CC0-1.0", "No rights.", "Nobody, 2020", "width of 16", "gaps", "millimetres", "made up"):
        assert words in note


def test_errors_about_unusable_bags_say_why(kinect_set, tmp_path):
    whole = make(kinect_set)
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "metadata.yaml").write_bytes((whole / "metadata.yaml").read_bytes())
    data = (whole / f"{whole.name}.mcap").read_bytes()
    (cut / f"{whole.name}.mcap").write_bytes(data[:1000])
    cut_db = make(kinect_set, "--storage", "sqlite3")
    db_file = cut_db / f"{cut_db.name}.db3"
    db_file.write_bytes(db_file.read_bytes()[:5000])
    (tmp_path / "empty.mcap").write_bytes(b"")
    (tmp_path / "text.db3").write_text("no data base")
    (tmp_path / "zeros.mcap").write_bytes(bytes(10_000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "image.png").write_bytes(b"x")
    for name in ("nowhere", "cut", cut_db.name, "empty.mcap", "text.db3", "zeros.mcap", "folder", "image.png"):
        with pytest.raises(InputError, match=name) as caught:
            list(read_frames(tmp_path / name))
        assert caught.value.cause == "bag"
        assert "Give a rosbag2 folder" in str(caught.value)


def write_messages(folder: Path, storage: Storage, count: int = 40) -> list[BagMessage]:
    """A bag of messages from few bytes to several pages; what was written."""
    rng = np.random.default_rng(5)
    messages = [
        BagMessage(
            "/a" if index % 3 else "/b",
            "sensor_msgs/msg/Image",
            10 + index,
            bytes(4) + rng.bytes(rng.integers(1, 12_000)),
        )
        for index in range(count)
    ]
    with BagWriter(folder, storage) as bag:
        for message in messages:
            bag.write(*message)
    return messages


def storage_file(folder: Path) -> Path:
    return next(file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))


def read_all(path: Path) -> tuple[list[BagMessage], list[str]]:
    """The messages of a bag and what its reader said of it."""
    lines: list[str] = []
    with BagReader(path, warn=lines.append) as bag:
        assert {name: topic.count for name, topic in bag.topics.items() if topic.count} == Counter(
            message.topic for message in bag.messages()
        )
        return list(bag.messages()), lines


@pytest.fixture(scope="module", params=STORAGES)
def written(request, tmp_path_factory) -> tuple[Path, list[BagMessage]]:
    folder = tmp_path_factory.mktemp("written") / "bag"
    return folder, write_messages(folder, request.param)


@pytest.mark.parametrize("metadata", ["kept", "missing", "cut", "without storage_identifier"])
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_an_incomplete_recording_is_read_as_far_as_possible(written, tmp_path, metadata, share):
    source, messages = written
    bag = tmp_path / "bag"
    shutil.copytree(source, bag)
    file = storage_file(bag)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    text = (bag / "metadata.yaml").read_text(encoding="utf-8")
    if metadata == "missing":
        (bag / "metadata.yaml").unlink()
    elif metadata == "cut":
        (bag / "metadata.yaml").write_text(text[: len(text) // 3])
    elif metadata != "kept":
        identifier = "mcap" if file.suffix == ".mcap" else "sqlite3"
        (bag / "metadata.yaml").write_text(text.replace(f"storage_identifier: {identifier}", "storage_identifier: ''"))
    read, lines = read_all(bag)
    assert read == messages[: len(read)]
    assert len(read) >= (share - 0.15) * len(messages)
    assert (len(read) == len(messages)) == (share == 1)
    if share == 1 and metadata == "kept":
        assert lines == []
    else:
        (line,) = lines
        assert f"{len(read)} messages" in line
        assert (file.name in line) == (share < 1)
        assert "metadata.yaml lists 40 messages" in line or metadata in ("missing", "cut") or share == 1
        words = {"missing": "is missing", "cut": "cannot be read", "without storage_identifier": "is empty"}
        assert all((text in line) == (metadata == kind) for kind, text in words.items())


@given(share=st.floats(0, 1), zeros=st.floats(0, 0.99))
def test_truncated_files_give_no_invented_messages(written, share, zeros):
    """Cut anywhere, and a part of what is missing filled with zeros, as a power cut leaves a file."""
    source, messages = written  # recorded at 10, 11, 12, …
    data = storage_file(source).read_bytes()
    kept = int(len(data) * share)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / storage_file(source).name
        file.write_bytes(data[:kept] + bytes(int((len(data) - kept) * zeros)))
        try:
            read, _ = read_all(file)
        except InputError as error:
            assert error.cause == "bag"
            read = []
    made_up = [message.log_ns for message in read if message != messages[message.log_ns - 10]]
    assert made_up == []
    times = [message.log_ns for message in read]
    assert times == sorted(set(times))


def test_tables_of_many_pages_are_found_without_the_tree_above_them(tmp_path):
    """3000 rows: the pages that lead to their pages come late in the file, and are cut off with its end."""
    messages = write_messages(tmp_path / "bag", "sqlite3", count=3000)
    file = storage_file(tmp_path / "bag")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 4])
    read, _ = read_all(tmp_path / "bag")
    assert 2000 < len(read) < 3000 and read == messages[: len(read)]


def test_what_a_killed_sqlite_recorder_left_in_its_write_ahead_log_is_read(tmp_path):
    messages = write_messages(tmp_path / "bag", "sqlite3")
    file = storage_file(tmp_path / "bag")
    (tmp_path / "killed").mkdir()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, 99, ?)", (bytes(10_000),))
        connection.commit()
        for path in (file, file.with_name(f"{file.name}-wal")):
            shutil.copy(path, tmp_path / "killed" / path.name)
    read, (line,) = read_all(tmp_path / "killed")
    assert read == [*messages, BagMessage(messages[0].topic, "sensor_msgs/msg/Image", 99, bytes(10_000))]
    assert "recorder was killed" in line


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_that_metadata_does_not_count_are_read(tmp_path, storage):
    """As a recorder leaves it that writes metadata.yaml at its start and is killed."""
    messages = write_messages(tmp_path / "bag", storage)
    metadata = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text(encoding="utf-8"))
    metadata["rosbag2_bagfile_information"] |= {"message_count": 0, "topics_with_message_count": []}
    (tmp_path / "bag" / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    read, (line,) = read_all(tmp_path / "bag")
    assert read == messages
    assert "metadata.yaml lists 0 messages" in line and "40 messages" in line


@pytest.mark.parametrize("storage", STORAGES)
def test_existing_files_of_a_split_recording_are_read(tmp_path, storage):
    bag, other = tmp_path / "bag", tmp_path / "other"
    messages = write_messages(bag, storage)
    moved = [message._replace(log_ns=message.log_ns + 1000) for message in messages]
    with BagWriter(other, storage) as writer:
        for message in moved:
            writer.write(*message)
    second = bag / f"bag_1{storage_file(other).suffix}"
    shutil.move(storage_file(other), second)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text(encoding="utf-8"))
    information = metadata["rosbag2_bagfile_information"]
    information["relative_file_paths"].append(second.name)
    information["message_count"] *= 2
    for topic in information["topics_with_message_count"]:
        topic["message_count"] *= 2
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert read_all(bag) == ([*messages, *moved], [])
    kept = shutil.copy(second, tmp_path)
    second.unlink()
    read, (line,) = read_all(bag)
    assert read == messages and f"{second.name} is missing" in line
    shutil.move(kept, second)
    (bag / "metadata.yaml").unlink()
    read, (line,) = read_all(bag)
    assert read == [*messages, *moved] and "metadata.yaml is missing" in line


def test_a_folder_of_bags_is_reported_with_their_names(tmp_path):
    for name in ("morning", "evening"):
        with BagWriter(tmp_path / "day" / name) as bag:
            bag.write(RGB_TOPIC, "sensor_msgs/msg/Image", 5, b"\0\1\0\0" + bytes(12))
    (tmp_path / "day" / "notes").mkdir()
    with pytest.raises(InputError, match=r"a folder of 2 bags\. Give one of them: evening, morning$"):
        BagReader(tmp_path / "day")


@pytest.mark.parametrize(("second_start", "reported"), [(0, True), (10, False)])
def test_files_of_different_recordings_in_one_folder_are_reported(tmp_path, second_start, reported):
    """The files of one recording follow one another."""
    (tmp_path / "both").mkdir()
    for name, start in (("a", 0), ("b", second_start)):
        with BagWriter(tmp_path / name) as bag:
            for second in range(start, start + 10):
                bag.write(RGB_TOPIC, "sensor_msgs/msg/Image", second * 10**9, b"\0\1\0\0" + bytes(12))
        shutil.copy(tmp_path / name / f"{name}.mcap", tmp_path / "both")
    messages, lines = read_all(tmp_path / "both")
    assert len(messages) == 20 and "metadata.yaml is missing" in lines[0]
    assert ("a.mcap and b.mcap were recorded at the same time" in lines[0]) == reported


def test_a_storage_file_that_was_renamed_is_read(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write(RGB_TOPIC, "sensor_msgs/msg/Image", 5, b"\0\1\0\0" + bytes(12))
    (tmp_path / "bag" / "bag.mcap").rename(tmp_path / "bag" / "other.mcap")
    messages, (line,) = read_all(tmp_path / "bag")
    assert len(messages) == 1 and "bag.mcap is missing" in line


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_compressed_recordings_are_read_without_their_metadata_too(tmp_path, mode):
    messages = write_messages(tmp_path / "plain", "mcap")
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, "sensor_msgs/msg/Image", typestore=TYPESTORE) for topic in ("/a", "/b")
        }
        for message in messages:
            writer.write(connections[message.topic], message.log_ns, message.data)
    assert read_all(tmp_path / "bag") == (messages, [])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert read_all(tmp_path / "bag")[0] == messages


def write_mcap(path: Path, profile: str = "ros2", encoding: str = "cdr", other: str = "") -> None:
    """Three messages outside of chunks, as the preset fastwrite of rosbag2 leaves them, in the order of arrival.

    other: Encoding of one more message on a topic of its own; "" = there is none."""

    def record(opcode: int, content: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(content)) + content

    def string(text: str) -> bytes:
        return struct.pack("<I", len(text)) + text.encode()

    magic = b"\x89MCAP0\r\n"
    content = magic + record(1, string(profile) + string("test"))
    content += record(3, struct.pack("<H", 1) + string("std_msgs/msg/Empty") + string("ros2msg") + string(""))
    content += record(4, struct.pack("<HH", 1, 1) + string("/a") + string(encoding) + struct.pack("<I", 0))
    for log_ns in (5, 3, 4):
        content += record(5, struct.pack("<HIQQ", 1, 0, log_ns, log_ns) + bytes([0, 1, 0, 0, log_ns]))
    if other:
        content += record(4, struct.pack("<HH", 2, 1) + string("/b") + string(other) + struct.pack("<I", 0))
        content += record(5, struct.pack("<HIQQ", 2, 0, 9, 9) + b"{}")
    path.write_bytes(content + record(15, bytes(4)) + record(2, bytes(20)) + magic)


@pytest.mark.parametrize("profile", ["ros2", "", "x-jsonschema"])
def test_an_mcap_file_without_an_index_is_read_in_the_order_of_time(tmp_path, profile):
    write_mcap(tmp_path / "fast.mcap", profile)
    read, lines = read_all(tmp_path / "fast.mcap")
    assert [(message.log_ns, message.data[4]) for message in read] == [(3, 3), (4, 4), (5, 5)]
    assert lines == []


def test_messages_of_ros_2_beside_others_are_read(tmp_path):
    write_mcap(tmp_path / "mixed.mcap", profile="", other="json")
    read, (line,) = read_all(tmp_path / "mixed.mcap")
    assert [message.topic for message in read] == ["/a"] * 3
    assert "messages encoded as json are left out. 3 messages can be read" in line


@pytest.mark.parametrize(
    ("profile", "encoding", "fix"),
    [
        ("ros1", "ros1", "`rosbags-convert --src NAME.bag"),
        ("", "json", "`ros2 bag record`"),
        ("", "protobuf", "Record"),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_an_mcap_file_of_another_system_is_reported_with_its_encoding(tmp_path, profile, encoding, fix, cut):
    path = tmp_path / "other.mcap"
    write_mcap(path, profile, encoding)
    if cut:
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError) as caught:
        BagReader(path)
    assert f"encoded as {encoding}, not as cdr" in str(caught.value) and fix in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-60], lambda data: data + bytes(4096)])
@pytest.mark.parametrize("alone", [True, False])
def test_an_mcap_file_that_lacks_only_its_end_is_read_completely(tmp_path, damage, alone):
    messages = write_messages(tmp_path / "bag", "mcap")
    file = storage_file(tmp_path / "bag")
    file.write_bytes(damage(file.read_bytes()))
    read, (line,) = read_all(file if alone else tmp_path / "bag")
    assert read == messages
    assert f"the index at the end of {file.name} is missing or damaged. 40 messages can be read" in line


def test_a_damaged_chunk_ends_reading_with_a_message(tmp_path):
    messages = write_messages(tmp_path / "bag", "mcap", count=500)
    file = storage_file(tmp_path / "bag")
    data = bytearray(file.read_bytes())
    position, chunks = 8, []
    while position < len(data) - 8:
        opcode, length = struct.unpack_from("<BQ", data, position)
        chunks += [position] if opcode == 6 else []
        position += 9 + length
    struct.pack_into("<I", data, chunks[1] + 9 + 24, 1)  # its checksum
    file.write_bytes(data)
    lines: list[str] = []
    with BagReader(tmp_path / "bag", warn=lines.append) as bag:
        read = list(bag.messages())
    assert read == messages[: len(read)] and 100 < len(read) < 400
    assert len(lines) == 1 and "is damaged" in lines[0]


@pytest.mark.parametrize("inside", [False, True])
def test_a_bag_of_ros_1_is_reported_with_a_converter_that_works(tmp_path, inside):
    (tmp_path / "old").mkdir()
    old = tmp_path / "old" / "old.bag"
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(old) as writer:
        connection = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=store)
        text = store.types["std_msgs/msg/String"](data="x")
        writer.write(connection, 1, store.serialize_ros1(text, "std_msgs/msg/String"))
    with pytest.raises(InputError, match="ROS 1") as caught:
        BagReader(old.parent if inside else old)
    command = re.search(r"`(.*)`", str(caught.value)).group(1).split()
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True, timeout=60)
    assert [message.topic for message in read_all(old.with_suffix(""))[0]] == ["/chatter"]


@pytest.mark.parametrize("inside", [False, True])
def test_a_gzipped_recording_is_reported_with_a_command_that_works(tmp_path, inside):
    messages = write_messages(tmp_path / "bag", "mcap")
    file = storage_file(tmp_path / "bag")
    zipped = file.with_name(f"{file.name}.gz")
    zipped.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    with pytest.raises(InputError, match="is compressed with gzip") as caught:
        BagReader(tmp_path / "bag" if inside else zipped)
    subprocess.run(re.search(r"`(.*)`", str(caught.value)).group(1).split(), check=True, timeout=60)
    assert read_all(tmp_path / "bag")[0] == messages


def test_missing_topics_are_reported_with_those_that_are_there(kinect_set):
    bag = make(kinect_set)
    with pytest.raises(InputError, match="no depth images on /elsewhere") as caught:
        list(read_frames(bag, depth_topic="/elsewhere"))
    assert f"{DEPTH_TOPIC}/compressedDepth (sensor_msgs/msg/CompressedImage)" in str(caught.value)


def test_a_message_that_is_not_of_its_type_is_reported(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for topic in (RGB_TOPIC, DEPTH_TOPIC):
            bag.write(topic, "sensor_msgs/msg/Image", 5, b"\0\1\0\0" + bytes(12))
    with pytest.raises(InputError, match=f"{RGB_TOPIC} of the bag .* is not a valid sensor_msgs/msg/Image"):
        list(read_frames(tmp_path / "bag"))


def test_frames_that_cannot_be_used_are_left_out_with_a_line(kinect_set):
    """Of three frames, the first has half a JPEG and the last a message that ends too early."""
    bag, seen = make(kinect_set), Counter()
    with BagReader(bag) as reader, BagWriter(kinect_set.parent / "damaged") as writer:
        for message in reader.messages():
            place = message.topic.rpartition("/")[2], seen[message.topic]
            seen[message.topic] += 1
            if place == ("compressed", 0):
                jpeg = reader.deserialize(message)
                jpeg.data = jpeg.data[: len(jpeg.data) // 2]
                message = message._replace(data=serialize(jpeg))
            elif place == ("compressedDepth", 2):
                message = message._replace(data=message.data[: len(message.data) // 2])
            writer.write(*message)
    lines: list[str] = []
    (frame,) = read_frames(kinect_set.parent / "damaged", warn=lines.append)
    assert frame.stamp_ns == read_folder(kinect_set)[1].frame.stamp_ns
    picture, message, count = lines
    assert "not a complete image" in picture and "is not a valid sensor_msgs" in message
    assert count == f"{kinect_set.parent / 'damaged'}: 2 of 3 pairs cannot be used and are left out"


def test_camera_info_that_was_recorded_after_an_image_belongs_to_it_too(kinect_set):
    """Recorders take messages as they come, and a latched calibration may be recorded seconds later."""
    bag = make(kinect_set)
    with BagReader(bag) as reader, BagWriter(kinect_set.parent / "late") as writer:
        messages = list(reader.messages())
        first = next(message for message in messages if message.topic == "/rgb/camera_info")
        for message in messages:
            if message.topic != "/rgb/camera_info":
                writer.write(*message)
        writer.write(*first._replace(log_ns=messages[-1].log_ns + 10**9))
    for frame, original in zip(read_frames(kinect_set.parent / "late"), read_folder(kinect_set), strict=True):
        assert frame.intrinsics == original.frame.intrinsics


def unstamped(bag: Path, out: Path, topics: set[str], leave_out: Collection[tuple[str, int]] = ()) -> None:
    """A copy with zero stamps on these topics, without the messages of some topics' positions."""
    seen: Counter[str] = Counter()
    with BagReader(bag) as reader, BagWriter(out) as writer:
        for message in reader.messages():
            position = seen[message.topic]
            seen[message.topic] += 1
            if (message.topic, position) in leave_out:
                continue
            data = with_stamp(message.data, 0) if message.topic in topics else message.data
            writer.write(*message._replace(data=data))


@pytest.mark.parametrize("roles", [{"rgb"}, {"depth"}, {"rgb", "depth"}])
def test_images_without_stamps_are_paired_by_order_and_reported(kinect_set, roles):
    """Depth was recorded half a second late, so only the order says what belongs together."""
    edit_meta(kinect_set, lambda meta: [entry.update(t_depth=entry["t_rgb"] + 0.5) for entry in meta["frames"]])
    bag = make(kinect_set)
    names = {"rgb": f"{RGB_TOPIC}/compressed", "depth": f"{DEPTH_TOPIC}/compressedDepth"}
    unstamped(bag, kinect_set.parent / "zero", {names[role] for role in roles})
    lines: list[str] = []
    frames = list(read_frames(kinect_set.parent / "zero", warn=lines.append))
    original = [one.frame for one in read_folder(kinect_set)]
    assert [frame.stamp_ns for frame in frames] == [frame.stamp_ns for frame in original]
    for frame, expected in zip(frames, original, strict=True):
        np.testing.assert_allclose(np.nan_to_num(frame.depth), np.nan_to_num(expected.depth), atol=5.1e-4)
    (line,) = lines
    assert "order of recording, 3 of each" in line
    assert all((names[role] in line) == (role in roles) for role in names)


def test_images_without_stamps_are_paired_by_time_of_recording_if_their_numbers_differ(kinect_set):
    depth = f"{DEPTH_TOPIC}/compressedDepth"
    unstamped(make(kinect_set), kinect_set.parent / "zero", {depth}, leave_out={(depth, 1)})
    lines: list[str] = []
    frames = list(read_frames(kinect_set.parent / "zero", warn=lines.append))
    stamps = [one.frame.stamp_ns for one in read_folder(kinect_set)]
    assert [frame.stamp_ns for frame in frames] == [stamps[0], stamps[2]]
    assert len(lines) == 1 and "3 colour images and 2 depth images" in lines[0]


def test_camera_info_is_found_beside_a_topic_that_ends_in_a_transport(kinect_set):
    bag = make(kinect_set)
    topics = f"{RGB_TOPIC}/compressed", f"{DEPTH_TOPIC}/compressedDepth"
    for frame, original in zip(read_frames(bag, *topics), read_folder(kinect_set), strict=True):
        assert frame.intrinsics == original.frame.intrinsics
    assert camera_info_topic("camera/color/image_raw/theora") == "/camera/color/camera_info"
    assert camera_info_topic("/compressed/image") == "/compressed/camera_info"


@pytest.mark.parametrize("depth", ["compressed", "16UC1", "32FC1"])
def test_the_encoding_of_depth_is_that_of_the_images(kinect_set, depth):
    bag = make(kinect_set, "--depth", depth)
    assert depth_encoding(bag, DEPTH_TOPIC) == ("16UC1" if depth == "compressed" else depth)


def test_stamps_are_read_and_replaced_in_place():
    message = image(header(1_700_000_000_123_456_789, "camera"), "mono8", np.arange(12, dtype=np.uint8).reshape(3, 4))
    data = serialize(message)
    assert stamp_of(data) == 1_700_000_000_123_456_789
    moved = with_stamp(data, 5 * 10**9 + 7)
    assert stamp_of(moved) == 5 * 10**9 + 7
    assert moved[12:] == data[12:] and moved[:4] == data[:4]
    assert has_header("sensor_msgs/msg/PointCloud2") and not has_header("rosgraph_msgs/msg/Clock")
    assert not has_header("no_such_msgs/msg/Type")


def test_a_big_endian_stamp_is_read_and_replaced():
    data = bytes([0, 0, 0, 0]) + (7).to_bytes(4, "big") + (9).to_bytes(4, "big") + b"rest"
    assert stamp_of(data) == 7_000_000_009
    assert with_stamp(data, 8_000_000_001) == data[:4] + (8).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"rest"


@pytest.mark.parametrize("raw", [False, True])
def test_stamps_increase_when_a_recording_is_repeated(kinect_set, raw):
    recording = Recording(make(kinect_set), raw=raw)
    once = list(recording.messages(loop=False))
    endless = recording.messages(loop=True)
    rounds = [[next(endless) for _ in once] for _ in range(3)]
    assert rounds[0] == once
    for number, messages in enumerate(rounds):
        for message, first in zip(messages, once, strict=True):
            assert message.log_ns - first.log_ns == number * recording.duration_ns
            assert stamp_of(message.data) == message.log_ns
            assert message.data[12:] == first.data[12:]
    period = once[-1].log_ns - once[0].log_ns + round(np.median(np.diff(sorted({m.log_ns for m in once})[::2])))
    assert recording.duration_ns == pytest.approx(period, abs=MS)


def test_poses_have_the_stamps_of_their_images_when_a_recording_is_repeated(tmp_path):
    """tf messages have no header of their own: their stamps are those of the poses in them."""
    pose = np.array([0.1, -0.2, 0.3, 0.5, -0.5, 0.5, 0.5])
    with BagWriter(tmp_path / "bag") as writer:
        for stamp in (1_700_000_000 * 1000 * MS, 1_700_000_000 * 1000 * MS + 33 * MS):
            poses = transform(header(stamp, "odom"), "camera", pose)
            poses.transforms += transform(header(stamp + 5 * MS, "base_link"), "lidar", pose).transforms
            writer.write("/tf", TF, stamp, serialize(poses))
    recording = Recording(tmp_path / "bag")
    endless = recording.messages(loop=True)
    for number in range(3):
        for _ in range(2):
            message = next(endless)
            transforms = deserialize(message.data, TF).transforms
            stamps = [one.header.stamp.sec * 1000 * MS + one.header.stamp.nanosec for one in transforms]
            assert stamps == [message.log_ns, message.log_ns + 5 * MS]
            assert [one.header.frame_id for one in transforms] == ["odom", "base_link"]
            assert [one.child_frame_id for one in transforms] == ["camera", "lidar"]
            assert transforms[1].transform.translation.y == -0.2
        assert message.log_ns == 1_700_000_000 * 1000 * MS + 33 * MS + number * recording.duration_ns


def test_a_recording_with_one_frame_can_be_repeated(kinect_set):
    recording = Recording(make(kinect_set, "--frames", "0:1"))
    assert recording.duration_ns > 30 * MS


def test_raw_playback_publishes_what_the_compressed_images_hold(kinect_set):
    bag = make(kinect_set)
    recording = Recording(bag, raw=True)
    assert {name for name, topic in recording.topics.items() if topic.type == "sensor_msgs/msg/Image"} == {
        RGB_TOPIC,
        DEPTH_TOPIC,
    }
    with BagWriter(kinect_set.parent / "raw") as writer:
        for message in recording.messages(loop=False):
            writer.write(*message)
    for raw, compressed in zip(read_frames(kinect_set.parent / "raw"), read_frames(bag), strict=True):
        np.testing.assert_array_equal(raw.rgb, compressed.rgb)
        np.testing.assert_array_equal(raw.depth, compressed.depth)
        assert raw.stamp_ns == compressed.stamp_ns


@pytest.mark.parametrize(
    ("suffix", "message_format", "encoding"),
    [
        (".png", "16UC1; png compressed ", "16UC1"),
        (".png", "png", "16UC1"),
        (".png", "mono16; png compressed ", "mono16"),
        (".tiff", "16UC1; tiff compressed ", "16UC1"),
        (".tiff", "32FC1; tiff compressed ", "32FC1"),
        (".png", "bayer_rggb16; png compressed bayer_rggb16", "rgb8"),
        (".png", "rgb8; png compressed bgr8", "rgb8"),
    ],
)
def test_raw_playback_keeps_the_numbers_of_images_of_more_than_8_bits(tmp_path, suffix, message_format, encoding):
    """Some drivers publish depth as a 16-bit PNG on …/compressed, where colour is JPEG."""
    dtype = {"32FC1": np.float32, "rgb8": np.uint8}.get(encoding, np.uint16)
    if "bayer" in message_format:
        dtype = np.uint16
    counts = np.random.default_rng(0).integers(1, 200, (24, 32)).astype(dtype)
    if message_format.startswith("rgb8"):
        counts = np.dstack([counts] * 3)
    data = cv2.imencode(suffix, counts)[1].tobytes()
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_message("/image/compressed", 5, compressed_image(header(5, "camera"), message_format, data))
    (message,) = Recording(tmp_path / "bag", raw=True).messages(loop=False)
    played = deserialize(message.data, message.type)
    assert (message.topic, played.encoding) == ("/image", encoding)
    if encoding != "rgb8":
        np.testing.assert_array_equal(np.frombuffer(played.data, dtype).reshape(24, 32), counts)


def test_an_empty_bag_cannot_be_played(tmp_path):
    with BagWriter(tmp_path / "bag"):
        pass
    with pytest.raises(InputError, match="contains no messages"):
        Recording(tmp_path / "bag")


def test_info_lists_topics_types_counts_and_encodings(kinect_set, capsys):
    bag = make(kinect_set, "--depth", "16UC1")
    with BagReader(bag) as reader:
        topics = {topic.name: topic for topic in summarize(reader)}
    assert topics[DEPTH_TOPIC].content == "16UC1 32x24" and topics[DEPTH_TOPIC].count == 3
    assert topics[DEPTH_TOPIC].rate == pytest.approx(30, rel=1e-3)
    assert main(["bag", "info", str(bag)]) == 0
    assert "16UC1 32x24" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "count"), [("kinect", 112), ("tof", 1)])
def test_the_samples_are_complete(name, count):
    frames = list(read_frames(share_directory() / "samples" / name))
    assert len(frames) == count
    assert all(np.isfinite(frame.depth).mean() > 0.5 for frame in frames)
    assert np.diff([frame.stamp_ns for frame in frames]).max(initial=0) < 40 * MS


def test_the_lidar_sample_has_points_in_view():
    folder = share_directory() / "samples" / "lidar"
    lidar_in_camera = transform_from_pose(read_parameters(folder / "parameters.yaml")["extrinsic"])
    with BagReader(folder) as reader:
        clouds = [decode_points(reader.deserialize(message)) for message in reader.messages({POINTS_TOPIC})]
    assert len(clouds) == 2
    for cloud in clouds:
        assert np.all(cloud @ lidar_in_camera[2, :3] + lidar_in_camera[2, 3] > 0)


def test_points_become_sparse_depth_where_their_pose_and_the_intrinsics_are_known():
    folder = share_directory() / "samples" / "lidar"
    settings = FrameSettings(extrinsic=read_parameters(folder / "parameters.yaml")["extrinsic"])
    frames = list(read_frames(folder, depth_topic=POINTS_TOPIC, settings=settings))
    assert len(frames) == 2
    for frame in frames:
        assert frame.depth.shape == frame.rgb.shape[:2] and 0.01 < np.isfinite(frame.depth).mean() < 0.2
    with pytest.raises(InputError, match="extrinsic"):
        next(read_frames(folder, depth_topic=POINTS_TOPIC))


def test_the_samples_carry_their_licence():
    for folder in (share_directory() / "samples").iterdir():
        if folder.is_dir():
            note = (folder / "LICENSE.md").read_text(encoding="utf-8")
            assert "Licence: " in note and "Source: " in note


def test_the_frames_of_a_recording_are_those_of_its_messages():
    """Under the names the launch files know its topics by; what it does not hold is left out."""
    samples = Path(__file__).resolve().parent.parent / "samples"
    assert frames_of(samples / "lidar", TOPICS) == {"rgb": "camera_color_optical_frame", "points": "lidar"}
    assert frames_of(samples / "kinect", TOPICS) == {"rgb": "camera_color_optical_frame"}
    assert frames_of(samples / "kinect", TOPICS | {"rgb_topic": "/camera/color/image_raw"}) == {}
