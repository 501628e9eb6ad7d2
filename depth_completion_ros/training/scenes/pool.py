"""Scenes that are rendered once and kept on disk, so that training on a CPU uses crops instead of rendering again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigurationError
from ..cache import new_directory
from ..scene_batch import Material, SceneBatch
from .render import KINDS, render_scenes

_DTYPES = {
    "image": np.uint8,
    "depth": np.float32,
    "behind": np.float16,  # needed on glass and mirrors only
    "normals": np.int8,
    "reflectance": np.uint8,
    "material": np.uint8,
    "intrinsics": np.float32,
}
_STEPS = {"image": 255, "normals": 127, "reflectance": 255}  # to 1
_AT_ONCE = 96  # setting up a batch takes about as long for many scenes as for few


class ScenePool:
    """Memory-mapped scenes of one size in a folder, with one .npy file per field of ``SceneBatch``."""

    def __init__(self, directory: Path) -> None:
        """Open a pool. Raises ConfigurationError if the folder holds none."""
        if not (directory / "intrinsics.npy").is_file():
            raise ConfigurationError(f"no scene pool in {directory}: make one with ScenePool.create")
        self._fields = {name: np.load(directory / f"{name}.npy", mmap_mode="r") for name in _DTYPES}

    @classmethod
    def create(
        cls,
        directory: Path,
        count: int,
        height: int,
        width: int,
        seed: int,
        kinds: Sequence[str] = KINDS,
        progress: Callable[[int], None] = lambda done: None,
    ) -> ScenePool:
        """Render ``count`` scenes into a folder that is made for them, and open it.

        progress: called with the number of scenes that are done. Raises ConfigurationError if the folder exists.
        """
        if directory.exists():
            raise ConfigurationError(f"{directory} exists: open it with ScenePool, or remove it")
        generator = torch.Generator().manual_seed(seed)
        files: dict[str, np.ndarray] = {}
        with new_directory(directory) as unfinished:
            for first in range(0, count, _AT_ONCE):
                batch = render_scenes(kinds, min(_AT_ONCE, count - first), height, width, generator=generator)
                for name, dtype in _DTYPES.items():
                    values: Tensor = getattr(batch, name)
                    if name in _STEPS:
                        values = (values * _STEPS[name]).round()
                    if first == 0:
                        path, shape = unfinished / f"{name}.npy", (count, *values.shape[1:])
                        files[name] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
                    files[name][first : first + len(values)] = values.numpy().astype(dtype)
                progress(first + len(values))
            files.clear()
        return cls(directory)

    def __len__(self) -> int:
        return len(self._fields["intrinsics"])

    def sample(self, count: int, height: int, width: int, generator: torch.Generator) -> SceneBatch:
        """Random crops of random scenes on the CPU, half of them flipped left to right, with adapted intrinsics.

        ``generator`` must be on the CPU. Raises ConfigurationError if the scenes are smaller than the crop.
        """
        full_height, full_width = self._fields["depth"].shape[-2:]
        if height > full_height or width > full_width:
            raise ConfigurationError(
                f"crops of {height} x {width} from scenes of {full_height} x {full_width}: make a pool of larger scenes"
            )

        def draw(end: int) -> list[int]:
            return torch.randint(end, (count,), generator=generator).tolist()

        places = list(zip(draw(len(self)), draw(full_height - height + 1), draw(full_width - width + 1), strict=True))
        flipped = torch.tensor(draw(2), dtype=torch.bool)
        cut = {name: self._cut(name, places, height, width) for name in _DTYPES if name != "intrinsics"}
        for name, steps in _STEPS.items():
            cut[name] = cut[name].float() / steps
        for name, values in cut.items():
            cut[name] = torch.where(flipped[:, None, None, None], values.flip(-1), values)
        normals = cut["normals"]
        normals[:, 0] = torch.where(flipped[:, None, None], -normals[:, 0], normals[:, 0])
        cut["normals"] = normals / normals.square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)
        clear = (cut["material"] == Material.GLASS) | (cut["material"] == Material.MIRROR)
        cut["behind"] = torch.where(clear, cut["behind"].float(), cut["depth"])
        fx, fy, cx, cy = torch.from_numpy(self._fields["intrinsics"][[scene for scene, _, _ in places]]).unbind(1)
        top, left = (torch.tensor(offsets) for offsets in list(zip(*places, strict=True))[1:])
        cx = torch.where(flipped, width - 1 - (cx - left), cx - left)
        return SceneBatch(**cut, intrinsics=torch.stack([fx, fy, cx, cy - top], 1))

    def _cut(self, name: str, places: list[tuple[int, int, int]], height: int, width: int) -> Tensor:
        field = self._fields[name]
        return torch.from_numpy(np.stack([field[s, :, y : y + height, x : x + width] for s, y, x in places]))
