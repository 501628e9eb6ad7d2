"""``depth-completion models``: print tables of the network files and, with PyTorch, of the networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..model_file import WEIGHTS_SUFFIX, ModelFile, model_directories, model_files
from ..networks import SIZES, create, method, names

if TYPE_CHECKING:
    from ..networks.completion_network import CompletionNetwork

HEIGHT, WIDTH = 480, 640
_BEST_FOR = "Best for: "  # begins a line of a model card


def configure(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the tables."""
    files, unreadable = model_files()
    rows: list[Sequence[str]] = [("model", "file", "MB", "best for")]
    rows += [(file.name, file.label, f"{megabytes(file):.1f}", best_for(file)) for file in files]
    print("Network files, for the engines openvino and tensorrt:\n")
    _print_table(rows)
    for error in unreadable:
        print(f"not usable: {error}")
    if find_spec("torch"):
        print("\nNetworks, for the engine torch, training and export:\n")
        _print_table(_networks())
    else:
        print("\nInstall PyTorch to list the networks that can be trained and exported.")
    return 0


def megabytes(file: ModelFile) -> float:
    """Size of a network file [MB], with the file of its base network."""
    return sum(path.stat().st_size for path in file.paths) / 1e6


def best_for(file: ModelFile) -> str:
    """What a network is best for, from the model card beside the file; empty if there is none."""
    card = file.path.with_name(f"{file.path.name.partition('-')[0]}-{file.size}.md")
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    return next((line.removeprefix(_BEST_FOR) for line in lines if line.startswith(_BEST_FOR)), "")


def _networks() -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("network", "size", "parameters", f"GFLOP at {WIDTH}x{HEIGHT}", "inputs", "paper", "weights")
    ]
    for name in names():
        described = method(name)
        for size in SIZES:
            parameters, flops = cost(name, size)
            weights = _trained(name, size)
            figures = f"{parameters / 1e6:.2f} M", f"{flops / 1e9:.1f}"
            rows.append((name, size, *figures, described.inputs, described.paper, weights))
    return rows


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _trained(name: str, size: str) -> str:
    """The sensors for which there are trained weights, the duration of each training, and what it continued from."""
    from ..networks.weights import read_metadata

    patterns = [f"{name}-{size}{WEIGHTS_SUFFIX}", f"{name}-{size}-*{WEIGHTS_SUFFIX}"]
    paths = [path for directory in model_directories() for each in patterns for path in sorted(directory.glob(each))]
    found = [read_metadata(path) for path in paths]
    return f"trained: {', '.join(map(_origin, found))}" if found else "untrained"


def _origin(about: dict[str, str]) -> str:
    after = f" after {about['base']}" if "base" in about else ""
    return f"{about['profile']} ({float(about.get('minutes', 'nan')):.0f} min{after})"


def cost(name: str, size: str) -> tuple[int, int]:
    """Parameters, and floating-point operations (two for a multiply-add) of convolutions and matrix products for one
    frame of 640x480. Nothing is computed: shapes suffice.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    with FakeTensorMode(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network: CompletionNetwork = create(name, size).eval()
        network(torch.empty(1, 3, HEIGHT, WIDTH), torch.empty(1, 1, HEIGHT, WIDTH), torch.empty(1, 1, 1, 1))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()
