"""``depth-completion export``: export a network to an ONNX file, and measure its difference from float32."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console

from ..bag.recordings import read_source, resized
from ..completer import DepthCompleter
from ..contract import INPUTS, MULTIPLE, PRECISIONS
from ..engines import Engine
from ..errors import ConfigurationError
from ..model_file import find_weights_file, model_directories
from ..networks import SIZES, names
from ..resources import share_directory

_EXAMPLE_SIZE = "480x640"  # size of the frames for calibration and measurement of a network for any size
_FRAMES = 16  # number of frames for calibration; the same number of other frames measures the difference


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
        feeds = _network_inputs(frames_source, args.profile, height, width)
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


def relative_difference(path: Path, reference: Path, feeds: Sequence[dict[str, np.ndarray]]) -> float:
    """RMSE between the depth of two network files over all feeds, divided by the root mean square of the reference.

    ONNX Runtime runs without optimisation, so that it rounds the result of each operator to the type in the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigurationError(f"the difference needs ONNX Runtime ({error}): pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    sessions = [onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"]) for file in (path, reference)]
    squares = np.zeros(2)
    for feed in feeds:
        depth, truth = (session.run(["completed"], feed)[0].astype(np.float64) for session in sessions)
        squares += np.square(depth - truth).mean(), np.square(truth).mean()
    return float(np.sqrt(squares[0] / squares[1]))


class _Listener(Engine):
    """An engine that only records its inputs, as inputs of a network."""

    engine = "listener"
    model = "none"
    multiple = MULTIPLE

    def __init__(self) -> None:
        self.feeds: list[dict[str, np.ndarray]] = []

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        values = pixels, depth[None, None].copy(), np.full((1, 1, 1, 1), scale, np.float32)
        self.feeds.append(dict(zip(INPUTS, values, strict=True)))
        return depth, np.ones_like(depth)


def _network_inputs(source: Path, profile: str, height: int, width: int) -> list[dict[str, np.ndarray]]:
    """The inputs of a network for the first frames of a bag or folder, at one size.

    In turns, two frames each have the depth of the sensor, random points of it, rows of it, and a grid of it. With
    calibration on dense depth alone, networks would be unsure with sparse depth.
    """
    listener = _Listener()
    completer = DepthCompleter(profile, listener)
    rng = np.random.default_rng(0)
    for index, frame in enumerate(islice(read_source(source), 2 * _FRAMES)):
        frame = resized(frame, width, height)
        shown = np.where(_shown(index // 2 % 4, frame.depth.shape, rng), frame.depth, np.float32(np.nan))
        completer.complete(replace(frame, depth=shown) if (shown > 0).any() else frame)
    return listener.feeds


def _shown(pattern: int, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Mask of the pixels with depth: all, 2 in 1000, every 8th row, or one in each 8x8 block."""
    if pattern == 1:
        return rng.random(shape) < 2e-3
    shown = np.full(shape, pattern == 0)
    if pattern >= 2:
        shown[4::8, 4 :: 8 if pattern == 3 else 1] = True
    return shown
