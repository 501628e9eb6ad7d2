"""``depth-completion demo``: play a recording of a real sensor through the node and show the results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..errors import ConfigurationError
from ..evaluation.benchmarks.pipeline import Report
from ..evaluation.demo import play_sample


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion demo``."""
    add = parser.add_argument
    add(
        "--profile",
        choices=("kinect", "tof", "lidar"),
        default="kinect",
        help="sample recording to play (default: kinect)",
    )
    add("--seconds", type=float, default=15.0, help="duration of playing in a loop [s] (default: 15)")
    add("--rate", type=float, default=1.0, help="playback speed, 2.0 = twice as fast (default: 1)")
    add("--headless", action="store_true", help="do not open the picture at the end")
    add("--out", type=Path, default=Path("demo_out"), help="folder for the results (default: demo_out)")


def run(args: argparse.Namespace) -> int:
    """Play, complete and record; write summary.json, panel.png and preview.webp, and print the summary."""
    if args.seconds <= 0 or args.rate <= 0:
        raise ConfigurationError("--seconds and --rate must be above zero")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--out {args.out} cannot be made ({error.strerror}): choose another folder"
        ) from error
    report, size = play_sample(args.profile, args.seconds, args.rate, args.out)
    summary = {"profile": args.profile, "rate": args.rate, "size": size, "machine": _machine(), **report.as_dict()}
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    _print_summary(report, size, args.out)
    opener = shutil.which("xdg-open")
    if not args.headless and opener and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        subprocess.Popen([opener, str(args.out / "panel.png")], start_new_session=True)
    return 0


def _print_summary(report: Report, size: str, folder: Path) -> None:
    table = Table(
        title=f"{size}, {report.diagnostics.get('engine')} {report.diagnostics.get('model')}", show_header=False
    )
    table.add_row("in", " and ".join(f"{number} {role}" for role, number in report.frames_in.items()))
    table.add_row("pairs", str(report.pairs))
    table.add_row("out", f"{report.frames_out} completed frames, {report.fps:.1f} frames/s")
    table.add_row("dropped", ", ".join(f"{number} {cause}" for cause, number in report.drops.items()) or "none")
    latency = ", ".join(f"{value:.1f} ms {name}" for name, value in report.latency_ms.items())
    table.add_row("latency, end to end", latency)
    table.add_row("node", f"{report.cpu_percent:.0f} % of a core, {report.peak_memory_mb:.0f} MB peak memory")
    Console(highlight=False).print(table)
    print(f"{folder / 'panel.png'}, {folder / 'preview.webp'}, {folder / 'summary.json'}")


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
