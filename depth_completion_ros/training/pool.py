"""Pools of rendered scenes on disk, with one compressed file for each frame. Training draws crops of these frames."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigurationError
from .scene_batch import Material, SceneBatch

_INFO = "pool.json"
_MAX_CODE = 32767  # code of the inverse depth of a frame's nearest surface; 0 = no surface
_NORMAL_STEPS = 63  # steps of a coordinate of a normal from 0 to 1
_MAX_BYTE = 255
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class PoolInfo:
    """Description of a pool.

    Attributes:
        height: Height of the frames [pixels].
        width: Width of the frames [pixels].
        kind: Kind of scenes, shown to users.
        split: "train" or "validation".
        seed: Seed of the scenes.
        views: Number of views of each scene.
        credits: Lines that the licences of the assets require.
    """

    height: int
    width: int
    kind: str
    split: str
    seed: int
    views: int = 1
    credits: tuple[str, ...] = ()


@dataclass(frozen=True)
class PoolFrame:
    """One view of a scene as NumPy arrays; the fields are those of ``SceneBatch``.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        depth: (H, W) float32 [m].
        behind: (H, W) float32 [m].
        normals: (H, W, 3) float32.
        reflectance: (H, W) float32, 0..1.
        material: (H, W) uint8.
        intrinsics: (4,) float32 [pixels].
    """

    image: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    normals: np.ndarray
    reflectance: np.ndarray
    material: np.ndarray
    intrinsics: np.ndarray


def prepare_pool(directory: Path, info: PoolInfo) -> None:
    """Create the folder of a pool, or check that frames can be added to an existing pool.

    Raises:
        ConfigurationError: If the folder contains a pool with another description, or other files.
    """
    path = directory / _INFO
    if path.is_file():
        if _read_info(path) != info:
            raise ConfigurationError(f"{directory} contains a pool with other settings: choose another folder")
        return
    if directory.is_dir() and any(directory.iterdir()):
        raise ConfigurationError(f"{directory} is not empty and contains no pool: choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(info), indent=1), encoding="utf-8")


def frame_path(directory: Path, number: int) -> Path:
    """Return the path of a frame's file."""
    return directory / f"{number:06}.npz"


def write_frame(path: Path, frame: PoolFrame) -> None:
    """Write a frame: colour as JPEG, the other fields as compressed bytes.

    Depth is stored as inverse depth in 32,767 steps, with an error of at most depth^2 / (65,534 x nearest depth).
    Inverse depth is linear on planes, so its second differences are nearly zero and compress well. Normals are stored
    with an accuracy of 2 degrees.
    """
    surface = frame.depth > 0
    near = float(frame.depth[surface].min()) if surface.any() else 1.0
    planes = [
        *_encode_differences(_encode_inverse_depth(frame.depth, near)),
        *_encode_normals(frame.normals),
        np.round(frame.reflectance * _MAX_BYTE).astype(np.uint8),
        frame.material,
    ]
    transparent = _is_transparent(frame.material)
    if transparent.any():
        planes += _encode_differences(_encode_inverse_depth(np.where(transparent, frame.behind, 0), near))
    bgr = np.ascontiguousarray(frame.image[..., ::-1])
    image = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    compressed = np.frombuffer(zlib.compress(np.stack(planes).tobytes()), np.uint8)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, image=image, planes=compressed, camera=np.array([*frame.intrinsics, near], np.float32))
    unfinished.rename(path)


def read_frame(path: Path, rows: slice = slice(None), columns: slice = slice(None)) -> PoolFrame:
    """Read a frame, or a part of it with adapted intrinsics.

    Raises:
        ConfigurationError: If the file is not a frame of a pool.
    """
    try:
        with np.load(path) as file:
            fields = {name: file[name] for name in ("image", "planes", "camera")}
        image = np.asarray(cv2.imdecode(fields["image"], cv2.IMREAD_COLOR))
        planes = np.frombuffer(zlib.decompress(fields["planes"]), np.uint8).reshape(-1, *image.shape[:2])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, cv2.error) as error:
        raise ConfigurationError(f"{path} is not a frame of a pool ({error}): remove it and make it again") from error
    fx, fy, cx, cy, near = fields["camera"]
    x, y, reflectance, material = planes[2:6, rows, columns]
    depth = behind = _decode_inverse_depth(_decode_differences(*planes[:2])[rows, columns], near)
    if len(planes) > 6:
        behind = _decode_inverse_depth(_decode_differences(*planes[6:])[rows, columns], near)
        behind = np.where(_is_transparent(material), behind, depth)
    intrinsics = np.array([fx, fy, cx - (columns.start or 0), cy - (rows.start or 0)], np.float32)
    normals = _NORMALS[x, y] * (material != Material.SKY)[..., None]
    return PoolFrame(
        image[rows, columns, ::-1],
        depth,
        behind,
        normals,
        reflectance.astype(np.float32) / _MAX_BYTE,
        material,
        intrinsics,
    )


class ScenePool:
    """A pool that is opened for reading. All frames have the same size."""

    def __init__(self, directory: Path) -> None:
        """Open a pool.

        Raises:
            ConfigurationError: If the folder contains no pool or the pool has no frames.
        """
        if not (directory / _INFO).is_file():
            raise ConfigurationError(
                f"no scene pool in {directory}: make one with depth-completion scenes furnished --out {directory}"
            )
        self.info = _read_info(directory / _INFO)
        self._paths = sorted(directory.glob("*.npz"))
        if not self._paths:
            raise ConfigurationError(f"the scene pool in {directory} has no frames")

    def __len__(self) -> int:
        return len(self._paths)

    def frame(self, number: int) -> PoolFrame:
        """Read a frame by its number."""
        return read_frame(self._paths[number])

    def frames(self, numbers: Sequence[int]) -> SceneBatch:
        """Read whole frames by their numbers."""
        return scene_batch([self.frame(number) for number in numbers])

    def sample(self, count: int, height: int, width: int, generator: torch.Generator) -> SceneBatch:
        """Draw random crops of random frames, on the CPU. Half of them are flipped left to right.

        Args:
            count: Number of crops.
            height: Height of the crops [pixels].
            width: Width of the crops [pixels].
            generator: Random generator on the CPU.

        Raises:
            ConfigurationError: If the frames are smaller than the crops.
        """
        if height > self.info.height or width > self.info.width:
            raise ConfigurationError(
                f"crops of {height} x {width} from scenes of {self.info.height} x {self.info.width}: make a pool of "
                "larger scenes"
            )

        def draw(end: int) -> list[int]:
            return torch.randint(end, (count,), generator=generator).tolist()

        numbers, tops = draw(len(self)), draw(self.info.height - height + 1)
        lefts, flips = draw(self.info.width - width + 1), draw(2)
        crops = [
            read_frame(self._paths[number], slice(top, top + height), slice(left, left + width))
            for number, top, left in zip(numbers, tops, lefts, strict=True)
        ]
        return scene_batch([_flipped(crop) if flip else crop for crop, flip in zip(crops, flips, strict=True)])


def _flipped(frame: PoolFrame) -> PoolFrame:
    """Return the frame flipped left to right, with adapted normals and intrinsics."""
    fx, fy, cx, cy = frame.intrinsics
    return PoolFrame(
        frame.image[:, ::-1], frame.depth[:, ::-1], frame.behind[:, ::-1],
        frame.normals[:, ::-1] * np.array([-1, 1, 1], np.float32), frame.reflectance[:, ::-1], frame.material[:, ::-1],
        np.array([fx, fy, frame.depth.shape[1] - 1 - cx, cy], np.float32),
    )  # fmt: skip


def scene_batch(frames: Sequence[PoolFrame]) -> SceneBatch:
    """Return frames of one size as a batch on the CPU."""

    def stack(name: str) -> Tensor:
        values = np.stack([getattr(frame, name) for frame in frames])
        return torch.from_numpy(values.transpose(0, 3, 1, 2).copy() if values.ndim == 4 else values[:, None].copy())

    return SceneBatch(
        image=stack("image").float() / _MAX_BYTE,
        depth=stack("depth"),
        behind=stack("behind"),
        normals=stack("normals"),
        reflectance=stack("reflectance"),
        material=stack("material"),
        intrinsics=torch.from_numpy(np.stack([frame.intrinsics for frame in frames])),
    )


def _read_info(path: Path) -> PoolInfo:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return PoolInfo(**{**values, "credits": tuple(values["credits"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error})") from error


def _is_transparent(material: np.ndarray) -> np.ndarray:
    return (material == Material.GLASS) | (material == Material.MIRROR)


def _encode_inverse_depth(depth: np.ndarray, near: float) -> np.ndarray:
    """Return codes that are proportional to inverse depth, (H, W) uint16; 0 = no surface."""
    with np.errstate(divide="ignore"):
        return np.where(depth > 0, np.round(_MAX_CODE * near / depth).clip(1, _MAX_CODE), 0).astype(np.uint16)


def _decode_inverse_depth(codes: np.ndarray, near: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(codes > 0, np.float32(_MAX_CODE * near) / codes, 0).astype(np.float32)


def _encode_differences(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high bytes of the second differences, with a zigzag code for negative numbers."""
    padded = np.pad(codes.astype(np.int32), ((1, 0), (1, 0)))
    second = np.diff(np.diff(padded, axis=0), axis=1).astype(np.int16).astype(np.int32)  # modulo 65,536
    zigzag = ((second << 1) ^ (second >> 31)).astype(np.uint16)
    return (zigzag & _MAX_BYTE).astype(np.uint8), (zigzag >> 8).astype(np.uint8)


def _decode_differences(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Invert ``_encode_differences``."""
    zigzag = low | (high.astype(np.uint16) << 8)
    second = (zigzag >> 1) ^ -(zigzag & 1)
    return second.cumsum(0, dtype=np.uint16).cumsum(1, dtype=np.uint16)


def _encode_normals(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two bytes (H, W) for each unit vector by octahedral projection."""
    flat = normals / np.maximum(np.abs(normals).sum(-1, keepdims=True), 1e-6)
    folded = (1 - np.abs(flat[..., 1::-1])) * np.where(flat[..., :2] < 0, -1, 1)
    position = np.where(flat[..., 2:] > 0, folded, flat[..., :2])
    x, y = np.moveaxis(np.round((position + 1) * _NORMAL_STEPS).astype(np.uint8), -1, 0)
    return x, y


def _decoded_normals() -> np.ndarray:
    """Return the unit vector of each pair of bytes of ``_encode_normals``, (127, 127, 3) float32."""
    steps = np.linspace(-1, 1, 2 * _NORMAL_STEPS + 1)
    position = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1)
    z = np.abs(position).sum(-1, keepdims=True) - 1
    unfolded = (1 - np.abs(position[..., ::-1])) * np.where(position < 0, -1, 1)
    vectors = np.concatenate([np.where(z > 0, unfolded, position), z], -1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


_NORMALS = _decoded_normals()
