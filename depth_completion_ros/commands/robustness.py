"""``depth-completion robustness``: how error and confidence change as the input gets worse."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..errors import ConfigurationError, InputError
from ..evaluation.degradations import DEGRADATIONS
from ..evaluation.html.page import check_report, command_line
from ..evaluation.html.robustness import write_report
from ..evaluation.models import default_models
from ..evaluation.protocols import PROTOCOLS as ALL_PROTOCOLS
from ..evaluation.robustness import PROTOCOLS, curves_of, print_curves, robustness, write_curves
from .evaluate import SOURCES, add_source_options, check_source_options, names_in, open_sources, writing_to


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion robustness``."""
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help=f"{SOURCES} (default: the bundled recordings)")
    models = "models, separated by commas (default: all classical models and all trained networks)"
    add("--models", default="", help=models)
    names = ",".join(one.name for one in DEGRADATIONS)
    add("--degradations", default=names, help=f"degradations, separated by commas (default: {names})")
    protocol = "protocols, separated by commas: each set is scored with the first that it can be used with"
    add("--protocol", default=",".join(PROTOCOLS), help=f"{protocol} (default: {','.join(PROTOCOLS)})")
    add("--frames", type=int, default=3, help="number of frames of each set, evenly spaced (default: 3)")
    add("--seed", type=int, default=0, help="random seed (default: 0)")
    add_source_options(parser)
    add("--out", type=Path, help="folder for robustness.csv, .json and .md (default: write no files)")
    report = "HTML file with curves and tables; the files of --out are written beside it (default: none)"
    add("--report", type=Path, metavar="FILE", help=report)


def run(args: argparse.Namespace) -> int:
    """Print the table, and write all results if --out or --report is given.

    Returns:
        0, 1 if a source could not be used, or 130 if the evaluation was interrupted.
    """
    check_source_options(args)
    wanted, protocols = names_in(args.degradations), tuple(names_in(args.protocol))
    known = {one.name: one for one in DEGRADATIONS}
    for kind, names, choices in (("degradation", wanted, known), ("protocol", protocols, ALL_PROTOCOLS)):
        if unknown := set(names) - set(choices):
            raise ConfigurationError(f"no {kind} {', '.join(sorted(unknown))}: choose from {', '.join(choices)}")
    if args.report:
        check_report(args.report)
    if args.out:
        with writing_to(f"--out {args.out}"):
            args.out.mkdir(parents=True, exist_ok=True)
    models = names_in(args.models) or default_models()
    sets = list(open_sources(args).values())
    degradations = tuple(one for one in DEGRADATIONS if one.name in wanted)
    evaluation = robustness(sets, models, degradations, protocols, args.frames, args.seed)
    curves = curves_of(evaluation)
    if not curves:
        if not evaluation.complete:
            return 130
        reasons = list(evaluation.failures.values()) or ["choose others with --protocol"]
        raise InputError("truth", f"no frame can be used with these protocols: {'; '.join(reasons)}")
    print_curves(evaluation, curves)
    out = args.out or (args.report.parent if args.report else None)
    with writing_to(f"--out {args.out}" if args.out else f"--report {args.report}"):
        files = write_curves(evaluation, curves, out) if out else []
        if args.report:
            names = [Path(os.path.relpath(file, args.report.parent)).as_posix() for file in files]
            write_report(evaluation, curves, sets, args.seed, command_line(), names, args.report)
            print(f"report: {args.report}")
    if not evaluation.complete:
        return 130
    return 0 if len(sets) >= len(set(args.sources)) else 1
