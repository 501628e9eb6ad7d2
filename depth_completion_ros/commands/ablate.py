"""``depth-completion ablate``: train variants of a method at equal budgets and compare them in a table."""

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
    add(
        "method",
        nargs="*",
        metavar="METHOD",
        help=f"method whose parts are varied (default: all of {', '.join(METHODS)})",
    )
    configure_shared(parser)
    add("--steps", type=int, default=_STEPS, help=f"number of training steps of each variant (default: {_STEPS})")
    add(
        "--seeds",
        default="0,1",
        metavar="N,N",
        help="random seeds; each variant is trained once with each seed (default: 0,1)",
    )
    add(
        "--out",
        type=Path,
        default=Path("ablate_out"),
        metavar="DIR",
        help="folder for the results (default: ablate_out)",
    )


def run(args: argparse.Namespace) -> int:
    """Train the variants that are missing in --out, and write and print the table. Raises ConfigurationError."""
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
