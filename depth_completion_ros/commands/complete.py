"""``depth-completion complete``: complete a pair of image files, or the pairs in two folders."""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from ..completer import DepthCompleter
from ..errors import ConfigurationError, InputError, in_options
from ..files import FARTHEST_M, find_pairs, read_pair, write_results
from ..geometry import without_clipped
from ..profiles import load_profile


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion complete``."""
    add = parser.add_argument
    add("--rgb", type=Path, required=True, help="colour image, or folder of colour images")
    add("--depth", type=Path, required=True, help="depth file of the same view, or folder of depth files")
    unit = "length of one unit of the depth values [m] (default: 0.001 for integers, 1 for floats)"
    add("--depth-unit", "--depth-scale", type=float, metavar="M", help=unit)
    minimum = (
        "smallest depth of the sensor [m]; this depth and anything nearer count as missing (default: from the profile)"
    )
    add("--min-range", type=float, metavar="M", help=minimum)
    maximum = (
        "largest depth of the sensor [m]; this depth and anything farther count as missing (default: from the profile)"
    )
    add("--max-range", type=float, metavar="M", help=maximum)
    intrinsics = "intrinsics fx,fy,cx,cy of the colour image [pixels]; with them, point clouds (PLY) are written too"
    add("--intrinsics", type=_intrinsics, help=intrinsics)
    add("--profile", default="kinect", help="sensor profile: kinect, tof or lidar (default: kinect)")
    engine = "engine that runs the model (default: auto = the best one on this machine)"
    add("--engine", default="auto", help=engine)
    add("--model", default="auto", help="name of a model, or path of a network file (default: auto = the best one)")
    add("--fill-only", action="store_true", help="keep the measured depth of measured pixels")
    confidence = "pixels with a lower confidence, 0 to 1, are written as missing (default: 0)"
    add("--min-confidence", type=float, default=0.0, help=confidence)
    add("--out", type=Path, required=True, help="folder for the results")


def run(args: argparse.Namespace) -> int:
    """Complete every pair. Returns 1 if any failed."""
    if args.depth_unit is not None and not 0 < args.depth_unit < math.inf:
        raise ConfigurationError(f"--depth-unit {args.depth_unit} must be a number above zero: 0.001 for millimetres")
    if not 0 <= args.min_confidence <= 1:
        raise ConfigurationError(f"--min-confidence {args.min_confidence} must be between 0 and 1")
    pairs, left_over, rule = find_pairs(args.rgb, args.depth)
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if rule:
        first = f"{pairs[0].rgb.name} with {pairs[0].depth.name}"
        console.print(f"{len(pairs)} pairs are matched by {rule}: {first}, and so on")
    if left_over:
        console.print(f"{len(left_over)} files have no partner and are ignored: {left_over[0]} and so on")
    profile = load_profile(args.profile).within(args.min_range, args.max_range)
    completer = DepthCompleter(
        profile, args.engine, args.model, fill_only=args.fill_only, min_confidence=args.min_confidence
    )
    milliseconds, too_far, reported = [], 0, set()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for pair in track(pairs, "Completing", console=console, disable=not sys.stderr.isatty()):
            try:
                frame = read_pair(pair, args.depth_unit, args.intrinsics)
                depth, clipped = without_clipped(frame.depth, args.depth_unit or 0.001, profile.max_range)
                if clipped and clipped not in reported:
                    reported.add(clipped)
                    console.print(f"{pair.name}: {in_options(clipped)}")
                frame = replace(frame, depth=depth)
                started = time.perf_counter()
                completed = completer.complete(frame)
            except InputError as error:
                console.print(f"{pair.name}: {in_options(error)}")
                continue
            milliseconds.append((time.perf_counter() - started) * 1e3)
            too_far += write_results(args.out, pair.name, frame, completed)
    except OSError as error:
        raise ConfigurationError(
            f"--out {args.out} cannot be written to ({error}): fix this or choose another folder"
        ) from error
    finally:
        completer.close()
    if too_far:
        console.print(f"{too_far} frames have depth beyond {FARTHEST_M} m, which is 0 in the PNG and kept in the .npy")
    print(f"{len(milliseconds)} of {len(pairs)} frames completed, written to {args.out}")
    if milliseconds:
        p50, p95 = np.percentile(milliseconds, [50, 95])
        print(f"{p50:.1f} ms p50, {p95:.1f} ms p95 per frame ({completer.engine.engine}, {completer.engine.model})")
    return int(len(milliseconds) < len(pairs))


def _intrinsics(text: str) -> tuple[float, float, float, float]:
    try:
        fx, fy, cx, cy = (float(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not four numbers: fx,fy,cx,cy") from None
    return fx, fy, cx, cy
