"""``depth-completion scenes furnished``: fill a pool with views of furnished rooms for ``train --scenes``."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigurationError
from ..preview import colour_depth, colour_range
from .train import open_cache

_SHEET = 60  # frames of a contact sheet
_SHEET_COLUMNS = 10
_SHEET_WIDTH = 160  # of a frame on it [px]
_SHEET_QUALITY = 85


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the pool; an unfinished one is continued")
    add("--frames", type=int, default=20_000, metavar="N", help="number of frames (default: %(default)s)")
    add("--views", type=int, default=14, metavar="V", help="number of frames of each room (default: %(default)s)")
    add("--size", default="480x360", metavar="WxH", help="of the frames in pixels (default: %(default)s)")
    add("--workers", type=int, default=1, metavar="K", help="processes, one thread each (default: %(default)s)")
    add_asset_options(parser)
    add("--sheet", type=Path, metavar="FILE", help=f"also write a JPEG file with {_SHEET} frames spread over the pool")


def add_asset_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what scenes are made of."""
    add = parser.add_argument
    add(
        "--assets",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder with models, textures and panoramas besides the furniture, see docs/scenes.md; can be repeated",
    )
    add(
        "--furniture",
        type=Path,
        metavar="DIR",
        help="folder of .sh3f catalogues (default: where the package sweethome3d-furniture installs them)",
    )
    add(
        "--split",
        choices=("train", "validation"),
        default="train",
        help="validation takes those assets alone that config/training/splits.yaml holds out (default: train)",
    )
    add("--seed", type=int, default=0, help="random seed of the scenes (default: %(default)s)")
    add("--cache", type=Path, metavar="DIR", help="for assets that have been read (default: in ~/.cache)")


def run(args: argparse.Namespace) -> int:
    """Read the assets, render the frames, and write the contact sheet."""
    height, width = size_of(args.size)
    if min(args.frames, args.views, args.workers) < 1:
        raise ConfigurationError("--frames, --views and --workers must be at least 1")
    library, credits = open_library(args)
    from rich.console import Console
    from rich.progress import Progress

    from ..training.furnished.make import Job, make_pool

    console = Console(stderr=True)
    job = Job(library, args.out, args.frames, args.views, height, width, args.split, args.seed, credits)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("frames", total=args.frames)
        make_pool(job, args.workers, lambda done: bar.update(task, completed=done))
    if args.sheet is not None:
        _write_sheet(args.out, args.sheet)
    print(f"{args.frames} frames in {args.out}")
    return 0


def size_of(text: str) -> tuple[int, int]:
    """Return height and width of the option --size. Raises ConfigurationError if it is not valid."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or min(width := int(match[1]), height := int(match[2])) < 64:
        raise ConfigurationError(f"--size {text} must be WIDTHxHEIGHT in pixels, such as 480x360, at least 64")
    return height, width


def open_library(args: argparse.Namespace) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of the library of the options of ``add_asset_options``, and the credits of its assets.

    Raises ConfigurationError if a package or the assets are missing.
    """
    try:
        import moderngl  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"furnished scenes need moderngl and PyTorch ({error}): pip install 'depth_completion_ros[scenes,networks]'"
        ) from error
    from rich.console import Console

    from ..training.furnished.assets import FURNITURE, chooser
    from ..training.furnished.credits import credits
    from ..training.furnished.library import library_directory
    from ..training.recipe import read_splits

    folders = [args.furniture or FURNITURE, *args.assets]
    if missing := [str(folder) for folder in folders[1:] if not folder.is_dir()]:
        raise ConfigurationError(f"--assets {missing[0]} is no folder")
    held_out = read_splits().validation_assets
    with Console(stderr=True).status("reading assets") as status:
        library = library_directory(
            folders, open_cache(args), args.split, held_out, lambda name: status.update(f"reading {name}")
        )
    return library, tuple(credits(folders, chooser(args.split, held_out)))


def _write_sheet(pool: Path, path: Path) -> None:
    """Colour above depth of frames spread over a pool. Raises ConfigurationError where the file cannot be written."""
    from ..training.pool import ScenePool

    frames = ScenePool(pool)
    numbers = np.linspace(0, len(frames) - 1, min(_SHEET, len(frames))).astype(int)
    tiles = []
    for frame in (frames.frame(number) for number in numbers):
        height, width = frame.depth.shape
        size = _SHEET_WIDTH, round(height * _SHEET_WIDTH / width)
        depth = np.where(frame.depth > 0, frame.depth, np.nan)
        shown = (frame.image, colour_depth(depth, colour_range(depth)))
        tiles.append(np.vstack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in shown]))
    columns = min(_SHEET_COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (math.ceil(len(tiles) / columns) * columns - len(tiles))
    page = np.vstack([np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)])
    if not cv2.imwrite(str(path), np.ascontiguousarray(page[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _SHEET_QUALITY]):
        raise ConfigurationError(f"{path} cannot be written: check that its folder exists and its name ends in .jpg")
