"""Render pools of views of random rooms in one or more processes. The frames depend only on the seed and the assets."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from ...errors import ConfigurationError
from ..pool import PoolFrame, PoolInfo, frame_path, prepare_pool, write_frame
from .camera import Camera
from .drawing import open_context
from .library import SPLITS, Library
from .photo import photograph
from .renderer import Renderer
from .rooms import RoomMaker
from .views import is_informative, random_camera

KIND = "furnished rooms"
_MAX_ROOMS = 20  # number of rooms that are tried to get the views of one room
_MAX_CAMERAS = 3  # number of cameras that are tried for each view


@dataclass(frozen=True)
class Job:
    """Settings of a pool.

    Attributes:
        library: Folder of a ``Library``.
        out: Folder of the pool.
        count: Number of frames.
        views: Number of frames of each room.
        height: Height of the frames [pixels].
        width: Width of the frames [pixels].
        split: "train" or "validation".
        seed: Seed of the rooms.
        credits: Credits of the assets.
    """

    library: Path
    out: Path
    count: int
    views: int
    height: int
    width: int
    split: str
    seed: int
    credits: tuple[str, ...]


def make_pool(job: Job, workers: int, progress: Callable[[int], None] = lambda done: None) -> None:
    """Render the missing frames of a pool.

    Args:
        job: Settings of the pool.
        workers: Number of processes, each with one thread.
        progress: Called with the number of completed frames.

    Raises:
        ConfigurationError: If OpenGL is not available, the folder contains another pool, or the library has too few
            models for informative views.
    """
    prepare_pool(job.out, PoolInfo(job.height, job.width, KIND, job.split, job.seed, job.views, job.credits))
    rooms = [room for room in range(-(-job.count // job.views)) if _missing(job, room)]
    done = job.count - sum(len(_missing(job, room)) for room in rooms)
    progress(done)
    open_context().release()  # raises an error here; a process that fails to start would be restarted forever
    if workers == 1:
        _start(job)
        for room in rooms:
            done += _make_room(room)
            progress(done)
        return
    with get_context("spawn").Pool(workers, _start_process, (job,)) as pool:
        for made in pool.imap_unordered(_make_room, rooms):
            done += made
            progress(done)


def _missing(job: Job, room: int) -> list[int]:
    """Return the numbers of the frames of a room that are missing."""
    numbers = range(room * job.views, min((room + 1) * job.views, job.count))
    return [number for number in numbers if not frame_path(job.out, number).is_file()]


@dataclass(frozen=True)
class _Worker:
    job: Job
    maker: RoomMaker
    renderer: Renderer


_worker: _Worker | None = None  # of this process


def _start_process(job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    _start(job)


def _start(job: Job) -> None:
    global _worker
    os.environ.setdefault("LP_NUM_THREADS", "1")  # llvmpipe reads it when it starts
    cv2.setNumThreads(1)
    library = Library(job.library)
    renderer = Renderer(library.textures, library.panoramas, job.height, job.width)
    _worker = _Worker(job, RoomMaker(library), renderer)


def _make_room(room: int) -> int:
    """Render the missing frames of a room, write them, and return their number."""
    assert _worker is not None
    job = _worker.job
    missing = _missing(job, room)
    first = room * job.views
    seeds = job.seed, SPLITS.index(job.split), room
    views = render_views(_worker.maker, _worker.renderer, seeds, max(missing) - first + 1)
    for number in missing:
        write_frame(frame_path(job.out, number), views[number - first])
    return len(missing)


def render_views(maker: RoomMaker, renderer: Renderer, seeds: Sequence[int], count: int) -> list[PoolFrame]:
    """Render views of a random room, or of several rooms if one has too few informative views.

    Args:
        maker: Makes the rooms.
        renderer: The renderer.
        seeds: Seeds of the room.
        count: Number of views.

    Raises:
        ConfigurationError: If there are too few informative views in many rooms.
    """
    found: list[PoolFrame] = []
    for attempt in range(_MAX_ROOMS):
        rng = np.random.default_rng([*seeds, attempt])
        room = maker.make(rng)
        renderer.show(room.scene)
        for _ in range(_MAX_CAMERAS * count):
            camera = random_camera(room, rng, renderer.height, renderer.width)
            frame = None if camera is None else render_frame(renderer, camera, rng)
            if frame is not None:
                found.append(frame)
            if len(found) == count:
                return found
    raise ConfigurationError(
        "the rooms have too few informative views: add models with --assets, or use larger frames with --size"
    )


def render_frame(renderer: Renderer, camera: Camera, rng: np.random.Generator) -> PoolFrame | None:
    """Render a frame with a simulated camera; return None if the view is not informative."""
    view = renderer.render(camera)
    if not is_informative(view, rng):
        return None
    return PoolFrame(
        photograph(view.light, rng), view.depth, view.behind, view.normals, view.reflectance, view.material,
        np.array(camera.intrinsics, np.float32),
    )  # fmt: skip
