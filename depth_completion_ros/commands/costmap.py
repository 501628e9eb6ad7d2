"""``depth-completion costmap``: obstacles that completed depth hides from a costmap, and obstacles that it invents."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigurationError, InputError
from ..evaluation.costmap_safety import CONFIDENCES, costmap_safety, print_safety, write_safety
from ..evaluation.models import default_models
from .evaluate import SOURCES, add_source_options, check_source_options, names_in, open_sources, writing_to


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion costmap``."""
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help=f"{SOURCES} (default: the bundled recordings)")
    models = "models, separated by commas (default: all classical models and all trained networks)"
    add("--models", default="", help=models)
    known = ",".join(f"{value:g}" for value in CONFIDENCES)
    add("--min-confidence", default=known, help=f"values of min_confidence, separated by commas (default: {known})")
    add("--frames", type=int, default=10, help="number of frames of each set, evenly spaced (default: 10)")
    add("--seed", type=int, default=0, help="random seed of the hidden parts (default: 0)")
    add_source_options(parser)
    add("--out", type=Path, help="folder for costmap.csv and costmap.json (default: write no files)")


def run(args: argparse.Namespace) -> int:
    """Print the table, and write all results if --out is given. Returns 0, or 1 if a source could not be used."""
    check_source_options(args)
    try:
        confidences = tuple(float(text) for text in args.min_confidence.split(","))
    except ValueError as error:
        raise ConfigurationError(f"--min-confidence {args.min_confidence}: give numbers, such as 0,0.8") from error
    if not all(0 <= value <= 1 for value in confidences):
        raise ConfigurationError(f"--min-confidence {args.min_confidence}: all values must be between 0 and 1")
    if args.out:
        with writing_to(f"--out {args.out}"):
            args.out.mkdir(parents=True, exist_ok=True)
    models = names_in(args.models) or default_models()
    sets = list(open_sources(args).values())
    safety = costmap_safety(sets, models, args.frames, args.seed, confidences)
    if not safety.cells:
        raise InputError("truth", f"no frame can be used: {'; '.join(safety.notes)}")
    print_safety(safety)
    if args.out:
        with writing_to(f"--out {args.out}"):
            write_safety(safety, sets, args.out)
    return 0 if len(sets) >= len(set(args.sources)) else 1
