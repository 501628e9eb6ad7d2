"""Put the HTML report together from the results of an evaluation."""

from __future__ import annotations

import base64
import os
import platform
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from rich.console import Console
from rich.progress import track

from ...errors import ConfigurationError
from ...resources import PACKAGE, share_directory
from ..details import Details, FrameDetails
from ..evaluate import Evaluation, Key
from ..metrics import FIGURES
from ..models import BASELINES
from ..pictures import error_colours, error_limits
from ..report import Scores, failure_lines, write_files
from ..samples import SampleSet
from ..summary import Comparison
from . import tables
from .charts import MOST_SERIES, Series, changes
from .section import Section, make_section
from .tables import Table, percent, signed

MOST_PICTURED = 36  # frames with pictures in one report
_LIBRARIES = ("numpy", "opencv-contrib-python-headless", "openvino", "torch", "onnxruntime", "tensorrt", "scipy")


@dataclass(frozen=True)
class Results:
    """All that the report shows.

    Attributes:
        evaluation: The evaluation, with details.
        scores: The results of each metric.
        by_set: Comparisons by set.
        totals: Comparisons over all sets.
        sets: The sets.
        seed: Random seed of the protocols.
        command: The command that was run.
        files: Names of the files with all figures, relative to the report.
    """

    evaluation: Evaluation
    scores: Scores
    by_set: list[Comparison]
    totals: list[Comparison]
    sets: list[SampleSet]
    seed: int
    command: str
    files: list[str] = field(default_factory=list)


def check_requirements(option: str = "--report") -> None:
    """Raise ConfigurationError if a library that the report needs is missing. option: what asks for the report."""
    missing = [name for name, module in (("Jinja2", "jinja2"), ("vl-convert", "vl_convert")) if not find_spec(module)]
    if missing:
        raise ConfigurationError(f"{option} needs {' and '.join(missing)}: pip install 'depth_completion_ros[report]'")


def check_report(path: Path, option: str = "--report") -> None:
    """Find out before an evaluation whether its report can be written, and make the folder of the report.

    Args:
        path: The file.
        option: The command-line option or parameter that the path was given with, for the message.

    Raises:
        ConfigurationError: If it cannot be written.
    """
    check_requirements(option)
    if path.is_dir():
        raise ConfigurationError(f"{option} {path} is a folder: give the name of an HTML file, {path / 'report.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{option} {path}: {error.strerror}: choose another folder") from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigurationError(f"{option} {path} may not be written: choose another folder")


def write_report_and_files(results: Results, path: Path, folder: Path) -> None:
    """Write the files of ``report.write_files`` to a folder, and the report with links to them.

    Raises:
        OSError: If a file cannot be written.
    """
    files = write_files(results.evaluation, results.scores, results.by_set, results.totals, folder)
    names = [Path(os.path.relpath(file, path.parent)).as_posix() for file in files]
    write_report(replace(results, files=names), path)


def write_report(results: Results, path: Path) -> None:
    """Write the report as one HTML file that needs no other file and no network.

    Raises:
        ConfigurationError: If a library is missing.
        OSError: If the file cannot be written.
    """
    render("report.html", _context(results), path)


def render(template: str, context: dict[str, Any], path: Path) -> None:
    """Write a page that needs no other file and no network.

    Args:
        template: Name of its template.
        context: Values for the template; the version of the package and the date are added.
        path: The HTML file.

    Raises:
        ConfigurationError: If a library is missing.
        OSError: If the file cannot be written.
    """
    check_requirements()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "template"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["tied"] = lambda text: text.replace(" %", "\u00a0%")  # no line break before the sign
    environment.filters["data_uri"] = lambda data: f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    text = environment.get_template(template).render(context, date=date, version=_package_version())
    path.write_text(text, encoding="utf-8")


def _context(results: Results) -> dict[str, Any]:
    ranking = _ranking(results.totals)
    first = ranking[0]
    reference = next((one for one in ranking[1:] if one.model in BASELINES), None)
    chosen = [first.model, *([reference.model] if reference else [])]
    others = [one.model for one in ranking if one.model not in chosen]
    series = [Series(model, number) for number, model in enumerate((chosen + others)[:MOST_SERIES], 1)]
    latencies = _latencies(results.evaluation)
    sections = _sections(results, series, chosen, latencies, [one.model for one in ranking])
    over = _over(results)
    return {
        "title": "Depth completion: evaluation",
        "command": results.command,
        "files": results.files,
        "first": first,
        "headline": _headline(first, reference, results),
        "cards": _cards(first, results, latencies),
        "over": over,
        "warnings": _warnings(results, series, len(ranking)),
        "changes": changes(_change_rows(ranking)) if first.changes and len(ranking) > 1 else "",
        "totals": tables.totals_table(
            _ordered(results.totals, ranking),
            {one.model: _median(_all_latencies(latencies, one.model)) for one in ranking},
        ),
        "sections": sections,
        "series": series,
        "left_out": [model for model in others if model not in {one.name for one in series}],
        "colours": error_colours(9),
        "data": _data(results),
        "versions": versions(results.evaluation.engines, results.seed),
        "figures": FIGURES,
    }


def _ranking(totals: list[Comparison]) -> list[Comparison]:
    """The totals over all protocols from the best model to the worst; those scored on fewer frames come last."""
    whole = [one for one in totals if one.protocol == totals[-1].protocol]
    return sorted(
        whole,
        key=lambda one: (-one.frames, one.changes["rmse"].value if one.changes else one.errors["rmse"].value),
    )


def _ordered(totals: list[Comparison], ranking: list[Comparison]) -> list[Comparison]:
    """The totals over all protocols, then those of each protocol, from the best model to the worst."""
    protocols = list(dict.fromkeys(one.protocol for one in totals))
    protocols = [protocols[-1], *protocols[:-1]]
    models = [one.model for one in ranking]
    return sorted(totals, key=lambda one: (protocols.index(one.protocol), models.index(one.model)))


def _latencies(evaluation: Evaluation) -> dict[Key, list[float]]:
    """The durations [ms] of the frames of each key.

    The first frame of each model and set is left out, because engines prepare themselves for its size.
    """
    times: dict[Key, list[float]] = {}
    seen = set()
    for key in evaluation.metrics:
        frames = [frame.milliseconds for frame in evaluation.details[key].frames]
        known = frames if (key.set, key.model) in seen else frames[1:]
        times[key] = [time for time in known if np.isfinite(time)]
        seen.add((key.set, key.model))
    return times


def _all_latencies(latencies: dict[Key, list[float]], model: str) -> list[float]:
    return [time for key, times in latencies.items() if key.model == model for time in times]


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _headline(first: Comparison, reference: Comparison | None, results: Results) -> str:
    """How much better the best model is, in words."""
    if len({one.model for one in results.totals}) == 1:
        rmse, mae = (first.errors[error].value for error in ("rmse", "mae"))
        unit = tables.Unit.of([rmse])
        return f"has an RMSE of {unit.text(rmse)} and an MAE of {unit.text(mae)}."
    if not first.changes:
        return "has the smallest RMSE. No classical method was evaluated, with which it could be compared."
    if first.model in BASELINES:
        networks = any(one.model not in BASELINES for one in results.totals)
        return "has the smallest RMSE of all classical methods" + (
            ", and no other method beats it." if networks else "."
        )
    parts = []
    for error in ("rmse", "mae"):
        value = first.changes[error].value
        parts.append(f"{abs(value) * 100:.0f} % {'less' if value < 0 else 'more'} {error.upper()}")
    change = first.changes["rmse"]
    doubt = " The 95 % interval of RMSE includes no change." if change.low <= 0 <= change.high else ""
    return f"has {parts[0]} and {parts[1]} than the best classical method of each recording.{doubt}"


def _over(results: Results) -> str:
    """What the models were evaluated on, in words."""
    last = results.totals[-1].protocol
    frames = max(one.frames for one in results.totals if one.protocol == last)
    sets = {one.set for one in results.by_set}
    protocols = {one.protocol for one in results.by_set}
    models = {one.model for one in results.by_set}
    counts = ((sets, "recording"), (protocols, "protocol"), (models, "method"))
    words = [f"{len(names)} {word}{'s' if len(names) > 1 else ''}" for names, word in counts]
    return f"{', '.join(words)}, {frames} scored frame{'s' if frames > 1 else ''} for each method"


def _cards(first: Comparison, results: Results, latencies: dict[Key, list[float]]) -> list[dict[str, str]]:
    """The most important figures of the best model, as means over sets and protocols."""
    rows = [strata["all"] for key, strata in results.scores.items() if key.model == first.model]
    shown = ("within", "confidence", "ause", "ause_distance")
    mean = {name: float(np.nanmean([row[name] for row in rows])) for name in shown}
    cards = []
    for error in ("rmse", "mae") if first.changes else ():
        estimate = first.changes[error]
        interval = (
            "no interval: a single frame"
            if np.isnan(estimate.low)
            else f"95 % interval {signed(estimate.low)} to {signed(estimate.high)} %"
        )
        cards.append(
            {"title": f"{error.upper()} against classical", "value": f"{signed(estimate.value)} %", "note": interval}
        )
    cards.append(
        {
            "title": "Within max(5 cm, 2 %)",
            "value": f"{percent(mean['within'])} %",
            "note": f"mean confidence {percent(mean['confidence'])} %",
        }
    )
    cards.append(
        {
            "title": "AUSE of sigma",
            "value": f"{mean['ause']:.2f}",
            "note": f"of the distance to a measurement: {mean['ause_distance']:.2f}; less is better",
        }
    )
    times = _all_latencies(latencies, first.model)
    if times:
        cards.append(
            {
                "title": "Time of a frame",
                "value": f"{tables.significant(_median(times))} ms",
                "note": f"median of {len(times)}, on this machine",
            }
        )
    return cards


def _warnings(results: Results, series: list[Series], models: int) -> list[str]:
    lines = [f"{name}: {note}." for name, note in results.evaluation.notes.items() if note]
    single = dict.fromkeys(one.set for one in results.by_set if one.frames == 1)
    if single:
        lines.append(f"{', '.join(single)}: only one frame was scored, so that there is no interval.")
    if models > len(series):
        lines.append(f"Charts show the {len(series)} best methods of {models}; tables and files contain all of them.")
    return lines + failure_lines(results.evaluation)


def _change_rows(ranking: list[Comparison]) -> list[dict[str, Any]]:
    rows = []
    for one in ranking:
        for error in ("rmse", "mae"):
            estimate = one.changes[error]
            if not (np.isfinite(estimate.value) and estimate.value > -1):
                continue  # an error of 0, which a logarithmic scale cannot show
            interval = () if np.isnan(estimate.low) else (1 + estimate.low, 1 + estimate.high)
            low, high = interval or (None, None)
            text = f"{one.model}: {error.upper()} {tables.change(estimate)} %"
            rows.append(
                {
                    "model": one.model,
                    "error": error.upper(),
                    "ratio": 1 + estimate.value,
                    "low": low,
                    "high": high,
                    "text": text,
                }
            )
    return rows


def _sections(
    results: Results,
    series: list[Series],
    chosen: list[str],
    latencies: dict[Key, list[float]],
    order: list[str],
) -> list[Section]:
    groups = [
        (name, protocol, sorted(group, key=lambda one: order.index(one.model)))
        for (name, protocol), group in groupby(results.by_set, key=lambda one: (one.set, one.protocol))
    ]
    each = 3 if 3 * len(groups) <= MOST_PICTURED else 1
    sections = []
    bar = track(groups, "drawing the report", console=Console(stderr=True), transient=True)
    for number, (name, protocol, comparisons) in enumerate(bar):
        keys = {one.model: Key(name, protocol, one.model) for one in comparisons}
        details = {model: results.evaluation.details[key] for model, key in keys.items()}
        samples = next(samples for samples in results.sets if samples.name == name)
        section = make_section(
            name=f"{name}, {protocol}",
            comparisons=comparisons,
            scores=results.scores,
            distances={model: results.evaluation.metrics[key].by_distance() for model, key in keys.items()},
            details=details,
            latencies={model: latencies[key] for model, key in keys.items()},
            series=[one for one in series if one.name in keys],
            pictured=[model for model in chosen if model in keys] or list(keys)[:1],
            pictures=each if number < MOST_PICTURED else 0,
            limits=error_limits(samples.profile),
        )
        sections.append(section)
    return sections


def _data(results: Results) -> Table:
    rows: list[dict[str, str | int]] = []
    for samples in results.sets:
        found = [one for one in results.by_set if one.set == samples.name]
        if not found:
            continue
        frame = _first_frame(details for key, details in results.evaluation.details.items() if key.set == samples.name)
        rows.append(source_row(samples, frame.size, max(one.frames for one in found)))
    return tables.sources_table(rows)


def source_row(samples: SampleSet, size: tuple[int, int], frames: int) -> dict[str, str | int]:
    """What the page says of a set with images of a size (width, height) and so many scored frames."""
    profile = samples.profile
    return {
        "Recording": samples.name,
        "Sensor": samples.about.get("sensor", "not stated"),
        "Profile": f"{profile.name}, {profile.min_range:g} to {profile.max_range:g} m",
        "Size [px]": "{} x {}".format(*size),
        "Frames": frames,
        "Licence": samples.about.get("licence", "not stated"),
        "Source": ". ".join(samples.about[name] for name in ("cite", "source") if name in samples.about)
        or "not stated",
    }


def _first_frame(details: Iterable[Details]) -> FrameDetails:
    return next(frame for one in details for frame in one.frames)


def versions(engines: dict[str, str], seed: int) -> dict[str, str]:
    """What ran: versions of libraries, machine, seed and the engine of each model."""
    found = {PACKAGE: _package_version(), "Python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        **found,
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "Seed of the protocols": str(seed),
        "Engines and models": ", ".join(f"{name} = {engine}" for name, engine in sorted(engines.items())),
    }


def _package_version() -> str:
    """From package.xml, because colcon installs no metadata of pip."""
    return str(ElementTree.parse(share_directory() / "package.xml").findtext("version"))


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def command_line() -> str:
    """The command that runs, as it was typed."""
    return shlex.join(["depth-completion", *sys.argv[1:]])
