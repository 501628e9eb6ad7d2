"""``depth-completion scenes sequences``: render what a moving camera sees in rooms, with poses and true depth."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigurationError
from .scenes_furnished import add_asset_options, open_library, size_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to which a folder is written for each sequence")
    add("--sequences", type=int, default=8, metavar="N", help="number of sequences (default: %(default)s)")
    add("--frames", type=int, default=30, metavar="F", help="number of frames in each (default: %(default)s)")
    add("--rate", type=float, default=10.0, metavar="HZ", help="frames per second (default: %(default)s)")
    add("--speed", type=float, default=0.3, metavar="M/S", help="mean speed of the camera (default: %(default)s)")
    add("--size", default="640x480", metavar="WxH", help="of the frames in pixels (default: %(default)s)")
    add("--profile", choices=("kinect", "tof"), default="kinect", help="modelled sensor (default: %(default)s)")
    add_asset_options(parser)


def run(args: argparse.Namespace) -> int:
    """Read the assets, render the sequences and write their folders."""
    height, width = size_of(args.size)
    if min(args.sequences, args.frames - 1, args.rate) < 1 or args.speed < 0:
        raise ConfigurationError(
            "--sequences and --rate must be at least 1, --frames at least 2 and --speed at least 0"
        )
    library, credits = open_library(args)
    from rich.console import Console
    from rich.progress import Progress

    from ..training.furnished.library import Library
    from ..training.furnished.sequences import SequenceJob, write_sequences
    from ..training.held_out_scenes import SENSORS

    job = SequenceJob(
        args.out, args.sequences, args.frames, args.rate, args.speed, height, width, SENSORS[args.profile],
        args.profile, args.split, args.seed, credits,
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sequences", total=args.sequences)
        write_sequences(job, Library(library), lambda done: bar.update(task, completed=done))
    print(f"{args.sequences} sequences in {args.out}")
    return 0
