"""NYU Depth v2: the labelled frames of the authors, and the HDF5 files that depth completion papers use.

Source: Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012, and its toolbox:
nyu_depth_v2_labeled.mat (MATLAB v7.3 = HDF5) has images, depths (reconstructed by colourisation) and rawDepths (what
the Kinect measured, projected into the image) [m]; splits.mat the official split, counted from 1. HDF5 files: the
loader of Ma & Karaman, Sparse-to-Dense, ICRA 2018 (nyudepthv2.tar.gz; NLSPN, CSPN and others read the same): rgb
(3, 480, 640) uint8 and depth (480, 640) float32 [m]; val/official holds the 654 test frames. Intrinsics:
camera_params.m of the toolbox.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from ...errors import ConfigurationError
from .dataset import Content, Dataset, Entry, missing, problem

INTRINSICS = (518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465)
LABELLED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
_SENSOR, _PROFILE = "Microsoft Kinect v1", "kinect"
_CITE = "Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012"
_ALL = f"no {SPLITS} beside {LABELLED}: all 1449 frames are used, those that networks are trained on included"


def open_nyu(path: Path) -> Dataset:
    """Open the labelled frames or a folder of HDF5 files.

    Args:
        path: ``nyu_depth_v2_labeled.mat`` or its folder; ``nyudepthv2``, of which ``val/official`` is taken; or any
            folder with .h5 files in it or below.

    Raises:
        InputError: If there are no such files.
        ConfigurationError: Without h5py, or without SciPy if there is a splits.mat.
    """
    labelled = path if path.is_file() else path / LABELLED
    if labelled.is_file():
        return _labelled(labelled)
    folder = path / "val" / "official" if (path / "val" / "official").is_dir() else path
    files = sorted(folder.rglob("*.h5"))
    if not files:
        raise missing(path, f"{LABELLED} or .h5 files: unpack nyudepthv2.tar.gz, and give nyudepthv2 or val/official")
    h5py = _h5py(folder)
    entries = [Entry(str(file.relative_to(folder).with_suffix("")), file, partial(_read_h5, h5py, file))
               for file in files]  # fmt: skip
    return Dataset(f"nyu-{folder.resolve().name}", _SENSOR, _PROFILE, folder, entries, _CITE)


def _labelled(file: Path) -> Dataset:
    h5py = _h5py(file)
    with _open(h5py, file) as content:
        for name in ("images", "depths", "rawDepths"):
            if name not in content:
                raise problem(file, f"it has no array {name!r}: download {LABELLED} again")
        count = len(content["depths"])
    splits = file.parent / SPLITS
    numbers = _test_numbers(splits) if splits.is_file() else range(1, count + 1)
    entries = [Entry(f"{number:05}", file, partial(_read_labelled, h5py, file, number - 1)) for number in numbers]
    name, note = ("nyu-labelled-test", "") if splits.is_file() else ("nyu-labelled", _ALL)
    return Dataset(name, _SENSOR, _PROFILE, file, entries, _CITE, note)


def _test_numbers(splits: Path) -> list[int]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ConfigurationError(f"reading {splits} needs SciPy ({error}): pip install scipy") from error
    try:
        return [int(number) for number in loadmat(str(splits))["testNdxs"].ravel()]
    except (KeyError, ValueError, OSError, NotImplementedError) as error:
        raise problem(splits, f"it has no list testNdxs ({error!r}): download it again") from error


def _read_h5(h5py: ModuleType, file: Path) -> Content:
    with _open(h5py, file) as content:
        if "rgb" not in content or "depth" not in content:
            raise problem(file, "it has no arrays rgb and depth: give the files of nyudepthv2.tar.gz")
        rgb, depth = content["rgb"][:], content["depth"][:]
    if rgb.ndim != 3 or len(rgb) != 3 or rgb.dtype != np.uint8 or depth.shape != rgb.shape[1:]:
        raise problem(file, f"rgb is {rgb.shape} {rgb.dtype} and depth {depth.shape}, not (3, H, W) uint8 and (H, W)")
    return Content(rgb.transpose(1, 2, 0), truth=_metres(depth), intrinsics=INTRINSICS)


def _read_labelled(h5py: ModuleType, file: Path, index: int) -> Content:
    """MATLAB stores arrays by columns: (frames, [3,] 640, 480) in HDF5."""
    with _open(h5py, file) as content:
        rgb, raw, depth = (content[name][index] for name in ("images", "rawDepths", "depths"))
    return Content(rgb.transpose(2, 1, 0), _metres(raw.T), _metres(depth.T), INTRINSICS)


def _metres(depth: np.ndarray) -> np.ndarray:
    depth = depth.astype(np.float32)
    return np.where(depth > 0, depth, np.float32(np.nan))


def _open(h5py: ModuleType, file: Path):  # type: ignore[no-untyped-def]
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise problem(file, f"it cannot be read as HDF5 ({error}): download it again") from error


def _h5py(path: Path) -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise ConfigurationError(f"reading {path} needs h5py ({error}): pip install h5py") from error
    return h5py
