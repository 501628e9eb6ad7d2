"""``depth-completion ablate``: trains methods with parts changed, at equal budgets, into one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigurationError
from ..training.ablations import METHODS
from .train import configure_shared, open_cache, open_device

_STEPS = 600


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion ablate``."""
    add = parser.add_argument
    add("method", nargs="*", metavar="METHOD", help=f"default {' '.join(METHODS)}")
    configure_shared(parser)
    add("--steps", type=int, default=_STEPS, help=f"to train each variant for (default {_STEPS})")
    add("--seeds", default="0,1", metavar="N,N", help="to train each variant from (default 0,1)")
    add("--out", type=Path, default=Path("ablate_out"), metavar="DIR", help="to write to (default ablate_out)")


def run(args: argparse.Namespace) -> int:
    """Train what --out lacks, and write and print the table. Raises ConfigurationError for faulty arguments."""
    device = open_device(args)
    from ..training.ablations.results import read_results, table
    from ..training.ablations.study import Study

    if unknown := set(args.method) - set(METHODS):
        raise ConfigurationError(f"no ablations of {', '.join(sorted(unknown))}: choose from {', '.join(METHODS)}")
    if min(args.steps, args.validation_frames) <= 0:
        raise ConfigurationError("--steps and --validation-frames must be above zero")
    args.out.mkdir(parents=True, exist_ok=True)
    study = Study(
        steps=args.steps,
        seeds=_seeds(args.seeds),
        validation_frames=args.validation_frames,
        settings=args.set,
        data=args.data,
        pools=args.scenes,
        cache=open_cache(args),
        out=args.out,
        device=device,
    )
    study.run(list(dict.fromkeys(args.method or METHODS)))
    print(table(read_results(args.out / "ablations.csv")), end="")
    return 0


def _seeds(text: str) -> list[int]:
    try:
        return sorted({int(seed) for seed in text.split(",")})
    except ValueError as error:
        raise ConfigurationError(f"--seeds must be whole numbers such as 0,1, not {text!r}") from error
