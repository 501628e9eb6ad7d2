"""How long each model of each engine takes on frames with a sensor's holes and on sparse ones, and what it holds."""

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

from ..completer import DepthCompleter
from ..data.frames import read_source, resized
from ..engines import model_names
from ..errors import ConfigurationError
from ..frame import CompletedDepth, RgbdFrame
from ..memory import keep_freed_memory
from ..resources import share_directory

FRAMES = 8
SPARSE_SHARE = 0.05


@dataclass(frozen=True)
class Job:
    """One model to be timed, in a process of its own: the idle threads of one library would slow down the next."""

    engine: str
    model: str
    profile: str
    threads: int
    rounds: int
    inputs: dict[str, list[RgbdFrame]]


@dataclass(frozen=True)
class Timing:
    """What was measured. model: as the engine names it. load_s: to open it. memory_mb: what opening and running it add
    to the peak of the process; device_mb: what the engine holds on a GPU, None without one. ms: of the whole completer,
    by input. problem: why nothing was measured, else empty.
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
    add("--frames", type=Path, help="a bag, or a folder with a meta.json (default the Kinect sample)")
    add("--engines", default="classical", help="that run the models, with commas (default classical)")
    add(
        "--models",
        default="",
        help="with commas (default all of each engine: of networks, the files that depth-completion export made)",
    )
    add("--profile", default="kinect", help="of the sensor (default kinect)")
    add("--size", default="640x480", help="of the images (default 640x480)")
    add("--threads", type=int, default=0, help="each model may use (default 0: as many as it likes)")
    add("--rounds", type=int, default=24, help="runs of each model on each input (default 24)")
    add("--out", type=Path, default=Path("bench_engines.json"), help="all timings (default bench_engines.json)")


def run(args: argparse.Namespace) -> int:
    """Print a table in Markdown: median and 95th percentile of milliseconds; and write every one of them."""
    size = re.fullmatch(r"(\d+)x(\d+)", args.size)
    if size is None or args.rounds < 1:
        raise ConfigurationError("--size must be like 640x480 and --rounds at least 1")
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
        raise ConfigurationError(f"{args.engines} has no models here: make some with depth-completion export")
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
    except Exception as error:  # of one model: the others are timed all the same
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
