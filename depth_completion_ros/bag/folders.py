"""Folders of recorded frames: meta.json with the subfolders rgb/, depth/ and optionally gt/, ring/ and points/."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..conversion import NOT_MEASURED, RGB_FLAGS, rgb_of_opencv
from ..errors import InputError
from ..frame import Intrinsics, RgbdFrame
from .transforms import BagTransforms

FRAME_ID = "camera_color_optical_frame"
FIXED_FRAME_ID = "odom"  # in which the poses of the camera are given
# Sets without stamps get those of a 30 Hz camera, or of a 10 Hz LiDAR if they have points. They start at 1 s because a
# zero stamp means "no stamp" in ROS.
NOMINAL_PERIOD_NS = 33_333_333
NOMINAL_LIDAR_PERIOD_NS = 100_000_000
NOMINAL_START_NS = 1_000_000_000


@dataclass(frozen=True)
class FolderFrame:
    """One recorded frame. The optional parts are None if the set does not have them.

    Attributes:
        id: Identifier of the frame.
        frame: rgb, depth, intrinsics and the pose of the camera if it was recorded; ``frame.stamp_ns`` is the stamp of
            rgb.
        depth_stamp_ns: Stamp of depth [ns].
        rgb_file: The recorded file of the colour image.
        ground_truth: (H, W) float32 [m] at its own resolution, NaN = unknown; optional.
        rings: (H, W) uint8 at the RGB resolution, LiDAR ring + 1, 0 = none; optional.
        points: (N, 5) float32, x y z [m] intensity ring, in the LiDAR frame; (N, 4) without ring; optional.
        camera_from_lidar: (4, 4) float64, transform from the LiDAR frame to the RGB optical frame; optional.
    """

    id: str
    frame: RgbdFrame
    depth_stamp_ns: int
    rgb_file: Path
    ground_truth: np.ndarray | None
    rings: np.ndarray | None
    points: np.ndarray | None
    camera_from_lidar: np.ndarray | None


@dataclass(frozen=True)
class FrameSet(Sequence[FolderFrame]):
    """The frames of one folder in recorded order. Each frame is read when it is accessed.

    Indexing raises InputError with the cause "folder" if the files of a frame cannot be used.

    Attributes:
        name: Name of the set.
        sensor: The sensor.
        licence: Licence in meta.json (spdx, quote, cite, …).
        source: Source in meta.json (repo, commit, …).
        note: How the data was changed.
        folder: The folder.
        meta: Contents of meta.json.
    """

    name: str
    sensor: str
    licence: dict[str, str]
    source: dict[str, str]
    note: str
    folder: Path
    meta: dict[str, Any]

    def __len__(self) -> int:
        return len(self.meta["frames"])

    def __iter__(self) -> Iterator[FolderFrame]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return self._entry(index, self._read)

    def stamps_ns(self, index: int) -> tuple[int, int]:
        """Stamps of rgb and depth of one frame [ns], without reading its images. Raises InputError like indexing."""
        return self._entry(index, self._stamps_ns)

    @functools.cached_property
    def _poses(self) -> BagTransforms:
        """All poses of the camera, for interpolation."""
        poses = BagTransforms()
        for index, entry in enumerate(self.meta["frames"]):
            if "pose" in entry:
                stamp_ns, pose = self._entry(index, self._pose)
                poses.add(FIXED_FRAME_ID, FRAME_ID, stamp_ns, pose, static=False)
        return poses

    def _pose(self, entry: dict[str, Any], position: int) -> tuple[int, np.ndarray]:
        """The stamp [ns] and pose (7,) in the entry of a frame: (t) x y z [m] qx qy qz qw."""
        *time, x, y, z, qx, qy, qz, qw = (float(number) for number in entry["pose"])
        stamp_ns = _nanoseconds(time[0]) if time else self._stamps_ns(entry, position)[0]
        return stamp_ns, np.array([x, y, z, qx, qy, qz, qw])

    def _entry(self, index: int, read: Callable[[dict[str, Any], int], Any]) -> Any:
        position = range(len(self))[index]
        try:
            return read(self.meta["frames"][position], position)
        except InputError as error:
            if error.cause == "folder":
                raise
            raise _error(self.folder, f"frame {position}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _error(self.folder, f"the entry of frame {position} in meta.json is not valid ({error!r})") from error

    def _read(self, entry: dict[str, Any], position: int) -> FolderFrame:
        ground_truth = self._metres(entry["gt"]) if "gt" in entry else None
        depth = self._metres(entry["depth"]) if "depth" in entry else ground_truth
        if depth is None:
            raise _error(self.folder, f"frame {entry['id']} has neither 'depth' nor 'gt': give it one of them")
        stamp_ns, depth_stamp_ns = self._stamps_ns(entry, position)
        frame = RgbdFrame(
            rgb=rgb_of_opencv(self._image(entry["rgb"], RGB_FLAGS)),
            depth=depth.copy() if depth is ground_truth else depth,
            intrinsics=_intrinsics(entry.get("intrinsics") or self.meta.get("intrinsics")),
            stamp_ns=stamp_ns,
            frame_id=FRAME_ID,
            camera_pose=self._poses.lookup(FIXED_FRAME_ID, FRAME_ID, stamp_ns)[0] if "pose" in entry else None,
        )
        return FolderFrame(
            id=entry["id"],
            frame=frame,
            depth_stamp_ns=depth_stamp_ns,
            rgb_file=self.folder / entry["rgb"],
            ground_truth=ground_truth,
            rings=self._rings(entry["ring"], frame) if "ring" in entry else None,
            points=self._points(entry["points"]) if "points" in entry else None,
            camera_from_lidar=_transform(entry["T_cam_lidar"]) if "T_cam_lidar" in entry else None,
        )

    def _stamps_ns(self, entry: dict[str, Any], position: int) -> tuple[int, int]:
        period_ns = NOMINAL_LIDAR_PERIOD_NS if "points" in entry else NOMINAL_PERIOD_NS
        nominal_ns = NOMINAL_START_NS + position * period_ns
        rgb_ns = _nanoseconds(entry["t_rgb"]) if "t_rgb" in entry else nominal_ns
        return rgb_ns, _nanoseconds(entry["t_depth"]) if "t_depth" in entry else rgb_ns

    def _metres(self, name: str) -> np.ndarray:
        raw = self._image(name, cv2.IMREAD_UNCHANGED)
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise _error(self.folder, f"{name} must be a 16-bit image with one channel, not {raw.shape} {raw.dtype}")
        # Multiplied in float64, to get the float32 nearest to the exact value for any scale.
        metres = (raw * float(self.meta["depth"]["scale_to_m"])).astype(np.float32)
        metres[(raw == 0) | (raw == NOT_MEASURED)] = np.nan
        return metres

    def _rings(self, name: str, frame: RgbdFrame) -> np.ndarray:
        rings = self._image(name, cv2.IMREAD_UNCHANGED)
        if rings.dtype != np.uint8 or rings.shape != frame.rgb.shape[:2]:
            raise _error(self.folder, f"{name} must be 8-bit with the size of rgb, not {rings.shape} {rings.dtype}")
        return rings

    def _points(self, name: str) -> np.ndarray:
        try:
            points = np.load(self.folder / name)
        except (OSError, ValueError, EOFError) as error:
            raise _error(self.folder, f"{name} cannot be read as .npy ({error}): copy it again") from error
        if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] not in (4, 5):
            raise _error(self.folder, f"{name} must be (N, 4 or 5) float32, not {points.shape} {points.dtype}")
        return points

    def _image(self, name: str, flags: int) -> np.ndarray:
        path = self.folder / name
        if not path.is_file():
            raise _error(self.folder, f"{name} is listed in meta.json but does not exist: copy the whole folder")
        image = cv2.imread(str(path), flags)
        if image is None:
            raise _error(self.folder, f"{name} cannot be decoded as an image: copy it again")
        return image


def read_folder(path: str | Path) -> FrameSet:
    """Open a folder with a meta.json. For sets without ``depth``, the ground truth is used as depth.

    Raises:
        InputError: With the cause "folder", if the folder does not exist, meta.json cannot be used, or depth has no
            metric scale.
    """
    folder = Path(path)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.exists():
            raise _error(folder, "it does not exist: check the path") from error
        raise _error(folder, "it has no meta.json: give a folder with meta.json, rgb/ and depth/ or gt/") from error
    except (OSError, ValueError) as error:
        raise _error(folder, f"its meta.json cannot be read ({error}): write it as JSON") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list) or not meta["frames"]:
        raise _error(folder, "its meta.json lists no frames: add 'frames', a list with at least one frame")
    if not isinstance(meta.get("depth"), dict) or not _is_positive(meta["depth"].get("scale_to_m")):
        raise _error(folder, "its meta.json has no depth.scale_to_m above zero: only metric depth can be used")
    return FrameSet(
        name=meta.get("name", folder.name),
        sensor=meta.get("sensor", ""),
        licence=meta.get("licence", {}),
        source=meta.get("source", {}),
        note=meta.get("note", ""),
        folder=folder,
        meta=meta,
    )


def _intrinsics(values: dict[str, Any] | None) -> Intrinsics | None:
    """The intrinsics; None if they are missing or not complete."""
    names = ("fx", "fy", "cx", "cy", "width", "height")
    if values is None or any(values.get(name) is None for name in names):
        return None
    return Intrinsics(**{name: values[name] for name in names})


def _nanoseconds(seconds: float) -> int:
    """Convert seconds since 1970 to nanoseconds; a float64 is only accurate to a microsecond."""
    return round(seconds * 1e6) * 1000


def _transform(rows: list[list[float]]) -> np.ndarray:
    """The (4, 4) transform with these upper three rows."""
    return np.vstack([np.asarray(rows, np.float64).reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _error(folder: Path, problem: str) -> InputError:
    return InputError("folder", f"the frame folder {folder} cannot be used: {problem}")
