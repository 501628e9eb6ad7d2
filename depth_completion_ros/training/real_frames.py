"""Recorded frames, decoded once, and random windows of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..data.folders import FolderFrame, FrameSet, read_folder
from ..data.sensors import HoleMasks
from ..errors import ConfigurationError, InputError
from ..geometry import depth_on_rgb_grid

_ANCHORS = 256  # measured pixels of each frame that windows are placed on
_FEW_HOLES = 0.01  # of a frame, which shows nothing of how sensors fail
_LARGEST_WINDOW = 2.0  # of the size that it is brought to


class RealFrames:
    """The frames of one or more folders with a meta.json. contents: what is in each, for people.

    cache: folder for the decoded frames. max_turn_rad: frames whose camera turned further between colour and depth are
    left out where the set tells. Raises InputError for frames that cannot be read, ConfigurationError where a
    folder has none left.
    """

    def __init__(self, folders: list[Path], cache: Path, max_turn_rad: float, device: torch.device):
        sets = [read_folder(folder) for folder in folders]
        decoded = [_decoded(frames, cache, max_turn_rad) for frames in sets]
        self.contents = [_described(s, len(arrays["image"])) for s, arrays in zip(sets, decoded, strict=True)]
        self.device = device
        # On the CPU these stay files, which the system keeps in memory as far as there is room.
        self._images = [image.to(device) for arrays in decoded for image in arrays["image"]]
        self._depths = [depth.to(device) for arrays in decoded for depth in arrays["depth"]]
        self._anchors = [anchors for arrays in decoded for anchors in arrays["anchors"].numpy()]

    def __len__(self) -> int:
        return len(self._images)

    def sample(self, count: int, size: int, choices: Generator) -> tuple[Tensor, Tensor]:
        """Windows of random frames, 1 to 2 times ``size`` pixels squared, brought to ``size``, half of them mirrored.

        Returns image (count, 3, size, size) float32 0..1 and depth (count, 1, size, size) float32 [m], 0 = missing.
        choices: on the CPU.
        """
        image = torch.empty(count, 3, size, size, device=self.device)
        depth = torch.empty(count, 1, size, size, device=self.device)
        for sample in range(count):
            frame, window, mirrored = self._window(size, choices)
            image[sample] = _bilinear(self._images[frame][(..., *window)], size, mirrored)
            depth[sample] = _nearest(self._depths[frame][(..., *window)], size, mirrored)
        return image, depth

    def hole_masks(self) -> HoleMasks:
        """Where the frames have no depth; of frames of several sizes the first's, without those of hardly any."""
        first = self._depths[0].shape
        masks = [depth == 0 for depth in self._depths if depth.shape == first]
        return HoleMasks(torch.cat([mask for mask in masks if mask.float().mean() > _FEW_HOLES] or masks))

    def _window(self, size: int, choices: Generator) -> tuple[int, tuple[slice, slice], bool]:
        """A frame, where in it, and whether to mirror it. The window holds a measured pixel if the frame has any."""
        # One draw for all: each costs as much as the copying of a window.
        frame, anchor, zoom, down, right, mirrored = torch.rand(6, generator=choices).tolist()
        index = int(frame * len(self))
        height, width = self._depths[index].shape[-2:]
        side = min(round(size * _LARGEST_WINDOW**zoom), height, width)
        y, x = self._anchors[index][int(anchor * _ANCHORS)]
        top = min(max(int(y - down * side), 0), height - side)
        left = min(max(int(x - right * side), 0), width - side)
        return index, (slice(top, top + side), slice(left, left + side)), mirrored < 0.5


def _bilinear(window: Tensor, size: int, mirrored: bool) -> Tensor:
    """(3, side, side) uint8 to (3, size, size) float32 0..1. Up to a factor 2 bilinear sampling misses no pixel."""
    image = F.interpolate(window[None].float(), (size, size), mode="bilinear", align_corners=False)[0] / 255
    return image.flip(-1) if mirrored else image


def _nearest(window: Tensor, size: int, mirrored: bool) -> Tensor:
    depth = F.interpolate(window[None], (size, size), mode="nearest-exact")[0]
    return depth.flip(-1) if mirrored else depth


def _decoded(frames: FrameSet, cache: Path, max_turn_rad: float) -> dict[str, Tensor]:
    """image (F, 3, H, W) uint8, depth (F, 1, H, W) float32 [m] and anchors (F, 256, 2) int64, row and column.

    From the cache; what is not there yet is read and written first.
    """
    key = hashlib.sha256(json.dumps([frames.meta, max_turn_rad], sort_keys=True).encode()).hexdigest()[:12]
    directory = cache / f"{frames.name}-{key}"
    if not directory.is_dir():
        indices = [i for i, entry in enumerate(frames.meta["frames"]) if _turn(entry) <= max_turn_rad]
        if not indices:
            raise ConfigurationError(f"{frames.folder} holds no frame to train on: raise max_turn_rad")
        unfinished = cache / f"{directory.name}.{os.getpid()}"
        unfinished.mkdir(parents=True)
        try:
            _decode([frames[i] for i in indices], frames, unfinished)
            unfinished.rename(directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    # Copy on write: PyTorch wants arrays that it could write to.
    names = ("image", "depth", "anchors")
    return {name: torch.from_numpy(np.load(directory / f"{name}.npy", mmap_mode="c")) for name in names}


def _described(frames: FrameSet, count: int) -> str:
    source = f"{frames.source['repo']}@{frames.source['commit'][:10]}" if "commit" in frames.source else "no source"
    return f"{frames.name}: {count} frames, {frames.licence.get('spdx', 'no licence')}, {source}; " + (
        frames.licence.get("cite", "")
    )


def _turn(entry: dict[str, float]) -> float:
    """Angle [rad] that the camera turned between colour and depth; 0 where unknown."""
    return entry.get("omega_rad_s", 0.0) * abs(entry.get("t_rgb", 0.0) - entry.get("t_depth", 0.0))


def _decode(samples: list[FolderFrame], frames: FrameSet, directory: Path) -> None:
    rng = np.random.default_rng(0)
    depths = [np.nan_to_num(depth_on_rgb_grid(sample.frame), nan=0.0) for sample in samples]
    if len({depth.shape for depth in depths}) > 1:
        raise InputError("folder", f"the frame folder {frames.folder} has images of several sizes: split it by size")
    anchors = []
    for depth in depths:
        rows, columns = np.nonzero(depth if depth.any() else np.ones_like(depth))
        picks = rng.integers(0, rows.size, _ANCHORS)
        anchors.append(np.stack([rows[picks], columns[picks]], axis=1))
    np.save(directory / "image.npy", np.stack([sample.frame.rgb.transpose(2, 0, 1) for sample in samples]))
    np.save(directory / "depth.npy", np.stack(depths)[:, None])
    np.save(directory / "anchors.npy", np.stack(anchors))
