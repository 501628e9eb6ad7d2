"""Fills pools with views of random rooms, in as many processes as wanted. Frames depend on the seed alone."""

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
_ROOMS = 20  # that are tried for the views of one
_TRIES = 3  # cameras for each view


@dataclass(frozen=True)
class Job:
    """What a pool is made of. library: folder of a ``Library``. views: of a room. height, width: of frames [px].
    credits: of its assets.
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
    """Render the frames of a pool that are not there yet.

    workers: processes, each with one thread. progress: called with the number of frames that are done.
    Raises ConfigurationError without OpenGL, for another pool in the folder, and where the library's models are so few
    that rooms show nothing.
    """
    prepare_pool(job.out, PoolInfo(job.height, job.width, KIND, job.split, job.seed, job.views, job.credits))
    rooms = [room for room in range(-(-job.count // job.views)) if _missing(job, room)]
    done = job.count - sum(len(_missing(job, room)) for room in rooms)
    progress(done)
    open_context().release()  # here, because Python starts processes again and again where they fail to start
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
    """Numbers of the frames of a room that are still to be made."""
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
    os.environ.setdefault("LP_NUM_THREADS", "1")  # of llvmpipe, before it starts
    cv2.setNumThreads(1)
    library = Library(job.library)
    renderer = Renderer(library.textures, library.panoramas, job.height, job.width)
    _worker = _Worker(job, RoomMaker(library), renderer)


def _make_room(room: int) -> int:
    """Render the missing frames of a room and write them; their number."""
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
    """So many views of a random room; of several where one shows too little.

    Raises ConfigurationError where many rooms show too little.
    """
    found: list[PoolFrame] = []
    for attempt in range(_ROOMS):
        rng = np.random.default_rng([*seeds, attempt])
        room = maker.make(rng)
        renderer.show(room.scene)
        for _ in range(_TRIES * count):
            camera = random_camera(room, rng, renderer.height, renderer.width)
            frame = None if camera is None else render_frame(renderer, camera, rng)
            if frame is not None:
                found.append(frame)
            if len(found) == count:
                return found
    raise ConfigurationError("the rooms show too little: add models with --assets, or make larger pictures with --size")


def render_frame(renderer: Renderer, camera: Camera, rng: np.random.Generator) -> PoolFrame | None:
    """What a camera sees, photographed; None where it shows too little to learn from."""
    view = renderer.render(camera)
    if not is_informative(view, rng):
        return None
    return PoolFrame(
        photograph(view.light, rng), view.depth, view.behind, view.normals, view.reflectance, view.material,
        np.array(camera.intrinsics, np.float32),
    )  # fmt: skip
