"""Sequences: what a camera sees on its way through a room, with its poses, as folders of frames.

Unlike the frames of a pool, they have the depth of a modelled sensor and its true depth. They show what the memory of
earlier frames is worth (``depth-completion evaluate --protocol sequence``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from ...errors import ConfigurationError
from ...geometry import pose_of
from ..pool import PoolFrame, scene_batch
from ..scene_batch import Material
from ..sensors import Sensor
from .camera import Camera, look_at
from .library import SPLITS, Library
from .photo import photograph
from .renderer import Renderer
from .room import Room
from .rooms import RoomMaker
from .views import is_informative, random_camera

_TRIES = 40  # rooms, and paths in each room
_METRES = 0.0005  # of one count of the depth images
_TREMOR = 0.004  # deviation of a hand-held camera from its path [m], and of its target at one metre
_TARGET = 2.0  # distance at which the camera looks at a point [m]

T = TypeVar("T")


@dataclass(frozen=True)
class SequenceJob:
    """What is rendered.

    Attributes:
        out: Folder to which one folder is written for each sequence.
        sequences, frames: Number of sequences, and of frames in each.
        rate: Frames per second.
        speed: Mean speed of the camera [m/s].
        height, width: Size of the frames [px].
        sensor: Model of the depth sensor. Its random parameters are drawn once for each sequence.
        sensor_name: Words that say what the sensor is, for ``profile_of``.
        split: "train" or "validation".
        seed: Random seed.
        credits: Lines that the licences of the assets ask for.
    """

    out: Path
    sequences: int
    frames: int
    rate: float
    speed: float
    height: int
    width: int
    sensor: Sensor
    sensor_name: str
    split: str
    seed: int
    credits: tuple[str, ...]


def write_sequences(job: SequenceJob, library: Library, progress: Callable[[int], None] = lambda done: None) -> None:
    """Render the sequences and write their folders; ``progress`` is called with the number of finished sequences.

    Raises ConfigurationError without OpenGL, and if rooms show too little.
    """
    cv2.setNumThreads(1)
    renderer = Renderer(library.textures, library.panoramas, job.height, job.width)
    maker = RoomMaker(library)
    for number in range(job.sequences):
        rng = np.random.default_rng([job.seed, SPLITS.index(job.split), number])
        _write(job, job.out / f"{number:04}", *_rendered(job, maker, renderer, rng), rng)
        progress(number + 1)


def _rendered(
    job: SequenceJob, maker: RoomMaker, renderer: Renderer, rng: np.random.Generator
) -> tuple[list[Camera], list[PoolFrame]]:
    """Return the cameras of a sequence and what they see."""
    for _ in range(_TRIES):
        room = maker.make(rng)
        cameras = _path(job, room, rng)
        if cameras is None:
            continue
        renderer.show(room.scene)
        first, *_, last = views = [renderer.render(camera) for camera in cameras]
        if not (is_informative(first, rng) and is_informative(last, rng)):
            continue
        exposure = int(rng.integers(2**32))  # the camera keeps its settings
        return cameras, [
            PoolFrame(
                photograph(view.light, np.random.default_rng(exposure), rng), view.depth, view.behind, view.normals,
                view.reflectance, view.material, np.array(camera.intrinsics, np.float32),
            )
            for view, camera in zip(views, cameras, strict=True)
        ]  # fmt: skip
    raise ConfigurationError("the rooms show too little: add models with --assets, or make larger pictures with --size")


def _path(job: SequenceJob, room: Room, rng: np.random.Generator) -> list[Camera] | None:
    """Return a smooth path of a hand-held camera through free space, or None if none was found."""
    length = job.speed * job.frames / job.rate
    for _ in range(_TRIES):
        start = random_camera(room, rng, job.height, job.width)
        if start is None:
            return None
        direction = rng.normal(0, 1, 3) * (1, 1, 0.3)
        eyes = start.eye + np.outer(_eased(job.frames), direction / np.linalg.norm(direction) * length)
        target = start.eye + _TARGET * start.rotation[2]
        targets = target + np.outer(_eased(job.frames), rng.normal(0, 0.5, 3) * length)
        eyes, targets = (p + _trembling(job, rng) for p in (eyes, targets))
        if all(room.free(eye) for eye in eyes):
            return [
                Camera(eye, look_at(eye, target), start.intrinsics) for eye, target in zip(eyes, targets, strict=True)
            ]
    return None


def _eased(count: int) -> np.ndarray:
    """Return values from 0 to 1 that start and end slowly."""
    x = np.linspace(0, 1, count)
    return x * x * (3 - 2 * x)


def _trembling(job: SequenceJob, rng: np.random.Generator) -> np.ndarray:
    """Return small smooth deviations from the path, (frames, 3) [m]."""
    time = np.arange(job.frames)[:, None] / job.rate
    frequencies = rng.uniform(0.5, 4.0, (4, 1, 3))
    phases = rng.uniform(0, 2 * math.pi, (4, 1, 3))
    return _TREMOR / 2 * np.sin(2 * math.pi * frequencies * time + phases).sum(0)


def one_sensor(sensor: T, rng: np.random.Generator) -> T:
    """Return a sensor model whose random parameters are constant, each drawn from its range."""
    drawn: dict[str, Any] = {}
    for field in fields(sensor):  # type: ignore[arg-type]  # sensor models are dataclasses
        value = getattr(sensor, field.name)
        if is_dataclass(value):
            drawn[field.name] = one_sensor(value, rng)
        elif field.type == "Range":
            drawn[field.name] = (float(rng.uniform(*value)),) * 2
    return replace(sensor, **drawn)  # type: ignore[type-var]


def _write(
    job: SequenceJob, folder: Path, cameras: Sequence[Camera], frames: list[PoolFrame], rng: np.random.Generator
) -> None:
    """Write a folder with rgb/, depth/, gt/ and meta.json."""
    sensor = one_sensor(job.sensor, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    for name in ("rgb", "depth", "gt"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (camera, frame) in enumerate(zip(cameras, frames, strict=True)):
        name = f"{number:04}.png"
        depth = sensor(scene_batch([frame]), generator)[0, 0].numpy()
        transparent = np.isin(frame.material, (Material.GLASS, Material.MIRROR))  # either surface may be measured there
        truth = np.where(transparent, 0, frame.depth)
        images = {"rgb": frame.image[..., ::-1], "depth": _counts(depth), "gt": _counts(truth)}
        for kind, image in images.items():
            if not cv2.imwrite(str(folder / kind / name), np.ascontiguousarray(image)):
                raise ConfigurationError(f"{folder / kind / name} cannot be written: check that the disk has room")
        time = 1 + number / job.rate
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.rotation.T, camera.eye
        entries.append(
            {
                "id": f"{number:04}",
                **{kind: f"{kind}/{name}" for kind in images},
                "t_rgb": time,
                "pose": [time, *pose_of(pose).tolist()],
            }
        )
    fx, fy, cx, cy = cameras[0].intrinsics
    meta = {
        "name": f"{job.out.name} {folder.name}",
        "sensor": f"modelled {job.sensor_name}",
        "note": "rendered; the true depth is exact, and unknown on glass and mirrors",
        "licence": {"credits": job.credits},
        "depth": {"scale_to_m": _METRES},
        "intrinsics": {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "width": job.width, "height": job.height},
        "frames": entries,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _counts(depth: np.ndarray) -> np.ndarray:
    """Return depth [m] as 16-bit counts; what is too far away counts as missing."""
    counts = np.round(depth / _METRES)
    return np.where(counts < 65535, counts, 0).astype(np.uint16)
