"""``depth-completion build-engine``: build the TensorRT engine of a network before a node needs it."""

from __future__ import annotations

import argparse
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ..contract import MULTIPLE
from ..engines.tensorrt import TensorRtEngine
from ..engines.tensorrt_build import DEFAULT_SIZES, DIRECTORY_VARIABLE, Sizes, ensure_engine
from ..engines.tensorrt_library import load_library
from ..model_file import find_model_file


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", help="path or name of a network file, as for the node's parameter `model`")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the engine (default: the one where the node looks for engines, which the environment variable "
        f"{DIRECTORY_VARIABLE} sets)",
    )
    parser.add_argument(
        "--profile-sizes",
        type=_size,
        nargs=3,
        metavar=("SMALLEST", "BEST", "LARGEST"),
        help="for a network file for any size: smallest and largest image size HxW, and the size to optimise for "
        f"(default: {' '.join(f'{height}x{width}' for height, width in DEFAULT_SIZES)})",
    )


def run(args: argparse.Namespace) -> int:
    """Build the engine unless it exists, and print its path."""
    trt = load_library()
    file = find_model_file(args.model, *TensorRtEngine.precisions)
    sizes = Sizes(*args.profile_sizes) if args.profile_sizes else None
    console = Console(stderr=True)
    stop = threading.Event()
    # Build in another thread, because TensorRT would ignore Ctrl-C in the main thread.
    with Progress(console=console, disable=not console.is_terminal) as bar, ThreadPoolExecutor(1) as thread:
        task = bar.add_task(f"Building {file.label} with {trt.__name__}", total=1.0)

        def progress(phase: str, done: float) -> None:
            if stop.is_set():
                raise InterruptedError
            bar.update(task, completed=done)

        future = thread.submit(ensure_engine, trt, file, directory=args.out, sizes=sizes, progress=progress)
        try:
            path = future.result()
        finally:
            stop.set()
    print(path)
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    height, width = (int(match[1]), int(match[2])) if match else (0, 0)
    if not height or not width or height % MULTIPLE or width % MULTIPLE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size HxW in multiples of {MULTIPLE}, such as 480x640")
    return height, width
