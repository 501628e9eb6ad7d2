"""``depth-completion calibrate``: fit the factor of a network's sigma to recordings that it was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..errors import ConfigurationError
from ..model_file import find_weights_file
from ..networks import names


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion calibrate``."""
    add = parser.add_argument
    add("model", choices=names(), help="name of the network")
    add("--weights", type=Path, help="weights file that training wrote (default: installed weights)")
    data = "folder with recorded sets, of which those for validation are used; can be given several times"
    add("--data", type=Path, action="append", required=True, metavar="DIR", help=data)
    add("--frames", type=int, default=4, help="number of frames of each set (default: 4)")
    add("--out", type=Path, required=True, help="weights file to write: the same weights with the new factor")


def run(args: argparse.Namespace) -> int:
    """Print the share of errors within intervals before and after, and write the weights."""
    if args.frames < 1:
        raise ConfigurationError(f"--frames {args.frames} must be at least 1")
    import torch

    from ..networks.weights import load_weights, read_metadata, save_weights
    from ..training.calibration import LEVELS, coverage, error_ratios, fit_factor
    from ..training.recipe import read_splits
    from ..training.sources import recorded_cases

    source = args.weights or find_weights_file(f"{args.model}-small", "kinect")
    if source is None:
        raise ConfigurationError(f"there are no weights of {args.model}: give --weights FILE")
    weighted = load_weights(source)
    network = weighted.network.eval()
    if network.name != args.model:
        raise ConfigurationError(f"{source} contains weights of {network.name}, not of {args.model}")
    console = Console(stderr=True)
    with console.status("completing frames of the validation sets"):
        cases = recorded_cases(args.data, read_splits().validation, args.frames)
        ratios = error_ratios(network, cases, torch.device("cpu"))
    if not ratios:
        raise ConfigurationError("the validation sets contain no frame that can be used: give others with --data")
    factor = fit_factor(ratios)
    table = Table(title=f"share of errors within the interval; sigma times {factor:g}")
    for column in ("protocol", *(f"{level:.0%} interval" for level in LEVELS)):
        table.add_column(column)
    after = coverage(ratios, factor)
    for protocol, shares in coverage(ratios).items():
        changes = (f"{old:.1%} → {new:.1%}" for old, new in zip(shares, after[protocol], strict=True))
        table.add_row(protocol, *changes)
    Console().print(table)
    network.sigma_scale = round(network.sigma_scale * factor, 3)
    save_weights(weighted, args.out, read_metadata(source))
    print(args.out)
    return 0
