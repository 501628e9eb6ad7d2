"""Pools of rendered scenes on disk, compressed: one file for each frame, from which training draws crops."""

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
_STEPS = 32767  # of inverse depth, from none to that of the nearest surface of a frame
_HALF = 63  # steps of a coordinate of a normal, from 0 to 1
_BYTE = 255
_QUALITY = 88  # of JPEG


@dataclass(frozen=True)
class PoolInfo:
    """What a pool holds: size of its frames [px]; kind of scenes, for people; split: "train" or "validation"; seed;
    views of each scene; credits: lines that the licences of assets ask for.
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
    """One view of a scene: the fields of ``SceneBatch`` with channels last, and image (H, W, 3) uint8.

    depth, behind (H, W) float32 [m]; normals (H, W, 3) float32; reflectance (H, W) float32, 0..1; material (H, W)
    uint8; intrinsics (4,) float32 [px].
    """

    image: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    normals: np.ndarray
    reflectance: np.ndarray
    material: np.ndarray
    intrinsics: np.ndarray


def prepare_pool(directory: Path, info: PoolInfo) -> None:
    """Make the folder of a pool, or make sure that frames of this kind may be added to it.

    Raises ConfigurationError where it holds another pool or other files.
    """
    path = directory / _INFO
    if path.is_file():
        if _read_info(path) != info:
            raise ConfigurationError(f"{directory} holds a pool that was made differently: choose another folder")
        return
    if directory.is_dir() and any(directory.iterdir()):
        raise ConfigurationError(f"{directory} is not empty and holds no pool: choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(info), indent=1), encoding="utf-8")


def frame_path(directory: Path, number: int) -> Path:
    """The file of a frame."""
    return directory / f"{number:06}.npz"


def write_frame(path: Path, frame: PoolFrame) -> None:
    """Write a frame: colour as JPEG, the other fields as compressed bytes.

    Depth is kept as inverse depth in 32,767 steps, with an error of at most depth^2 / (65,534 x nearest depth). Inverse
    depth is linear on planes, so its second difference is nearly zero and takes little space. Normals are kept to 2
    degrees.
    """
    there = frame.depth > 0
    near = float(frame.depth[there].min()) if there.any() else 1.0
    planes = [
        *_bytes_of_differences(_to_steps(frame.depth, near)),
        *_to_octahedron(frame.normals),
        np.round(frame.reflectance * _BYTE).astype(np.uint8),
        frame.material,
    ]
    clear = _is_clear(frame.material)
    if clear.any():
        planes += _bytes_of_differences(_to_steps(np.where(clear, frame.behind, 0), near))
    image = cv2.imencode(".jpg", np.ascontiguousarray(frame.image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    compressed = np.frombuffer(zlib.compress(np.stack(planes).tobytes()), np.uint8)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, image=image, planes=compressed, camera=np.array([*frame.intrinsics, near], np.float32))
    unfinished.rename(path)


def read_frame(path: Path, rows: slice = slice(None), columns: slice = slice(None)) -> PoolFrame:
    """The frame of a file, or a part of it, with its intrinsics. Raises ConfigurationError if it cannot be read."""
    try:
        with np.load(path) as file:
            fields = {name: file[name] for name in ("image", "planes", "camera")}
        image = np.asarray(cv2.imdecode(fields["image"], cv2.IMREAD_COLOR))
        planes = np.frombuffer(zlib.decompress(fields["planes"]), np.uint8).reshape(-1, *image.shape[:2])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, cv2.error) as error:
        raise ConfigurationError(f"{path} is not a frame of a pool ({error}): remove it and make it again") from error
    fx, fy, cx, cy, near = fields["camera"]
    x, y, reflectance, material = planes[2:6, rows, columns]
    depth = behind = _to_depth(_sums(*planes[:2])[rows, columns], near)
    if len(planes) > 6:
        behind = np.where(_is_clear(material), _to_depth(_sums(*planes[6:])[rows, columns], near), depth)
    intrinsics = np.array([fx, fy, cx - (columns.start or 0), cy - (rows.start or 0)], np.float32)
    normals = _DIRECTIONS[x, y] * (material != Material.SKY)[..., None]
    return PoolFrame(
        image[rows, columns, ::-1], depth, behind, normals, reflectance.astype(np.float32) / _BYTE, material, intrinsics
    )


class ScenePool:
    """The frames of a pool, all of one size."""

    def __init__(self, directory: Path) -> None:
        """Open a pool. Raises ConfigurationError if the folder holds none."""
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
        """A frame by its number."""
        return read_frame(self._paths[number])

    def frames(self, numbers: Sequence[int]) -> SceneBatch:
        """Whole frames."""
        return scene_batch([self.frame(number) for number in numbers])

    def sample(self, count: int, height: int, width: int, generator: torch.Generator) -> SceneBatch:
        """Random crops of random frames on the CPU, half of them flipped left to right, with adapted intrinsics.

        ``generator`` must be on the CPU. Raises ConfigurationError if the frames are smaller than the crop.
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
    """The frame as a mirror shows it, left to right."""
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
        image=stack("image").float() / _BYTE,
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


def _is_clear(material: np.ndarray) -> np.ndarray:
    return (material == Material.GLASS) | (material == Material.MIRROR)


def _to_steps(depth: np.ndarray, near: float) -> np.ndarray:
    """(H, W) uint16 inverse depth; 0 = no surface."""
    with np.errstate(divide="ignore"):
        return np.where(depth > 0, np.round(_STEPS * near / depth).clip(1, _STEPS), 0).astype(np.uint16)


def _to_depth(steps: np.ndarray, near: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(steps > 0, np.float32(_STEPS * near) / steps, 0).astype(np.float32)


def _bytes_of_differences(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high bytes of the second differences, small positive and negative ones as small numbers."""
    padded = np.pad(steps.astype(np.int32), ((1, 0), (1, 0)))
    second = np.diff(np.diff(padded, axis=0), axis=1).astype(np.int16).astype(np.int32)  # modulo 65,536
    folded = ((second << 1) ^ (second >> 31)).astype(np.uint16)
    return (folded & _BYTE).astype(np.uint8), (folded >> 8).astype(np.uint8)


def _sums(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The inverse of ``_bytes_of_differences``."""
    folded = low | (high.astype(np.uint16) << 8)
    second = (folded >> 1) ^ -(folded & 1)
    return second.cumsum(0, dtype=np.uint16).cumsum(1, dtype=np.uint16)


def _to_octahedron(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two bytes (H, W) each of unit vectors: projected onto an octahedron, whose lower half is folded outwards."""
    flat = normals / np.maximum(np.abs(normals).sum(-1, keepdims=True), 1e-6)
    folded = (1 - np.abs(flat[..., 1::-1])) * np.where(flat[..., :2] < 0, -1, 1)
    position = np.where(flat[..., 2:] > 0, folded, flat[..., :2])
    x, y = np.moveaxis(np.round((position + 1) * _HALF).astype(np.uint8), -1, 0)
    return x, y


def _directions() -> np.ndarray:
    """(2 _HALF + 1, 2 _HALF + 1, 3) float32 unit vector of each pair of bytes of ``_to_octahedron``."""
    steps = np.linspace(-1, 1, 2 * _HALF + 1)
    position = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1)
    z = np.abs(position).sum(-1, keepdims=True) - 1
    unfolded = (1 - np.abs(position[..., ::-1])) * np.where(position < 0, -1, 1)
    vectors = np.concatenate([np.where(z > 0, unfolded, position), z], -1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


_DIRECTIONS = _directions()
