"""``depth-completion evaluate``: compare models on recorded frames, bags and procedural scenes."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..bag.frames import SLOP_NS
from ..bag.reader import DEPTH_TOPIC, RGB_TOPIC
from ..errors import ConfigurationError, InputError, in_options
from ..evaluation.datasets import FORMATS, is_dataset
from ..evaluation.evaluate import evaluate
from ..evaluation.html.page import Results, check_requirements, command_line, write_report
from ..evaluation.models import BASELINES, default_models
from ..evaluation.protocols import PROTOCOLS
from ..evaluation.report import print_tables, write_files
from ..evaluation.samples import SampleSet, open_bag, open_bundled, open_folder, open_published
from ..evaluation.summary import summarise
from ..frame_builder import FrameSettings

SYNTHETIC = "synthetic:"  # prefix of procedural scenes
SOURCES = (
    f"folder of frames with a meta.json, bag, procedural scenes {SYNTHETIC}KIND[:PROFILE], or data set "
    f"FORMAT:PATH, where FORMAT is one of {', '.join(FORMATS)}"
)
_BAG_FILES = r"^metadata\.yaml$|\.mcap|\.db3"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion evaluate``."""
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    add(
        "--protocol",
        default="raw,sparse5",
        help=f"protocols, separated by commas, from {', '.join(PROTOCOLS)} (default: raw,sparse5)",
    )
    models = "models, separated by commas (default: all classical models and all trained networks)"
    add("--models", default="", help=models)
    add("--frames", type=int, default=10, help="number of frames of each set, evenly spaced (default: 10)")
    add("--seed", type=int, default=0, help="random seed of the protocols (default: 0)")
    add_source_options(parser)
    out = "folder for evaluation.csv, totals.csv, evaluation.json and evaluation.md (default: write no files)"
    add("--out", type=Path, help=out)
    report = "HTML file with tables, charts and pictures; the files of --out are written beside it (default: none)"
    add("--report", type=Path, metavar="FILE", help=report)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``open_sources``: how sources are read."""
    add = parser.add_argument
    add("--profile", help="sensor profile (default: determined from the name of each set)")
    unit = "for bags and images:PATH: length of one unit of the depth values [m] (default: by encoding)"
    add("--depth-unit", type=float, metavar="M", help=unit)
    minimum = (
        "smallest depth of the sensor [m]; this depth and anything nearer count as missing (default: from the profile)"
    )
    add("--min-range", type=float, metavar="M", help=minimum)
    maximum = (
        "largest depth of the sensor [m]; this depth and anything farther count as missing (default: from the profile)"
    )
    add("--max-range", type=float, metavar="M", help=maximum)
    add("--rgb-topic", default=RGB_TOPIC, help=f"for bags: topic of the colour images (default: {RGB_TOPIC})")
    add("--depth-topic", default=DEPTH_TOPIC, help=f"for bags: topic of depth (default: {DEPTH_TOPIC})")
    truth = "for bags: topic of reference depth to score against [m, or mm in 16 bits] (default: none)"
    add("--truth-topic", help=truth)
    slop = "for bags: largest difference between the stamps of colour and depth [s] (default: 0.02)"
    add("--slop", type=float, default=SLOP_NS / 1e9, metavar="S", help=slop)
    offset = "for bags: added to the stamps of depth, whose clock differs from that of colour [s] (default: 0)"
    add("--depth-offset", type=float, default=0.0, metavar="S", help=offset)
    add(
        "--extrinsic",
        nargs=7,
        type=float,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="for bags with points or unregistered depth: pose of the depth sensor in the optical frame of the camera: "
        "x y z [m] qx qy qz qw (default: from /tf and /tf_static of the bag)",
    )
    unregistered = "for bags: depth images do not show the view of the colour images; both need a camera_info"
    add("--unregistered", action="store_true", help=unregistered)
    fixed = "for bags: frame that does not move, in which /tf has the pose of the camera, for the protocols sequence…"
    add("--fixed-frame", default="odom", help=f"{fixed} (default: odom)")
    rectify = "for bags: how to treat distorted images, as the node's parameter of this name (default: auto)"
    add("--rectify", choices=("auto", "on", "off"), default="auto", help=rectify)


def run(args: argparse.Namespace) -> int:
    """Print all tables, and write all results if --out is given.

    Returns:
        0, 1 if a source could not be used, or 130 if the evaluation was interrupted.
    """
    check_source_options(args)
    protocols = args.protocol.split(",")
    if unknown := set(protocols) - set(PROTOCOLS):
        raise ConfigurationError(f"no protocol {', '.join(unknown)}: choose from {', '.join(PROTOCOLS)}")
    if args.report:
        check_report(args.report)
    models = args.models.split(",") if args.models else default_models()
    if args.out:
        with writing_to(f"--out {args.out}"):
            args.out.mkdir(parents=True, exist_ok=True)
    sets = open_sources(args)
    evaluation = evaluate(sets, protocols, models, args.frames, args.seed, with_details=args.report is not None)
    if not evaluation.metrics:
        if not evaluation.complete:
            return 130
        reasons = list(evaluation.failures.values()) or ["choose others with --protocol"]
        raise InputError("truth", f"no frame can be used with these protocols: {'; '.join(reasons)}")
    scores = {key: metric.compute() for key, metric in evaluation.metrics.items()}
    by_set, totals = summarise(evaluation.metrics, BASELINES, args.seed)
    print_tables(evaluation, scores, by_set, totals)
    out = args.out or (args.report.parent if args.report else None)
    with writing_to(f"--out {args.out}" if args.out else f"--report {args.report}"):
        files = write_files(evaluation, scores, by_set, totals, out) if out else []
        if args.report:
            names = [Path(os.path.relpath(file, args.report.parent)).as_posix() for file in files]
            results = Results(evaluation, scores, by_set, totals, sets, args.seed, command_line(), names)
            write_report(results, args.report)
            print(f"report: {args.report}")
    if not evaluation.complete:
        return 130
    return 0 if len(sets) == len(set(args.sources)) else 1


@contextmanager
def writing_to(target: str) -> Iterator[None]:
    """Turn an error while files are written into one that names the option. Raises ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written to ({error}): choose another folder") from error


def check_source_options(args: argparse.Namespace) -> None:
    """Raises ConfigurationError if an option of ``open_sources`` or the number of frames is out of its range."""
    if args.frames < 1:
        raise ConfigurationError(f"--frames {args.frames} must be at least 1")
    if args.depth_unit is not None and not 0 < args.depth_unit < math.inf:
        raise ConfigurationError(f"--depth-unit {args.depth_unit} must be a number above zero: 0.001 for millimetres")
    if not 0 <= args.slop < math.inf:
        raise ConfigurationError(f"--slop {args.slop} must be 0 or more seconds")
    if not math.isfinite(args.depth_offset):
        raise ConfigurationError(f"--depth-offset {args.depth_offset} must be a number of seconds")


def check_report(path: Path) -> None:
    """Find out before the evaluation whether the report can be written, and make its folder.

    Raises:
        ConfigurationError: If it cannot.
    """
    check_requirements()
    if path.is_dir():
        raise ConfigurationError(f"--report {path} is a folder: give the name of an HTML file, {path / 'report.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--report {path}: {error.strerror}: choose another folder") from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(f"--report {path} may not be written: choose another folder")


def open_sources(args: argparse.Namespace) -> list[SampleSet]:
    """Open all sources that can be used, with unique names; print a line for each of the others.

    Without any source, open the bundled recordings.
    """
    if not args.sources:
        return open_bundled(args.frames)
    opened = []
    for source in dict.fromkeys(args.sources):
        try:
            opened.append((source, _open_one(source, args)))
        except InputError as error:
            if len(args.sources) == 1:
                raise
            print(f"skipped: {in_options(error, bags=True)}", file=sys.stderr)
    if not opened:
        raise InputError(
            "folder", "none of the sources can be used: give folders with a meta.json, bags, or data sets FORMAT:PATH"
        )
    names = Counter(samples.name for _, samples in opened)
    return [
        replace(samples, name=f"{Path(source).resolve().parent.name}/{samples.name}")
        if names[samples.name] > 1
        else samples
        for source, samples in opened
    ]


def _open_one(source: str, args: argparse.Namespace) -> SampleSet:
    limits = args.min_range, args.max_range
    if source.startswith(SYNTHETIC):
        try:
            from ..training.held_out_scenes import open_synthetic
        except ImportError as error:
            raise ConfigurationError(f"{source} needs PyTorch ({error}): pip install torch") from error
        kind, _, profile = source.removeprefix(SYNTHETIC).partition(":")
        return open_synthetic(kind, args.frames, profile or args.profile, limits)
    if is_dataset(source):
        return open_published(source, args.profile, limits, args.depth_unit)
    path = Path(source)
    if (path / "meta.json").is_file() or not path.exists():
        return open_folder(path, args.profile, limits)
    if path.is_dir() and not any(re.search(_BAG_FILES, file.name) for file in path.iterdir()):
        raise InputError(
            "folder",
            f"{source} has neither a meta.json nor the files of a bag: for a published data set, give FORMAT:{source}, "
            f"where FORMAT is one of {', '.join(FORMATS)}",
        )
    return open_bag(
        path,
        args.frames,
        args.profile,
        limits,
        settings=FrameSettings(
            registered=not args.unregistered,
            unit=args.depth_unit or 0.0,
            rectify=args.rectify,
            extrinsic=args.extrinsic or (),
            fixed_frame=args.fixed_frame,
        ),
        rgb_topic=args.rgb_topic,
        depth_topic=args.depth_topic,
        truth_topic=args.truth_topic,
        slop_ns=round(args.slop * 1e9),
        depth_offset_ns=round(args.depth_offset * 1e9),
    )
