"""What the endurance run looks at: each fault that can be in its record is found, and nothing in a faultless one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from depth_completion_ros.bag.messages import header, image
from depth_completion_ros.bag.reader import DEPTH_TOPIC, RGB_TOPIC
from depth_completion_ros.bag.writer import BagWriter
from depth_completion_ros.cli import main
from depth_completion_ros.evaluation.benchmarks.endurance import Memory, Record, check

SECONDS, EVERY = 600.0, 100
VALUES = {
    "rgb.count": 17_995,
    "depth.count": 17_980,
    "pairs.count": 17_900,
    "frames_out.count": 17_000,
    "dropped.lost": 3,
    "dropped.overrun": 20,
    "dropped.unpaired": 168,
    "dropped.time_jump": 2,
    "dropped.overload": 899,
    "problem.time_jump": 1,
    "problem.engine": 1,
}


def record(own_mb: float = 90.0, grown_mb: float = 0.0, log: str = "", **changed: int) -> Record:
    values = {name: str(value) for name, value in (VALUES | changed).items()} | {"engine.state": "ready"}
    memory = []
    for second in range(int(SECONDS)):
        megabytes = own_mb + (grown_mb if second > SECONDS / 2 else 0.0)
        memory.append(Memory(second, dict.fromkeys(("node", "recorder"), megabytes), {}))
    sent = Counter({RGB_TOPIC: 18_000, DEPTH_TOPIC: 18_000})
    return Record(sent, values, memory, kills=10, jumps_back=1, node_log=log)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("endurance") / "recording"
    with BagWriter(path) as bag:
        for i in range(170):
            bag.write_message("/depth_completion/depth", i, image(header(i, "a"), "32FC1", np.ones((2, 2), np.float32)))
    return path


def found(one: Record, recording: Path) -> str:
    return "; ".join(finding for finding in check(one, SECONDS, recording, EVERY).values() if finding)


def test_no_check_fails_after_a_run_without_errors(recording):
    assert found(record(), recording) == ""
    assert found(record(own_mb=500.0, grown_mb=9.0), recording) == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"grown_mb": 11.0}, "grew by 11.0 MB"),
        ({"log": "Traceback (most recent call last)"}, "traceback"),
        ({"dropped.lost": 1000}, "-995 messages neither arrived nor were counted as lost"),
        ({"rgb.count": 17_000, "dropped.unpaired": 0}, "neither arrived nor were counted"),
        ({"rgb.count": 18_001}, "1 more rgb messages received than sent"),
        ({"dropped.unpaired": 100}, "73 messages neither paired nor dropped"),
        ({"dropped.overload": 800}, "100 pairs neither completed nor dropped"),
        ({"dropped.encoding": 1}, "1 encoding"),
        ({"dropped.internal": 2}, "2 internal"),
        ({"problem.time_jump": 2}, "2 jumps in time reported instead of 1"),
        ({"problem.engine": 0}, "0 failures reported instead of 1"),
        ({"frames_out.count": 17_300, "dropped.overload": 599}, "it contains 170 of 173 frames"),
    ],
)
def test_each_kind_of_error_fails_a_check(recording, changed, words):
    assert words in found(record(**changed), recording)


def test_a_missing_recording_fails_a_check(tmp_path):
    assert "no such file" in found(record(), tmp_path / "absent")


def test_too_short_a_run_is_rejected(tmp_path, capsys):
    assert main(["bench", "endurance", "--minutes", "1", "--out", str(tmp_path / "out")]) == 1
    assert "--minutes 1 is too short" in capsys.readouterr().err
