"""``depth-completion bench engines``: time and memory of all models, on depth with holes and on sparse depth."""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..engines import model_names
from ..errors import ConfigurationError
from ..evaluation.benchmarks.engines import Job, Timing, inputs_of, measure
from ..resources import share_directory


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
    inputs = inputs_of(args.frames or share_directory() / "samples" / "kinect", width, height)
    jobs = [
        Job(engine, model, args.profile, args.threads, args.rounds, inputs)
        for engine in args.engines.split(",")
        for model in (args.models.split(",") if args.models else model_names(engine))
    ]
    if not jobs:
        raise ConfigurationError(f"there are no models for {args.engines}: make some with depth-completion export")
    with Progress(console=Console(stderr=True)) as progress:
        timings = list(progress.track(measure(jobs), total=len(jobs), description="timing"))
    print(f"Whole completer, {args.size}, {args.threads or os.cpu_count()} threads, {args.rounds} runs of each:\n")
    _print_table(timings, list(inputs))
    arguments = {name: str(value) for name, value in vars(args).items()}
    args.out.write_text(
        json.dumps({"arguments": arguments, "timings": [asdict(t) for t in timings]}, indent=1), encoding="utf-8"
    )
    return 0


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
