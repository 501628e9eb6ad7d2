"""The demo end to end: three processes over real DDS, every frame accounted for, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from shared_memory import held_by, left_behind, present

from depth_completion_ros import ConfigurationError
from depth_completion_ros.evaluation.benchmarks.pipeline import free_domain, nearest
from depth_completion_ros.evaluation.benchmarks.processes import Child, Usage

ROOT = Path(__file__).resolve().parent.parent
SYNC_LOSS = {"unpaired", "late", "duplicate_stamp", "time_jump"}


def start_demo(out: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "depth_completion_ros.cli", "demo", "--headless", "--out", str(out), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def processes_of(run: subprocess.Popen) -> set[int]:
    """The process and all its descendants that are alive."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found = {run.pid} & parents.keys()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.mark.ros
@pytest.mark.parametrize("profile", ["kinect", "tof", "lidar"])
def test_every_frame_of_the_demo_is_accounted_for(tmp_path, profile):
    pytest.importorskip("rclpy")
    before = present()
    run = start_demo(tmp_path / "out", "--seconds", "3", "--profile", profile)
    held: set[str] = set()
    while run.poll() is None:
        held |= held_by(processes_of(run))
        time.sleep(0.2)
    output = run.communicate()[0]
    assert run.returncode == 0, output

    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert summary["frames_out"] > 0
    drops = summary["drops"]
    lost_on_the_way = sum(summary["frames_in"].values()) - sum(summary["frames_received"].values())
    before_arrival = sum(drops.pop(cause, 0) for cause in ("lost", "overrun"))
    assert before_arrival <= lost_on_the_way
    lost_to_sync = sum(drops.pop(cause, 0) for cause in SYNC_LOSS)
    assert lost_to_sync <= lost_on_the_way, "only a message whose partner never came may stay alone"
    assert summary["pairs"] == summary["frames_out"] + sum(drops.values())
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"] <= summary["latency_ms"]["p99"]
    assert summary["cpu_percent"] > 0 and summary["peak_memory_mb"] > 50

    picture = cv2.imread(str(tmp_path / "out/panel.png"))
    assert picture.shape[1] == 1620 and picture.std() > 20
    read, animation = cv2.imreadanimation(str(tmp_path / "out/preview.webp"))
    assert read and len(animation.frames) >= 1
    assert held, "shared memory was in use"
    assert not left_behind(held, before)


@pytest.mark.ros
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_no_process_behind(tmp_path, number):
    pytest.importorskip("rclpy")
    run = start_demo(tmp_path / "out", "--seconds", "60")
    deadline = time.monotonic() + 30
    while len(processes := processes_of(run)) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(processes) >= 4, "player, node and recorder run"
    time.sleep(1)
    run.send_signal(number)
    output = run.communicate(timeout=30)[0]
    assert run.returncode == 130, output
    assert "Traceback" not in output
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


def test_a_failed_child_is_reported_with_its_last_output(tmp_path):
    child = Child("node", ["depth_completion_ros.cli", "complete", "--rgb"], tmp_path, dict(os.environ))
    with pytest.raises(ConfigurationError, match=r"the node ended with status 2(.|\n)*--rgb"):
        while child.running():
            time.sleep(0.05)


def test_a_child_that_ignores_signals_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("depth_completion_ros.evaluation.benchmarks.processes._END_WITHIN_S", 0.2)
    (tmp_path / "deaf.py").write_text(
        "import signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = Child("deaf", ["deaf"], tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    while "ready" not in (tmp_path / "deaf.log").read_text(encoding="utf-8"):
        child.expect_running()
        time.sleep(0.02)
    child.end()
    assert not Path(f"/proc/{child.pid}").exists()


def test_cpu_and_memory_of_a_process_that_counts_for_itself(tmp_path):
    """A process that is always busy, measured against its own account of CPU time."""
    (tmp_path / "busy.py").write_text(
        "import time\n"
        "keep = bytearray(b'x' * 80_000_000)\n"
        "while time.process_time() < 0.8: pass\n"
        "print('done', flush=True)\n"
        "time.sleep(60)\n"
    )
    began = time.monotonic_ns()
    child = Child("busy", ["busy"], tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    usage = Usage(child.pid)
    usage.sample()
    while "done" not in (tmp_path / "busy.log").read_text(encoding="utf-8"):
        time.sleep(0.02)
    usage.sample()
    ended = time.monotonic_ns()
    child.end()
    assert usage.cpu_percent(began, ended) * (ended - began) * 1e-11 == pytest.approx(0.8, abs=0.15)
    assert usage.peak_memory_mb > 80


def test_a_domain_in_use_is_not_chosen():
    first = free_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", 7400 + 250 * first + 14))
        assert free_domain() != first


def test_each_output_finds_the_nearest_stamp():
    generator = np.random.default_rng(1)
    stamps = np.unique(generator.integers(0, 10_000, 200))
    wanted = generator.integers(-100, 10_100, 500)
    brute_force = np.abs(stamps[None] - wanted[:, None]).min(axis=1)
    np.testing.assert_array_equal(np.abs(stamps[nearest(stamps, wanted)] - wanted), brute_force)


@pytest.mark.parametrize("options", [["--seconds", "0"], ["--rate", "-1"]])
def test_wrong_options_are_reported_before_anything_starts(tmp_path, options):
    run = start_demo(tmp_path / "out", *options)
    assert options[0] in run.communicate()[0]
    assert run.returncode == 1 and not (tmp_path / "out").exists()
