"""``depth-completion scenes``: render examples of procedural scenes to one picture, and print the speed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigurationError
from ..preview import colour_depth, colour_range

_SIZE = 192, 256


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("picture", type=Path, help="PNG file to write, with image, depth and normals of each scene")
    parser.add_argument("--kind", action="append", help="kind of scenes; can be repeated (default: all kinds)")
    parser.add_argument("--count", type=int, default=10, help="number of scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the scenes (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Render the scenes and write the picture; print the number of scenes per second."""
    try:
        import torch
    except ImportError as error:
        raise ConfigurationError("the scenes need PyTorch: pip install 'depth_completion_ros[networks]'") from error
    from ..training.scenes import KINDS, render_scenes
    from ..training.scenes.textures import atlas

    if args.count < 1:
        raise ConfigurationError(f"--count {args.count} must be at least 1")
    atlas(torch.device("cpu"))  # made once per process, so it is not timed
    start = time.perf_counter()
    batch = render_scenes(args.kind or KINDS, args.count, *_SIZE, generator=torch.Generator().manual_seed(args.seed))
    rate = args.count / (time.perf_counter() - start)
    height, width = _SIZE
    print(f"{args.count} scenes of {height} x {width}: {rate:.1f} scenes/s with {torch.get_num_threads()} threads")
    columns = []
    for image, depth, normals in zip(batch.image, batch.depth[:, 0].numpy(), batch.normals, strict=True):
        rgb = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        facing = ((normals.permute(1, 2, 0).numpy() * (1, -1, -1) + 1) * 127.5).astype(np.uint8)
        columns.append(np.vstack([rgb, colour_depth(depth, colour_range(depth)), facing]))
    wide = min(5, len(columns))
    columns += [np.zeros_like(columns[0])] * (-len(columns) % wide)
    page = np.vstack([np.hstack(columns[first : first + wide]) for first in range(0, len(columns), wide)])
    if not cv2.imwrite(str(args.picture), page[..., ::-1]):
        raise ConfigurationError(
            f"{args.picture} cannot be written: check that its folder exists and its name ends in .png"
        )
    return 0
