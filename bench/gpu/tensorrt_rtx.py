"""TensorRT-RTX on this card: does an engine built without a GPU run; if not, which does, and what is said."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import inputs
import torch_gpu
from build import onnx_path
from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.engines.model_file import read_model_file
from depth_completion_ros.engines.tensorrt_build import build_engine, read_network, target_of
from depth_completion_ros.engines.tensorrt_library import load_library, make_log
from opened import PROFILE, eager, tensorrt_fp16
from records import Record, Records
from settings import Settings


def run(settings: Settings, records: Records) -> None:
    name, size, image = settings.networks[0], settings.sizes[0], settings.images[0]
    about = {"network": name, "size": size, "image": list(image)}
    with records.case(what="library") as record:
        record["memory_from"] = torch_gpu.install()
        trt = load_library()
        record |= {"name": trt.__name__, "version": trt.__version__}
        record["capabilities"] = _capabilities(trt)
    with records.case(what="the engine built without a GPU", **about) as record:
        _complete(settings, record, name, size, *image)
    if records.has(what="the engine built without a GPU"):
        with records.case(what="an engine built with the GPU in sight", **about) as record:
            file = read_model_file(onnx_path(settings.state, name, size, *image))
            started = time.perf_counter()
            plan = build_engine(trt, file, target_of(trt))
            record |= {"build_s": round(time.perf_counter() - started, 1), "bytes": len(plan)}
            record["said"] = _loading(trt, plan)
        return
    for capability in _capabilities(trt):  # what else it can be told to build for
        with records.case(what="an engine built for", capability=capability, **about) as record:
            plan = _build_for(trt, onnx_path(settings.state, name, size, *image), capability)
            record["said"] = _loading(trt, plan)


def _complete(settings: Settings, record: Record, name: str, size: str, height: int, width: int) -> None:
    reference = DepthCompleter(PROFILE, eager(settings, name, size, height, width).engine)
    opened = tensorrt_fp16(settings, name, size, height, width)
    completer = DepthCompleter(PROFILE, opened.engine)
    frame = inputs.frames(height, width)[0]
    depth, expected = completer.complete(frame).depth, reference.complete(frame).depth
    record["difference"] = float(np.linalg.norm(depth - expected) / np.linalg.norm(expected))
    record["device_bytes"] = opened.engine.device_memory_bytes()
    opened.engine.close()


def _capabilities(trt: Any) -> list[str]:
    return [name for name in getattr(trt.ComputeCapability, "__members__", {}) if name != "NONE"]


def _build_for(trt: Any, path: Path, capability: str) -> Any:
    log = make_log(trt)
    builder = trt.Builder(log)
    network = read_network(trt, builder, read_model_file(path), log)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError("; ".join(log.errors) or "no engine, and no reason given")
    return plan


def _loading(trt: Any, plan: Any) -> list[str]:
    """All that the library says, from warnings up, while it loads an engine. Raises RuntimeError where it does not."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.said.append(f"{severity}: {message}")

    log = Log()
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None or engine.create_execution_context() is None:
        raise RuntimeError("; ".join(log.said) or "it does not load, and no reason is given")
    return log.said
