"""Run player, node and recorder as three processes that communicate by DDS, and account for every frame."""

from __future__ import annotations

import csv
import os
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...bag.reader import BagReader
from ...errors import ConfigurationError
from ...node.environment import prepare_ros_environment
from .processes import Child, Usage, termination_as_interrupt

_PACKAGE = __package__.partition(".")[0]
_DRAIN_S = 0.5
_PARTICIPANTS = 20  # whose ports must be free in a domain
_START_WITHIN_S = 30.0
# Time from the player's first subscriber to the first message, in which all processes discover each other.
_DISCOVERY_S = 1.5


@dataclass(frozen=True)
class Setup:
    """What to run.

    Attributes:
        bag: Bag to play in a loop.
        node: Module and arguments of the process to measure.
        rgb: Topic of the RGB images.
        depth: Topic of depth.
        output: Topic of the completed depth.
        record: Topics to record.
        seconds: Duration of playing [s].
        rate: Playback speed.
        every: Keep every N-th message of each recorded topic.
    """

    bag: Path
    node: list[str]
    rgb: str
    depth: str
    output: str
    record: list[str]
    seconds: float
    rate: float = 1.0
    every: int = 1


@dataclass
class Report:
    """The results of a run.

    Attributes:
        frames_in: Number of published messages, by role ("rgb", "depth").
        frames_received: Number of messages that the node received, by role.
        pairs: Number of pairs, as counted by the node.
        frames_out: Number of completed frames.
        drops: Number of drops by cause, as counted by the node.
        fps: Frames per second from the first to the last completed frame.
        latency_ms: Percentiles of the time from publishing the later message of a pair to receiving its depth [ms].
        cpu_percent: CPU usage of the node while messages were published; 100 = one core.
        peak_memory_mb: Peak memory of the node [MB].
        diagnostics: The node's last diagnostics.
    """

    frames_in: dict[str, int]
    frames_received: dict[str, int]
    pairs: int
    frames_out: int
    drops: dict[str, int]
    fps: float
    latency_ms: dict[str, float]
    cpu_percent: float
    peak_memory_mb: float
    diagnostics: dict[str, str] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to two decimals."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Log:
    """Stamps and monotonic times [ns] of the published or received messages of one topic, in order of time."""

    stamps: np.ndarray
    times: np.ndarray


def run_pipeline(setup: Setup, recording: Path, progress: Callable[[str, int, int], None]) -> tuple[Report, Log]:
    """Run player, node and recorder. All processes have ended when this function returns or raises.

    Args:
        setup: What to run.
        recording: Folder of the new bag with the recorded topics.
        progress: Called with the current step and the numbers of frames in and out so far.

    Returns:
        The report, and the log of the published RGB messages.

    Raises:
        ConfigurationError: If a process fails or the node publishes no frames.
    """
    prepare_ros_environment()
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        sent, received = folder / "sent.csv", folder / "received.csv"
        stack.enter_context(termination_as_interrupt())

        def start(name: str, *arguments: str) -> Child:
            child = Child(name, list(arguments), folder, environment)
            stack.callback(child.end)
            return child

        command = f"{_PACKAGE}.cli"
        progress("starting the processes", 0, 0)
        options = ["--out", str(recording), "--every", str(setup.every), "--log", str(received)]
        recorder = start("recorder", command, "bag", "record", *setup.record, *options)
        node = start("node", *setup.node)
        children = (recorder, node)
        if reports := "/diagnostics" in setup.record:
            _wait_for(lambda: _count(received, "/diagnostics") > 0, children)
        options = ["--seconds", str(setup.seconds), "--rate", str(setup.rate), "--delay", str(_DISCOVERY_S)]
        options += ["--raw", "--loop", "--no-clock", "--log", str(sent)]
        player = start("player", command, "bag", "play", str(setup.bag), *options)

        usage = Usage(node.pid)
        while player.running():
            for child in children:
                child.expect_running()
            usage.sample()
            progress("playing", _count(sent, setup.rgb), _count(received, setup.output))
            time.sleep(0.2)
        progress("waiting for the last frames", _count(sent, setup.rgb), _count(received, setup.output))
        # Diagnostics are published once a second, and every N-th is kept: wait until one with all frames is recorded.
        time.sleep(_DRAIN_S + reports * setup.every)
        usage.sample()
        for child in reversed(children):
            child.expect_running()
            child.end()
            child.running()
        inputs = {role: _read_log(sent, topic) for role, topic in (("rgb", setup.rgb), ("depth", setup.depth))}
        output = _read_log(received, setup.output)
    return _report(inputs, output, usage, _last_diagnostics(recording)), inputs["rgb"]


def _wait_for(ready: Callable[[], bool], children: tuple[Child, ...]) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while not ready():
        for child in children:
            child.expect_running()
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"the node has not published diagnostics for {_START_WITHIN_S:.0f} s: check whether this machine is "
                "overloaded"
            )
        time.sleep(0.05)


def free_domain() -> int:
    """A ROS domain that is not used on this machine: the ports of its first participants are free (RTPS 2.5, 9.6.2.3).

    Other nodes in the domain would influence the measurement.

    Raises:
        ConfigurationError: If all domains are in use.
    """
    domains = [1 + (os.getpid() + i) % 101 for i in range(101)]
    for domain in domains:
        if all(_is_free(7400 + 250 * domain + 10 + i) for i in range(2 * _PARTICIPANTS)):
            return domain
    raise ConfigurationError("all ROS domains from 1 to 101 are in use on this machine: stop some ROS processes")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _report(inputs: dict[str, Log], output: Log, usage: Usage, diagnostics: dict[str, str]) -> Report:
    rgb, depth = inputs["rgb"], inputs["depth"]
    if len(output.times) < 2:
        raise ConfigurationError(
            f"the node published only {len(output.times)} frames for {len(rgb.times)} colour images and "
            f"{len(depth.times)} depth messages; its diagnostics: {diagnostics or 'none'}"
        )
    seconds = (output.times[-1] - output.times[0]) * 1e-9
    latency = (output.times - _published(inputs, output.stamps)) * 1e-6
    return Report(
        frames_in={role: len(log.times) for role, log in inputs.items()},
        frames_received={role: int(diagnostics.get(f"{role}.count", 0)) for role in inputs},
        pairs=int(diagnostics.get("pairs.count", 0)),
        frames_out=len(output.times),
        drops={
            key.removeprefix("dropped."): int(value)
            for key, value in diagnostics.items()
            if key.startswith("dropped.") and int(value)
        },
        fps=(len(output.times) - 1) / seconds,
        latency_ms={f"p{p}": float(np.percentile(latency, p)) for p in (50, 95, 99)},
        cpu_percent=usage.cpu_percent(min(rgb.times[0], depth.times[0]), max(rgb.times[-1], depth.times[-1])),
        peak_memory_mb=usage.peak_memory_mb,
        diagnostics=diagnostics,
    )


def _published(inputs: dict[str, Log], stamps: np.ndarray) -> np.ndarray:
    """Times at which the later message of each pair was published; RGB has the output's stamp, depth the nearest."""
    return np.max([log.times[nearest(log.stamps, stamps)] for log in inputs.values()], axis=0)


def nearest(stamps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the nearest stamp for each of ``wanted``. ``stamps`` must be ascending and at least two."""
    after = np.searchsorted(stamps, wanted).clip(1, len(stamps) - 1)
    return after - (wanted - stamps[after - 1] <= stamps[after] - wanted)


def _read_log(path: Path, topic: str) -> Log:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(row[1]), int(row[2])) for row in csv.reader(file) if row[0] == topic]
    stamps, times = np.array(rows, np.int64).reshape(-1, 2).T
    return Log(stamps, times)


def _count(log: Path, topic: str) -> int:
    """Number of messages of a topic in a log that is still being written."""
    return log.read_text(encoding="utf-8").count(f"\n{topic},") if log.exists() else 0


def _last_diagnostics(recording: Path) -> dict[str, str]:
    with BagReader(recording) as bag:
        status: list[Any] = []
        for message in bag.messages({"/diagnostics"}):
            status = bag.deserialize(message).status
    return {pair.key: pair.value for one in status for pair in one.values}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 2) if isinstance(value, float) else value
