"""Where the frames of an evaluation come from: folders and bags of recordings, and procedural scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from ..data.bags import DEPTH_TOPIC, RGB_TOPIC, depth_encoding, read_frames, tell_stderr
from ..data.folders import FrameSet, read_folder
from ..errors import InputError
from ..frame import RgbdFrame
from ..geometry import depth_on_rgb_grid
from ..profiles import Profile, load_profile
from ..resources import share_directory

OVERLAP = "rooms of this set are trained on: its figures show fitting, not generalisation"
# Words by which a set's name and sensor tell its profile; what names none of them is taken for a Kinect.
# The order matters: makers of phones call their time-of-flight cameras LiDAR.
_PROFILE_WORDS = {
    "tof": ("tof", "time-of-flight", "kinect v2", "azure"),
    "lidar": ("lidar", "beam", "velodyne", "ouster", "hesai", "livox"),
}


@dataclass(frozen=True)
class Sample:
    """One frame and what else is known of it, all on the RGB grid and within the range of the sensor's profile.

    frame: its depth is what the sensor gave, (H, W). ground_truth: (H, W) float32 [m], NaN where unknown; None where
    there is no other than the measurements. rings: (H, W) uint8, LiDAR ring + 1, 0 = none. transparent: (H, W) bool,
    glass and mirrors. The last three are None where they are not known.
    """

    frame: RgbdFrame
    ground_truth: np.ndarray | None = None
    rings: np.ndarray | None = None
    transparent: np.ndarray | None = None

    @property
    def known_depth(self) -> np.ndarray:
        """The densest truth there is: ground truth, else what the sensor measured; (H, W) [m], NaN missing."""
        return self.frame.depth if self.ground_truth is None else self.ground_truth


@dataclass(frozen=True)
class SampleSet:
    """Samples of one sensor; each is read when it is asked for. note: what must be said beside its figures, or ""."""

    name: str
    profile: Profile
    note: str
    size: int
    read: Callable[[int], Sample]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        return self.read(range(self.size)[index])


def open_folder(
    folder: Path, profile: str | None = None, limits: tuple[float | None, float | None] = (None, None)
) -> SampleSet:
    """The samples of a folder with a meta.json. profile: None tells it by the set's name and sensor. limits: the
    nearest and farthest depth that counts [m], None: the profile's.

    Raises InputError as ``read_folder`` does, ConfigurationError for an unknown profile.
    """
    frames = read_folder(folder)
    chosen = load_profile(profile or profile_of(f"{frames.name} {frames.sensor}")).within(*limits)
    note = OVERLAP if frames.name in _training_sets() else ""
    return SampleSet(frames.name, chosen, note, len(frames), lambda index: _folder_sample(frames, index, chosen))


def open_bag(
    path: Path,
    wanted: int,
    profile: str | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    *,
    unit: float | None = None,
    rgb_topic: str = RGB_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    truth_topic: str | None = None,
    depth_to_rgb: np.ndarray | None = None,
) -> SampleSet:
    """About ``wanted`` samples of a bag, evenly spread, in memory. truth_topic: images of reference depth [m or mm].
    unit: metres per count of its depth images; None takes millimetres, and says so. depth_to_rgb: (4, 4), which points
    need, as ``read_frames`` takes it.

    profile: None tells it by the bag's name; limits: as of ``open_folder``. Raises InputError as ``read_frames`` does,
    and for a bag without a pair.
    """
    chosen = load_profile(profile or profile_of(path.name)).within(*limits)
    if unit is None and (encoding := depth_encoding(path, depth_topic)) in ("16UC1", "mono16"):
        tell_stderr(
            f"{path}: depth is {encoding}, taken in millimetres; if it is not, give --depth-unit METRES_PER_COUNT"
        )
    read = read_frames if unit is None else partial(read_frames, unit=unit)
    frames = read(path, rgb_topic, depth_topic, depth_to_rgb=depth_to_rgb)
    if truth_topic is None:
        samples = (make_sample(chosen, frame) for frame in frames)
    else:
        references = read_frames(path, rgb_topic, truth_topic, depth_to_rgb=depth_to_rgb, tell=lambda line: None)
        samples = (make_sample(chosen, frame, truth.depth) for frame, truth in _same_stamps(frames, references))
    kept = _evenly(samples, wanted)
    if not kept:
        raise InputError(
            "bag",
            f"the bag {path} has no colour image with depth{'' if truth_topic is None else ' and reference'} of the "
            "same time: give the names of its topics with --rgb-topic, --depth-topic and --truth-topic",
        )
    return SampleSet(path.stem, chosen, "", len(kept), kept.__getitem__)


def make_sample(
    profile: Profile,
    frame: RgbdFrame,
    ground_truth: np.ndarray | None = None,
    rings: np.ndarray | None = None,
    transparent: np.ndarray | None = None,
) -> Sample:
    """A sample on the RGB grid; depth beyond the profile's range counts as missing. ground_truth: (h, w) [m]."""
    if ground_truth is not None:
        ground_truth = _in_range(_with_depth(frame, ground_truth), profile)
    return Sample(_with_depth(frame, _in_range(frame, profile)), ground_truth, rings, transparent)


def profile_of(description: str) -> str:
    """The name of the profile that a set's name and sensor suggest."""
    words = description.lower()
    return next((name for name, told in _PROFILE_WORDS.items() if any(word in words for word in told)), "kinect")


def _folder_sample(frames: FrameSet, index: int, profile: Profile) -> Sample:
    recorded = frames[index]
    return make_sample(profile, recorded.frame, recorded.ground_truth, recorded.rings)


def _with_depth(frame: RgbdFrame, depth: np.ndarray) -> RgbdFrame:
    return RgbdFrame(frame.rgb, depth, frame.intrinsics, frame.stamp_ns, frame.frame_id)


def _in_range(frame: RgbdFrame, profile: Profile) -> np.ndarray:
    """Its depth on the RGB grid, (H, W) float32 [m], NaN where missing or out of range."""
    depth = depth_on_rgb_grid(frame)
    with np.errstate(invalid="ignore"):
        return np.where((depth >= profile.min_range) & (depth <= profile.max_range), depth, np.float32(np.nan))


def _same_stamps(frames: Iterator[RgbdFrame], references: Iterator[RgbdFrame]) -> Iterator[tuple[RgbdFrame, RgbdFrame]]:
    """Those of both that belong to the same colour image; both in order of time."""
    reference = next(references, None)
    for frame in frames:
        while reference is not None and reference.stamp_ns < frame.stamp_ns:
            reference = next(references, None)
        if reference is not None and reference.stamp_ns == frame.stamp_ns:
            yield frame, reference


def _evenly(samples: Iterator[Sample], wanted: int) -> list[Sample]:
    """``wanted`` to twice as many, evenly spread, without knowing their number before: one of every 1, 2, 4, ..."""
    kept: list[Sample] = []
    step = 1
    for position, sample in enumerate(samples):
        if position % step == 0:
            kept.append(sample)
            if len(kept) == 2 * wanted:
                kept, step = kept[::2], 2 * step
    return kept


def _training_sets() -> set[str]:
    """Names of the sets that networks are trained on."""
    path = share_directory() / "config" / "training" / "splits.yaml"
    return set(yaml.safe_load(path.read_text(encoding="utf-8"))["train"]) if path.is_file() else set()
