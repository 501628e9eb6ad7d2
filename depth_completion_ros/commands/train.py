"""``depth-completion train``: trains a network by a recipe, in a folder of its own, and can go on after any kill."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..resources import PACKAGE

if TYPE_CHECKING:
    import torch

_MINUTES = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion train``."""
    add = parser.add_argument
    add("recipe", help="a name in config/training, such as lite, or a YAML file")
    configure_shared(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=_MINUTES, help=f"to train for (default {_MINUTES:g})")
    budget.add_argument("--steps", type=int, help="to train for, rather than minutes")
    add("--out", type=Path, metavar="DIR", help="to write to (default train_out/RECIPE)")
    beginning = parser.add_mutually_exclusive_group()
    beginning.add_argument("--start", type=Path, metavar="FILE", help="weights to begin with (default random ones)")
    beginning.add_argument("--resume", action="store_true", help="go on with the training in --out")
    add(
        "--dry-run",
        action="store_true",
        help="take two steps as on a GPU, with scenes rendered as they are needed, to see that everything works",
    )
    add("--workers", type=int, default=0, help="processes that make batches beside the training (default 0)")
    add(
        "--overfit",
        type=int,
        default=0,
        metavar="N",
        help="number of samples to train on again and again, to see whether a network can learn them (default 0: off)",
    )
    add(
        "--validation-scenes",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="pool of rendered scenes to validate on, besides procedural scenes; repeatable",
    )
    add("--validate-every", type=float, default=10.0, metavar="MINUTES", help="default 10")


def configure_shared(parser: argparse.ArgumentParser) -> None:
    """Arguments of all commands that train."""
    add = parser.add_argument
    add(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting instead of the recipe's; repeatable"
    )
    add(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of recorded sets that config/training/splits.yaml names; repeatable",
    )
    add(
        "--scenes",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="pool of rendered scenes; repeatable (default: a pool of procedural scenes, rendered once into --cache)",
    )
    add("--device", choices=("cpu", "cuda"), help="default cuda where there is one")
    add("--threads", type=int, default=0, help="CPU threads (default as PyTorch likes)")
    add("--validation-frames", type=int, default=4, help="of each set (default 4)")
    add("--cache", type=Path, metavar="DIR", help="for decoded frames and rendered scenes (default in ~/.cache)")


def run(args: argparse.Namespace) -> int:
    """Train; write weights and their card. Returns 130 where a signal ended it."""
    device = open_device(args)
    from ..training.recipe import read_recipe, read_splits
    from ..training.session import Session
    from ..training.trainer import Budget

    if min(args.minutes, args.validate_every, args.validation_frames, 1 if args.steps is None else args.steps) <= 0:
        raise ConfigurationError("--minutes, --steps, --validate-every and --validation-frames must be above zero")
    recipe = read_recipe(args.recipe, args.set)
    if not args.scenes:
        print(
            "no --scenes: training on procedural scenes; make furnished rooms with depth-completion scenes furnished",
            file=sys.stderr,
        )
    out = args.out or Path("train_out") / recipe.name
    out.mkdir(parents=True, exist_ok=True)
    session = Session(
        recipe,
        read_splits(),
        data=args.data,
        pools=args.scenes,
        validation_pools=args.validation_scenes,
        workers=args.workers,
        overfit=args.overfit,
        render=args.dry_run,
        cache=open_cache(args),
        out=out,
        device=device,
        start=args.start,
        resume=args.resume,
        validation_frames=args.validation_frames,
    )
    steps = 2 if args.dry_run else args.steps
    return session.run(Budget(None if steps else args.minutes, steps), 60 * args.validate_every)


def open_device(args: argparse.Namespace) -> torch.device:
    """The device of --device, and --threads set. Raises ConfigurationError without PyTorch or the device."""
    try:
        import torch
    except ImportError as error:
        raise ConfigurationError(
            f"training needs PyTorch ({error}): pip install 'depth_completion_ros[networks]'"
        ) from error
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("--device cuda: PyTorch finds no CUDA GPU here; leave it out to train on the CPU")
    if args.threads:
        torch.set_num_threads(args.threads)
    return torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def open_cache(args: argparse.Namespace) -> Path:
    """The folder of --cache, which is made."""
    cache = args.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PACKAGE / "training"
    cache.mkdir(parents=True, exist_ok=True)
    return cache
