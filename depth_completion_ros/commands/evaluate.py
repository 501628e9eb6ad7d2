"""``depth-completion evaluate``: compare models on recorded frames, bags and procedural scenes."""

from __future__ import annotations

import argparse
import functools
import io
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path

from ..bag.frames import SLOP_NS
from ..bag.reader import DEPTH_TOPIC, RGB_TOPIC
from ..errors import ConfigurationError, InputError, in_options
from ..evaluation.datasets import FORMATS, is_dataset
from ..evaluation.distributed import RECORDING, FinishedRecordings, evaluate_on_workers
from ..evaluation.evaluate import Evaluation, evaluate, joined
from ..evaluation.html.page import Results, check_report, command_line, write_report_and_files
from ..evaluation.models import BASELINES, default_models
from ..evaluation.protocols import PROTOCOLS
from ..evaluation.report import print_tables, write_files
from ..evaluation.samples import SampleSet, open_bag, open_bundled, open_folder, open_published
from ..evaluation.summary import summarise
from ..frame_builder import FrameSettings
from ..model_file import model_directories

UNFINISHED = "unfinished"  # folder beside the results, while not all recordings are evaluated
_NOT_IN_RESULTS = {"sources", "out", "report", "workers", "scheduler"}  # options
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
    workers = "evaluate recordings in this number of processes with Dask (default: one after the other in this process)"
    add("--workers", type=int, default=0, metavar="N", help=workers)
    scheduler = "evaluate recordings on the workers of the Dask scheduler at this address, such as tcp://10.0.0.5:8786"
    add("--scheduler", default="", metavar="ADDRESS", help=scheduler)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``open_sources``: how sources are read, and the topic of reference depth."""
    truth = "for bags: topic of reference depth to score against [m, or mm in 16 bits] (default: none)"
    parser.add_argument("--truth-topic", help=truth)
    configure_reading(parser)


def configure_reading(parser: argparse.ArgumentParser) -> None:
    """Arguments of all commands that read recordings: the sensor, and how the messages of bags become frames."""
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
    if args.workers < 0:
        raise ConfigurationError(f"--workers {args.workers} must be at least 1, or 0 for this process")
    if args.workers and args.scheduler:
        raise ConfigurationError("--workers and --scheduler exclude each other: the scheduler has workers of its own")
    protocols = names_in(args.protocol)
    if unknown := set(protocols) - set(PROTOCOLS):
        raise ConfigurationError(f"no protocol {', '.join(unknown)}: choose from {', '.join(PROTOCOLS)}")
    if args.report:
        check_report(args.report)
    models = names_in(args.models) or default_models()
    if args.out:
        with writing_to(f"--out {args.out}"):
            args.out.mkdir(parents=True, exist_ok=True)
    opened = open_sources(args)
    sets = list(opened.values())
    evaluation = _evaluate(args, opened, protocols, models)
    if not evaluation.metrics:
        if not evaluation.complete:
            return 130
        reasons = list(evaluation.failures.values()) or ["choose others with --protocol"]
        raise InputError("truth", f"no frame can be used with these protocols: {'; '.join(reasons)}")
    scores = {key: metric.compute() for key, metric in evaluation.metrics.items()}
    by_set, totals = summarise(evaluation.metrics, BASELINES, args.seed)
    print_tables(evaluation, scores, by_set, totals)
    with writing_to(f"--out {args.out}" if args.out else f"--report {args.report}"):
        if args.report:
            results = Results(evaluation, scores, by_set, totals, sets, args.seed, command_line())
            write_report_and_files(results, args.report, args.out or args.report.parent)
            print(f"report: {args.report}")
        elif args.out:
            write_files(evaluation, scores, by_set, totals, args.out)
    if not evaluation.complete:
        return 130
    scored = {key.set for key in evaluation.metrics} | {key[0] for key in evaluation.failures}
    unused = [samples.name for samples in sets if samples.name not in scored]
    for name in unused:
        print(f"{name}: no frame can be used with --protocol {','.join(protocols)}", file=sys.stderr)
    failed = any(key[1] == RECORDING for key in evaluation.failures)
    return 0 if len(sets) == len(set(args.sources)) and not failed and not unused else 1


def _evaluate(
    args: argparse.Namespace, opened: dict[str, SampleSet], protocols: list[str], models: list[str]
) -> Evaluation:
    """Evaluate all sets, by source; with --out, go on where the same command was interrupted."""
    out = args.out or (args.report.parent if args.report else None)
    kept = FinishedRecordings(out / UNFINISHED, _settings(args, protocols, models)) if out else None
    files = {samples.name: _files(source) for source, samples in opened.items()}

    def save(name: str, result: Evaluation) -> None:
        if kept is not None:
            kept.save(name, files[name], result)

    before = {}
    for samples in opened.values():
        if kept is not None and (result := kept.load(samples.name, files[samples.name])):
            before[samples.name] = result
    if before:
        print(f"{len(before)} of {len(opened)} recordings were evaluated before", file=sys.stderr)
    remaining = {source: samples for source, samples in opened.items() if samples.name not in before}
    if args.workers or args.scheduler:
        tasks = {
            samples.name: functools.partial(_evaluate_one, args, source, samples.name, protocols, models)
            for source, samples in remaining.items()
        }
        now = evaluate_on_workers(tasks, args.workers, args.scheduler, save) if tasks else Evaluation()
    else:
        details = args.report is not None
        now = evaluate(
            list(remaining.values()), protocols, models, args.frames, args.seed, with_details=details, finished=save
        )
    names = [samples.name for samples in opened.values()]
    evaluation = joined(before[name] if name in before else now.of_set(name, protocols) for name in names)
    evaluation.complete = now.complete
    if kept is not None and now.complete and not any(key[1] == RECORDING for key in now.failures):
        kept.remove()
    return evaluation


def _evaluate_one(
    args: argparse.Namespace, source: str, name: str, protocols: list[str], models: list[str]
) -> Evaluation:
    """Evaluate one recording, in a process of its own, whose warnings the main process has already printed."""
    with redirect_stderr(io.StringIO()):
        samples = replace(_open_one(source, args), name=name)
        return evaluate([samples], protocols, models, args.frames, args.seed, with_details=args.report is not None)


def _settings(args: argparse.Namespace, protocols: list[str], models: list[str]) -> str:
    """Everything but the recording that its results depend on."""
    options = {name: value for name, value in vars(args).items() if name not in _NOT_IN_RESULTS}
    files = [file for folder in model_directories() for file in folder.glob("*.*")]
    files += Path(__file__).parents[1].rglob("*.py")
    changed = max(file.stat().st_mtime_ns for file in files)
    return f"{sorted(options.items())} {args.report is not None} {protocols} {models} {changed}"


def _files(source: str) -> list[Path]:
    """The files of a recording; none for what is not a folder or file."""
    path = Path(source)
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def check_reading(args: argparse.Namespace) -> None:
    """Check the arguments of ``configure_reading``. Raises ConfigurationError."""
    if args.depth_unit is not None and not 0 < args.depth_unit < math.inf:
        raise ConfigurationError(f"--depth-unit {args.depth_unit} must be a number above zero: 0.001 for millimetres")
    if not 0 <= args.slop < math.inf:
        raise ConfigurationError(f"--slop {args.slop} must be 0 or more seconds")
    if not math.isfinite(args.depth_offset):
        raise ConfigurationError(f"--depth-offset {args.depth_offset} must be a number of seconds")


def frame_settings(args: argparse.Namespace) -> FrameSettings:
    """How the messages of a bag become frames, by the arguments of ``configure_reading``."""
    return FrameSettings(
        registered=not args.unregistered,
        unit=args.depth_unit or 0.0,
        rectify=args.rectify,
        extrinsic=args.extrinsic or (),
        fixed_frame=args.fixed_frame,
    )


@contextmanager
def writing_to(target: str) -> Iterator[None]:
    """Turn an error while files are written into one that names the option. Raises ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written to ({error}): choose another folder") from error


def names_in(text: str) -> list[str]:
    """The names in a list that is separated by commas: each once, without the spaces around it."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def check_source_options(args: argparse.Namespace) -> None:
    """Raises ConfigurationError if an option of ``open_sources`` or the number of frames is out of its range."""
    if args.frames < 1:
        raise ConfigurationError(f"--frames {args.frames} must be at least 1")
    check_reading(args)


def open_sources(args: argparse.Namespace) -> dict[str, SampleSet]:
    """Open all sources that can be used, by source, with unique names; print a line for each of the others.

    Without any source, open the bundled recordings.
    """
    if not args.sources:
        return {samples.name: samples for samples in open_bundled(args.frames)}
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
    return {
        source: replace(samples, name=name)
        for (source, samples), name in zip(opened, _unique_names(opened), strict=True)
    }


def _unique_names(opened: list[tuple[str, SampleSet]]) -> list[str]:
    """The names of sets; equal ones with as many of the folders that contain them as tell them apart."""
    names = [samples.name for _, samples in opened]
    folders = [Path(source).resolve().parent.parts[1:] for source, _ in opened]
    for depth in range(1, max(map(len, folders)) + 1):
        counts = Counter(names)
        if max(counts.values()) == 1:
            break
        names = [
            name if counts[name] == 1 else "/".join((*above[-depth:], samples.name))
            for name, above, (_, samples) in zip(names, folders, opened, strict=True)
        ]
    counts = Counter(names)  # files such as a.mcap and a.db3 in one folder have the same name
    return [name if counts[name] == 1 else source for name, (source, _) in zip(names, opened, strict=True)]


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
        settings=frame_settings(args),
        rgb_topic=args.rgb_topic,
        depth_topic=args.depth_topic,
        truth_topic=args.truth_topic,
        slop_ns=round(args.slop * 1e9),
        depth_offset_ns=round(args.depth_offset * 1e9),
    )
