"""Protocols, which hide a part of the known depth and use it as ground truth. Deterministic for frame and seed."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConfigurationError
from ..frame import Intrinsics, RgbdFrame
from ..geometry import back_project, moved, project_points
from ..temporal import TemporalMemory, TemporalSettings
from .published import at_half_size
from .samples import Sample, SampleSet

RING_DEG = 0.4  # angle between two rings of a 64-beam LiDAR: the HDL-64E covers 26.9 degrees
DENSE = 0.25  # share of known pixels from which depth counts as dense, as some protocols need it
_NEAR_S, _MEMORY_S = 2.0, 1.5  # time around a frame for its truth, and before it for the memory [s]
_MOST_VIEWS, _FEWEST_VIEWS = 40, 3
_AGREE_M, _AGREE_SHARE, _MOST_AGREE = 0.02, 0.01, 0.7
_MISSING = np.float32(np.nan)


@dataclass(frozen=True)
class Trial:
    """A frame to complete, and the ground truth to score against.

    Attributes:
        frame: The frame.
        truth: (H, W) float32 [m], NaN where it is unknown or equal to the input.
    """

    frame: RgbdFrame
    truth: np.ndarray


Protocol = Callable[[SampleSet, int, np.random.Generator], "Trial | None"]


def make_trial(protocol: str, samples: SampleSet, index: int, seed: int = 0) -> Trial | None:
    """Apply a protocol to one sample.

    Args:
        protocol: One of ``PROTOCOLS``.
        samples: The set.
        index: Index of the sample.
        seed: Random seed.

    Returns:
        The trial; None if the protocol cannot be applied to this sample.

    Raises:
        ConfigurationError: If the protocol is unknown.
        InputError: If the frame cannot be read.
    """
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    rng = np.random.default_rng([seed, index, zlib.crc32(samples.name.encode())])
    return PROTOCOLS[protocol](samples, index, rng)


def _given(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps the depth of the sensor and scores it against ground truth, including measured pixels."""
    sample = samples[index]
    return None if sample.ground_truth is None else _trial(sample, sample.frame.depth, sample.ground_truth)


def _transparent(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps the depth of the sensor and scores only glass and mirrors."""
    sample = samples[index]
    if sample.ground_truth is None or sample.transparent is None:
        return None
    return _trial(sample, sample.frame.depth, np.where(sample.transparent, sample.ground_truth, _MISSING))


def _raw(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Hides the pixels that are missing in another frame, half a set away, so that the holes are realistic."""
    sample = samples[index]
    donor = samples[(index + len(samples) // 2) % len(samples)].frame.depth
    if donor.shape != sample.frame.depth.shape or not (_is_dense(donor) and _is_dense(sample.frame.depth)):
        return None
    hidden = np.isnan(donor) & np.isfinite(sample.frame.depth)
    return _trial(
        sample, np.where(hidden, _MISSING, sample.frame.depth), np.where(hidden, sample.known_depth, _MISSING)
    )


def _blocks(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Hides 2 to 12 rectangles with 4 to 30 % of the height and width of the image."""
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
    """Keeps a random selection of the known pixels: ``count`` of them, or a share."""

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

    If the rings are unknown, bands of elevation as seen from the camera are used instead.
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
    """(H, W) int, the number of the elevation band of each pixel."""
    x = (np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx
    y = (np.arange(intrinsics.height)[:, None] - intrinsics.cy) / intrinsics.fy
    return np.floor(np.degrees(np.arctan2(y, np.hypot(1, x))) / RING_DEG).astype(int)


def _rows(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps every 8th row of a dense image, like a LiDAR with about 60 beams."""
    sample = samples[index]
    if not _is_dense(sample.known_depth):
        return None
    keep = np.zeros(sample.known_depth.shape, bool)
    keep[4::8] = True
    return _keep(sample, keep)


def _super_resolution(factor: int) -> Protocol:
    """Keeps the central pixel of each factor x factor block and adds the noise of the sensor.

    The noise is normal with the standard deviation c + l·z + q·z² [m] at depth z (``Profile.noise``). The result is the
    low-resolution depth D_LR = ↓D + η of super-resolution.
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


def _sequence(motion: str = "off") -> Protocol:
    """Scores the holes of the sensor, with the memory of the frames before, or without.

    Without ground truth, the truth is the mean of what frames up to 2 s away measured, moved by the recorded poses,
    where at least three of them, and most of them, agree within 2 cm + 1 % of the median.
    """

    def protocol(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
        sample = samples[index]
        frame = sample.frame
        if frame.intrinsics is None or frame.camera_pose is None:
            return None
        before = samples.around(index, _MEMORY_S, 0.0)
        truth = sample.ground_truth
        if truth is None:
            others = [other for other in samples.around(index, _NEAR_S, _NEAR_S) if other.stamp_ns != frame.stamp_ns]
            truth = _agreed_depth(frame, others)
        elif len(before) < 2:  # single frames, or the first one of a sequence
            return None
        truth = np.where(np.isnan(frame.depth), truth, _MISSING)
        if not (np.isfinite(frame.depth).any() and np.isfinite(truth).any()):
            return None
        memory = TemporalMemory(TemporalSettings(motion))
        for earlier in before:
            recalled = memory.recall(earlier, samples.profile).recalled
        return Trial(replace(frame, recalled=recalled), truth)

    return protocol


def _nyu500(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps 500 random pixels of the ground truth at 304x228 and scores all of it, those included.

    Ma & Karaman, ICRA 2018, as NLSPN's loader does it (Park et al., ECCV 2020). The random pixels are others than those
    of any paper, which depend on the state of PyTorch's generator.
    """
    sample = at_half_size(samples[index], 304, 228)
    known = np.flatnonzero(np.isfinite(sample.known_depth))
    keep = np.zeros(sample.known_depth.shape, bool)
    keep.flat[rng.choice(known, min(known.size, 500), replace=False)] = True
    return _published(sample, np.where(keep, sample.known_depth, _MISSING))


def _nyu_raw(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps what the Kinect measured and scores all of the reconstructed depth, at 288x192 as in AGG-Net's loader."""
    sample = samples[index]
    if sample.ground_truth is None or np.array_equal(sample.ground_truth, sample.frame.depth, equal_nan=True):
        return None
    sample = at_half_size(sample, 288, 192)
    return _published(sample, sample.frame.depth)


def _kitti(samples: SampleSet, index: int, rng: np.random.Generator) -> Trial | None:
    """Keeps the sparse LiDAR depth and scores all pixels with ground truth, as KITTI's development kit does."""
    sample = samples[index]
    return None if sample.ground_truth is None else _published(sample, sample.frame.depth)


def _published(sample: Sample, shown: np.ndarray) -> Trial | None:
    """A trial that is scored on all ground truth, also where the input contains it."""
    truth = sample.known_depth
    if not (np.isfinite(shown).any() and np.isfinite(truth).any()):
        return None
    frame = sample.frame
    return Trial(RgbdFrame(frame.rgb, shown, frame.intrinsics, frame.stamp_ns, frame.frame_id), truth)


def _agreed_depth(frame: RgbdFrame, others: list[RgbdFrame]) -> np.ndarray:
    """The depth on which other frames agree for the pixels of a frame, (H, W) float32 [m], NaN where they do not."""
    assert frame.intrinsics is not None and frame.camera_pose is not None
    views = []
    for other in others[:: len(others) // _MOST_VIEWS + 1]:
        if other.camera_pose is not None and other.intrinsics is not None:
            points = back_project(other.depth, other.intrinsics)
            motion = np.linalg.inv(frame.camera_pose) @ other.camera_pose
            views.append(project_points(moved(points[np.isfinite(points[:, 2])], motion), frame.intrinsics))
    if len(views) < _FEWEST_VIEWS:
        return np.full(frame.depth.shape, _MISSING)
    depth = np.stack(views)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any view
        median = np.nanmedian(depth, axis=0)
        agree = np.abs(depth - median) < _AGREE_M + _AGREE_SHARE * median
        mean = np.nanmean(np.where(agree, depth, _MISSING), axis=0)
    count, seen = agree.sum(axis=0), np.isfinite(depth).sum(axis=0)
    return np.where((count >= _FEWEST_VIEWS) & (count >= _MOST_AGREE * seen), mean, _MISSING)


def _is_dense(depth: np.ndarray) -> bool:
    return bool(np.isfinite(depth).mean() >= DENSE)


def _keep(sample: Sample, keep: np.ndarray) -> Trial | None:
    """A trial with the known depth where ``keep`` is set; the rest is scored."""
    return _trial(sample, np.where(keep, sample.known_depth, _MISSING), sample.known_depth)


def _trial(sample: Sample, shown: np.ndarray, truth: np.ndarray) -> Trial | None:
    """A trial with the input depth ``shown``; None if the input is empty or there is nothing to score."""
    truth = np.where(shown == truth, _MISSING, truth)
    if not (np.isfinite(shown).any() and np.isfinite(truth).any()):
        return None
    return Trial(replace(sample.frame, depth=shown), truth)


PUBLISHED: dict[str, Protocol] = {"nyu500": _nyu500, "nyu-raw": _nyu_raw, "kitti": _kitti}
"""Protocols of papers and benchmarks: they also score pixels of the input, and average over frames, not pixels."""

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
    "sequence": _sequence(),
    "sequence-tf": _sequence("tf"),
    "sequence-odometry": _sequence("odometry"),
    **PUBLISHED,
}
