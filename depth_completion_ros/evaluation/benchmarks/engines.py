"""Time and memory of models, on depth with holes and on sparse depth."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ...bag.recordings import read_source, resized
from ...completer import DepthCompleter
from ...frame import CompletedDepth, RgbdFrame
from ...memory import keep_freed_memory

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


def inputs_of(source: Path, width: int, height: int) -> dict[str, list[RgbdFrame]]:
    """The first frames of a bag or folder at one size, as recorded and with few depth pixels, by kind of input."""
    holes = [resized(frame, width, height) for frame in islice(read_source(source), FRAMES)]
    rng = np.random.default_rng(0)
    return {"holes": holes, "5 % sparse": [_thinned(frame, rng) for frame in holes]}


def measure(jobs: list[Job]) -> Iterator[Timing]:
    """Run the jobs one after the other, each in a process of its own. Yields the timings in the order of the jobs."""
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        yield from pool.imap(_measure, jobs)


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
