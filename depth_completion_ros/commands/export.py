"""``depth-completion export``: export a network to an ONNX file, and measure its difference from float32."""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console

from ..bag.recordings import read_source
from ..contract import MULTIPLE, PRECISIONS
from ..errors import ConfigurationError
from ..evaluation.calibration import network_inputs, relative_difference
from ..model_file import find_weights_file, model_directories
from ..networks import SIZES, names
from ..resources import share_directory

_EXAMPLE_SIZE = "480x640"  # size of the frames for calibration and measurement of a network for any size


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion export``."""
    add = parser.add_argument
    add("model", choices=names(), help="name of the network")
    size = "make a file for this image size only, HEIGHTxWIDTH, rounded up to multiples of 32 (default: any size)"
    add("--size", help=size)
    add("--precision", default="fp32", choices=PRECISIONS, help="precision of the network file (default: fp32)")
    network_size = "size of the network: full = as in the paper, or small (default: small)"
    add("--network-size", default="small", choices=SIZES, help=network_size)
    weights = "weights file that training wrote (default: installed weights, or random weights if there are none)"
    add("--weights", type=Path, help=weights)
    profile = (
        "sensor profile: of the default weights, and of the frames for calibration and measurement (default: kinect)"
    )
    add("--profile", default="kinect", help=profile)
    frames = (
        "frames for calibration and measurement: a bag, or a folder with a meta.json (default: sample of the profile)"
    )
    add("--frames", type=Path, help=frames)
    add("--out", type=Path, help="folder for the network file (default: the user's model directory)")


def run(args: argparse.Namespace) -> int:
    """Write the network file; print its path and, unless it is float32, the difference from float32."""
    size = re.fullmatch(r"(\d+)x(\d+)", args.size or _EXAMPLE_SIZE)
    if size is None or "0" in size.groups():
        raise ConfigurationError(f"--size {args.size!r} must be HEIGHTxWIDTH, such as 480x640")
    height, width = (-(-int(pixels) // MULTIPLE) * MULTIPLE for pixels in size.groups())
    from ..networks.export import export_onnx, file_name
    from ..networks.weights import load_weights, untrained

    console = Console(stderr=True)
    source = args.weights or find_weights_file(f"{args.model}-{args.network_size}", args.profile)
    weighted = load_weights(source) if source is not None else untrained(args.model, args.network_size)
    network = weighted.network
    if (network.name, network.size) != (args.model, args.network_size):
        raise ConfigurationError(
            f"{source} contains {network.name} {network.size}, not {args.model} {args.network_size}"
        )
    if not weighted.trained:
        console.print(f"{args.model} is untrained: its weights are random, so it only fills holes smoothly")

    directory = args.out or model_directories()[0]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file_name(network, args.precision, height, width, args.size is None)
    feeds: list[dict[str, np.ndarray]] = []
    if args.precision != "fp32":
        frames_source = args.frames or share_directory() / "samples" / args.profile
        feeds = network_inputs(read_source(frames_source), args.profile, height, width)
    with console.status(f"exporting {path.stem}"):
        export_onnx(
            network,
            path,
            height,
            width,
            precision=args.precision,
            dynamic=args.size is None,
            profile=weighted.profile,
            calibration=feeds[::2],
        )
    print(path)
    if feeds:
        with tempfile.TemporaryDirectory() as reference_directory, console.status("measuring the difference"):
            reference = Path(reference_directory) / "reference.onnx"
            export_onnx(network, reference, height, width)
            difference = relative_difference(path, reference, feeds[1::2])
        print(
            f"its depth differs from that of float32 by {difference:.2%} (relative RMSE over {len(feeds[1::2])} frames "
            "that were not used for calibration, computed with ONNX Runtime on the CPU)"
            + ("" if weighted.trained else "; trained weights may give a very different result than random ones")
        )
    return 0
