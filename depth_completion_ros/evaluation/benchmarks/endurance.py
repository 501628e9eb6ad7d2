"""Run the node for a long time under failures, then check memory and counts."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...bag.reader import DEPTH_TOPIC, RGB_TOPIC, BagReader
from ...errors import InputError
from ...profiles import profile_file
from ...resources import share_directory
from .processes import Child

_OUTPUT = "/depth_completion/depth"
_CAMERA_RUNS_S = 60.0  # after this time the camera is killed and started again
_CLOCK_JUMP_S = 600.0  # the camera's clock is set back by this time, and later forward again
_SETTLE_S = 3.0  # wait after the last message until everything is counted, recorded and reported
_SAMPLE_S = 1.0
_MOST_GROWTH_MB = 10.0
# Limits of the node's queues: messages that wait for a partner; one frame in the mailbox and one being completed.
_MOST_WAITING, _MOST_IN_WORK = 20, 2
_DROPPED_BEFORE_PAIRING = ("unpaired", "late", "duplicate_stamp", "time_jump")
_DROPPED_BEFORE_ARRIVAL = ("lost", "overrun")
_DROPPED_AFTER_PAIRING = ("overload", "no_listener")
# For each killed camera: the largest number of messages of each stream that were in transit.
_CUT_OFF_BY_A_KILL = 3


@dataclass
class Memory:
    """One sample: seconds since the start, and memory of each process [MB]: private, and resident in total."""

    seconds: float
    own_mb: dict[str, float]
    resident_mb: dict[str, float]


@dataclass
class Record:
    """The observations of a run.

    Attributes:
        sent: Number of messages that the camera sent, by topic.
        values: The node's last diagnostics.
        memory: Samples of memory.
        kills: How often the camera was killed.
        jumps_back: How often the camera's clock was set back.
        node_log: Output of the node.
    """

    sent: Counter[str] = field(default_factory=Counter)
    values: dict[str, str] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    kills: int = 0
    jumps_back: int = 0
    node_log: str = ""

    def count(self, name: str) -> int:
        return int(self.values.get(name, 0))

    def drops(self) -> dict[str, int]:
        prefix = "dropped."
        return {key.removeprefix(prefix): int(n) for key, n in self.values.items() if key.startswith(prefix)}

    def figures(self) -> dict[str, Any]:
        """The values for the report: all counts, and every 30th memory sample."""
        memory = [vars(sample) for sample in self.memory[::30]]
        return {"sent": dict(self.sent), "kills": self.kills, "diagnostics": self.values, "memory": memory}


class Course:
    """Runs camera, node and recorder as child processes and receives the node's diagnostics."""

    def __init__(self, folder: Path, engine: str, every: int):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray

        self._rclpy = rclpy
        self.record = Record()
        self._folder, self._bag = folder, share_directory() / "samples" / "kinect"
        self._stack = ExitStack()
        self._sent = folder / "sent.log"
        rclpy.init()
        self._listener = rclpy.create_node("endurance")
        self._listener.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 10)
        profile = ["--ros-args", "--params-file", str(profile_file("kinect"))]
        self._node = self._start("node", f"{__package__}.failing_node", *profile, "-p", f"engine:={engine}")
        record = ["bag", "record", _OUTPUT, "/diagnostics", "--every", str(every)]
        self._recorder = self._start(
            "recorder", f"{__package__.partition('.')[0]}.cli", *record, "--out", str(folder / "recording")
        )
        self._camera = self._start_camera(0.0)

    def run(self, seconds: float) -> None:
        """Kill and restart the camera every minute, make its clock jump at two restarts, and the engine fail once."""
        crashes = round(seconds / _CAMERA_RUNS_S) - 1
        offsets = Counter({1 + crashes // 3: -_CLOCK_JUMP_S, 1 + max(1, 2 * crashes // 3): _CLOCK_JUMP_S})
        offset, began = 0.0, time.monotonic()
        engine_fails_at = seconds / 2 + _CAMERA_RUNS_S / 4
        for crash in range(1, crashes + 2):
            until = began + min(crash * _CAMERA_RUNS_S, seconds)
            if time.monotonic() - began < engine_fails_at <= until - began:
                self._watch(began, began + engine_fails_at)
                os.kill(self._node.pid, signal.SIGUSR1)
            self._watch(began, until)
            self._kill_camera()
            if crash <= crashes:
                offset += offsets[crash]
                self.record.jumps_back += offsets[crash] < 0
                self._camera = self._start_camera(offset)
        self._watch(began, time.monotonic() + _SETTLE_S)
        self.record.sent = Counter(self._sent.read_text().split())
        self._recorder.kill()
        self.record.node_log = self._node.log()

    def close(self) -> None:
        """Stop all child processes."""
        self._stack.close()
        self._rclpy.try_shutdown()

    def _start(self, name: str, *arguments: str) -> Child:
        child = Child(name, list(arguments), self._folder, dict(os.environ))
        self._stack.callback(child.end)
        return child

    def _start_camera(self, clock_offset: float) -> Child:
        options = [str(self._bag), "--clock-offset", str(clock_offset), "--log", str(self._sent)]
        return self._start("camera", f"{__package__}.camera", *options)

    def _kill_camera(self) -> None:
        """Kill the camera as in a crash. Remove its shared memory, because an hour of crashes would fill /dev/shm."""
        self._camera.expect_running()
        left = _segments_of(self._camera.pid)
        self._camera.kill()
        self.record.kills += 1
        for segment in left:
            segment.unlink(missing_ok=True)

    def _watch(self, began: float, until: float) -> None:
        next_sample = time.monotonic()
        while (now := time.monotonic()) < until:
            self._rclpy.spin_once(self._listener, timeout_sec=min(0.2, until - now))
            if now < next_sample:
                continue
            next_sample = now + _SAMPLE_S
            processes = {"node": self._node, "recorder": self._recorder}
            for child in processes.values():
                child.expect_running()
            sizes = {name: _memory_mb(child.pid) for name, child in processes.items()}
            own, resident = ({name: size[i] for name, size in sizes.items()} for i in (0, 1))
            self.record.memory.append(Memory(now - began, own, resident))

    def _take_diagnostics(self, message: Any) -> None:
        self.record.values = {pair.key: pair.value for pair in message.status[0].values}


def check(record: Record, seconds: float, recording: Path, every: int) -> dict[str, str]:
    """The name of each check, and what is wrong; empty if the check passed."""
    warm_up = min(300.0, seconds / 3)
    return {
        **{f"memory of the {name}": _growth(record, name, warm_up) for name in ("node", "recorder")},
        "every message sent is accounted for": _unaccounted(record),
        "drops and time jumps have the right causes": _wrong_causes(record),
        "the failed engine works again": _engine(record),
        "the recording can be read after kill -9": _reading(recording, record.count("frames_out.count") // every),
        "no exception in the node's log": ("Traceback" in record.node_log and "there is a traceback") or "",
    }


def _growth(record: Record, name: str, warm_up: float) -> str:
    """Compare medians of memory over half a minute after the warm-up and at the end, as single samples vary."""
    after = [sample.own_mb[name] for sample in record.memory if warm_up <= sample.seconds < warm_up + 30]
    growth = float(np.median([sample.own_mb[name] for sample in record.memory[-30:]]) - np.median(after))
    return f"grew by {growth:.1f} MB" if growth >= _MOST_GROWTH_MB else ""


def _unaccounted(record: Record) -> str:
    drops = Counter(record.drops())
    wrong = []
    for stream, topic in (("rgb", RGB_TOPIC), ("depth", DEPTH_TOPIC)):
        missing = record.sent[topic] - record.count(f"{stream}.count")
        wrong += [f"{-missing} more {stream} messages received than sent"] if missing < 0 else []
    arrived = record.count("rgb.count") + record.count("depth.count")
    missing = record.sent[RGB_TOPIC] + record.sent[DEPTH_TOPIC] - arrived - _sum(drops, _DROPPED_BEFORE_ARRIVAL)
    if not 0 <= missing <= 2 * _CUT_OFF_BY_A_KILL * record.kills:
        wrong.append(f"{missing} messages neither arrived nor were counted as lost")
    waiting = arrived - 2 * record.count("pairs.count") - _sum(drops, _DROPPED_BEFORE_PAIRING)
    if not 0 <= waiting <= _MOST_WAITING:
        wrong.append(f"{waiting} messages neither paired nor dropped")
    in_work = record.count("pairs.count") - record.count("frames_out.count") - _sum(drops, _DROPPED_AFTER_PAIRING)
    if not 0 <= in_work <= _MOST_IN_WORK:
        wrong.append(f"{in_work} pairs neither completed nor dropped")
    return "; ".join(wrong)


def _wrong_causes(record: Record) -> str:
    possible = {*_DROPPED_BEFORE_ARRIVAL, *_DROPPED_BEFORE_PAIRING[::3], *_DROPPED_AFTER_PAIRING}
    wrong = [f"{number} {cause}" for cause, number in record.drops().items() if number and cause not in possible]
    jumps = record.count("problem.time_jump")
    if jumps != record.jumps_back:
        wrong.append(f"{jumps} jumps in time reported instead of {record.jumps_back}")
    return "; ".join(wrong)


def _engine(record: Record) -> str:
    if record.count("problem.engine") != 1:
        return f"{record.count('problem.engine')} failures reported instead of 1"
    state = record.values.get("engine.state", "unknown")
    return "" if state == "ready" else f"its state is {state}"


def _reading(recording: Path, frames: int) -> str:
    """Read all messages of the recording; about the last second may be missing."""
    try:
        with BagReader(recording) as bag:
            counts = Counter(message.topic for message in bag.messages())
    except InputError as error:
        return str(error)
    return "" if counts[_OUTPUT] >= frames - 1 else f"it contains {counts[_OUTPUT]} of {frames} frames"


def _sum(drops: Counter[str], causes: tuple[str, ...]) -> int:
    return sum(drops[cause] for cause in causes)


def _memory_mb(process: int) -> tuple[float, float]:
    """Private and resident memory of a process [MB]."""
    status = Path(f"/proc/{process}/status").read_text()
    values = {
        name: int(kilobytes) / 1024 for name, kilobytes in re.findall(r"^(\w+):\s+(\d+) kB$", status, re.MULTILINE)
    }
    return values["RssAnon"], values["VmRSS"]


def _segments_of(process: int) -> set[Path]:
    """The shared-memory segments that a process made for sending; it keeps a lock file open for each of them."""
    open_files = {os.path.realpath(link) for link in Path(f"/proc/{process}/fd").iterdir()}
    locks = [
        match for name in open_files if (match := re.fullmatch(r"(/dev/shm/fast(?:dds|rtps)_[0-9a-f]{16})_el", name))
    ]
    return {Path(name) for match in locks for name in (match[0], match[1])}
