"""The examples run, and what they print is right."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from depth_completion_ros import DepthCompleter
from depth_completion_ros.bag.frames import read_frames

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "complete_a_frame.ipynb"
KINECT = ROOT / "samples" / "kinect"


def test_the_notebook_completes_a_frame_and_shows_it():
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install -e '.[notebook]'")
    pytest.importorskip("ipykernel", reason="needs ipykernel: pip install -e '.[notebook]'")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()

    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    pictures = {
        name for name, found in outputs.items() for output in found if "image/png" in getattr(output, "data", {})
    }
    assert pictures == {"read", "raw-depth", "completed-depth", "confidence"}
    text = {name: "".join(getattr(output, "text", "") for output in found) for name, found in outputs.items()}
    expected = DepthCompleter("kinect").engine
    assert text["complete"] == f"engine {expected.engine} with model {expected.model}\n"
    assert 0 < float(re.search(r"pixels: ([\d.]+)", text["confidence"])[1]) < 1
    rmse, mae, pixels = map(int, re.findall(r"\d+", text["error"]))
    assert 0 < mae <= rmse < 300
    assert 0 < pixels <= 80 * 100


def test_the_notebook_in_the_repository_has_no_outputs():
    """They would make every run a change."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@contextmanager
def running(*command: object, log: Path) -> Iterator[subprocess.Popen]:
    """A process whose output goes to a file; it is killed at the end if it is still running."""
    # The wheels of rclpy set this variable, which would keep a child from finding their libraries.
    environment = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    with open(log, "w") as output:
        process = subprocess.Popen([*map(str, command)], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.ros
def test_the_client_logs_the_nearest_trusted_distance_of_each_frame(tmp_path):
    pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
    log = tmp_path / "client.txt"
    command = [sys.executable, "-m", "depth_completion_ros.cli"]
    node = [*command, "node", "--profile", "kinect", "--ros-args", "-p", "engine:=classical"]
    player = [*command, "bag", "play", KINECT, "--raw", "--loop", "--rate", "0.5", "--wait", "60"]
    with (
        running(sys.executable, EXAMPLES / "dense_depth_client.py", log=log) as client,
        running(*node, log=tmp_path / "node.txt"),
        running(*player, log=tmp_path / "player.txt"),
    ):
        end = time.monotonic() + 60
        while log.read_text(encoding="utf-8").count("nearest object") < 5:
            assert client.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        client.send_signal(signal.SIGINT)
        assert client.wait(20) == 0, log.read_text(encoding="utf-8")

    lines = re.findall(
        r"frame (\d+)\.(\d{9}): distance of the nearest object ([\d.]+) m", log.read_text(encoding="utf-8")
    )
    logged = {int(seconds) * 1_000_000_000 + int(nanoseconds): float(metres) for seconds, nanoseconds, metres in lines}
    completer = DepthCompleter("kinect", "classical")
    expected = {}
    for frame in read_frames(KINECT):
        if frame.stamp_ns in logged:
            completed = completer.complete(frame)
            expected[frame.stamp_ns] = float(np.min(completed.depth[completed.confidence > 0.8]))
    assert len(expected) >= 3, "stamps are those of the recording in its first round"
    assert {stamp: logged[stamp] for stamp in expected} == pytest.approx(expected, abs=2e-3)
