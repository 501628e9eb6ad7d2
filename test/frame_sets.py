"""Small folders of frames for tests to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

INTRINSICS = {"fx": 50.0, "fy": 51.0, "cx": 15.5, "cy": 11.5, "width": 32, "height": 24}


def write_set(folder: Path, count: int = 3, **changes: Any) -> dict[str, np.ndarray]:
    """A small set with depth, gt, rings, points and stamps; returns its arrays by name, of the first frame."""
    rng = np.random.default_rng(1)
    for name in ("rgb", "depth", "gt", "ring", "points"):
        (folder / name).mkdir(parents=True)
    arrays = {
        "rgb": rng.integers(0, 256, (24, 32, 3), np.uint8),
        "depth": rng.integers(0, 65536, (24, 32), np.uint16),
        "gt": rng.integers(1, 65536, (24, 32), np.uint16),
        "ring": rng.integers(0, 65, (24, 32), np.uint8),
        "points": rng.normal(size=(7, 5)).astype(np.float32),
    }
    arrays["depth"][:3] = 0
    frames = []
    for index in range(count):
        entry = {"id": f"{index:04}", "points": f"points/{index}.npy"}
        for name in ("rgb", "depth", "gt", "ring"):
            entry[name] = f"{name}/{index}.png"
            pixels = arrays[name][..., ::-1] if name == "rgb" else arrays[name]
            cv2.imwrite(str(folder / entry[name]), pixels)
        np.save(folder / entry["points"], arrays["points"])
        entry["t_rgb"] = 1305031229.5966 + index / 30
        entry["t_depth"] = 1305031229.596617 + index / 30
        entry["T_cam_lidar"] = [[0, -1, 0, 0.1], [0, 0, -1, 0.2], [1, 0, 0, 0.3]]
        frames.append(entry)
    meta = {
        "name": "small",
        "sensor": "made up",
        "depth": {"scale_to_m": 0.0002},
        "intrinsics": INTRINSICS,
        "licence": {"spdx": "CC0-1.0"},
        "source": {"repo": "a/b"},
        "frames": frames,
    }
    write_meta(folder, {**meta, **changes})
    return arrays


def write_meta(folder: Path, meta: object) -> None:
    (folder / "meta.json").write_text(json.dumps(meta))


def edit_meta(folder: Path, edit: Callable[[dict], Any]) -> None:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    edit(meta)
    write_meta(folder, meta)
