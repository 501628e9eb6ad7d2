"""Inputs of networks from recorded frames: to calibrate int8, and to measure how much a precision changes the depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from ..bag.recordings import resized
from ..completer import DepthCompleter
from ..contract import INPUTS, MULTIPLE
from ..engines import Engine
from ..errors import ConfigurationError
from ..frame import RgbdFrame
from ..profiles import Profile

FRAMES = 32  # one half of them is for the calibration, the other to measure the difference


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


def network_inputs(
    frames: Iterable[RgbdFrame], profile: str | Profile, height: int, width: int
) -> list[dict[str, np.ndarray]]:
    """The inputs of a network for the first 32 of recorded frames, at one size.

    In turns, two frames each have the depth of the sensor, random points of it, rows of it, and a grid of it. With
    calibration on dense depth alone, networks would be unsure with sparse depth.
    """
    listener = _Listener()
    completer = DepthCompleter(profile, listener)
    rng = np.random.default_rng(0)
    for index, frame in enumerate(islice(frames, FRAMES)):
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
