"""How long every network takes: the bare engine by events, the whole completer from host to host, and how far its depth
is from float32.
"""

from __future__ import annotations

import gc
import statistics
from itertools import cycle, product

import numpy as np
import torch

import inputs
from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.frame import CompletedDepth
from opened import ENGINES, PROFILE, eager
from records import Record, Records
from settings import Settings
from timing import device_ms, host_ms, percentiles, used_bytes

_WARM_UP = 3


def run(settings: Settings, records: Records) -> None:
    for image, size, name in product(settings.images, settings.sizes, settings.networks):
        about = {"network": name, "size": size, "image": list(image)}
        missing = [engine for engine in ENGINES if not records.has(**about, engine=engine)]
        reference: np.ndarray | None = None
        for engine in missing:
            with records.case(**about, engine=engine) as record:
                if reference is None:
                    reference = _reference(settings, name, size, *image)
                record |= _measure(settings, engine, name, size, *image, reference)


def _measure(
    settings: Settings, engine: str, name: str, size: str, height: int, width: int, reference: np.ndarray
) -> Record:
    gc.collect()
    torch.cuda.empty_cache()
    before = used_bytes()
    opened = ENGINES[engine](settings, name, size, height, width)
    try:
        completer = DepthCompleter(PROFILE, opened.engine)
        frames = inputs.frames(height, width)
        depth = np.stack([completer.complete(frame).depth for frame in frames])
        record: Record = {"difference": float(np.linalg.norm(depth - reference) / np.linalg.norm(reference))}
        engine_ms = device_ms(opened.compute, settings.rounds, settings.device, opened.stream)
        record |= percentiles("engine", engine_ms)

        out = CompletedDepth.empty(height, width)
        endless = cycle(frames)
        stages: list[dict[str, float]] = []

        def complete() -> None:
            stages.append(completer.complete(next(endless), out).timings_ms)

        host_ms(complete, _WARM_UP)
        stages.clear()
        completer_ms = host_ms(complete, settings.rounds)
        record |= percentiles("completer", completer_ms)
        record |= {f"{name}_ms": round(statistics.median(s[name] for s in stages), 4) for name in stages[0]}
        record["overhead_ms"] = round(statistics.median(completer_ms) - statistics.median(engine_ms), 4)
        record["fps"] = round(1e3 / statistics.median(completer_ms), 1)
        after = used_bytes()
        record["device_bytes"] = None if before is None or after is None else after - before
        return record
    finally:
        opened.engine.close()


def _reference(settings: Settings, name: str, size: str, height: int, width: int) -> np.ndarray:
    """Depth of all frames in float32 without shortcuts, (F, H, W) [m]."""
    shortcut = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        completer = DepthCompleter(PROFILE, eager(settings, name, size, height, width).engine)
        return np.stack([completer.complete(frame).depth for frame in inputs.frames(height, width)])
    finally:
        torch.backends.cudnn.allow_tf32 = shortcut
