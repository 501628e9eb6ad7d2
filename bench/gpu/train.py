"""Trains networks on procedural scenes that are rendered on the card, best first, each as ``depth-completion train``
does. Weights, cards and logs of each go into one file, NETWORK.tar, when it ends.
"""

from __future__ import annotations

import csv
import gc
import tarfile
from pathlib import Path

import torch

from depth_completion_ros import cli
from records import Record, Records
from settings import Settings

# Batch and crop, the next where the one before does not fit the card. Larger than the recipes', which are for CPUs.
_BATCHES = ((32, 256), (16, 256), (16, 192), (8, 192))
_DRY_BATCHES = ((2, 64),)
_RESERVE_S = 50.0  # to score the start and the end
_LEAST_MINUTES = 1.0
_STOPPED = 130  # by a signal: time is up
_KEPT = ("*.safetensors", "*.md", "*.csv")


def run(settings: Settings, records: Records) -> None:
    torch.set_float32_matmul_precision("high")
    for name in settings.trained:
        if records.has(network=name, status=0):
            continue
        minutes = min(settings.minutes, (settings.left_s() - _RESERVE_S) / 60)
        if minutes < _LEAST_MINUTES and not settings.dry:
            records.add({"network": name}, {"error": f"no time: {minutes:.1f} minutes are left"})
            continue
        with records.case(network=name) as record:
            try:
                _train(settings, name, minutes, record)
            finally:
                _pack(settings, name)
        if record.get("status") == _STOPPED:
            return


def _train(settings: Settings, name: str, minutes: float, record: Record) -> None:
    for batch, crop in _DRY_BATCHES if settings.dry else _BATCHES:
        out = settings.state / "train" / f"{name}-{batch}x{crop}"
        try:
            record |= {"batch": batch, "crop": crop, "minutes": round(minutes, 2)}
            record["status"] = cli.main(_arguments(settings, name, minutes, out, batch, crop))
        except torch.OutOfMemoryError as error:
            print(f"{name}: {error}")
        else:
            record |= _last_rows(out)
            if not settings.dry:
                record["peak_bytes"] = torch.cuda.max_memory_allocated()
            if record["status"]:
                raise RuntimeError(f"training ended with status {record['status']}: see the step's log")
            return
        gc.collect()
        torch.cuda.empty_cache()
    raise MemoryError("no batch fits the card")


def _arguments(settings: Settings, name: str, minutes: float, out: Path, batch: int, crop: int) -> list[str]:
    arguments = [
        "train",
        name,
        "--device",
        settings.device,
        "--out",
        str(out),
        "--cache",
        str(settings.state / "cache"),
    ]
    changes = [f"batch={batch}", f"crop={crop}", *settings.changes]
    if settings.data:
        arguments += ["--data", str(settings.data)]
    else:
        changes.append("sources={synthetic: 1.0}")
    if settings.dry:
        changes += ["precision=float32", "scenes={count: 4, height: 64, width: 96}"]
        arguments += ["--steps", "2", "--validation-frames", "1"]
    else:
        arguments += ["--minutes", f"{minutes:.2f}", "--validate-every", f"{minutes / 3:.2f}"]
    if (out / "checkpoint.pt").is_file():  # of a run that was cut off
        arguments.append("--resume")
    return arguments + [part for change in changes for part in ("--set", change)]


def _last_rows(out: Path) -> Record:
    """Of the training's own logs."""
    found: Record = {}
    for name in ("log", "validation"):
        if (path := out / f"{name}.csv").is_file():
            with path.open(newline="") as file:
                found[name] = list(csv.DictReader(file))[-1]
    return found


def _pack(settings: Settings, name: str) -> None:
    path = settings.out / f"{name}.tar"
    unfinished = path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w") as tar:
        for kept in _KEPT:
            for file in sorted((settings.state / "train").glob(f"{name}-*/{kept}")):
                if file.name != "last.safetensors":
                    tar.add(file, file.name)
    unfinished.replace(path)
