"""``depth-completion cameras``: print the table of known camera drivers."""

from __future__ import annotations

import argparse

from ..cameras import markdown_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the table of cameras that README.md shows."""
    print(markdown_table())
    return 0
