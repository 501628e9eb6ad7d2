"""``depth-completion bench endurance``: run the node for an hour under failures, then check memory and counts."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..errors import ConfigurationError
from ..evaluation.benchmarks.endurance import Course, check
from ..evaluation.benchmarks.pipeline import free_domain
from ..evaluation.benchmarks.processes import termination_as_interrupt
from ..node.environment import prepare_ros_environment


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion bench endurance``."""
    add = parser.add_argument
    add("--minutes", type=float, default=60.0, help="duration of the run [min], at least 3 (default: 60)")
    add("--engine", default="auto", help="engine that completes depth (default: auto)")
    add("--every", type=int, default=300, help="record every N-th frame only (default: 300)")
    add(
        "--out",
        type=Path,
        default=Path("endurance_out"),
        help="new folder for results, logs and recording (default: endurance_out)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the benchmark, print the results and write them to ``--out``. The exit status is 1 if a check failed."""
    if args.minutes < 3:
        raise ConfigurationError(f"--minutes {args.minutes:g} is too short: two crashes take at least 3 minutes")
    if args.out.exists():
        raise ConfigurationError(f"{args.out} already exists: choose another folder, or remove it first")
    prepare_ros_environment()
    os.environ |= {"ROS_DOMAIN_ID": str(free_domain()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    args.out.mkdir(parents=True)
    with termination_as_interrupt():
        course = Course(args.out, args.engine, args.every)
        try:
            course.run(args.minutes * 60)
        finally:
            course.close()
    findings = check(course.record, args.minutes * 60, args.out / "recording", args.every)
    report = {"minutes": args.minutes, "engine": args.engine, **course.record.figures(), "checks": findings}
    (args.out / "endurance.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    table = Table("check", "result")
    for name, finding in findings.items():
        table.add_row(name, finding or "OK")
    Console(highlight=False).print(table)
    print(args.out / "endurance.json")
    return 1 if any(findings.values()) else 0
