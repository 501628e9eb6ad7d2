"""How an input is made by hiding measured pixels, which then serve as the truth. Deterministic by frame and seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..data.folders import FolderFrame, FrameSet
from ..errors import ConfigurationError
from ..frame import RgbdFrame
from ..geometry import depth_on_rgb_grid


@dataclass(frozen=True)
class Trial:
    """A frame with depth hidden from it, and the truth to score against.

    truth: (H, W) float32 [m], NaN where nothing is known or where the input shows it.
    """

    frame: RgbdFrame
    truth: np.ndarray


Protocol = Callable[[FolderFrame, FrameSet, int, np.random.Generator], "Trial | None"]


def make_trial(protocol: str, frames: FrameSet, index: int, seed: int = 0) -> Trial | None:
    """Trial of frame ``index`` under a protocol (``PROTOCOLS``); None where the frame lacks what the protocol needs.

    Raises ConfigurationError for an unknown protocol, InputError for a frame that cannot be read.
    """
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    sample = frames[index]
    rng = np.random.default_rng([seed, index, zlib.crc32(frames.name.encode())])
    return PROTOCOLS[protocol](sample, frames, index, rng)


def _given(sample: FolderFrame, frames: FrameSet, index: int, rng: np.random.Generator) -> Trial | None:
    """The sensor's own depth, scored against ground truth where it measured nothing."""
    if sample.ground_truth is None:
        return None
    measured = np.isfinite(depth_on_rgb_grid(sample.frame))
    truth = np.where(measured, np.float32(np.nan), _known_depth(sample))
    return Trial(sample.frame, truth) if measured.any() and np.isfinite(truth).any() else None


def _raw(sample: FolderFrame, frames: FrameSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Hides what another frame of the set, half the set away, has not measured: holes of real shape and place."""
    depth = _known_depth(sample)
    donor = _known_depth(frames[(index + len(frames) // 2) % len(frames)])
    return _keep(sample, np.isfinite(donor)) if donor.shape == depth.shape else None


def _sparse(count: int | None = None, share: float = 0.0) -> Protocol:
    """Keeps ``count`` pixels, or a share of them, drawn at random."""

    def protocol(sample: FolderFrame, frames: FrameSet, index: int, rng: np.random.Generator) -> Trial | None:
        known = np.flatnonzero(np.isfinite(_known_depth(sample)))
        kept = rng.choice(known, min(known.size, count or round(share * known.size)), replace=False)
        keep = np.zeros(sample.frame.rgb.shape[:2], bool)
        keep.flat[kept] = True
        return _keep(sample, keep)

    return protocol


def _lidar_rings(sample: FolderFrame, frames: FrameSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps every 4th ring of a LiDAR; the value of a pixel is its ring + 1."""
    return None if sample.rings is None else _keep(sample, sample.rings % 4 == 1)


def _rows(sample: FolderFrame, frames: FrameSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps every 8th row: what a LiDAR of some 60 beams leaves of a dense image."""
    keep = np.zeros(sample.frame.rgb.shape[:2], bool)
    keep[4::8] = True
    return _keep(sample, keep)


def _super_resolution(factor: int) -> Protocol:
    """Keeps one pixel of each factor x factor block, at its centre: a low-resolution time-of-flight camera."""

    def protocol(sample: FolderFrame, frames: FrameSet, index: int, rng: np.random.Generator) -> Trial | None:
        keep = np.zeros(sample.frame.rgb.shape[:2], bool)
        keep[factor // 2 :: factor, factor // 2 :: factor] = True
        return _keep(sample, keep)

    return protocol


def _known_depth(sample: FolderFrame) -> np.ndarray:
    """The densest truth there is: ground truth, else what the sensor measured; (H, W) [m], NaN missing."""
    if sample.ground_truth is None:
        return depth_on_rgb_grid(sample.frame)
    return depth_on_rgb_grid(replace(sample.frame, depth=sample.ground_truth, depth_intrinsics=None, depth_to_rgb=None))


def _keep(sample: FolderFrame, keep: np.ndarray) -> Trial | None:
    """The trial that shows the known depth where ``keep`` is set and scores the rest; None where either is empty."""
    known = _known_depth(sample)
    missing = np.float32(np.nan)
    shown, truth = np.where(keep, known, missing), np.where(keep, missing, known)
    if not (np.isfinite(shown).any() and np.isfinite(truth).any()):
        return None
    return Trial(replace(sample.frame, depth=shown, depth_intrinsics=None, depth_to_rgb=None), truth)


PROTOCOLS: dict[str, Protocol] = {
    "given": _given,
    "raw": _raw,
    "sparse500": _sparse(count=500),
    "sparse5": _sparse(share=0.05),
    "lidar-rings": _lidar_rings,
    "rows": _rows,
    "sr4": _super_resolution(4),
    "sr8": _super_resolution(8),
}
