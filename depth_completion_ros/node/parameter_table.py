"""``depth-completion parameters``."""

from __future__ import annotations

import argparse

from .parameters import markdown_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the Markdown table of README.md."""
    print(markdown_table())
    return 0
