"""What the machine is and what it reaches: the ceilings that all else is compared with."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
from importlib.util import find_spec

import torch

from records import Records
from settings import Settings
from timing import device_ms

_PACKAGES = (
    "cv2",
    "yaml",
    "rich",
    "rosbags",
    "safetensors",
    "onnx",
    "onnxscript",
    "triton",
    "pycuda",
    "tensorrt_rtx_bindings",
)


def run(settings: Settings, records: Records) -> None:
    with records.case(what="machine") as record:
        record["torch"] = torch.__version__
        record["python"] = platform.python_version()
        record["cpu_cores"] = os.cpu_count()
        record["packages"] = {name: find_spec(name) is not None for name in _PACKAGES}
        if not settings.dry:
            about = torch.cuda.get_device_properties(0)
            record["name"] = about.name
            record["capability"] = [about.major, about.minor]
            record["multiprocessors"] = about.multi_processor_count
            record["memory_bytes"] = about.total_memory
            record["l2_bytes"] = about.L2_cache_size
            record["cuda"] = torch.version.cuda
            record["driver"] = _driver()
    count = (1 << 20) if settings.dry else (1 << 30)
    with records.case(what="copy", bytes=2 * count) as record:
        source = torch.randint(256, (count,), dtype=torch.uint8, device=settings.device)
        target = torch.empty_like(source)
        milliseconds = statistics.median(device_ms(lambda: target.copy_(source), settings.rounds, settings.device))
        record["bytes_per_s"] = 2 * count / milliseconds * 1e3
    size = 256 if settings.dry else 8192
    for precision in (torch.float16, torch.bfloat16, torch.float32):
        with records.case(what="product", precision=str(precision).removeprefix("torch."), size=size) as record:
            a, b = (torch.randn(size, size, device=settings.device).to(precision) for _ in range(2))
            rounds = max(1, settings.rounds // 4)
            milliseconds = statistics.median(device_ms(lambda a=a, b=b: a @ b, rounds, settings.device))
            record["flop_per_s"] = 2 * size**3 / milliseconds * 1e3


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown: nvidia-smi is not there"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True).stdout.strip()
