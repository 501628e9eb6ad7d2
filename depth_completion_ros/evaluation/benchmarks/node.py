"""The cost of the node compared with that of ROS alone.

Runs a bare relay, the node without completion, and the node with completion in turns.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...bag.messages import header, image
from ...bag.reader import DEPTH_TOPIC, RGB_TOPIC, read_frames
from ...bag.writer import BagWriter
from ...resources import share_directory
from .pipeline import Report, Setup, run_pipeline
from .progress import progress_display

SIZES = {"vga": (640, 480), "720p": (1280, 720)}
_RELAY = "bare relay"
_OURS = ["depth_completion_ros.cli", "node", "--profile", "kinect", "--ros-args", "-p"]
NODES = {
    _RELAY: ["depth_completion_ros.evaluation.benchmarks.relay"],
    "ours, measured": [*_OURS, "model:=measured"],  # all steps except completion
    "ours": [*_OURS, "model:=auto"],
}
_FRAMES, _PERIOD_NS = 16, 33_333_333
_DEPTH = "/depth_completion/depth"


def measure(sizes: list[str], rounds: int, seconds: float) -> dict[tuple[str, str], list[Report]]:
    """Play the same frames at 30 Hz through each node at each size, in turns.

    Args:
        sizes: Names in ``SIZES``.
        rounds: Number of runs of each node at each size.
        seconds: Duration of each run [s].

    Returns:
        The reports of all rounds, by size and node.
    """
    reports: dict[tuple[str, str], list[Report]] = {key: [] for key in itertools.product(sizes, NODES)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            write_frames(folder / size, SIZES[size])
        for round_number in range(rounds):
            for size, node in reports:
                setup = Setup(
                    bag=folder / size,
                    node=NODES[node],
                    rgb=RGB_TOPIC,
                    depth=DEPTH_TOPIC,
                    output=_DEPTH,
                    record=[_DEPTH] if node == _RELAY else [_DEPTH, "/diagnostics"],
                    seconds=seconds,
                    every=3,
                )
                recording = folder / f"{round_number} {size} {node}"
                with progress_display(seconds, f"{round_number + 1}/{rounds} {size} {node}: ") as progress:
                    reports[size, node].append(run_pipeline(setup, recording, progress)[0])
    return reports


def median_of(runs: list[Report]) -> dict[str, float]:
    """The medians over the runs; "lost" is the total number of depth messages without an output frame."""
    figures: dict[str, Any] = {p: [run.latency_ms[p] for run in runs] for p in ("p50", "p95", "p99")}
    figures["cpu_percent"] = [run.cpu_percent for run in runs]
    figures["peak_memory_mb"] = [run.peak_memory_mb for run in runs]
    medians = {name: round(float(np.median(values)), 2) for name, values in figures.items()}
    return medians | {"lost": sum(run.frames_in["depth"] - run.frames_out for run in runs)}


def write_frames(bag: Path, size: tuple[int, int]) -> None:
    """Write 16 frames of the Kinect sample at this (width, height) to a bag: rgb8 and 32FC1, equal stamps, 30 Hz."""
    with BagWriter(bag) as writer:
        for i, frame in enumerate(itertools.islice(read_frames(share_directory() / "samples" / "kinect"), _FRAMES)):
            stamp = 1_000_000_000 + i * _PERIOD_NS
            head = header(stamp, frame.frame_id)
            rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_LINEAR)
            depth = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST)
            writer.write_message(RGB_TOPIC, stamp, image(head, "rgb8", rgb))
            writer.write_message(DEPTH_TOPIC, stamp, image(head, "32FC1", depth))
