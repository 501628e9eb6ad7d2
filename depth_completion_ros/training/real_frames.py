"""Recorded frames, which are decoded once, and random windows of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..bag.folders import FolderFrame, FrameSet, read_folder
from ..errors import ConfigurationError
from ..evaluation.datasets import is_dataset, open_dataset
from ..evaluation.datasets.dataset import Dataset
from ..geometry import depth_on_rgb_grid
from .cache import new_directory
from .sensors import HoleMasks

_ANCHORS = 256  # number of measured pixels of each frame on which windows are placed
_FEW_HOLES = 0.01  # share of a frame; frames with fewer holes are not used as masks
_MOST_OF_A_DATASET = 1000  # frames, evenly spaced: decoded, they are 2 GB of 640x480 pixels
_MAX_WIDTH = 960  # pixels; crops of larger frames would show too little, so these are reduced by an integer factor


class RealFrames:
    """The frames of one or more recorded sets: folders with a meta.json, and data sets FORMAT:PATH.

    The weight of a set is the square root of its number of frames, so that a set with many frames of one place does not
    dominate.

    Args:
        folders: The folders, and data sets FORMAT:PATH.
        cache: Folder for the decoded frames.
        max_turn_rad: Largest rotation of the camera between colour and depth [rad]. Frames with a larger rotation are
            not used; frames without this information are used.
        device: Device of the frames.

    Attributes:
        contents: A line about each set for users.

    Raises:
        InputError: If a frame cannot be read.
        ConfigurationError: If a folder has no usable frames.
    """

    def __init__(self, folders: list[Path], cache: Path, max_turn_rad: float, device: torch.device):
        sets = [_opened(folder) for folder in folders]
        decoded = [_load_decoded(frames, cache, max_turn_rad) for frames in sets]
        self.contents = [_describe(s, len(frames)) for s, frames in zip(sets, decoded, strict=True)]
        self.device = device
        # On the CPU these are memory-mapped files, which the system keeps in memory if there is enough space.
        self._images = [frame.image.to(device) for frames in decoded for frame in frames]
        self._depths = [frame.depth.to(device) for frames in decoded for frame in frames]
        self._anchors = [frame.anchors for frames in decoded for frame in frames]
        weights = np.concatenate([np.full(len(frames), len(frames) ** -0.5) for frames in decoded])
        self._cumulative_weights = np.cumsum(weights / weights.sum())

    def __len__(self) -> int:
        return len(self._images)

    def sample(self, count: int, size: int, choices: Generator, zoom: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Draw square windows of random frames, resized to ``size`` pixels. Half of them are flipped left to right.

        Args:
            count: Number of windows.
            size: Side of the result [pixels].
            choices: Random generator on the CPU.
            zoom: Smallest and largest ratio of the window's side to ``size``. The frame's size limits the window.

        Returns:
            Images (count, 3, size, size) float32 0..1 and depth (count, 1, size, size) float32 [m], 0 = missing.
        """
        image = torch.empty(count, 3, size, size, device=self.device)
        depth = torch.empty(count, 1, size, size, device=self.device)
        for sample in range(count):
            frame, window, mirrored = self._window(size, choices, zoom)
            image[sample] = _area_means(self._images[frame][(..., *window)], size, mirrored)
            depth[sample] = _nearest(self._depths[frame][(..., *window)], size, mirrored)
        return image, depth

    def hole_masks(self) -> HoleMasks:
        """Return where the frames have no depth.

        Only frames of the size of the first frame are used, and frames with very few holes are not used.
        """
        first = self._depths[0].shape
        masks = [depth == 0 for depth in self._depths if depth.shape == first]
        return HoleMasks(torch.cat([mask for mask in masks if mask.float().mean() > _FEW_HOLES] or masks))

    def _window(self, size: int, choices: Generator, zoom: Sequence[float]) -> tuple[int, tuple[slice, slice], bool]:
        """Return a frame, rows and columns of a window that contains a measured pixel, and whether to flip it."""
        # One call draws all numbers: a call takes as long as copying a window.
        frame, anchor, enlarged, down, right, mirrored = torch.rand(6, generator=choices).tolist()
        index = min(int(np.searchsorted(self._cumulative_weights, frame, side="right")), len(self) - 1)
        height, width = self._depths[index].shape[-2:]
        low, high = zoom
        side = min(round(size * low * (high / low) ** enlarged), height, width)
        y, x = self._anchors[index][int(anchor * _ANCHORS)]
        top = min(max(int(y - down * side), 0), height - side)
        left = min(max(int(x - right * side), 0), width - side)
        return index, (slice(top, top + side), slice(left, left + side)), mirrored < 0.5


def _area_means(window: Tensor, size: int, mirrored: bool) -> Tensor:
    """Resize an image (3, side, side) uint8 to (3, size, size) float32 0..1 by means over areas."""
    image = F.interpolate(window[None].float(), (size, size), mode="area")[0] / 255
    return image.flip(-1) if mirrored else image


def _nearest(window: Tensor, size: int, mirrored: bool) -> Tensor:
    depth = F.interpolate(window[None], (size, size), mode="nearest-exact")[0]
    return depth.flip(-1) if mirrored else depth


class _Decoded(NamedTuple):
    """A frame for training: image (3, H, W) uint8, depth (1, H, W) float32 [m], anchors (256, 2) int64, row, column."""

    image: Tensor
    depth: Tensor
    anchors: np.ndarray


def _opened(place: Path) -> FrameSet | Dataset:
    """Return a recorded set, or evenly spaced frames of a data set FORMAT:PATH."""
    if not is_dataset(place):
        return read_folder(place)
    frames = open_dataset(place)
    count = len(frames)
    kept = min(count, _MOST_OF_A_DATASET)
    return replace(frames, entries=[frames.entries[position * count // kept] for position in range(kept)])


def _load_decoded(frames: FrameSet | Dataset, cache: Path, max_turn_rad: float) -> list[_Decoded]:
    """Return the frames of a set from the cache. Frames that are not in the cache are decoded first."""
    key = hashlib.sha256(json.dumps([frames.meta, max_turn_rad, _MAX_WIDTH], sort_keys=True).encode()).hexdigest()[:12]
    directory = cache / f"{frames.name}-{key}"
    if not directory.is_dir():
        indices = [i for i, entry in enumerate(frames.meta["frames"]) if _turn(entry) <= max_turn_rad]
        if not indices:
            raise ConfigurationError(f"{frames.folder} contains no frame for training: increase max_turn_rad")
        with new_directory(directory) as unfinished:
            _decode([frames[i] for i in indices], unfinished)
    decoded = []
    for path in sorted(directory.glob("image-*.npy")):
        # Copy on write, because PyTorch needs writable arrays.
        arrays = [
            np.load(path.with_name(path.name.replace("image", name)), mmap_mode="c")
            for name in ("image", "depth", "anchors")
        ]
        images, depths = (torch.from_numpy(array) for array in arrays[:2])
        decoded += [_Decoded(*frame) for frame in zip(images, depths, arrays[2], strict=True)]
    return decoded


def _describe(frames: FrameSet | Dataset, count: int) -> str:
    source = f"{frames.source['repo']}@{frames.source['commit'][:10]}" if "commit" in frames.source else "no source"
    return f"{frames.name}: {count} frames, {frames.licence.get('spdx', 'no licence')}, {source}; " + (
        frames.licence.get("cite", "")
    )


def _turn(entry: dict[str, float]) -> float:
    """Return the angle [rad] by which the camera turned between colour and depth; 0 if unknown."""
    return entry.get("omega_rad_s", 0.0) * abs(entry.get("t_rgb", 0.0) - entry.get("t_depth", 0.0))


def _decode(samples: list[FolderFrame], directory: Path) -> None:
    """Write image-HxW.npy, depth-HxW.npy and anchors-HxW.npy for each frame size."""
    rng = np.random.default_rng(0)
    by_size: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for sample in samples:
        image, depth = sample.frame.rgb, np.nan_to_num(depth_on_rgb_grid(sample.frame), nan=0.0)
        if (factor := -(-depth.shape[1] // _MAX_WIDTH)) > 1:
            size = (depth.shape[1] // factor, depth.shape[0] // factor)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        rows, columns = np.nonzero(depth if depth.any() else np.ones_like(depth))
        picks = rng.integers(0, rows.size, _ANCHORS)
        anchors = np.stack([rows[picks], columns[picks]], axis=1)
        by_size.setdefault(depth.shape, []).append((image.transpose(2, 0, 1), depth[None], anchors))
    for (height, width), frames in by_size.items():
        for name, arrays in zip(("image", "depth", "anchors"), zip(*frames, strict=True), strict=True):
            np.save(directory / f"{name}-{height}x{width}.npy", np.stack(arrays))
