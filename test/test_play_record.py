"""Playing and recording over real DDS, each in a process of its own: nothing is lost, changed or left behind."""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

import rclpy
from frame_sets import edit_meta, write_set
from shared_memory import held_by, left_behind, present

from depth_completion_ros.bag.frames import read_frames
from depth_completion_ros.bag.message_types import message_class
from depth_completion_ros.bag.messages import BagMessage, has_header, stamp_of
from depth_completion_ros.bag.playback import Recording
from depth_completion_ros.bag.player import PlayerNode, PlayOptions, PlayOutcome
from depth_completion_ros.bag.reader import BagReader
from depth_completion_ros.bag.recorder import FLUSH_PERIOD_S, BagRecording
from depth_completion_ros.bag.writer import STORAGES
from depth_completion_ros.cli import main
from depth_completion_ros.errors import InputError

pytestmark = pytest.mark.ros

FRAMES = 20
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``depth-completion bag …`` as a process and kills what is left of it at the end."""
    processes: list[subprocess.Popen] = []

    def begin(*arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "depth_completion_ros.cli", "bag", *map(str, arguments)]
        # rclpy's own guard would tell the child that its libraries are found already.
        environment = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        processes.append(
            subprocess.Popen(command, env=environment, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 32x24 with a camera_info for colour and depth."""
    folder = tmp_path_factory.mktemp("recorded") / "set"
    write_set(folder, count=FRAMES)
    edit_meta(folder, lambda meta: [entry.pop("points") for entry in meta["frames"]])
    assert main(["bag", "make", str(folder), str(folder.parent / "bag")]) == 0
    return folder.parent / "bag"


def finish(process: subprocess.Popen, send: signal.Signals | None = None) -> str:
    """What the process printed, after a signal or by itself; it must end with status 0."""
    if send is not None:
        process.send_signal(send)
    output, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    return output


def wait_for_log(log: Path, rows: int) -> None:
    """Until a process has logged that many messages (its file is written in blocks), so that it is in full swing."""
    deadline = time.monotonic() + 30
    while not log.exists() or log.read_text(encoding="utf-8").count("\n") < rows:
        assert time.monotonic() < deadline, f"{log} did not grow"
        time.sleep(0.05)


def messages_of(path: Path) -> dict[str, list[BagMessage]]:
    by_topic: dict[str, list[BagMessage]] = {}
    with BagReader(path) as reader:
        for message in reader.messages():
            by_topic.setdefault(message.topic, []).append(message)
    return by_topic


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("raw", [False, True])
def test_what_is_played_is_recorded_unchanged(start, bag, tmp_path, raw):
    """Every message arrives, in order, with its stamp; both logs tell the same messages."""
    topics = Recording(bag, raw=raw).topics
    recorder = start("record", *topics, "--out", tmp_path / "out", "--log", tmp_path / "received.csv")
    player = start("play", bag, "--log", tmp_path / "played.csv", "--wait", "30", *(["--raw"] if raw else []))
    assert f"published {FRAMES * len(topics)} messages" in finish(player)
    finish(recorder, signal.SIGTERM)

    expected: dict[str, list[bytes]] = {}
    for message in Recording(bag, raw=raw).messages(loop=False):
        expected.setdefault(message.topic, []).append(message.data)
    received = messages_of(tmp_path / "out")
    assert {topic: len(messages) for topic, messages in received.items()} == {topic: FRAMES for topic in topics}
    for topic, messages in received.items():
        for message, data in zip(messages, expected[topic], strict=True):
            # The middleware fills messages up to a multiple of four bytes.
            assert message.data == data + bytes(-len(data) % 4)
    assert len(list(read_frames(tmp_path / "out"))) == FRAMES

    played, logged = rows_of(tmp_path / "played.csv"), rows_of(tmp_path / "received.csv")
    published = {(row["topic"], row["stamp_ns"]): int(row["published_ns"]) for row in played}
    assert sorted(published) == sorted((row["topic"], row["stamp_ns"]) for row in logged)
    assert all(int(row["received_ns"]) >= published[row["topic"], row["stamp_ns"]] for row in logged)


def test_stamps_and_clock_keep_increasing_in_a_loop(start, bag, tmp_path):
    recorder = start("record", "rgb/camera_info", "clock", "--out", tmp_path / "out", "--storage", "sqlite3")
    finish(start("play", bag, "--loop", "--rate", "4", "--seconds", "0.8", "--wait", "30"))
    finish(recorder, signal.SIGINT)
    received = messages_of(tmp_path / "out")
    stamps = [stamp_of(message.data) for message in received["/rgb/camera_info"]]
    assert len(stamps) > 2 * FRAMES
    gaps = np.diff(stamps)
    assert gaps.min() > 0
    assert gaps[FRAMES - 1] == pytest.approx(np.median(gaps), rel=0.01)  # from the last to the first of the next round
    # /clock: its message is a stamp and nothing else, so it lies where a header's stamp does.
    clock = [stamp_of(message.data) for message in received["/clock"]]
    assert np.diff(clock).min() >= 0
    assert clock[0] <= stamps[0] and clock[-1] >= stamps[-1]


def test_no_clock_is_published_with_no_clock(start, bag, tmp_path):
    recorder = start("record", "rgb/camera_info", "clock", "--out", tmp_path / "out")
    finish(start("play", bag, "--no-clock", "--wait", "30"))
    finish(recorder, signal.SIGINT)
    assert set(messages_of(tmp_path / "out")) == {"/rgb/camera_info"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_recording_leaves_a_valid_bag(start, bag, tmp_path, number):
    """Both processes end with status 0, what was received until then is in the bag, and no shared memory stays."""
    before = present()
    log = tmp_path / "received.csv"
    topics = Recording(bag).topics
    recorder = start("record", *topics, "--out", tmp_path / "out", "--every", "2", "--log", log)
    player = start("play", bag, "--loop", "--rate", "4", "--wait", "30")
    wait_for_log(log, rows=100)
    held = held_by([player.pid, recorder.pid])
    summary = finish(recorder, number)
    finish(player, number)
    assert held and not left_behind(held, before)
    received = len(rows_of(log))
    kept = sum(len(messages) for messages in messages_of(tmp_path / "out").values())
    assert f"{kept} of {received} messages on {len(topics)} topics" in summary
    assert received / 2 <= kept <= received / 2 + len(topics)


def test_a_signal_while_images_are_decoded_is_no_error(bag):
    options = PlayOptions(bag, rate=1, loop=True, seconds=None, raw=True, clock=False, wait=0, delay=0, log=None)
    outcome = PlayOutcome()
    rclpy.init()
    player = PlayerNode(options, outcome)
    player.close()  # as after a signal, but before the thread has begun to decode
    player._run()
    player.destroy_node()
    assert outcome == PlayOutcome()


def test_a_recording_of_nothing_is_a_bag_too(start, tmp_path):
    finish(start("record", "/nobody", "--out", tmp_path / "out", "--seconds", "0.5"))
    assert messages_of(tmp_path / "out") == {}


def test_seconds_end_a_recording(start, bag, tmp_path):
    player = start("play", bag, "--loop", "--wait", "0", "--log", tmp_path / "played.csv")
    wait_for_log(tmp_path / "played.csv", rows=1)
    # Long enough for the two to find each other on a busy machine.
    finish(start("record", "rgb/camera_info", "--out", tmp_path / "out", "--seconds", "6"))
    finish(player, signal.SIGTERM)
    assert len(messages_of(tmp_path / "out")["/rgb/camera_info"]) > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["play", "nowhere"], "there is no such file"),
        (["play", "nowhere", "--rate", "0"], "--rate 0.0 must be above zero"),
        (["record", "/a", "--out", "."], "already exists"),
        (["record", "/a", "--out", "new", "--every", "0"], "--every 0 must be 1 or more"),
        (["record", "/a", "--out", "new", "--seconds", "0"], "--seconds 0.0 must be above zero"),
        (["play", "nowhere", "--wait", "nan"], "--wait nan must be 0 or more"),
        (["record", "/a", "--out", "new", "--log", "nowhere/x.csv"], "--log nowhere/x.csv cannot be written (No such"),
    ],
)
def test_impossible_arguments_are_reported_in_one_line(start, arguments, words):
    process = start(*arguments)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 1
    assert words in errors and "Traceback" not in errors


@pytest.mark.parametrize("storage", STORAGES)
def test_a_killed_recorder_keeps_all_but_the_latest_messages(start, bag, tmp_path, storage, capsys):
    log = tmp_path / "received.csv"
    topics = Recording(bag).topics
    recorder = start("record", *topics, "--out", tmp_path / "out", "--storage", storage, "--log", log)
    player = start("play", bag, "--rate", "4", "--wait", "30")
    finish(player)
    wait_for_log(log, rows=FRAMES * len(topics) + 1)
    time.sleep(3 * FLUSH_PERIOD_S)
    recorder.kill()
    recorder.wait()
    assert {topic: len(messages) for topic, messages in messages_of(tmp_path / "out").items()} == dict.fromkeys(
        topics, FRAMES
    )
    assert "metadata.yaml is missing" in capsys.readouterr().err
    assert len(list(read_frames(tmp_path / "out"))) == FRAMES


def test_a_recording_that_cannot_be_written_any_more_logs_once_and_keeps_counting(tmp_path):
    with BagRecording(tmp_path / "bag", "sqlite3", every=1) as recording:
        recording.add(BagMessage("/a", "sensor_msgs/msg/Image", 0, b"first"))
        recording.flush()
        # What SQLite says of a full disk; the limit is in pages.
        recording._bag._writer.storage.conn.execute("PRAGMA max_page_count = 1")
        for index in range(1, 4):
            recording.add(BagMessage("/a", "sensor_msgs/msg/Image", index, bytes(10**6)))
    assert "full" in str(recording.error) and "1 messages are in it" in str(recording.error)
    assert recording.summary() == "1 of 4 messages on 1 topics"


def test_a_log_that_cannot_be_written_is_reported_when_a_bag_is_played(start, bag):
    _, errors = (process := start("play", bag, "--log", "nowhere/x.csv")).communicate(timeout=40)
    assert process.returncode == 1
    assert "--log nowhere/x.csv cannot be written (No such file" in errors and "Traceback" not in errors


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("flushed", [0, 2])
def test_the_number_of_messages_that_a_full_disk_holds_is_that_of_the_bag(tmp_path, storage, flushed):
    """Messages that were added after the last flush may be lost."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with BagRecording(tmp_path / "bag", storage, every=1) as recording:
            for index in range(60):
                recording.add(BagMessage("/a", "sensor_msgs/msg/Image", index, bytes(20_000)))
                if index + 1 == flushed:
                    recording.flush()
                    size = sum(file.stat().st_size for file in (tmp_path / "bag").iterdir())
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, limits[1]))
                elif not flushed and index == 0:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
            recording.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    try:
        held = len(messages_of(tmp_path / "bag")["/a"])
    except InputError:
        held = 0
    assert flushed <= held < 60
    words = f"{held} messages are in it" if held else "no message in it can be read"
    assert words in str(recording.error)
    assert recording.summary() == f"{held} of 60 messages on 1 topics"


def test_every_nth_is_counted_for_each_topic(tmp_path):
    with BagRecording(tmp_path / "bag", "mcap", every=3) as recording:
        for index in range(8):
            recording.add(BagMessage("/a", "sensor_msgs/msg/Image", index, b"a"))
            if index % 2:
                recording.add(BagMessage("/b", "sensor_msgs/msg/Image", index, b"b"))
    kept = {
        topic: [message.log_ns for message in messages] for topic, messages in messages_of(tmp_path / "bag").items()
    }
    assert kept == {"/a": [0, 3, 6], "/b": [1, 7]}


def test_types_are_found_by_name():
    image_type = message_class("sensor_msgs/msg/Image")
    assert image_type is not None and image_type.__name__ == "Image" and has_header("sensor_msgs/msg/Image")
    assert message_class("no_such_msgs/msg/Type") is None and message_class("sensor_msgs/msg/NoSuchType") is None
