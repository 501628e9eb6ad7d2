"""``depth-completion train``: train a network with a recipe. An interrupted training can be resumed."""

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
    add("recipe", help="name of a recipe in config/training, such as lite, or path of a YAML file")
    configure_shared(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes", type=float, default=_MINUTES, help=f"duration of the training [min] (default: {_MINUTES:g})"
    )
    budget.add_argument("--steps", type=int, help="number of training steps, instead of a duration")
    add("--out", type=Path, metavar="DIR", help="folder for weights, model card and logs (default: train_out/RECIPE)")
    beginning = parser.add_mutually_exclusive_group()
    beginning.add_argument(
        "--start", type=Path, metavar="FILE", help="weights file to start from (default: random weights)"
    )
    beginning.add_argument(
        "--resume", action="store_true", help="continue the training in --out after its last checkpoint"
    )
    add(
        "--dry-run",
        action="store_true",
        help="test run: take two steps, and render scenes during the training, as on a GPU",
    )
    add("--workers", type=int, default=0, help="number of extra processes that prepare batches (default: 0)")
    add(
        "--overfit",
        type=int,
        default=0,
        metavar="N",
        help="train on the same N samples only, to check that the network can learn them; 0 = off (default: 0)",
    )
    add(
        "--validate-every",
        type=float,
        default=10.0,
        metavar="MINUTES",
        help="time between validations [min] (default: 10)",
    )
    add(
        "--validation-scenes",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="pool of rendered scenes to validate on, besides procedural scenes; repeatable",
    )


def configure_shared(parser: argparse.ArgumentParser) -> None:
    """Arguments of all commands that train."""
    add = parser.add_argument
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting that overrides that of the recipe; can be repeated",
    )
    add(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder with recorded sets that are listed in config/training/splits.yaml, or published data set "
        "FORMAT:PATH, as for evaluate, all of which is for training; can be repeated",
    )
    add(
        "--scenes",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of rendered scenes; can be repeated (default: scenes are rendered once and kept in --cache)",
    )
    add("--device", choices=("cpu", "cuda"), help="device to train on (default: cuda if there is a GPU, else cpu)")
    add("--threads", type=int, default=0, help="number of CPU threads; 0 = library default (default: 0)")
    add("--validation-frames", type=int, default=4, help="number of validation frames of each set (default: 4)")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for decoded frames and rendered scenes (default: a folder in ~/.cache)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and write the weights and their model card. Returns 130 if a signal ended the training."""
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
    """Return the device of --device and apply --threads. Raises ConfigurationError without PyTorch or the device."""
    try:
        import torch
    except ImportError as error:
        raise ConfigurationError(
            f"training needs PyTorch ({error}): pip install 'depth_completion_ros[networks]'"
        ) from error
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("--device cuda: PyTorch finds no CUDA GPU; omit --device to train on the CPU")
    if args.threads:
        torch.set_num_threads(args.threads)
    return torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))


def open_cache(args: argparse.Namespace) -> Path:
    """Create the folder of --cache and return its path."""
    cache = args.cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PACKAGE / "training"
    cache.mkdir(parents=True, exist_ok=True)
    return cache
