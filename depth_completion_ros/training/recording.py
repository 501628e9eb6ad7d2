"""A recording as training data: its usable frames, divided by time into frames for training and for the test."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..bag.folders import FrameSet, read_folder
from ..bag.frames import SLOP_NS, paired_stamps, read_frames, why_no_pairs
from ..bag.reader import DEPTH_TOPIC, RGB_TOPIC, BagReader, warn_on_stderr
from ..errors import ConfigurationError, InputError, in_options
from ..evaluation.datasets import is_dataset, open_dataset
from ..evaluation.datasets.dataset import Dataset
from ..evaluation.samples import make_sample
from ..frame import RgbdFrame
from ..frame_builder import FrameSettings
from ..geometry import pose_of, without_clipped
from ..profiles import Profile
from ..synchronizer import Synchronizer
from .cache import new_directory
from .sensor_estimate import SensorEstimate, estimate_sensor

TRAIN, TEST = "train", "test"
FEWEST_FRAMES = 30
_MOST_FRAMES = 1000  # evenly spaced; decoded, they are 2 GB of 640x480 pixels
_TRAIN_SHARE, _TEST_SHARE = 0.7, 0.2  # the rest is the gap between
_FEWEST_PIXELS = 100  # with depth, in a usable frame
_BLURRED = 0.5  # ratio of a frame's sharpness to the median of its neighbours, below which it is blurred
_NEIGHBOURS = 15  # frames before and after
_SHARPNESS_WIDTH = 320  # pixels; noise of the camera is averaged away
_SCALES = (0.0002, 0.0005, 0.001, 0.002)  # of one count of the depth files [m]; the smallest that the range allows
_ESTIMATE_FRAMES = 40
_REPORT = "recording.json"

BLURRED, APART, NO_DEPTH, UNREADABLE = "motion blur", "stamps too far apart", "no depth", "not readable"


@dataclass(frozen=True)
class Reading:
    """How frames are read from a recording. The topics, offset and settings are those of bags.

    Attributes:
        profile: The depth sensor, with its range.
        slop_ns: Largest difference between the stamps of colour and depth [ns].
        depth_offset_ns: Added to the stamps of depth [ns].
        rgb_topic: Topic of the colour images.
        depth_topic: Topic of depth images or points.
        settings: How messages become frames; the range is that of the profile.
    """

    profile: Profile
    slop_ns: int = SLOP_NS
    depth_offset_ns: int = 0
    rgb_topic: str = RGB_TOPIC
    depth_topic: str = DEPTH_TOPIC
    settings: FrameSettings = field(default_factory=FrameSettings)


@dataclass(frozen=True)
class Recording:
    """The usable frames of a recording, in the folders ``train`` and ``test``, each with a meta.json.

    Attributes:
        folder: The folder that contains them.
        source: What was read.
        profile: Name of the profile.
        images: Number of colour images of the recording.
        skipped: Number of images between the evenly spaced ones that were read.
        left_out: Number of frames that were left out, by reason.
        train: Number of frames for training.
        gap: Number of usable frames between those for training and those for the test, which are not used.
        gap_s: Time between the last frame for training and the first one for the test [s].
        test: Number of frames for the test.
        size: Width and height [pixels].
        points: Whether depth came as points.
        sensor: What the recording says about the sensor.
    """

    folder: Path
    source: str
    profile: str
    images: int
    skipped: int
    left_out: dict[str, int]
    train: int
    gap: int
    gap_s: float
    test: int
    size: tuple[int, int]
    points: bool
    sensor: SensorEstimate

    def lines(self) -> list[str]:
        """Describe the frames to users."""
        reasons = ", ".join(f"{count} because of {reason}" for reason, count in self.left_out.items()) or "none"
        thinned = f" ({self.skipped} between evenly spaced ones were not read)" if self.skipped else ""
        width, height = self.size
        return [
            f"{self.source}: {self.images} images of {width}x{height}{thinned}; left out: {reasons}",
            f"{self.train} frames for training, then a gap of {self.gap_s:.1f} s, then {self.test} frames for the test",
        ]


def prepare_recording(source: str, reading: Reading, folder: Path) -> Recording:
    """Read a recording once and write its usable frames to ``folder``, which appears only when it is complete.

    Args:
        source: A bag, a folder with a meta.json, or a data set FORMAT:PATH.
        reading: How it is read.
        folder: The folder to make.

    Raises:
        InputError: If the recording cannot be read, has no colour images, mixes resolutions, or has too few usable
            frames.
    """
    with new_directory(folder) as unfinished:
        opened = _open(source, reading)
        looks = _write_frames(opened, reading.profile, unfinished)
        recording = _divided(opened, looks, unfinished, source, reading)
        (unfinished / _REPORT).write_text(json.dumps(dataclasses.asdict(recording), default=str), encoding="utf-8")
    return dataclasses.replace(recording, folder=folder)


def open_recording(source: str, reading: Reading, folder: Path, resume: bool) -> Recording:
    """Prepare a recording, or return what was prepared before an interruption.

    Raises:
        ConfigurationError: If the folder exists and nothing is to be resumed, or the other way round, or it was made
            from another recording.
        InputError: See ``prepare_recording``.
    """
    if not folder.exists():
        if resume:
            raise ConfigurationError(f"{folder} does not exist, so there is nothing to resume: omit --resume")
        return prepare_recording(source, reading, folder)
    if not resume:
        raise ConfigurationError(
            f"{folder} exists, from an earlier adaptation: continue it with --resume, choose another name with --out, "
            "or delete it"
        )
    recording = read_recording(folder)
    if (recording.source, recording.profile) != (source, reading.profile.name):
        raise ConfigurationError(
            f"{folder} was made from {recording.source} with the profile {recording.profile}: give the same with "
            "--resume, or choose another name with --out"
        )
    return recording


def read_recording(folder: Path) -> Recording:
    """Return what ``prepare_recording`` wrote to a folder."""
    held = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in held["sensor"].items()}
    sensor = SensorEstimate(**values)
    return Recording(**held | {"folder": folder, "size": tuple(held["size"]), "sensor": sensor})


def sharpness(rgb: np.ndarray) -> float:
    """Variance of the Laplacian of an image (H, W, 3) uint8, reduced to a width of 320 pixels.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    if width > _SHARPNESS_WIDTH:
        size = (_SHARPNESS_WIDTH, max(1, height * _SHARPNESS_WIDTH // width))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def blurred(sharpnesses: list[float]) -> list[bool]:
    """Return which frames have strong motion blur: those far less sharp than most frames shortly before and after."""
    found = []
    for index, own in enumerate(sharpnesses):
        around = sharpnesses[max(0, index - _NEIGHBOURS) : index + _NEIGHBOURS + 1]
        found.append(own < _BLURRED * float(np.median(around)))
    return found


@dataclass(frozen=True)
class _Opened:
    """A recording whose frames can be read: (frame, difference of the stamps of depth and colour [ns])."""

    frames: Iterator[tuple[RgbdFrame, int]]
    images: int
    skipped: int
    left_out: Counter[str]
    points: bool = False


@dataclass(frozen=True)
class _Look:
    """What is remembered of a frame after it was written."""

    entry: dict[str, Any]
    sharpness: float
    pixels: int
    size: tuple[int, int]
    offset_ns: int
    depth: np.ndarray | None  # of a few frames only, because this is large


def _open(source: str, reading: Reading) -> _Opened:
    if is_dataset(source):
        return _open_set(open_dataset(source, reading.settings.unit or None), reading)
    path = Path(source)
    if (path / "meta.json").is_file() or not path.exists():
        return _open_set(read_folder(path), reading)
    return _open_bag(path, reading)


def _open_set(frames: FrameSet | Dataset, reading: Reading) -> _Opened:
    without_colour = sum("rgb" not in entry for entry in frames.meta["frames"]) if isinstance(frames, FrameSet) else 0
    if without_colour:
        raise InputError(
            "rgb",
            f"{without_colour} of {len(frames)} frames of {frames.folder} have no colour image: record colour and "
            "depth of the same view",
        )
    stamps = sorted((*frames.stamps_ns(index), index) for index in range(len(frames)))
    offsets = {index: depth_ns + reading.depth_offset_ns - rgb_ns for rgb_ns, depth_ns, index in stamps}
    near = [index for _, _, index in stamps if abs(offsets[index]) <= reading.slop_ns]
    chosen = _evenly(near)
    left_out = Counter({APART: len(stamps) - len(near)})
    unit = float(frames.meta.get("depth", {}).get("scale_to_m", 0.001))

    def read() -> Iterator[tuple[RgbdFrame, int]]:
        first_error: InputError | None = None
        for index in chosen:
            try:
                frame = frames[index].frame
            except InputError as error:
                first_error = first_error or error
                left_out[UNREADABLE] += 1
                continue
            depth, _ = without_clipped(frame.depth, unit, reading.profile.max_range)
            yield dataclasses.replace(frame, depth=depth), offsets[index]
        if first_error is not None and left_out[UNREADABLE] == len(chosen):
            raise first_error

    return _Opened(read(), len(frames), len(near) - len(chosen), left_out)


def _open_bag(path: Path, reading: Reading) -> _Opened:
    synchronizer = Synchronizer(reading.slop_ns, 0)
    topics = reading.rgb_topic, reading.depth_topic
    offsets = {
        rgb_ns: depth_ns - rgb_ns
        for rgb_ns, depth_ns in paired_stamps(path, *topics, synchronizer, reading.depth_offset_ns)
    }
    if not offsets:
        why = why_no_pairs(path, *topics, reading.slop_ns, reading.depth_offset_ns)
        raise InputError("bag", f"the bag {path} cannot be used: {why}")
    with BagReader(path) as bag:
        images = bag.find_image("rgb", reading.rgb_topic).count
        points = "Image" not in bag.find_image("depth", reading.depth_topic).type
    chosen = _evenly(sorted(offsets))
    left_out = Counter({APART: images - len(offsets)})
    settings = dataclasses.replace(
        reading.settings, min_range=reading.profile.min_range, max_range=reading.profile.max_range
    )

    def read() -> Iterator[tuple[RgbdFrame, int]]:
        count = 0
        for frame in read_frames(
            path,
            *topics,
            settings=settings,
            slop_ns=reading.slop_ns,
            depth_offset_ns=reading.depth_offset_ns,
            stamps=set(chosen),
            warn=lambda line: warn_on_stderr(in_options(line, bags=True)),
        ):
            count += 1
            yield frame, offsets.get(frame.stamp_ns, 0)
        left_out[UNREADABLE] += len(chosen) - count

    return _Opened(read(), images, len(offsets) - len(chosen), left_out, points)


def _evenly(values: list[int]) -> list[int]:
    count = min(len(values), _MOST_FRAMES)
    return [values[position * len(values) // count] for position in range(count)]


def _scale(profile: Profile) -> float:
    return next((scale for scale in _SCALES if profile.max_range < 65534 * scale), profile.max_range / 65534)


def _write_frames(opened: _Opened, profile: Profile, folder: Path) -> list[_Look]:
    """Write colour and depth of each frame, and return what is needed to choose among them."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir()
    scale = _scale(profile)
    every = max(1, (opened.images - opened.skipped) // _ESTIMATE_FRAMES)
    looks: list[_Look] = []
    for number, (read, offset_ns) in enumerate(opened.frames):
        frame = make_sample(profile, read).frame
        name = f"{number:05}"
        entry: dict[str, Any] = {
            "id": name,
            "t_rgb": frame.stamp_ns / 1e9,
            "t_depth": (frame.stamp_ns + offset_ns) / 1e9,
        }
        if frame.intrinsics is not None:
            entry["intrinsics"] = dataclasses.asdict(frame.intrinsics)
        if frame.camera_pose is not None:
            entry["pose"] = [entry["t_rgb"], *pose_of(frame.camera_pose).tolist()]
        counts = np.round(np.nan_to_num(frame.depth, nan=0.0) / scale).astype(np.uint16)
        for kind, image in (("rgb", frame.rgb[..., ::-1]), ("depth", counts)):
            entry[kind] = f"{kind}/{name}.png"
            if not cv2.imwrite(str(folder / entry[kind]), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                raise ConfigurationError(f"{folder / entry[kind]} cannot be written: check that the disk has room")
        looks.append(
            _Look(
                entry,
                sharpness(frame.rgb),
                int(np.isfinite(frame.depth).sum()),
                frame.rgb.shape[1::-1],
                offset_ns,
                frame.depth if number % every == 0 else None,
            )
        )
    return looks


def _divided(opened: _Opened, looks: list[_Look], folder: Path, source: str, reading: Reading) -> Recording:
    """Choose the usable frames, divide them by time, and move their files to the folders ``train`` and ``test``."""
    sizes = Counter(look.size for look in looks)
    if len(sizes) > 1:
        held = " and ".join(f"{width}x{height} ({count} frames)" for (width, height), count in sizes.most_common())
        raise InputError("size", f"{source} mixes resolutions, {held}: record with one resolution")
    with_depth = [look for look in looks if look.pixels >= _FEWEST_PIXELS]
    dim = blurred([look.sharpness for look in with_depth])
    usable = [look for look, bad in zip(with_depth, dim, strict=True) if not bad]
    counted = opened.left_out + Counter({BLURRED: sum(dim), NO_DEPTH: len(looks) - len(with_depth)})
    left_out = {reason: count for reason, count in counted.items() if count}
    if len(usable) < FEWEST_FRAMES:
        reasons = ", ".join(f"{count} because of {reason}" for reason, count in left_out.items())
        raise InputError(
            "frames",
            f"{source} has {len(usable) or 'no'} usable frames, and at least {FEWEST_FRAMES} are needed"
            + (f" (left out: {reasons})" if reasons else "")
            + ": record half a minute or more while the camera moves slowly through your rooms",
        )
    train, test = usable[: int(_TRAIN_SHARE * len(usable))], usable[-int(_TEST_SHARE * len(usable)) :]
    for part, chosen in ((TRAIN, train), (TEST, test)):
        _write_part(folder, part, chosen, source, reading.profile)
    for kind in ("rgb", "depth"):
        shutil.rmtree(folder / kind)
    return Recording(
        folder=folder,
        source=source,
        profile=reading.profile.name,
        images=opened.images,
        skipped=opened.skipped,
        left_out=left_out,
        train=len(train),
        gap=len(usable) - len(train) - len(test),
        gap_s=test[0].entry["t_rgb"] - train[-1].entry["t_rgb"],
        test=len(test),
        size=looks[0].size,
        points=opened.points,
        sensor=estimate_sensor(
            [look.depth for look in looks if look.depth is not None], [look.offset_ns for look in looks]
        ),
    )


def _write_part(folder: Path, part: str, looks: list[_Look], source: str, profile: Profile) -> None:
    for kind in ("rgb", "depth"):
        (folder / part / kind).mkdir(parents=True)
        for look in looks:
            (folder / look.entry[kind]).rename(folder / part / look.entry[kind])
    meta = {
        "name": part,
        "sensor": profile.name,  # so that ``evaluate`` uses the same profile
        "note": f"usable frames of {source}, for {part}",
        "depth": {"scale_to_m": _scale(profile)},
        "frames": [look.entry for look in looks],
    }
    (folder / part / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
