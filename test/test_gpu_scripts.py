"""The scripts of bench/gpu run unattended: whatever fails or is cut off, what was found out before is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the scripts measure PyTorch")

SCRIPT = Path(__file__).parents[1] / "bench" / "gpu" / "run.py"


def begin(out: Path, steps: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), "--dry-run", "--out", str(out), "--steps", steps, *arguments]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)


def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())["steps"]


def records(out: Path, step: str) -> list[dict]:
    return results(out)[step]["records"]


def test_a_step_that_fails_is_recorded_and_the_others_continue(tmp_path):
    """Of a network that does not exist nothing can be built, and `floors` must come to its end without it."""
    assert begin(tmp_path, "card,builds,floors", "--networks", "nothing").wait(60) == 1
    steps = results(tmp_path)
    assert {name: step["status"] for name, step in steps.items()} == {
        "card": "done",
        "builds": "failed",
        "floors": "done",
    }
    assert "no network 'nothing'" in steps["builds"]["log"]
    assert "no network 'nothing'" in steps["floors"]["records"][0]["error"]
    products = {r["precision"]: r["flop_per_s"] for r in records(tmp_path, "card") if r["what"] == "product"}
    assert products.keys() == {"float16", "bfloat16", "float32"} and min(products.values()) > 0


def test_results_survive_a_kill_and_a_later_call_continues(tmp_path):
    """No step outlives the kill, which would hold the card against the next call."""
    process = begin(tmp_path, "card,propagation,node30")
    deadline = time.monotonic() + 60
    while not (tmp_path / "results.json").is_file() or results(tmp_path)["propagation"]["status"] == "not begun":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    steps = results(tmp_path)
    assert children
    assert (steps["card"]["status"], steps["node30"]["status"]) == ("done", "not begun")
    assert len(steps["card"]["records"]) == 5
    while any(running(child) for child in children):
        assert time.monotonic() < deadline, "a step outlived the kill"
        time.sleep(0.05)
    assert begin(tmp_path, "card").wait(60) == 0
    assert records(tmp_path, "card") == steps["card"]["records"]


def test_a_step_that_exceeds_its_time_is_stopped(tmp_path):
    """The records that it has until then stay, and nothing more is begun."""
    process = begin(tmp_path, "card,node30")
    deadline = time.monotonic() + 60
    while not (tmp_path / "results.json").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert {name: step["status"] for name, step in results(tmp_path).items()} == {
        "card": "cut off",
        "node30": "not begun",
    }


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
