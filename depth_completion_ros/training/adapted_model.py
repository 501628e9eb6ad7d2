"""The files of an adapted model: weights, network files, parameters of the sensor, and the model card."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..bag.folders import read_folder
from ..bag.frames import SLOP_NS
from ..errors import ConfigurationError
from ..evaluation.calibration import FRAMES, network_inputs, relative_difference
from ..evaluation.summary import Estimate
from ..frame import RgbdFrame
from ..model_file import SUFFIX, WEIGHTS_SUFFIX, model_directories
from ..networks import BASES, names
from ..networks.export import export_onnx
from ..networks.weights import load_weights, read_metadata
from .adapt import AFTER, BEFORE, Result
from .recording import TRAIN, Reading, Recording

_SIZE = "small"
_PRECISIONS = ("fp32", "fp16", "int8")
_TABLE_WIDTH = 160  # where there is no terminal
_TITLE = "Frames that were not used for training, and rendered scenes; errors in mm, changes with 95 % intervals"
_HEIGHT, _WIDTH = 480, 640  # of the frames for calibration


@dataclass(frozen=True)
class Place:
    """Where the files of a model are.

    Attributes:
        name: Name of the model.
        folder: Its folder.
        by_name: Whether engines find it there by its name; otherwise they need a path.
    """

    name: str
    folder: Path
    by_name: bool

    @property
    def work(self) -> Path:
        """Folder of the frames, the checkpoint and the log."""
        return self.folder / f"{self.name}_adaptation"

    @property
    def weights(self) -> Path:
        return self.folder / f"{self.name}-{_SIZE}{WEIGHTS_SUFFIX}"

    @property
    def card(self) -> Path:
        return self.weights.with_suffix(".md")

    @property
    def parameters(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    def network_file(self, precision: str) -> Path:
        """The file that ``find_model_file`` finds by the name of the model."""
        return self.folder / f"{self.name}-{_SIZE}-{precision}-dynamic{SUFFIX}"

    def existing(self) -> list[Path]:
        """The files of a finished model that exist."""
        files = [self.weights, self.card, self.parameters, *map(self.network_file, _PRECISIONS)]
        return [file for file in files if file.exists()]


def place_of(out: str) -> Place:
    """Return where the files of ``--out`` are: a name in the user's model directory, or the path of a folder.

    Raises:
        ConfigurationError: If the name cannot be that of a model.
    """
    path = Path(out).expanduser()
    by_name = os.sep not in out
    name = path.name
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ConfigurationError(f"--out {out}: {name!r} cannot name a model: use letters, digits and underscores")
    if name in (*names(), *BASES, "auto"):
        raise ConfigurationError(f"--out {out}: {name} is the name of a network of this package: choose another")
    return Place(name, (model_directories()[0] if by_name else path).resolve(), by_name)


def export_files(place: Place, weights: Path, recording: Recording) -> tuple[list[Path], list[str]]:
    """Copy the weights to their place and export them in three precisions.

    Returns:
        The network files, and lines for users: how much each precision changes depth, or why one is missing.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, place.weights)
    weighted = load_weights(weights)
    feeds = network_inputs(_spread(recording), recording.profile, _HEIGHT, _WIDTH)
    files: list[Path] = []
    lines: list[str] = []
    for precision in _PRECISIONS:
        path = place.network_file(precision)
        try:
            export_onnx(
                weighted.network,
                path,
                _HEIGHT,
                _WIDTH,
                precision=precision,
                dynamic=True,
                profile=weighted.profile,
                calibration=feeds[::2],
            )
        except (ConfigurationError, ImportError) as error:  # a library of the export is not installed
            lines.append(f"no {precision} file: {error}")
            continue
        if precision == "fp32":
            reference = path
        else:
            difference = relative_difference(path, reference, feeds[1::2])
            lines.append(f"{precision}: depth differs from float32 by {difference:.2%} (relative RMSE)")
        files.append(path)
    return files, lines


def _spread(recording: Recording) -> Iterator[RgbdFrame]:
    """Yield evenly spaced frames for training, enough for the calibration."""
    frames = read_folder(recording.folder / TRAIN)
    return (frames[position * len(frames) // FRAMES].frame for position in range(FRAMES))


def launch_command(place: Place, recording: Recording, files: list[Path]) -> str:
    """Return the command that runs the node with the model."""
    arguments = {"model": place.name, "params_file": str(place.parameters)}
    if not place.by_name:
        int8 = [file for file in files if file == place.network_file("int8")]
        arguments["model"] = str([*int8, *files, place.weights][0])
    if not files:
        arguments["engine"] = "torch"
    given = " ".join(f"{name}:={shlex.quote(value)}" for name, value in arguments.items())
    return f"ros2 launch depth_completion_ros {recording.profile}.launch.py {given}"


def write_parameters(path: Path, recording: Recording, reading: Reading) -> None:
    """Write the settings with which the recording was read as a ROS parameter file, with the estimates as comments."""
    settings, profile = reading.settings, reading.profile
    depth: dict[str, Any] = {"min_range": float(profile.min_range), "max_range": float(profile.max_range)}
    sync: dict[str, Any] = {}
    values: dict[str, Any] = {"profile": profile.name, "depth": depth}
    if recording.points:
        depth["source"] = "points"
    if not settings.registered:
        depth["registered"] = False
    if settings.unit:
        depth["unit"] = float(settings.unit)
    if reading.slop_ns != SLOP_NS:
        sync["slop"] = reading.slop_ns / 1e9
    if reading.depth_offset_ns:
        sync["depth_offset"] = reading.depth_offset_ns / 1e9
    if sync:
        values["sync"] = sync
    if settings.rectify != "auto":
        values["rectify"] = settings.rectify
    if len(settings.extrinsic):
        values["extrinsic"] = [float(value) for value in settings.extrinsic]
    comments = ["How depth-completion adapt read this recording; the node reads the camera alike.", *recording.lines()]
    text = "".join(f"# {line}\n" for line in (*comments, *recording.sensor.lines()))
    text += yaml.safe_dump({"/**": {"ros__parameters": values}}, sort_keys=False)
    path.write_text(text, encoding="utf-8")


def result_rows(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows of the table that compares the weights before and after."""
    heading = ["frames", "protocol", "RMSE / MAE before", "RMSE / MAE after", "RMSE", "MAE", "in 90 % interval"]
    rows = []
    for one in (*result.frames, *result.scenes):
        metrics = {key.model: metric for key, metric in result.metrics.items() if key[:2] == (one.set, one.protocol)}
        values = {model: metric.compute()["all"] for model, metric in metrics.items()}
        errors = [_errors(values[model]) for model in (BEFORE, AFTER)] if values else ["", ""]
        coverage = " -> ".join(f"{values[model]['coverage']:.0%}" for model in (BEFORE, AFTER)) if values else ""
        changes = [_change(one.changes[error]) for error in ("rmse", "mae")]
        rows.append([f"{one.set} ({one.frames})", one.protocol, *errors, *changes, coverage])
    return heading, rows


def print_result(result: Result) -> None:
    """Print the table that compares the weights before and after."""
    heading, rows = result_rows(result)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_TABLE_WIDTH)
    table = Table(*heading, box=SIMPLE_HEAD, title=_TITLE, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def model_card(place: Place, recording: Recording, result: Result, data: list[str], exported: list[str]) -> str:
    """Return the model card in Markdown."""
    about = {k: v for k, v in read_metadata(result.weights).items() if k not in ("contract", "size")}
    heading, rows = result_rows(result)
    lines = [
        f"# {place.name}",
        "",
        f"Best for: the place and the camera of the recording {recording.source}",
        "",
        f"Weights of the network {about.pop('name')}, adapted with `depth-completion adapt`.",
        "",
        *_table(["training", ""], [[key.replace("_", " "), value] for key, value in about.items()]),
        "",
        "## Recording",
        "",
        *(f"- {line}" for line in (*recording.lines(), *recording.sensor.lines())),
        "",
        "## Other data",
        "",
        *(f"- {line}" for line in data),
        "",
        "## Comparison with the weights before",
        "",
        f"{_TITLE}.",
        "",
        *_table(heading, rows),
        "",
        *exported,
    ]
    return "\n".join([*lines, ""])


def _table(heading: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *rows)]


def _errors(figures: Mapping[str, float]) -> str:
    return f"{1e3 * figures['rmse']:.1f} / {1e3 * figures['mae']:.2f}"


def _change(change: Estimate) -> str:
    return f"{change.value:+.1%} ({change.low:+.1%} to {change.high:+.1%})"
