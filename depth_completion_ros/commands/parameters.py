"""``depth-completion parameters``."""

from __future__ import annotations

import argparse

from ..node.parameters import markdown_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the Markdown table of docs/parameters.md."""
    print(markdown_table())
    return 0
