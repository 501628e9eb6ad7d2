"""The node as a process of its own: it starts, ends on a signal with status 0, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_memory import held_by, left_behind, present

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

pytestmark = pytest.mark.ros
NODE = [sys.executable, "-m", "depth_completion_ros.cli", "node"]


def started(*arguments: str, log: Path) -> subprocess.Popen:
    with open(log, "w") as output:
        process = subprocess.Popen([*NODE, *arguments], stdout=output, stderr=subprocess.STDOUT)
    return process


def waited_for(condition: Callable[[], bool], timeout: float = 20.0) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("autostart", ["true", "false"])
def test_a_signal_ends_it_with_status_0_and_nothing_left(tmp_path, number, autostart):
    before = present()
    arguments = ["-p", f"autostart:={autostart}", "-p", "watchdog.timeout:=0.5"]
    log = tmp_path / "log"
    process = started("--profile", "tof", "--ros-args", *arguments, log=log)
    try:
        # Its participant's shared memory says that it is up; active, the watchdog's first line does.
        def ready() -> bool:
            if autostart == "true":
                return "nobody publishes it" in log.read_text(encoding="utf-8")
            return bool(held_by([process.pid]))

        assert waited_for(ready), log.read_text(encoding="utf-8")
        time.sleep(0.3)
        held = held_by([process.pid])
        process.send_signal(number)
        time.sleep(0.02)
        process.send_signal(number)  # a terminal and ros2 launch both pass Ctrl-C on
        # Two seconds are promised on a machine that has them to spare; a test only tells hanging from ending.
        assert process.wait(20) == 0, log.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text(encoding="utf-8") and "terminate called" not in log.read_text(
        encoding="utf-8"
    )
    assert held and not left_behind(held, before)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.parametrize("delay", [0.6, 0.9, 1.2, 1.5])
def test_a_signal_while_it_starts_ends_it_too(tmp_path, delay):
    """Whatever it is doing: importing, finding its peers, opening its engine."""
    log = tmp_path / "log"
    process = started("--profile", "kinect", log=log)
    try:
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM), log.read_text(
            encoding="utf-8"
        )  # the latter before Python has begun
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text(encoding="utf-8") and "terminate called" not in log.read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("delay", [0.0, 3.0])
def test_exit_with_ends_the_node_together_with_that_process(tmp_path, delay):
    """As ros2 launch ends on SIGTERM: without a word to what it has started. Also while that still starts."""
    log = tmp_path / "log"
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    process = started("--exit-with", str(other.pid), log=log)
    try:
        time.sleep(delay)
        assert process.poll() is None
        other.kill()  # nobody waits for it yet: a zombie has ended too
        assert process.wait(60) == 0
    finally:
        for each in (other, process):
            each.kill()
            each.wait()
    assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "absent.yaml"), ("/**:\n  ros__parameters: [", "parameters.yaml"), ("\0\1\2", "parameters.yaml")],
)
def test_an_unreadable_parameter_file_is_one_clear_line(tmp_path, content, words):
    path = tmp_path / ("absent.yaml" if content is None else "parameters.yaml")
    if content is not None:
        path.write_text(content)
    log = tmp_path / "log"
    process = started("--ros-args", "--params-file", str(path), log=log)
    assert process.wait(30) == 1
    assert words in log.read_text(encoding="utf-8") and "Traceback" not in log.read_text(encoding="utf-8")


def test_an_unknown_profile_names_the_choices(tmp_path):
    log = tmp_path / "log"
    process = started("--profile", "sonar", log=log)
    assert process.wait(30) == 2
    assert all(name in log.read_text(encoding="utf-8") for name in ("sonar", "kinect", "tof", "lidar"))
