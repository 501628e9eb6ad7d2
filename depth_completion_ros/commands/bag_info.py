"""``depth-completion bag info``: show the contents of a rosbag2."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bag.info import summarize
from ..bag.reader import BagReader


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or one .mcap or .db3 file")


def run(args: argparse.Namespace) -> int:
    """Print the bag's duration and its topics with type, count, rate and encoding."""
    with BagReader(args.bag) as bag:
        seconds = (bag.end_ns - bag.start_ns) / 1e9
        topics = summarize(bag)
    print(f"{args.bag}: {sum(topic.count for topic in topics)} messages in {seconds:.3f} s")
    rows = [("topic", "type", "count", "Hz", "content")]
    rows += [(t.name, t.type, str(t.count), f"{t.rate:.2f}" if t.rate else "-", t.content) for t in topics]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
