"""``depth-completion scenes``: a page of procedural scenes as one picture, and how fast they were rendered."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from ...errors import ConfigurationError
from ...preview import colour_depth, colour_range

_SIZE = 192, 256


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("picture", type=Path, help="PNG file to write: for each scene its image, depth and normals")
    parser.add_argument("--kind", action="append", help="kind of scenes, may be repeated; all of them by default")
    parser.add_argument("--count", type=int, default=10, help="scenes on the page (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other scenes (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Render and write the page; print scenes per second."""
    try:
        import torch
    except ImportError as error:
        raise ConfigurationError("the scenes need PyTorch: pip install 'depth_completion_ros[networks]'") from error
    from . import KINDS, render_scenes
    from .textures import atlas

    if args.count < 1:
        raise ConfigurationError(f"--count is {args.count}: ask for one scene or more")
    atlas(torch.device("cpu"))  # made once per process, so not timed
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
        raise ConfigurationError(f"cannot write {args.picture}: does its folder exist, and does its name end in .png?")
    return 0
