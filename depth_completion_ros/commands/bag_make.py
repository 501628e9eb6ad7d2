"""``depth-completion bag make``: make a rosbag2 from a folder of recorded frames, with their recorded stamps."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bag.folders import read_folder
from ..bag.make import BagOptions, frame_positions, make_bag
from ..bag.writer import STORAGES
from ..errors import ConfigurationError

MAX_WIDTH = 16384  # a typo like 100000 would take hours and fill the disk


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", type=Path, help="folder of frames with a meta.json")
    parser.add_argument("out", type=Path, help="folder of the new bag")
    parser.add_argument("--storage", choices=STORAGES, default="mcap", help="storage format of the bag (default: mcap)")
    parser.add_argument(
        "--rgb",
        choices=("jpeg", "raw"),
        default="jpeg",
        help="encoding of RGB images (default: jpeg); JPEG files are copied unchanged, unless they are scaled",
    )
    parser.add_argument(
        "--depth",
        choices=("compressed", "16UC1", "32FC1"),
        default="compressed",
        help="encoding of depth images; compressed = compressedDepth (default: compressed)",
    )
    parser.add_argument(
        "--frames",
        metavar="A:B[,C:D…]",
        default=":",
        help="ranges of frames, counted from 0; A is included, B is not (default: all)",
    )
    parser.add_argument(
        "--close-gaps", action="store_true", help="shorten gaps where frames are left out to one frame period"
    )
    parser.add_argument("--width", type=int, metavar="W", help="width to scale RGB to [pixels] (default: no scaling)")


def run(args: argparse.Namespace) -> int:
    """Write the bag, a licence note and, for a LiDAR, the extrinsic."""
    if args.width is not None and not 0 < args.width <= MAX_WIDTH:
        raise ConfigurationError(f"--width {args.width} must be between 1 and {MAX_WIDTH}")
    frames = read_folder(args.set)
    positions = frame_positions(args.frames, len(frames))
    options = BagOptions(args.storage, args.rgb, args.depth, args.width, args.close_gaps)
    make_bag(frames, args.out, positions, options)
    print(f"{args.out}: {len(positions)} frames of {frames.name}")
    return 0
