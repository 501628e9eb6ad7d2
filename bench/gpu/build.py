"""Network files in fp16 and, of each, a TensorRT-RTX engine: all on the CPU, beside what the card does.

The processes see no GPU, so that a record says whether engines can be built without one.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from pathlib import Path
from typing import Any

import inputs
from records import Records
from settings import Settings

Job = tuple[Path, str, str, int, int]
_PROCESSES = 8


def run(settings: Settings, records: Records) -> None:
    # Small networks at the first size first: what is not done when time is up is worth least.
    jobs = [
        (settings.state, name, size, *image)
        for image in settings.images
        for size in settings.sizes
        for name in settings.networks
        if not records.has(network=name, size=size, image=list(image))
    ]
    for _, name, size, *_ in dict.fromkeys((*job[:3],) for job in jobs):
        inputs.weights(settings.state, name, size)
    processes = 1 if settings.dry else min(_PROCESSES, os.cpu_count() or 1)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for record in pool.imap_unordered(_build, jobs):
            records.add(**record)


def onnx_path(state: Path, name: str, size: str, height: int, width: int) -> Path:
    """Where the network's file lies, once it is made."""
    return state / "onnx" / f"{name}-{size}-fp16-{height}x{width}.onnx"


def _build(job: Job) -> dict[str, Any]:
    state, name, size, height, width = job
    record: dict[str, Any] = {"network": name, "size": size, "image": [height, width]}
    try:
        import torch

        torch.set_num_threads(1)
        path = onnx_path(state, name, size, height, width)
        started = time.perf_counter()
        _export(state, name, size, path, height, width)
        record |= {"export_s": round(time.perf_counter() - started, 1), "onnx_bytes": path.stat().st_size}
        from depth_completion_ros.engines.model_file import read_model_file
        from depth_completion_ros.engines.tensorrt_build import ensure_engine, target_of
        from depth_completion_ros.engines.tensorrt_library import load_library

        trt = load_library()
        started = time.perf_counter()
        engine = ensure_engine(trt, read_model_file(path))
        record |= {"build_s": round(time.perf_counter() - started, 1), "engine_bytes": engine.stat().st_size}
        record |= {"library": f"{trt.__name__} {trt.__version__}", "target": target_of(trt), "engine": engine.name}
    except Exception as error:
        traceback.print_exc()
        record["error"] = f"{type(error).__name__}: {error}"
    return record


def _export(state: Path, name: str, size: str, path: Path, height: int, width: int) -> None:
    if path.is_file():
        return
    from depth_completion_ros.networks.export import export_onnx
    from depth_completion_ros.networks.weights import load_weights

    weighted = load_weights(inputs.weights(state, name, size))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    export_onnx(weighted.network, unfinished, height, width, precision="fp16", profile=weighted.profile)
    unfinished.replace(path)
