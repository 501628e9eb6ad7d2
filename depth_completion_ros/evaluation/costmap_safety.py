"""Obstacles that completed depth hides from a costmap, and obstacles that it invents, by model and gate."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..completer import DepthCompleter
from ..errors import EngineError, InputError, in_options
from ..geometry import back_project, moved
from ..lens import rays
from ..profiles import Profile
from .costmap import RULES, Cells, Rule, compare, costmap, floor_pose
from .models import open_model
from .protocols import make_trial
from .samples import SampleSet

PROTOCOLS = ("given", "lidar-rings", "blocks")  # a set is scored with the first of these that it can be used with
SENSOR = "sensor"  # the depth that the models are given, without completion
CONFIDENCES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)  # values of min_confidence
_WIDTH = 150  # of tables that are not printed to a terminal


class Gate(NamedTuple):
    """What is published: whether measured pixels keep their depth, and the least confidence."""

    fill_only: bool
    min_confidence: float


class Row(NamedTuple):
    """The set, model and gate of some cells."""

    set: str
    model: str
    gate: Gate


@dataclass
class Safety:
    """The results.

    Attributes:
        cells: Cells by set, model and gate.
        frames: Number of scored frames by set.
        notes: What was left out and why.
    """

    cells: dict[Row, Cells] = field(default_factory=lambda: defaultdict(Cells))
    frames: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    notes: list[str] = field(default_factory=list)

    def total(self, model: str, gate: Gate) -> Cells:
        """The cells of all sets."""
        return sum((cells for row, cells in self.cells.items() if row[1:] == (model, gate)), Cells())


def costmap_safety(
    sets: list[SampleSet], models: list[str], frames: int, seed: int = 0, confidences: tuple[float, ...] = CONFIDENCES
) -> Safety:
    """Compare the costmap of completed depth with that of true depth. Shows a progress bar; Ctrl-C ends it early.

    True depth is the ground truth, or what the sensor measured, of which the models do not see a part. Only pixels with
    true depth are used, in both maps, and none whose true distance is within 10 % of obstacle_max_range. Heights are
    those above z = 0 of the fixed frame of a recording with poses, else above the floor that is found in the true
    depth.

    Args:
        sets: Sets with unique names.
        models: Names of models.
        frames: Number of samples of each set, evenly spaced.
        seed: Random seed of the protocols.
        confidences: Values of ``min_confidence``.

    Raises:
        ConfigurationError: If a model cannot be opened.
    """
    safety = Safety()
    for samples in sets:
        completers = {name: open_model(name, samples.profile) for name in models}
        try:
            wanted = min(len(samples), frames)
            places = [number * len(samples) // wanted for number in range(wanted)]
            for index in track(places, samples.name, console=Console(stderr=True), transient=True):
                why = _score(safety, samples, index, completers, seed, confidences)
                if why:
                    safety.notes.append(f"{samples.name}, frame {index}: {why}")
        except KeyboardInterrupt:
            safety.notes.append("interrupted: results are for the frames completed so far")
            break
        finally:
            for completer in completers.values():
                completer.close()
    return safety


def _score(
    safety: Safety,
    samples: SampleSet,
    index: int,
    completers: dict[str, DepthCompleter],
    seed: int,
    confidences: tuple[float, ...],
) -> str:
    """Add the cells of one frame for all models and gates; returns why the frame is left out, "" if it is not."""
    try:
        trial = next((one for name in PROTOCOLS if (one := make_trial(name, samples, index, seed))), None)
    except InputError as error:
        return in_options(error, bags=True)
    if trial is None:
        return "it has too little depth"
    frame = trial.frame
    if frame.intrinsics is None:
        return "the intrinsics are not known"
    rule = rule_of(samples.profile)
    truth = np.where(np.isfinite(trial.truth), trial.truth, frame.depth)
    points = back_project(truth, frame.intrinsics)
    pose = frame.camera_pose if frame.camera_pose is not None else floor_pose(points, rule.resolution / 2)
    if pose is None:
        return "no floor is seen"

    x, y = rays(frame.intrinsics)
    used = np.isfinite(truth) & ~rule.at_limit(truth * np.sqrt(1 + x**2 + y**2))

    def grid(depth: np.ndarray) -> np.ndarray:
        assert frame.intrinsics is not None
        shown = back_project(np.where(used, depth, np.float32(np.nan)), frame.intrinsics)
        return costmap(moved(shown, pose), pose[:3, 3], rule)

    true_grid = grid(truth)
    found = {Row(samples.name, SENSOR, Gate(True, 0.0)): compare(grid(frame.depth), true_grid)}
    for name, completer in completers.items():
        for fill_only in (False, True):
            completer.fill_only = fill_only
            try:
                completed = completer.complete(frame)
            except EngineError as error:
                return f"{name}: {error}"
            for confidence in confidences:
                kept = np.where(completed.confidence >= confidence, completed.depth, np.float32(np.nan))
                found[Row(samples.name, name, Gate(fill_only, confidence))] = compare(grid(kept), true_grid)
    for row, cells in found.items():
        safety.cells[row] += cells
    safety.frames[samples.name] += 1
    return ""


def rule_of(profile: Profile) -> Rule:
    """The parameters of the costmap for a profile."""
    return RULES.get(profile.name, Rule())


def print_safety(safety: Safety) -> None:
    """Print one table with the sums over all sets, then what was left out."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    names = ", ".join(f"{name} ({count} frames)" for name, count in safety.frames.items())
    console.print(
        f"Cells of the costmap, sums over {names}. Of the cells with obstacles [%]: found, lost (cleared, so that the "
        "robot may drive there), unknown. Of the free cells [%]: seen as free, invented (marked). Beyond: cells that "
        "are cleared although they lie behind true surfaces, per 100 free cells.",
        soft_wrap=True,
    )
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for heading in ("fill_only", "min_confidence", "found", "lost", "unknown", "seen", "invented", "beyond"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model, gate in dict.fromkeys(row[1:] for row in safety.cells):
        shares = shares_of(safety.total(model, gate))
        texts = [f"{100 * value:.1f}" if np.isfinite(value) else "-" for value in shares.values()]
        settings = ["-", "-"] if model == SENSOR else [str(gate.fill_only).lower(), f"{gate.min_confidence:g}"]
        table.add_row(model, *settings, *texts)
    console.print(table)
    for line in safety.notes:
        console.print(line, markup=False, soft_wrap=True)


def shares_of(cells: Cells) -> dict[str, float]:
    """Shares of the cells with obstacles (found, lost, unknown) and of the free cells (seen, invented, beyond)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        obstacles, free = np.float64(cells.obstacles), np.float64(cells.free)
        return {
            "found": float(cells.found / obstacles),
            "lost": float(cells.lost / obstacles),
            "unknown": float((cells.obstacles - cells.found - cells.lost) / obstacles),
            "seen": float(cells.seen / free),
            "invented": float(cells.invented / free),
            "beyond": float(cells.beyond / free),
        }


def write_safety(safety: Safety, sets: list[SampleSet], out: Path) -> list[Path]:
    """Write costmap.csv (cells by set, model and gate) and costmap.json (the same, rules and notes).

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = [
        {"set": row.set, "model": row.model, **row.gate._asdict(), "frames": safety.frames[row.set], **asdict(cells)}
        for row, cells in safety.cells.items()
    ]
    with (out / "costmap.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    rules = {samples.name: asdict(rule_of(samples.profile)) for samples in sets}
    content = {"rules": rules, "cells": rows, "notes": safety.notes}
    (out / "costmap.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return [out / "costmap.csv", out / "costmap.json"]
