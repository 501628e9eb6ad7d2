"""A published data set as a sequence of the frames that folders and bags yield, and what all readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...bag.folders import FRAME_ID, FolderFrame
from ...errors import InputError
from ...frame import Intrinsics, RgbdFrame

START_NS = 1_000_000_000  # a zero stamp means "no stamp" in ROS
# Frames that are no sequence are this far apart, so that no protocol takes them for views of one moving camera.
APART_NS = 10_000_000_000
MILLIMETRES = 0.001


@dataclass(frozen=True)
class Content:
    """What a reader reads of one frame. Depth and truth in metres, NaN = missing; one of them may be None.

    Attributes:
        rgb: (H, W, 3) uint8, RGB.
        depth: (h, w) float32 [m], what the sensor measured; None = the data set has ground truth only.
        truth: (h, w) float32 [m], reference depth in the view of rgb.
        intrinsics: fx fy cx cy of rgb [pixels]; None if the data set does not publish all of them.
        pose: (4, 4) transform from the optical frame of rgb to a frame that does not move.
        depth_intrinsics: fx fy cx cy of depth, if it is not in the view of rgb.
        depth_to_rgb: (4, 4) transform from the optical frame of depth to that of rgb, if it is not in the view of rgb.
        points: (N, 4) float32, x y z [m] intensity in the LiDAR frame.
        camera_from_lidar: (4, 4) transform from the LiDAR frame to the optical frame of rgb.
    """

    rgb: np.ndarray
    depth: np.ndarray | None = None
    truth: np.ndarray | None = None
    intrinsics: Sequence[float] | None = None
    pose: np.ndarray | None = None
    depth_intrinsics: Sequence[float] | None = None
    depth_to_rgb: np.ndarray | None = None
    points: np.ndarray | None = None
    camera_from_lidar: np.ndarray | None = None


@dataclass(frozen=True)
class Entry:
    """One frame of a data set, not read yet.

    Attributes:
        id: Identifier of the frame.
        file: The file of its colour image.
        read: Reads it.
        stamp_ns: Stamp [ns]; None = the frames are no sequence.
    """

    id: str
    file: Path
    read: Callable[[], Content]
    stamp_ns: int | None = None


@dataclass(frozen=True)
class Dataset(Sequence[FolderFrame]):
    """The frames of a data set, with the attributes of ``bag.folders.FrameSet``. Each is read when it is accessed.

    Indexing raises InputError with the cause "dataset" if the files of a frame cannot be used.

    Attributes:
        name: Name for tables.
        sensor: The sensor.
        profile: Name of the sensor profile.
        folder: The folder or file that was opened.
        entries: The frames; at least one.
        cite: The publication of the data set.
        note: Remark for all results; "" = none.
    """

    name: str
    sensor: str
    profile: str
    folder: Path
    entries: Sequence[Entry]
    cite: str
    note: str = ""
    source: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.entries:
            raise problem(self.folder, "it has no frames: give the folder that docs/datasets.md names for this format")

    @property
    def licence(self) -> dict[str, str]:
        """What is to cite, as in meta.json."""
        return {"cite": self.cite}

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What identifies the contents, as in meta.json."""
        place = str(self.folder.resolve())
        return {"name": self.name, "folder": place, "frames": [{"id": entry.id} for entry in self.entries]}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[FolderFrame]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        entry = self.entries[index]
        try:
            return self._frame(entry, self.stamps_ns(index)[0])
        except InputError as error:
            if error.cause == "dataset":
                raise
            raise problem(self.folder, f"frame {entry.id}: {error}") from error
        except (OSError, KeyError, IndexError, ValueError) as error:
            raise problem(self.folder, f"frame {entry.id} cannot be read ({error!r}): copy its files again") from error

    def stamps_ns(self, index: int) -> tuple[int, int]:
        """Stamps of rgb and depth of one frame [ns], without reading its images."""
        position = range(len(self))[index]
        stamp = self.entries[position].stamp_ns
        stamp = START_NS + position * APART_NS if stamp is None else stamp
        return stamp, stamp

    def _frame(self, entry: Entry, stamp_ns: int) -> FolderFrame:
        content = entry.read()
        depth = content.truth if content.depth is None else content.depth
        if depth is None:
            raise problem(self.folder, f"frame {entry.id} has neither depth nor ground truth")
        frame = RgbdFrame(
            rgb=np.ascontiguousarray(content.rgb),
            depth=depth.copy(),
            intrinsics=_intrinsics(content.intrinsics, content.rgb),
            stamp_ns=stamp_ns,
            frame_id=FRAME_ID,
            depth_intrinsics=_intrinsics(content.depth_intrinsics, depth),
            depth_to_rgb=content.depth_to_rgb,
            camera_pose=content.pose,
        )
        return FolderFrame(
            id=entry.id,
            frame=frame,
            depth_stamp_ns=stamp_ns,
            rgb_file=entry.file,
            ground_truth=content.truth,
            rings=None,
            points=content.points,
            camera_from_lidar=content.camera_from_lidar,
        )


def problem(path: Path, what: str) -> InputError:
    """The error for a data set that cannot be used."""
    return InputError("dataset", f"the data set {path} cannot be used: {what}")


def missing(path: Path, layout: str) -> InputError:
    """The error for a path that does not have the layout of its format."""
    return problem(path, f"it does not have {layout}")


def images_in(folder: Path) -> list[Path]:
    """The images in a folder, sorted by name."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".ppm"))


def first_file(names: Iterable[Path]) -> Path | None:
    """The first of these files that exists."""
    return next((path for path in names if path.is_file()), None)


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, RGB, the stored pixels without EXIF rotation, as depth has none. Raises InputError."""
    return np.ascontiguousarray(_decoded(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)[..., ::-1])


def read_counts(path: Path) -> np.ndarray:
    """(H, W) uint16, the counts of a 16-bit image with one channel. Raises InputError for any other image."""
    counts = _decoded(path, cv2.IMREAD_UNCHANGED)
    if counts.dtype != np.uint16 or counts.ndim != 2:
        channels = "1 channel" if counts.ndim == 2 else f"{counts.shape[2]} channels"
        kind = f"{8 * counts.itemsize} bits and {channels}"
        raise problem(path, f"it has {kind}, but depth has 16 bits and one channel: give the original file")
    return counts


def metres(counts: np.ndarray, unit: float) -> np.ndarray:
    """(H, W) float32 [m], NaN for a count of 0. unit: length of one count [m]."""
    # Multiplied in float64, to get the float32 nearest to the exact value for any unit.
    return np.where(counts == 0, np.float32(np.nan), (counts * float(unit)).astype(np.float32))


def read_numbers(path: Path, *shapes: tuple[int, ...]) -> np.ndarray:
    """The numbers of a text file, float64, in the first shape that has as many. Raises InputError if none has."""
    try:
        numbers = np.array(path.read_text(encoding="utf-8").split(), np.float64)
    except FileNotFoundError as error:
        raise problem(path.parent, f"{path.name} is missing: copy it from the data set") from error
    except ValueError as error:
        raise problem(path, f"it contains more than numbers ({error}): copy it again") from error
    for shape in shapes:
        if numbers.size == np.prod(shape):
            return numbers.reshape(shape)
    wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
    raise problem(path, f"it contains {numbers.size} numbers instead of {wanted}: copy it again")


def focal_and_centre(matrix: np.ndarray) -> tuple[float, float, float, float]:
    """fx fy cx cy of a camera matrix whose upper left part is K."""
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])


def _decoded(path: Path, flags: int) -> np.ndarray:
    if not path.is_file():
        raise problem(path.parent, f"{path.name} is missing: copy the whole folder")
    image = cv2.imread(str(path), flags)
    if image is None:
        raise problem(path, "it cannot be decoded as an image: copy it again")
    return image


def _intrinsics(values: Sequence[float] | None, image: np.ndarray) -> Intrinsics | None:
    if values is None:
        return None
    fx, fy, cx, cy = values
    return Intrinsics(fx, fy, cx, cy, width=image.shape[1], height=image.shape[0])
