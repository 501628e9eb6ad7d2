"""``depth-completion bench node``: the cost of the node compared with that of ROS alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..errors import ConfigurationError
from ..evaluation.benchmarks.node import SIZES, measure, median_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion bench node``."""
    add = parser.add_argument
    add("--seconds", type=float, default=6.0, help="duration of each run [s] (default: 6)")
    add("--rounds", type=int, default=3, help="number of runs of each node at each size, in turns (default: 3)")
    add(
        "--sizes",
        default=",".join(SIZES),
        help=f"image sizes, separated by commas, from {', '.join(SIZES)} (default: all)",
    )
    add(
        "--out",
        type=Path,
        default=Path("bench_node.json"),
        help="JSON file for the results of all runs (default: bench_node.json)",
    )


def run(args: argparse.Namespace) -> int:
    """Play the same frames at 30 Hz through each node; print medians over the rounds and write all results."""
    sizes = args.sizes.split(",")
    if unknown := set(sizes) - set(SIZES):
        raise ConfigurationError(f"--sizes {', '.join(unknown)} is unknown: choose from {', '.join(SIZES)}")
    if args.seconds < 1 or args.rounds < 1:
        raise ConfigurationError("--seconds and --rounds must be at least 1")
    reports = measure(sizes, args.rounds, args.seconds)
    table = Table("size", "node", "p50 ms", "p95 ms", "p99 ms", "CPU %", "memory MB", "lost")
    for (size, node), runs in reports.items():
        p50, p95, p99, cpu, memory, lost = median_of(runs).values()
        latency = (f"{milliseconds:.1f}" for milliseconds in (p50, p95, p99))
        table.add_row(size, node, *latency, f"{cpu:.0f}", f"{memory:.0f}", f"{lost:.0f}")
    Console(highlight=False).print(table)
    rows = [
        {"size": size, "node": node, "median": median_of(runs), "runs": [report.as_dict() for report in runs]}
        for (size, node), runs in reports.items()
    ]
    args.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0
