"""How long each model takes on frames with a sensor's holes and on sparse ones, in turns in one run."""

from __future__ import annotations

import argparse
import json
import os
import re
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..completer import DepthCompleter
from ..data.bags import read_frames
from ..data.folders import read_folder
from ..engines import model_names
from ..errors import ConfigurationError
from ..frame import CompletedDepth, RgbdFrame
from ..resources import share_directory

FRAMES = 8
SPARSE_SHARE = 0.05


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion bench engines``."""
    add = parser.add_argument
    add("--frames", type=Path, help="a bag, or a folder with a meta.json (default the Kinect sample)")
    add("--engine", default="auto", help="that runs the models (default auto)")
    add("--models", default="", help="with commas (default all of the engine)")
    add("--profile", default="kinect", help="of the sensor (default kinect)")
    add("--size", default="640x480", help="of the images (default 640x480)")
    add("--threads", type=int, default=0, help="each model may use (default 0: as many as it likes)")
    add("--rounds", type=int, default=24, help="runs of each model on each input, in turns (default 24)")
    add("--out", type=Path, default=Path("bench_engines.json"), help="all timings (default bench_engines.json)")


def run(args: argparse.Namespace) -> int:
    """Print the least, median and 95th percentile of the engine's milliseconds, and write every one of them."""
    size = re.fullmatch(r"(\d+)x(\d+)", args.size)
    if size is None or args.rounds < 1:
        raise ConfigurationError("--size must be like 640x480 and --rounds at least 1")
    width, height = map(int, size.groups())
    models = args.models.split(",") if args.models else model_names(args.engine)
    completers = {model: DepthCompleter(args.profile, args.engine, model, threads=args.threads) for model in models}
    source = args.frames or share_directory() / "samples" / "kinect"
    holes = [_resized(frame, width, height) for frame in _read(source)]
    rng = np.random.default_rng(0)
    sparse = [_thinned(frame, rng) for frame in holes]
    times = _time({"holes": holes, "5 % sparse": sparse}, completers, args.rounds)
    _print(times, f"ms at {args.size}, {args.threads or os.cpu_count()} threads, {args.rounds} runs")
    args.out.write_text(json.dumps({"arguments": {k: str(v) for k, v in vars(args).items()}, "ms": times}, indent=1))
    return 0


def _read(source: Path) -> list[RgbdFrame]:
    if (source / "meta.json").is_file():
        return [sample.frame for sample in islice(read_folder(source), FRAMES)]
    return list(islice(read_frames(source), FRAMES))


def _resized(frame: RgbdFrame, width: int, height: int) -> RgbdFrame:
    rgb = cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA)
    return RgbdFrame(rgb=rgb, depth=cv2.resize(frame.depth, (width, height), interpolation=cv2.INTER_NEAREST))


def _thinned(frame: RgbdFrame, rng: np.random.Generator) -> RgbdFrame:
    kept = rng.random(frame.depth.shape) < SPARSE_SHARE
    return RgbdFrame(rgb=frame.rgb, depth=np.where(kept, frame.depth, np.float32(np.nan)))


def _time(
    inputs: dict[str, list[RgbdFrame]], completers: dict[str, DepthCompleter], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of the engine by model and input. The models take turns, so that all see the same machine."""
    times: dict[str, dict[str, list[float]]] = {model: {name: [] for name in inputs} for model in completers}
    height, width = next(iter(inputs.values()))[0].rgb.shape[:2]
    out = CompletedDepth.empty(height, width)
    with Progress(console=Console(stderr=True)) as progress:
        for turn in progress.track(range(-1, rounds), description="timing"):
            for model, completer in completers.items():
                for name, frames in inputs.items():
                    completer.complete(frames[turn % len(frames)], out)
                    if turn >= 0:  # the first turn warms up
                        times[model][name].append(out.timings_ms["engine"])
    return times


def _print(times: dict[str, dict[str, list[float]]], title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in next(iter(times.values())):
        for statistic in ("min", "p50", "p95"):
            table.add_column(f"{name}\n{statistic}", justify="right")
    for model, by_input in times.items():
        cells = [np.percentile(milliseconds, (0, 50, 95)) for milliseconds in by_input.values()]
        table.add_row(model, *(f"{value:.1f}" for value in np.concatenate(cells)))
    Console().print(table)
