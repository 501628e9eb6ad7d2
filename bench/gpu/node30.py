"""What the node does with a frame, thirty times a second for a minute: latency, memory, and a failure on the way.

The completer and the loader are the node's own; frames are fed directly. Half way the engine is closed under the
completer's hands: the classical engine takes over, as in the node, while the loader opens the failed one again.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import inputs
from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.engines import Engine, Progress, open_engine
from depth_completion_ros.errors import ConfigurationError, EngineError
from depth_completion_ros.frame import CompletedDepth
from depth_completion_ros.memory import keep_freed_memory
from depth_completion_ros.node.engine_loader import EngineLoader
from depth_completion_ros.profiles import load_profile
from opened import PROFILE, tensorrt_fp16, torch_fp16
from records import Record, Records
from settings import Settings
from timing import percentiles, used_bytes

_PERIOD_S = 1 / 30
_PAGE = resource.getpagesize()


def run(settings: Settings, records: Records) -> None:
    keep_freed_memory()
    name, size, image = settings.networks[0], settings.sizes[0], settings.images[0]
    opener = torch_fp16
    with records.case(what="which engine", network=name, size=size, image=list(image)) as record:
        try:
            tensorrt_fp16(settings, name, size, *image).engine.close()
            opener = tensorrt_fp16
        except ConfigurationError as error:
            record["tensorrt"] = str(error)
        record["engine"] = opener.__name__

    def load(engine: str, model: str, progress: Progress) -> Engine:
        opened = opener(settings, name, size, *image).engine
        DepthCompleter(PROFILE, opened).complete(inputs.frames(*image)[0])  # warm, as the node takes it
        return opened

    problems: list[str] = []
    loader = EngineLoader(load, problems.append)
    try:
        with records.case(what="30 Hz", network=name, size=size, image=list(image)) as record:
            record |= _drive(settings, loader, *image)
            record["problems"] = problems
    finally:
        loader.close()


def _drive(settings: Settings, loader: EngineLoader, height: int, width: int) -> Record:
    frames = inputs.frames(height, width)
    profile = load_profile(PROFILE)
    completer = DepthCompleter(profile, open_engine("classical", profile=profile))
    loader.request("the", "network")
    while (engine := loader.take()) is None and loader.state.startswith("loading"):
        time.sleep(0.01)
    if engine is None:
        raise RuntimeError(loader.state)
    completer.engine = engine
    out = CompletedDepth.empty(height, width)

    latencies: list[float] = []
    substituted: list[float] = []
    failed_at = reopened_at = None
    number, started = 0, time.perf_counter()
    memory = [_memory()]
    while (due := number * _PERIOD_S) < settings.seconds:
        time.sleep(max(0.0, started + due - time.perf_counter()))
        if failed_at is None and due > settings.seconds / 2:
            memory.append(_memory())
            completer.engine.close()  # whatever it does next fails, as after an error of the driver
            completer.engine = _Broken(completer.engine)
        if (ready := loader.take()) is not None:
            completer.engine.close()
            completer.engine = ready
            reopened_at = time.perf_counter()
        begun = time.perf_counter()
        try:
            completer.complete(frames[number % len(frames)], out)
        except EngineError:
            failed_at = time.perf_counter()
            completer.engine = open_engine("classical", profile=profile)
            loader.request("the", "network")
            completer.complete(frames[number % len(frames)], out)
        serving = substituted if completer.engine.engine == "classical" else latencies
        serving.append((time.perf_counter() - begun) * 1e3)
        number += 1
    memory.append(_memory())
    completer.close()
    record: Record = {"frames": number, **percentiles("latency", latencies), "worst_ms": round(max(latencies), 3)}
    record["late_frames"] = sum(ms > _PERIOD_S * 1e3 for ms in latencies)
    record["frames_by_classical"] = len(substituted)
    if failed_at is not None and reopened_at is not None:
        record["reopened_after_s"] = round(reopened_at - failed_at, 2)
    record["memory"] = memory  # at the start, before the failure, at the end
    return record


class _Broken(Engine):
    """The engine that was closed: it cannot run."""

    def __init__(self, closed: Engine):
        self.engine, self.model, self.multiple = closed.engine, closed.model, closed.multiple

    def run(self, image: object, depth: object, scale: float) -> tuple[object, object]:  # type: ignore[override]
        raise RuntimeError("the engine was closed")


def _memory() -> dict[str, int | None]:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    return {"host_bytes": resident, "device_bytes": used_bytes()}
