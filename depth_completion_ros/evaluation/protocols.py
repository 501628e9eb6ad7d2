"""How an input is made by hiding known depth, which then serves as the truth. Deterministic by frame and seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError
from ..frame import Intrinsics, RgbdFrame
from .samples import Sample, SampleSet

RING_DEG = 0.4  # between two rings of a 64-beam LiDAR: the HDL-64E has 26.9 degrees for its 64
DENSE = 0.25  # share of pixels that must be known for holes to be holes, and for a coarser sensor to be imitated
_MISSING = np.float32(np.nan)


@dataclass(frozen=True)
class Trial:
    """A frame to complete, and the truth to score against.

    truth: (H, W) float32 [m], NaN where nothing is known or where the input shows the very truth.
    """

    frame: RgbdFrame
    truth: np.ndarray


Protocol = Callable[[SampleSet, int, np.random.Generator], "Trial | None"]


def make_trial(protocol: str, samples: SampleSet, index: int, seed: int = 0) -> Trial | None:
    """Trial of one sample under a protocol (``PROTOCOLS``); None where the sample lacks what the protocol needs.

    Raises ConfigurationError for an unknown protocol, InputError for a frame that cannot be read.
    """
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    rng = np.random.default_rng([seed, index, zlib.crc32(samples.name.encode())])
    return PROTOCOLS[protocol](samples, index, rng)


def _given(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """The sensor's own depth, scored against ground truth, measured pixels too."""
    sample = samples[index]
    return None if sample.ground_truth is None else _trial(sample, sample.frame.depth, sample.ground_truth)


def _transparent(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """The sensor's own depth, scored on glass and mirrors only."""
    sample = samples[index]
    if sample.ground_truth is None or sample.transparent is None:
        return None
    return _trial(sample, sample.frame.depth, np.where(sample.transparent, sample.ground_truth, _MISSING))


def _raw(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Hides what the sensor missed in another frame, half the set away: holes of real shape and place."""
    sample = samples[index]
    donor = samples[(index + len(samples) // 2) % len(samples)].frame.depth
    if donor.shape != sample.frame.depth.shape or not (_is_dense(donor) and _is_dense(sample.frame.depth)):
        return None
    hidden = np.isnan(donor) & np.isfinite(sample.frame.depth)
    return _trial(
        sample, np.where(hidden, _MISSING, sample.frame.depth), np.where(hidden, sample.known_depth, _MISSING)
    )


def _blocks(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Hides 2 to 12 upright rectangles, each 4 to 30 % of the image's height and width."""
    sample = samples[index]
    if not _is_dense(sample.known_depth):
        return None
    size = np.array(sample.known_depth.shape)
    hidden = np.zeros(sample.known_depth.shape, bool)
    for _ in range(rng.integers(2, 13)):
        extent = np.maximum(1, size * rng.uniform(0.04, 0.3, 2)).astype(int)
        top, left = (rng.random(2) * (size - extent)).astype(int)
        hidden[top : top + extent[0], left : left + extent[1]] = True
    return _keep(sample, ~hidden)


def _sparse(count: int | None = None, share: float = 0.0) -> Protocol:
    """Keeps ``count`` of the known pixels, or a share of them, drawn at random."""

    def protocol(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
        sample = samples[index]
        known = np.flatnonzero(np.isfinite(sample.known_depth))
        kept = rng.choice(known, min(known.size, count or round(share * known.size)), replace=False)
        keep = np.zeros(sample.known_depth.shape, bool)
        keep.flat[kept] = True
        return _keep(sample, keep)

    return protocol


def _lidar_rings(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps every 4th ring of a LiDAR and scores the others.

    Where a LiDAR's rings are not known, bands of elevation stand for them, seen from the camera.
    """
    sample = samples[index]
    rings = sample.rings
    if rings is None and samples.profile.name == "lidar" and sample.frame.intrinsics is not None:
        rings = _elevation_bands(sample.frame.intrinsics)
    if rings is None:
        return None
    shown = np.where(rings % 4 == 1, sample.frame.depth, _MISSING)
    return _trial(sample, shown, sample.known_depth)


def _elevation_bands(intrinsics: Intrinsics) -> np.ndarray:
    """(H, W): the number of the band of elevation that each pixel looks into."""
    x = (np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx
    y = (np.arange(intrinsics.height)[:, None] - intrinsics.cy) / intrinsics.fy
    return np.floor(np.degrees(np.arctan2(y, np.hypot(1, x))) / RING_DEG).astype(int)


def _rows(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps every 8th row: what a LiDAR of some 60 beams leaves of a dense image."""
    sample = samples[index]
    if not _is_dense(sample.known_depth):
        return None
    keep = np.zeros(sample.known_depth.shape, bool)
    keep[4::8] = True
    return _keep(sample, keep)


def _super_resolution(factor: int) -> Protocol:
    """Keeps one pixel of each factor x factor block, at its centre, and adds the sensor's noise.

    The noise is normal with the standard deviation c + l·z + q·z² [m] of the set's profile (``Profile.noise``) at depth
    z; noise and down-sampling make the low-resolution depth D_LR = ↓D + η of super-resolution.
    """

    def protocol(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
        sample = samples[index]
        known = sample.known_depth
        if not _is_dense(known):
            return None
        keep = np.zeros(known.shape, bool)
        keep[factor // 2 :: factor, factor // 2 :: factor] = True
        noise = rng.standard_normal(known.shape, np.float32) * samples.profile.measurement_sigma(known)
        return _trial(sample, np.where(keep, np.maximum(known + noise, samples.profile.min_range), _MISSING), known)

    return protocol


def _is_dense(depth: np.ndarray) -> bool:
    return bool(np.isfinite(depth).mean() >= DENSE)


def _keep(sample: Sample, keep: np.ndarray) -> Trial | None:
    """The trial that shows the known depth where ``keep`` is set and scores the rest."""
    return _trial(sample, np.where(keep, sample.known_depth, _MISSING), sample.known_depth)


def _trial(sample: Sample, shown: np.ndarray, truth: np.ndarray) -> Trial | None:
    """None where nothing is shown or nothing is left to score."""
    truth = np.where(shown == truth, _MISSING, truth)
    if not (np.isfinite(shown).any() and np.isfinite(truth).any()):
        return None
    frame = sample.frame
    return Trial(RgbdFrame(frame.rgb, shown, frame.intrinsics, frame.stamp_ns, frame.frame_id), truth)


PROTOCOLS: dict[str, Protocol] = {
    "raw": _raw,
    "blocks": _blocks,
    "sparse500": _sparse(count=500),
    "sparse5": _sparse(share=0.05),
    "lidar-rings": _lidar_rings,
    "rows": _rows,
    "sr4": _super_resolution(4),
    "sr8": _super_resolution(8),
    "given": _given,
    "transparent": _transparent,
}
