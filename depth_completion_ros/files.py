"""Image files of frames: find pairs of colour and depth, read them, and write the results."""

from __future__ import annotations

import itertools
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .conversion import NOT_MEASURED, RGB_FLAGS, rgb_of_opencv
from .errors import ConfigurationError, InputError
from .frame import CompletedDepth, Intrinsics, RgbdFrame
from .geometry import back_project
from .preview import colour_range, panel, save_picture

RGB_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"}
DEPTH_SUFFIXES = {".png", ".tif", ".tiff", ".exr", ".pgm", ".npy", ".npz"}  # .exr only for its error message
_SLOP_NS = 20_000_000  # largest difference between the times of a pair
_DATE = 100_000  # numbers above it may be dates or serial numbers of cameras: those of a pair are the same
# Words in the names of files that tell colour from depth in one folder.
_RGB_WORDS, _DEPTH_WORDS = ("rgb", "color", "colour", "image", "img"), ("depth",)
FARTHEST_M = 65.535  # largest depth in a 16-bit image in millimetres


class FilePair(NamedTuple):
    """The two files of one frame, and the name of its results."""

    name: str
    rgb: Path
    depth: Path


class Pairing(NamedTuple):
    """The pairs in natural order, the files without a partner, and the matching rule; empty = by file name."""

    pairs: list[FilePair]
    left_over: list[Path]
    rule: str


def read_rgb(path: Path) -> np.ndarray:
    """Read a colour, infrared or thermal image of 8 or 16 bits as (H, W, 3) uint8 RGB. Raises InputError.

    An EXIF rotation is ignored, because the rotated image would not match the depth.
    """
    return rgb_of_opencv(_read_image(path, RGB_FLAGS))


def read_depth(path: Path, unit: float | None = None) -> np.ndarray:
    """Read a depth file as (h, w) float32 metres, NaN = missing.

    Supports 16-bit PNG, TIFF and PGM, float32 TIFF, .npy, and .npz with one array or an array named "depth". Zero and
    the integer 65535, the largest of 16 bits, count as missing.

    Args:
        path: The file.
        unit: Metres per unit of the stored values; None = 0.001 for integers, 1 for floats.

    Raises:
        InputError: If the file cannot be read or is not depth.
    """
    if path.suffix.lower() == ".exr":
        raise InputError("file", f"{path}: OpenEXR is not supported: save it as float32 TIFF or with numpy.save")
    stored = _read_array(path) if path.suffix.lower() in (".npy", ".npz") else _read_image(path, cv2.IMREAD_UNCHANGED)
    kind = f"{'x'.join(map(str, stored.shape))} {stored.dtype}"
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[..., 0]
    if stored.ndim != 2 or stored.dtype == np.uint8 or stored.dtype.kind not in "iuf":
        raise InputError(
            "file", f"{path} contains {kind}, which is not depth: give one channel of 16-bit numbers or of float metres"
        )
    if unit is None:
        unit = 1 if stored.dtype.kind == "f" else 0.001
    depth = stored.astype(np.float32) * np.float32(unit)
    depth[~(depth > 0)] = np.nan
    if stored.dtype.kind in "iu":
        depth[stored == NOT_MEASURED] = np.nan
    return depth


def find_pairs(rgb: Path, depth: Path) -> Pairing:
    """Match colour and depth files.

    In folders, files are matched by the same name without suffix, or by the numbers in the name that differ between the
    files of a folder (d435_0007_rgb, d435_0007_depth). If all names contain times, these are used instead of numbers
    and may differ by at most 20 ms. The rule that gives the most pairs is used. If none of these gives any pairs, the
    names have no numbers to compare, and both folders have the same number of files, files are matched by order.

    Args:
        rgb: A colour image, or a folder.
        depth: A depth file, or a folder. It may be the same folder, if the names of its files contain the words depth
            and rgb, color or image.

    Raises:
        ConfigurationError: If a path does not exist, one is a file and the other a folder, a folder has no images, a
            file is both colour and depth, or no files match.
    """
    for path in (rgb, depth):
        if not path.exists():
            raise ConfigurationError(f"{path} does not exist: give an image file or a folder of image files")
    if rgb.is_dir() != depth.is_dir():
        raise ConfigurationError(f"{rgb} and {depth} must be two files or two folders")
    if rgb.is_file():
        return Pairing([_pair(rgb.stem, rgb, depth)], [], "")
    one_folder = rgb.samefile(depth)
    images = _by_stem(rgb, RGB_SUFFIXES, _RGB_WORDS if one_folder else ())
    depths = _by_stem(depth, DEPTH_SUFFIXES, _DEPTH_WORDS if one_folder else ())
    for folder, found, suffixes in ((rgb, images, RGB_SUFFIXES), (depth, depths, DEPTH_SUFFIXES)):
        if not found:
            recorded = any(folder.glob("*.mcap")) or any(folder.glob("*.db3"))
            if one_folder and any(path.suffix.lower() in suffixes for path in folder.iterdir()):
                raise ConfigurationError(
                    f"{folder} is given for colour and for depth, but the names of its files do not tell which is "
                    "which: give two folders, or put the words rgb and depth into the names"
                )
            raise ConfigurationError(
                f"{folder} is a recording, not a folder of image files: play it with `depth-completion bag play` while "
                "the node runs"
                if recorded
                else f"{folder} contains no image files: give a folder of files that end in "
                + ", ".join(sorted(suffixes - {".exr"}))
            )
    times = [_times_ns(names) for names in (images, depths)]
    numbers = _numbers(images, depths)
    rules: list[tuple[str, list[tuple[str, str]]]] = [("", [(name, name) for name in images if name in depths])]
    if all(times):
        rules.append((f"the times in their names, up to {_SLOP_NS / 1e6:.0f} ms apart", _of_one_time(*times)))
    else:
        same = [(name, numbers[1][found]) for found, name in numbers[0].items() if found in numbers[1]]
        rules.append(("the numbers in their names", same))
    rule, names = max(rules, key=lambda tried: len(tried[1]))
    comparable = all(times) or {len(found) for found in numbers[0]} & {len(found) for found in numbers[1]}
    if not names and not comparable and len(images) == len(depths):
        rule, names = "their order, as no names match", list(zip(images, depths, strict=True))
    if not names:
        raise ConfigurationError(
            f"{rgb} ({len(images)} files, {next(iter(images))}, …) and {depth} ({len(depths)} files, "
            f"{next(iter(depths))}, …) have no file name, number or time in common: rename the files so "
            "that the names of a pair differ only in the suffix"
        )
    paired = {name for pair in names for name in (images[pair[0]], depths[pair[1]])}
    left_over = [path for path in (*images.values(), *depths.values()) if path not in paired]
    return Pairing([_pair(one, images[one], depths[other]) for one, other in names], left_over, rule)


def read_pair(pair: FilePair, unit: float | None, intrinsics: tuple[float, float, float, float] | None) -> RgbdFrame:
    """Read the frame of a pair. unit: see ``read_depth``; intrinsics: fx, fy, cx, cy [pixels]. Raises InputError."""
    rgb = read_rgb(pair.rgb)
    height, width = rgb.shape[:2]
    camera = Intrinsics(*intrinsics, width, height) if intrinsics else None
    return RgbdFrame(rgb, read_depth(pair.depth, unit), camera)


def write_results(folder: Path, name: str, frame: RgbdFrame, completed: CompletedDepth) -> bool:
    """Write the result files of one frame.

    The files are NAME_depth.png (16-bit millimetres, 0 = missing or too far), NAME_depth.npy and NAME_sigma.npy
    (float32 metres), NAME_confidence.png (255 = certain), NAME_preview.png and, with intrinsics, NAME.ply.

    Returns:
        Whether some depth is too large for NAME_depth.png and is missing there.

    Raises:
        OSError: If a file cannot be written.
    """
    known = np.isfinite(completed.depth)
    too_far = known & (completed.depth > FARTHEST_M)
    millimetres = np.where(known & ~too_far, np.rint(completed.depth * 1000), 0).astype(np.uint16)
    save_picture(folder / f"{name}_depth.png", millimetres)
    np.save(folder / f"{name}_depth.npy", completed.depth)
    np.save(folder / f"{name}_sigma.npy", completed.sigma)
    save_picture(folder / f"{name}_confidence.png", np.rint(completed.confidence * 255).astype(np.uint8))
    limits = colour_range(completed.depth)
    picture = panel(frame.rgb, frame.depth, completed.depth, completed.confidence, limits)
    save_picture(folder / f"{name}_preview.png", picture)
    if frame.intrinsics is not None:
        write_ply(folder / f"{name}.ply", back_project(completed.depth, frame.intrinsics), frame.rgb[known])
    return bool(too_far.any())


def write_ply(path: Path, points: np.ndarray, colours: np.ndarray) -> None:
    """Write points (N, 3) [m] with colours (N, 3) uint8 RGB as a binary PLY. Raises OSError."""
    vertices = np.empty(len(points), [("position", "<f4", 3), ("colour", "u1", 3)])
    vertices["position"], vertices["colour"] = points, colours
    properties = [f"property float {axis}" for axis in "xyz"]
    properties += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *properties, "end_header", ""]
    path.write_bytes("\n".join(header).encode() + vertices.tobytes())


def _read_image(path: Path, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(_read_bytes(path), np.uint8), flags)
    if image is None:
        raise InputError(
            "file", f"{path} cannot be decoded: check whether it is truncated, or an image format that OpenCV reads"
        )
    return image


def _read_array(path: Path) -> np.ndarray:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            names = content.files
            return content["depth" if len(names) != 1 else names[0]]
    except KeyError:
        raise InputError("file", f"{path} contains {len(names)} arrays: name the depth array 'depth'") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError("file", f"{path} cannot be read ({error}): save it again with numpy.save") from error


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("file", f"{path} cannot be read ({error.strerror})") from error
    if not content:
        raise InputError("file", f"{path} is empty: write it again")
    return content


def _pair(name: str, rgb: Path, depth: Path) -> FilePair:
    if rgb.samefile(depth):
        raise ConfigurationError(f"{rgb} is given for colour and for depth: give the depth file of the same view too")
    return FilePair(name, rgb, depth)


def _by_stem(folder: Path, suffixes: set[str], words: Iterable[str] = ()) -> dict[str, Path]:
    """The files of a folder, or those with one of these words first, by name without suffix, in natural order."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: _natural_order(path.name)):
        if path.suffix.lower() not in suffixes or not path.is_file() or (words and _role_word(path.stem) not in words):
            continue
        if path.stem in files:
            raise ConfigurationError(f"{files[path.stem]} and {path.name} have the same name: remove one of them")
        files[path.stem] = path
    return files


def _role_word(name: str) -> str:
    """The word in a name that says whether the file is colour or depth; "" if there is none."""
    words = re.findall(r"[a-z]+", name.lower())
    return next((word for word in (*_DEPTH_WORDS, *_RGB_WORDS) if word in words), "")


def _numbers(*folders: Iterable[str]) -> list[dict[tuple[int, ...], str]]:
    """The names of two folders by those of their numbers that differ between files; empty if these are not unique.

    A number that is the same in all names of both folders may be the model of the camera, the size of the image or a
    date; it says nothing about the frame. Names with more or fewer numbers than usual in their folder are left out.
    """
    found: list[list[tuple[str, tuple[int, ...]]]] = []
    for names in folders:
        all_numbers = [(name, tuple(int(digits) for digits in re.findall(r"\d+", name))) for name in names]
        usual = Counter(len(numbers) for _, numbers in all_numbers).most_common(1)[0][0]
        found.append([(name, numbers) for name, numbers in all_numbers if len(numbers) == usual])
    values = [[set(column) for column in zip(*(numbers for _, numbers in side), strict=True)] for side in found]
    if len(values[0]) == len(values[1]):
        differ = [
            max(len(first), len(second)) > 1 or (first != second and min(first | second) >= _DATE)
            for first, second in zip(*values, strict=True)
        ]
        counted = [differ, differ]
    else:
        counted = [[len(column) > 1 for column in columns] for columns in values]
        for one, other in ((0, 1), (1, 0)):
            if len(found[one]) == 1:  # nothing tells which of its numbers count: probably the last ones
                wanted = min(sum(counted[other]), len(counted[one]))
                counted[one] = [False] * (len(counted[one]) - wanted) + [True] * wanted
    named: list[dict[tuple[int, ...], str]] = []
    for side, counting in zip(found, counted, strict=True):
        keys = {tuple(itertools.compress(numbers, counting)): name for name, numbers in side}
        named.append(keys if any(counting) and len(keys) == len(side) else {})
    return named


def _times_ns(names: Iterable[str]) -> dict[str, int]:
    """The time in each name [ns]; empty if a name contains none, or two have the same."""
    times = {name: _time_ns(name) for name in names}
    return times if all(times.values()) and len(set(times.values())) == len(times) else {}


def _of_one_time(images: dict[str, int], depths: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of names whose times [ns] are nearest to each other."""
    names = list(images), list(depths)
    first, second = (np.array(list(side.values())) for side in (images, depths))
    there, back = _nearest(first, second), _nearest(second, first)
    return [
        (names[0][i], names[1][j])
        for i, j in enumerate(there.tolist())
        if back[j] == i and abs(first[i] - second[j]) <= _SLOP_NS
    ]


def _nearest(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Index of the nearest of ``others`` for each time."""
    order = np.argsort(others, kind="stable")
    ascending = others[order]
    after = np.searchsorted(ascending, times).clip(1, max(1, len(others) - 1))
    after = np.minimum(after, len(others) - 1)
    before = np.maximum(after - 1, 0)
    return order[np.where(times - ascending[before] <= ascending[after] - times, before, after)]


def _time_ns(name: str) -> int:
    """The time in a name since 1970 [ns]: seconds with a fraction, or an integer in ms, µs or ns; 0 = none."""
    if found := re.search(r"(?<!\d)(\d{9,10})\.(\d{1,9})(?!\d)", name):
        return int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0"))
    found = re.search(r"(?<!\d)([1-9](?:\d{12}|\d{15}|\d{18}))(?!\d)", name)  # a counter begins with zeros
    return int(found[1].ljust(19, "0")) if found else 0


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
