"""``depth-completion evaluate``: models side by side on recorded frames, bags and procedural scenes."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.bags import DEPTH_TOPIC, RGB_TOPIC
from ..errors import ConfigurationError, InputError, in_options
from ..geometry import transform_from_pose
from .models import BASELINES, default_models
from .protocols import PROTOCOLS
from .report import print_tables, write_files
from .runs import evaluate
from .samples import SampleSet, open_bag, open_folder
from .summary import summarise

SYNTHETIC = "synthetic:"  # begins the name of procedural scenes


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion evaluate``."""
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help=f"folder of frames with a meta.json, bag, or {SYNTHETIC}KIND[:PROFILE]",
    )
    add("--protocol", default="raw,sparse5", help=f"of {', '.join(PROTOCOLS)}, with commas (default raw,sparse5)")
    add("--models", default="", help="with commas (default all classical ones and every trained network)")
    add("--profile", help="of the sensor (default told by the name of each set)")
    add("--depth-unit", type=float, metavar="M", help="of bags: metres per count of depth (default as encoded)")
    add("--min-range", type=float, metavar="M", help="nearer depth counts as missing (default the profile's)")
    add("--max-range", type=float, metavar="M", help="farther depth counts as missing (default the profile's)")
    add("--frames", type=int, default=10, help="of each set, evenly spread (default 10)")
    add("--seed", type=int, default=0, help="of what is hidden (default 0)")
    add("--rgb-topic", default=RGB_TOPIC, help=f"of bags (default {RGB_TOPIC})")
    add("--depth-topic", default=DEPTH_TOPIC, help=f"of bags (default {DEPTH_TOPIC})")
    add("--truth-topic", help="of bags: reference depth [m, or mm in 16 bits] that completions are scored against")
    add(
        "--extrinsic",
        nargs=7,
        type=float,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="pose of the points of bags in the camera's optical frame [m]",
    )
    add("--out", type=Path, help="folder for evaluation.csv, totals.csv, evaluation.json and evaluation.md")


def run(args: argparse.Namespace) -> int:
    """Print all tables; write all figures where --out is given. Returns 1 where a source could not be used, 130 after
    an interruption.
    """
    if args.frames < 1:
        raise ConfigurationError(f"--frames {args.frames} must be at least 1")
    if args.depth_unit is not None and not args.depth_unit > 0:
        raise ConfigurationError(f"--depth-unit {args.depth_unit} must be above zero: 0.001 for millimetres")
    protocols = args.protocol.split(",")
    if unknown := set(protocols) - set(PROTOCOLS):
        raise ConfigurationError(f"no protocol {', '.join(unknown)}: choose of {', '.join(PROTOCOLS)}")
    models = args.models.split(",") if args.models else default_models()
    sets = _open(args)
    evaluation = evaluate(sets, protocols, models, args.frames, args.seed)
    if not evaluation.metrics:
        if not evaluation.complete:
            return 130
        reasons = list(evaluation.failures.values()) or ["choose others with --protocol"]
        raise InputError("truth", f"no frame has what these protocols need: {'; '.join(reasons)}")
    scores = {key: metric.compute() for key, metric in evaluation.metrics.items()}
    by_set, totals = summarise(evaluation.metrics, BASELINES, args.seed)
    print_tables(evaluation, scores, by_set, totals)
    if args.out:
        write_files(evaluation, scores, by_set, totals, args.out)
    if not evaluation.complete:
        return 130
    return 0 if len(sets) == len(set(args.sources)) else 1


def _open(args: argparse.Namespace) -> list[SampleSet]:
    """The sources that can be used, under names that differ; a line for each of the others."""
    opened = []
    for source in dict.fromkeys(args.sources):
        try:
            opened.append((source, _open_one(source, args)))
        except InputError as error:
            if len(args.sources) == 1:
                raise
            print(f"left out: {in_options(error)}", file=sys.stderr)
    if not opened:
        raise InputError("folder", "none of the sources can be used: give folders with a meta.json, or bags")
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
            from .synthetic import open_synthetic
        except ImportError as error:
            raise ConfigurationError(f"{source} needs PyTorch ({error}): pip install torch") from error
        kind, _, profile = source.removeprefix(SYNTHETIC).partition(":")
        return open_synthetic(kind, args.frames, profile or args.profile, limits)
    path, pose = Path(source), args.extrinsic
    if (path / "meta.json").is_file() or not path.exists():
        return open_folder(path, args.profile, limits)
    return open_bag(
        path,
        args.frames,
        args.profile,
        limits,
        unit=args.depth_unit,
        rgb_topic=args.rgb_topic,
        depth_topic=args.depth_topic,
        truth_topic=args.truth_topic,
        depth_to_rgb=transform_from_pose(np.array(pose)) if pose else None,
    )
