"""Scores models on folders of recorded frames, all of them side by side on the same trials."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..completer import DepthCompleter
from ..data.folders import FrameSet, read_folder
from ..engines import model_names
from ..errors import ConfigurationError, InputError
from .metrics import FIGURES, Metric
from .protocols import PROTOCOLS, make_trial


class Key(NamedTuple):
    """What one metric is about."""

    folder: str
    protocol: str
    model: str


Scores = dict[str, dict[str, float]]  # by stratum and figure


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion evaluate``."""
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="of frames, with a meta.json")
    add("--protocol", default="raw,sparse5", help=f"of {', '.join(PROTOCOLS)}, with commas (default raw,sparse5)")
    add("--engine", default="auto", help="that runs the models (default auto)")
    add("--models", default="", help="with commas (default all of the engine)")
    add("--profile", default="kinect", help="of the sensor (default kinect)")
    add("--frames", type=int, default=10, help="of each folder, evenly spread (default 10)")
    add("--seed", type=int, default=0, help="of what is hidden (default 0)")
    add("--out", type=Path, help="folder for evaluation.csv and evaluation.json")


def run(args: argparse.Namespace) -> int:
    """Print one table for each folder and protocol; write all figures where --out is given."""
    if args.frames < 1:
        raise ConfigurationError(f"--frames {args.frames} must be at least 1")
    protocols = args.protocol.split(",")
    if unknown := set(protocols) - set(PROTOCOLS):
        raise ConfigurationError(f"no protocol {', '.join(unknown)}: choose of {', '.join(PROTOCOLS)}")
    models = args.models.split(",") if args.models else model_names(args.engine)
    completers = {model: DepthCompleter(args.profile, args.engine, model) for model in models}
    metrics = evaluate([read_folder(folder) for folder in args.folders], protocols, completers, args.frames, args.seed)
    if not metrics:
        raise InputError("truth", "no frame has what these protocols need: choose others with --protocol")
    scores = {key: metric.compute() for key, metric in metrics.items()}
    _print(scores)
    if args.out:
        _write(scores, args.out)
    return 0


def evaluate(
    sets: list[FrameSet], protocols: list[str], completers: dict[str, DepthCompleter], frames: int, seed: int = 0
) -> dict[Key, Metric]:
    """A metric for each set, protocol and model; none where no frame of the set has what the protocol needs.

    frames: of each set, evenly spread. Shows a progress bar. Raises InputError for a frame that cannot be used.
    """
    metrics: dict[Key, Metric] = {}
    picks = [(frame_set, index) for frame_set in sets for index in _spread(len(frame_set), frames)]
    with Progress(console=Console(stderr=True)) as progress:
        for frame_set, index in progress.track(picks, description="evaluating"):
            for protocol in protocols:
                trial = make_trial(protocol, frame_set, index, seed)
                if trial is None:
                    continue
                for model, completer in completers.items():
                    metric = metrics.setdefault(Key(frame_set.name, protocol, model), Metric())
                    metric.update(completer.complete(trial.frame), trial.truth)
    return metrics


def _spread(count: int, wanted: int) -> list[int]:
    """``wanted`` positions evenly spread over ``count``, or all of them."""
    wanted = min(count, wanted)
    return [position * count // wanted for position in range(wanted)]


def _print(scores: dict[Key, Scores]) -> None:
    console = Console()
    for folder, protocol in dict.fromkeys((key.folder, key.protocol) for key in scores):
        table = Table(title=f"{folder}, {protocol}: RMSE/MAE in mm", title_justify="left")
        table.add_column("model")
        for name in ("all", "near", "far", "within", "conf.", "ECE"):
            table.add_column(name, justify="right")
        for key, strata in scores.items():
            if (key.folder, key.protocol) == (folder, protocol):
                errors = [_errors(part) for part in strata.values()]
                shares = [f"{strata['all'][name]:.3f}" for name in ("within", "confidence", "ece")]
                table.add_row(key.model, *errors, *shares)
        console.print(table)


def _errors(part: dict[str, float]) -> str:
    return f"{part['rmse'] * 1e3:.0f}/{part['mae'] * 1e3:.1f}" if part["pixels"] else "-"


def _write(scores: dict[Key, Scores], out: Path) -> None:
    rows = [
        {**key._asdict(), "stratum": stratum, **figures}
        for key, strata in scores.items()
        for stratum, figures in strata.items()
    ]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "evaluation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*Key._fields, "stratum", *FIGURES])
        writer.writeheader()
        writer.writerows(rows)
    # JSON has no NaN: a stratum without pixels holds null.
    clean = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    (out / "evaluation.json").write_text(json.dumps({"figures": FIGURES, "scores": clean}, indent=1))
