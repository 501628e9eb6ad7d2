"""``depth-completion bench engines``: time and memory of all models, on depth with holes and on sparse depth."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import time
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...bag.recordings import read_source, resized
from ...completer import DepthCompleter
from ...engines import model_names
from ...errors import ConfigurationError
from ...frame import CompletedDepth, RgbdFrame
from ...memory import keep_freed_memory
from ...resources import share_directory

FRAMES = 8
SPARSE_SHARE = 0.05


@dataclass(frozen=True)
class Job:
    """One model to time in its own process, because idle threads of one library would slow down the next."""

    engine: str
    model: str
    profile: str
    threads: int
    rounds: int
    inputs: dict[str, list[RgbdFrame]]


@dataclass(frozen=True)
class Timing:
    """The measurements of one model.

    Attributes:
        engine: Name of the engine.
        model: Name of the model, as the engine reports it.
        load_s: Time to open it [s].
        memory_mb: Increase of the peak memory of the process by opening and running it [MB].
        device_mb: Memory that the engine uses on a GPU [MB]; None without a GPU.
        ms: Times of the whole completer [ms], by kind of input.
        problem: Why it could not be measured; empty if it was.
    """

    engine: str
    model: str
    load_s: float
    memory_mb: float
    device_mb: float | None
    ms: dict[str, list[float]]
    problem: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion bench engines``."""
    add = parser.add_argument
    add("--frames", type=Path, help="bag, or folder with a meta.json, to take frames from (default: the Kinect sample)")
    add("--engines", default="classical", help="engines to time, separated by commas (default: classical)")
    add(
        "--models",
        default="",
        help="models to time, separated by commas (default: all of each engine; for networks, all network files)",
    )
    add("--profile", default="kinect", help="sensor profile (default: kinect)")
    add("--size", default="640x480", help="image size WxH [pixels] (default: 640x480)")
    add("--threads", type=int, default=0, help="number of CPU threads; 0 = library default (default: 0)")
    add("--rounds", type=int, default=24, help="number of runs of each model on each kind of input (default: 24)")
    add(
        "--out",
        type=Path,
        default=Path("bench_engines.json"),
        help="JSON file for all timings (default: bench_engines.json)",
    )


def run(args: argparse.Namespace) -> int:
    """Time all models; print a Markdown table with median and 95th percentile [ms], and write all timings."""
    size = re.fullmatch(r"(\d+)x(\d+)", args.size)
    if size is None or args.rounds < 1:
        raise ConfigurationError("--size must have the form 640x480, and --rounds must be at least 1")
    width, height = map(int, size.groups())
    source = args.frames or share_directory() / "samples" / "kinect"
    holes = [resized(frame, width, height) for frame in islice(read_source(source), FRAMES)]
    rng = np.random.default_rng(0)
    inputs = {"holes": holes, "5 % sparse": [_thinned(frame, rng) for frame in holes]}
    jobs = [
        Job(engine, model, args.profile, args.threads, args.rounds, inputs)
        for engine in args.engines.split(",")
        for model in (args.models.split(",") if args.models else model_names(engine))
    ]
    if not jobs:
        raise ConfigurationError(f"there are no models for {args.engines}: make some with depth-completion export")
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool, Progress(console=Console(stderr=True)) as progress:
        timings = list(progress.track(pool.imap(_measure, jobs), total=len(jobs), description="timing"))
    print(f"Whole completer, {args.size}, {args.threads or os.cpu_count()} threads, {args.rounds} runs of each:\n")
    _print_table(timings, list(inputs))
    arguments = {name: str(value) for name, value in vars(args).items()}
    args.out.write_text(
        json.dumps({"arguments": arguments, "timings": [asdict(t) for t in timings]}, indent=1), encoding="utf-8"
    )
    return 0


def _thinned(frame: RgbdFrame, rng: np.random.Generator) -> RgbdFrame:
    kept = rng.random(frame.depth.shape) < SPARSE_SHARE
    return RgbdFrame(rgb=frame.rgb, depth=np.where(kept, frame.depth, np.float32(np.nan)))


def _measure(job: Job) -> Timing:
    keep_freed_memory()
    before, started = _peak_mb(), time.perf_counter()
    times: dict[str, list[float]] = {name: [] for name in job.inputs}
    try:
        completer = DepthCompleter(job.profile, job.engine, job.model, threads=job.threads)
        load_s = time.perf_counter() - started
        out = CompletedDepth.empty(*next(iter(job.inputs.values()))[0].rgb.shape[:2])
        for turn in range(-1, job.rounds):
            for name, frames in job.inputs.items():
                begun = time.perf_counter()
                completer.complete(frames[turn % len(frames)], out)
                if turn >= 0:  # the first turn warms up
                    times[name].append((time.perf_counter() - begun) * 1e3)
    except Exception as error:  # the other models are still timed
        return Timing(job.engine, job.model, 0.0, 0.0, None, {}, str(error))
    device = completer.engine.device_memory_bytes()
    device_mb = None if device is None else device / 2**20
    return Timing(job.engine, completer.engine.model, load_s, _peak_mb() - before, device_mb, times)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print_table(timings: list[Timing], inputs: list[str]) -> None:
    heading = ["engine and model", *(f"{name}, p50 / p95 ms" for name in inputs), "load s", "memory MB", "GPU MB"]
    rows = [heading, ["---"] * len(heading)]
    for timing in timings:
        if not timing.problem:
            p50_p95 = (np.percentile(milliseconds, (50, 95)) for milliseconds in timing.ms.values())
            figures = [f"{p50:.1f} / {p95:.1f}" for p50, p95 in p50_p95]
            device = "" if timing.device_mb is None else f"{timing.device_mb:.0f}"
            name = f"{timing.engine} {timing.model}"
            rows.append([name, *figures, f"{timing.load_s:.2f}", f"{timing.memory_mb:.0f}", device])
    for row in rows:
        print(f"| {' | '.join(row)} |")
    for timing in timings:
        if timing.problem:
            print(f"\n{timing.engine} {timing.model}: {timing.problem}")
