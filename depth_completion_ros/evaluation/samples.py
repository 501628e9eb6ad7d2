"""The frames of an evaluation, from folders and bags of recordings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml

from ..bag.folders import FolderFrame, FrameSet, read_folder
from ..bag.frames import SLOP_NS, depth_encoding, pair_stamps, read_frames, why_no_pairs
from ..bag.reader import DEPTH_TOPIC, POINTS_TOPIC, RGB_TOPIC, warn_on_stderr
from ..errors import InputError, in_options
from ..frame import RgbdFrame
from ..frame_builder import FrameSettings
from ..geometry import depth_on_rgb_grid, without_clipped
from ..profiles import Profile, load_profile, profile_file, profile_names, read_parameters
from ..resources import share_directory
from .datasets import open_dataset
from .datasets.dataset import Dataset

OVERLAP = "networks were trained on rooms of this set: its results show fitting, not generalisation"
# Words (regular expressions) in the name or sensor of a set that determine its profile; without any of them, it is
# kinect. The order matters, because manufacturers of phones call their time-of-flight cameras LiDAR.
_PROFILE_WORDS = {
    "tof": ("[di]?tof", "time-of-flight", "kinect v2", "azure"),
    "lidar": ("lidars?", "beams?", "velodyne", "ouster", "hesai", "livox"),
}


@dataclass(frozen=True)
class Sample:
    """One frame with additional data, all on the RGB grid and within the range of the sensor profile.

    Attributes:
        frame: The frame, with the depth of the sensor (H, W).
        ground_truth: (H, W) float32 [m], NaN = unknown; None if there are only measurements.
        rings: (H, W) uint8, LiDAR ring + 1, 0 = none; None if unknown.
        transparent: (H, W) bool, glass and mirrors; None if unknown.
    """

    frame: RgbdFrame
    ground_truth: np.ndarray | None = None
    rings: np.ndarray | None = None
    transparent: np.ndarray | None = None

    @property
    def known_depth(self) -> np.ndarray:
        """Ground truth, or else the depth of the sensor; (H, W) [m], NaN = missing."""
        return self.frame.depth if self.ground_truth is None else self.ground_truth


@dataclass(frozen=True)
class SampleSet:
    """Samples of one sensor. Each sample is read when it is accessed.

    Attributes:
        name: Name of the set.
        profile: Profile of the sensor.
        note: Remark for the results; "" = none.
        size: Number of samples.
        read: Reads a sample by its index.
        around: Reads the frames around a sample in order of time: those at most so much [s] before and after it.
        about: Where the data comes from, by "sensor", "licence", "cite" and "source", as far as it is known.
    """

    name: str
    profile: Profile
    note: str
    size: int
    read: Callable[[int], Sample]
    around: Callable[[int, float, float], list[RgbdFrame]] = lambda index, before, after: []
    about: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        return self.read(range(self.size)[index])


def open_folder(
    folder: Path, profile: str | None = None, limits: tuple[float | None, float | None] = (None, None)
) -> SampleSet:
    """Open a folder with a meta.json.

    Args:
        folder: The folder.
        profile: Name of the sensor profile; None = determined from the name and sensor of the set.
        limits: Smallest and largest measured depth [m]; None = that of the profile.

    Raises:
        InputError: As in ``read_folder``.
        ConfigurationError: If the profile is unknown.
    """
    frames = read_folder(folder)
    chosen = load_profile(profile or profile_of(f"{frames.name} {frames.sensor}")).within(*limits)
    reported: set[str] = set()

    def read(index: int) -> FolderFrame:
        recorded = frames[index]
        unit = float(frames.meta["depth"]["scale_to_m"])
        depth, clipped = without_clipped(recorded.frame.depth, unit, chosen.max_range)
        if clipped and clipped not in reported:
            reported.add(clipped)
            _warn_in_options(f"{folder}: {clipped}")
        return replace(recorded, frame=replace(recorded.frame, depth=depth))

    note = OVERLAP if frames.name in _training_sets() else ""
    return replace(_samples_of(frames, read, chosen, note), about=_about_folder(frames))


def open_published(
    source: str | Path,
    profile: str | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    unit: float | None = None,
) -> SampleSet:
    """Open a published data set, ``FORMAT:PATH``.

    Args:
        source: See ``open_dataset``.
        profile: Name of the sensor profile; None = that of the data set.
        limits: See ``open_folder``.
        unit: See ``open_dataset``.

    Raises:
        InputError: As in ``open_dataset``.
        ConfigurationError: As in ``open_dataset``, and if the profile is unknown.
    """
    frames = open_dataset(source, unit)
    chosen = load_profile(profile or frames.profile).within(*limits)
    return _samples_of(frames, frames.__getitem__, chosen, frames.note)


def open_bag(
    path: Path,
    wanted: int,
    profile: str | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    *,
    settings: FrameSettings | None = None,
    rgb_topic: str = RGB_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    truth_topic: str | None = None,
    slop_ns: int = SLOP_NS,
    depth_offset_ns: int = 0,
) -> SampleSet:
    """Read evenly spaced samples of a bag into memory.

    Args:
        path: The bag.
        wanted: Number of samples.
        profile: Name of the sensor profile; None = determined from the name of the bag.
        limits: See ``open_folder``.
        settings: How messages become frames; their range is that of the profile. Without a unit, a message says so if
            depth is taken for millimetres.
        rgb_topic: Topic of the colour images.
        depth_topic: Topic of depth.
        truth_topic: Topic of reference depth [m, or mm in 16 bits]; None = none.
        slop_ns: Largest difference between the stamps of a pair [ns].
        depth_offset_ns: Added to the stamps of depth before pairing [ns].

    Raises:
        InputError: As in ``read_frames``, and if the bag has no pairs.
    """
    if profile is None:
        profile = profile_of(path.name)
        warn_on_stderr(
            f"{path}: the profile {profile} is used, which follows from the name; set another with --profile"
        )
    chosen = load_profile(profile).within(*limits)
    settings = replace(settings or FrameSettings(), min_range=chosen.min_range, max_range=chosen.max_range)
    if settings.unit == 0 and (encoding := depth_encoding(path, depth_topic)) in ("16UC1", "mono16"):
        warn_on_stderr(
            f"{path}: depth is {encoding} and assumed to be in millimetres; otherwise, set --depth-unit to the length "
            "of one count in metres"
        )
    pairing = {"slop_ns": slop_ns, "depth_offset_ns": depth_offset_ns}
    stamps = pair_stamps(path, rgb_topic, depth_topic, **pairing)
    if not stamps:
        why = why_no_pairs(path, rgb_topic, depth_topic, slop_ns, depth_offset_ns)
        raise InputError("bag", f"the bag {path} cannot be used: {why}")
    if truth_topic is not None:
        with_truth = set(pair_stamps(path, rgb_topic, truth_topic))
        stamps = [stamp for stamp in stamps if stamp in with_truth]
    chosen_stamps = {stamps[i] for i in np.linspace(0, len(stamps) - 1, min(wanted, len(stamps))).round().astype(int)}
    frames = read_frames(
        path, rgb_topic, depth_topic, settings=settings, stamps=chosen_stamps, warn=_warn_in_options, **pairing
    )
    if truth_topic is None:
        kept = [make_sample(chosen, frame) for frame in frames]
    else:
        # The reference is a depth image of its own kind: the unit that the user gave is that of the sensor.
        references = read_frames(
            path,
            rgb_topic,
            truth_topic,
            settings=replace(settings, unit=0.0),
            stamps=chosen_stamps,
            warn=lambda line: None,
        )
        kept = [make_sample(chosen, frame, truth.depth) for frame, truth in _same_stamps(frames, references)]
    if not kept:
        raise InputError(
            "bag",
            f"the bag {path} has no colour image with depth{'' if truth_topic is None else ' and reference depth'} of "
            "the same time: set its topics with --rgb-topic, --depth-topic and --truth-topic",
        )
    if all(np.isnan(sample.known_depth).all() for sample in kept):
        raise InputError(
            "empty_depth",
            f"the bag {path} has no depth between {chosen.min_range:g} and {chosen.max_range:g} m: set --depth-unit to "
            "the length of one count, or --min-range and --max-range to the range of the sensor",
        )
    kept_stamps = [sample.frame.stamp_ns for sample in kept]

    def around(index: int, before: float, after: float) -> list[RgbdFrame]:
        first, last = kept_stamps[index] - round(before * 1e9), kept_stamps[index] + round(after * 1e9)
        near = {stamp for stamp in pair_stamps(path, rgb_topic, depth_topic, **pairing) if first <= stamp <= last}
        frames = read_frames(
            path, rgb_topic, depth_topic, settings=settings, stamps=near, warn=lambda line: None, **pairing
        )
        return [make_sample(chosen, frame).frame for frame in frames]

    return SampleSet(path.stem, chosen, "", len(kept), kept.__getitem__, around, _about_bag(path))


def open_bundled(wanted: int) -> list[SampleSet]:
    """Open the recordings that the package contains, one for each kind of sensor. wanted: samples of each."""
    found = []
    for profile in profile_names():
        bag = share_directory() / "samples" / profile
        if not bag.is_dir():
            continue
        parameters = profile_file(profile), bag / "parameters.yaml"
        settings = {
            name: value for file in parameters if file.is_file() for name, value in read_parameters(file).items()
        }
        points = settings.get("depth.source") == "points"
        form = FrameSettings(
            unit=0.0 if points else 0.001, extrinsic=tuple(settings.get("extrinsic", ())), fixed_frame="odom"
        )
        topic = POINTS_TOPIC if points else DEPTH_TOPIC
        found.append(open_bag(bag, wanted, profile, settings=form, depth_topic=topic))
    return found


def _about_folder(frames: FrameSet) -> dict[str, str]:
    repository, commit = frames.source.get("repo"), frames.source.get("commit")
    about = {
        "sensor": frames.sensor,
        "licence": frames.licence.get("spdx"),
        "cite": frames.licence.get("cite"),
        "source": f"{repository} at commit {commit}" if repository and commit else repository,
    }
    return {name: str(text) for name, text in about.items() if text}


def _about_bag(path: Path) -> dict[str, str]:
    """What the file ``LICENSE.md`` in a bag says, as ``bag make`` writes it: "- Licence: CC-BY-4.0"."""
    file = path / "LICENSE.md"
    if not file.is_file():
        return {}
    lines = re.findall(r"^- (Sensor|Licence|Cite|Source): (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.lower(): text for name, text in lines}


def _warn_in_options(line: str) -> None:
    warn_on_stderr(in_options(line, bags=True))


def make_sample(
    profile: Profile,
    frame: RgbdFrame,
    ground_truth: np.ndarray | None = None,
    rings: np.ndarray | None = None,
    transparent: np.ndarray | None = None,
) -> Sample:
    """Make a sample on the RGB grid. Depth outside the range of the profile is missing. ground_truth: (h, w) [m]."""
    if ground_truth is not None:
        ground_truth = _in_range(_with_depth(frame, ground_truth), profile)
    return Sample(_with_depth(frame, _in_range(frame, profile)), ground_truth, rings, transparent)


def profile_of(description: str) -> str:
    """The name of the profile that matches a description (name and sensor of a set)."""
    words = r"(?<![a-z])(?:{})(?![a-z])"  # not autofocus_test for tof, or sunbeam for a beam of a LiDAR
    for name, known in _PROFILE_WORDS.items():
        if re.search(words.format("|".join(known)), description.lower()):
            return name
    return "kinect"


def _samples_of(
    frames: FrameSet | Dataset, read: Callable[[int], FolderFrame], profile: Profile, note: str
) -> SampleSet:
    return SampleSet(
        frames.name,
        profile,
        note,
        len(frames),
        lambda index: _folder_sample(read(index), profile),
        lambda index, before, after: _folder_frames(frames, read, index, before, after, profile),
    )


def _folder_sample(recorded: FolderFrame, profile: Profile) -> Sample:
    return make_sample(profile, recorded.frame, recorded.ground_truth, recorded.rings)


def _folder_frames(
    frames: FrameSet | Dataset,
    read: Callable[[int], FolderFrame],
    index: int,
    before: float,
    after: float,
    profile: Profile,
) -> list[RgbdFrame]:
    stamps = [frames.stamps_ns(position)[0] for position in range(len(frames))]
    first, last = stamps[index] - round(before * 1e9), stamps[index] + round(after * 1e9)
    near = [read(position).frame for position, stamp in enumerate(stamps) if first <= stamp <= last]
    return [make_sample(profile, frame).frame for frame in near]


def _with_depth(frame: RgbdFrame, depth: np.ndarray) -> RgbdFrame:
    return RgbdFrame(frame.rgb, depth, frame.intrinsics, frame.stamp_ns, frame.frame_id, camera_pose=frame.camera_pose)


def _in_range(frame: RgbdFrame, profile: Profile) -> np.ndarray:
    """The depth of a frame on the RGB grid, (H, W) float32 [m], NaN where it is missing or out of range."""
    depth = depth_on_rgb_grid(frame)
    with np.errstate(invalid="ignore"):
        return np.where((depth >= profile.min_range) & (depth <= profile.max_range), depth, np.float32(np.nan))


def _same_stamps(frames: Iterator[RgbdFrame], references: Iterator[RgbdFrame]) -> Iterator[tuple[RgbdFrame, RgbdFrame]]:
    """Pairs of frames with the same stamp of the colour image; both iterators are in order of time."""
    reference = next(references, None)
    for frame in frames:
        while reference is not None and reference.stamp_ns < frame.stamp_ns:
            reference = next(references, None)
        if reference is not None and reference.stamp_ns == frame.stamp_ns:
            yield frame, reference


def _training_sets() -> set[str]:
    """Names of the sets on which networks are trained."""
    path = share_directory() / "config" / "training" / "splits.yaml"
    return set(yaml.safe_load(path.read_text(encoding="utf-8"))["train"]) if path.is_file() else set()
