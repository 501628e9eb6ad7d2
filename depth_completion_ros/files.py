"""Completion of image files: a pair, or two folders."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from .completer import DepthCompleter
from .errors import ConfigurationError, InputError, in_options
from .frame import CompletedDepth, Intrinsics, RgbdFrame
from .geometry import back_project
from .preview import colour_range, panel, save_picture
from .profiles import load_profile

RGB_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"}
DEPTH_SUFFIXES = {".png", ".tif", ".tiff", ".exr", ".pgm", ".npy", ".npz"}  # .exr, to say that it is not read
_SLOP_NS = 20_000_000  # between the times of a pair
_FARTHEST_M = 65.535  # of a 16-bit image in millimetres


class FilePair(NamedTuple):
    """The two files of one frame and the name its results get."""

    name: str
    rgb: Path
    depth: Path


class Pairing(NamedTuple):
    """The pairs in natural order, the files left over, and by what they were matched: empty where by their names."""

    pairs: list[FilePair]
    left_over: list[Path]
    rule: str


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, red first, as stored: an EXIF rotation would part it from the depth. Raises InputError."""
    image = _read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.ascontiguousarray(image[..., ::-1])


def read_depth(path: Path, unit: float | None = None) -> np.ndarray:
    """(h, w) float32 metres, NaN where missing. unit: metres that 1 stands for; None: 0.001 for whole numbers, else 1.

    Reads 16-bit PNG, TIFF and PGM, float32 TIFF, .npy, and .npz with one array or one named "depth". The largest count
    of 16 bits says, as zero does, that nothing was measured. Raises InputError.
    """
    if path.suffix.lower() == ".exr":
        raise InputError("file", f"{path}: OpenEXR files are not read: save it as float32 TIFF or with numpy.save")
    stored = _read_array(path) if path.suffix.lower() in (".npy", ".npz") else _read_image(path, cv2.IMREAD_UNCHANGED)
    kind = f"{'x'.join(map(str, stored.shape))} {stored.dtype}"
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[..., 0]
    if stored.ndim != 2 or stored.dtype == np.uint8 or stored.dtype.kind not in "iuf":
        raise InputError(
            "file", f"{path} holds {kind}, which is no depth: give one channel of 16-bit numbers or of float metres"
        )
    if unit is None:
        unit = 1 if stored.dtype.kind == "f" else 0.001
    depth = stored.astype(np.float32) * np.float32(unit)
    depth[~(depth > 0)] = np.nan
    if stored.dtype == np.uint16:
        depth[stored == 65535] = np.nan
    return depth


def find_pairs(rgb: Path, depth: Path) -> Pairing:
    """What belongs together: two files, or the files of two folders.

    Files of one name do, whatever their suffix; else those of one number (rgb_0007, depth_0007), else those whose
    names are times no more than 20 ms apart, whichever pairs most; else, where there are as many of both, by order.
    Raises ConfigurationError where a path is absent, one is a file and one a folder, or nothing matches.
    """
    for path in (rgb, depth):
        if not path.exists():
            raise ConfigurationError(f"{path} does not exist: give an image file or a folder of them")
    if rgb.is_dir() != depth.is_dir():
        raise ConfigurationError(f"{rgb} and {depth} must be two files or two folders")
    if rgb.is_file():
        return Pairing([FilePair(rgb.stem, rgb, depth)], [], "")
    images, depths = _by_stem(rgb, RGB_SUFFIXES), _by_stem(depth, DEPTH_SUFFIXES)
    rules: list[tuple[str, list[tuple[str, str]]]] = [
        ("", [(name, name) for name in images if name in depths]),
        ("the numbers in their names", _of_one_number(images, depths)),
        (f"the times in their names, up to {_SLOP_NS / 1e6:.0f} ms apart", _of_one_time(images, depths)),
        ("their order, as no names fit", list(zip(images, depths, strict=True)) if len(images) == len(depths) else []),
    ]
    rule, names = max(rules[:3], key=lambda tried: len(tried[1]))
    if not names:
        rule, names = rules[3]
    if not names:
        raise ConfigurationError(
            f"{rgb} ({len(images)} files, {next(iter(images), 'no image')}, …) and {depth} ({len(depths)} files, "
            f"{next(iter(depths), 'no image')}, …) have no file name, number or time in common: rename the files so "
            "that a pair differs only in its suffix"
        )
    paired = {name for pair in names for name in (images[pair[0]], depths[pair[1]])}
    left_over = [path for path in (*images.values(), *depths.values()) if path not in paired]
    return Pairing([FilePair(one, images[one], depths[other]) for one, other in names], left_over, rule)


def read_pair(pair: FilePair, unit: float | None, intrinsics: tuple[float, float, float, float] | None) -> RgbdFrame:
    """The frame of a pair. unit: as in ``read_depth``; intrinsics: fx, fy, cx, cy [pixels]. Raises InputError."""
    rgb = read_rgb(pair.rgb)
    height, width = rgb.shape[:2]
    camera = Intrinsics(*intrinsics, width, height) if intrinsics else None
    return RgbdFrame(rgb, read_depth(pair.depth, unit), camera)


def write_results(folder: Path, name: str, frame: RgbdFrame, completed: CompletedDepth) -> bool:
    """Write all files of one frame; True if depth beyond what NAME_depth.png can hold was written as missing there.

    NAME_depth.png (16-bit mm, 0 = missing or too far), NAME_depth.npy and NAME_sigma.npy (float32 m),
    NAME_confidence.png (255 = certain), NAME_preview.png, and with intrinsics NAME.ply. Raises OSError.
    """
    known = np.isfinite(completed.depth)
    too_far = known & (completed.depth > _FARTHEST_M)
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


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion complete``."""
    add = parser.add_argument
    add("--rgb", type=Path, required=True, help="colour image, or a folder of them")
    add("--depth", type=Path, required=True, help="depth of the same view, or a folder of as many")
    unit = "metres that 1 stands for in depth (default 0.001 for whole numbers, 1 for others)"
    add("--depth-unit", "--depth-scale", type=float, metavar="M", help=unit)
    add("--min-range", type=float, metavar="M", help="nearer depth counts as missing (default the profile's)")
    add("--max-range", type=float, metavar="M", help="farther depth counts as missing (default the profile's)")
    add("--intrinsics", type=_intrinsics, help="fx,fy,cx,cy of the colour image [pixels]: adds point clouds (PLY)")
    add("--profile", default="kinect", help="kind of depth sensor: kinect, tof or lidar (default kinect)")
    add("--engine", default="", help="what runs the model (default as the profile says, auto for a --model)")
    add("--model", default="auto", help="the model (default auto)")
    add("--fill-only", action="store_true", help="keep measured depth exactly as it is")
    add("--min-confidence", type=float, default=0.0, help="leave depth below it out, 0 to 1 (default 0)")
    add("--out", type=Path, required=True, help="folder for the results")


def run(args: argparse.Namespace) -> int:
    """Complete every pair; 1 if any failed."""
    if args.depth_unit is not None and not args.depth_unit > 0:
        raise ConfigurationError(f"--depth-unit {args.depth_unit} must be above zero: 0.001 for millimetres")
    if not 0 <= args.min_confidence <= 1:
        raise ConfigurationError(f"--min-confidence {args.min_confidence} must lie between 0 and 1")
    pairs, left_over, rule = find_pairs(args.rgb, args.depth)
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if rule:
        first = f"{pairs[0].rgb.name} with {pairs[0].depth.name}"
        console.print(f"{len(pairs)} pairs are matched by {rule}: {first}, and so on")
    if left_over:
        console.print(f"{len(left_over)} files have no partner and are left out: {left_over[0]} and so on")
    profile = load_profile(args.profile).within(args.min_range, args.max_range)
    completer = DepthCompleter(
        profile, args.engine, args.model, fill_only=args.fill_only, min_confidence=args.min_confidence
    )
    milliseconds, too_far = [], 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for pair in track(pairs, "Completing", console=console, disable=not sys.stderr.isatty()):
            try:
                frame = read_pair(pair, args.depth_unit, args.intrinsics)
                started = time.perf_counter()
                completed = completer.complete(frame)
            except InputError as error:
                console.print(f"{pair.name}: {in_options(error)}")
                continue
            milliseconds.append((time.perf_counter() - started) * 1e3)
            too_far += write_results(args.out, pair.name, frame, completed)
    except OSError as error:
        raise ConfigurationError(
            f"--out {args.out} cannot be written to ({error}): mend it or choose another"
        ) from error
    finally:
        completer.close()
    if too_far:
        console.print(f"{too_far} frames hold depth beyond {_FARTHEST_M} m: 0 in the PNG, kept in the .npy file")
    print(f"{len(milliseconds)} of {len(pairs)} frames completed, written to {args.out}")
    if milliseconds:
        p50, p95 = np.percentile(milliseconds, [50, 95])
        print(f"{p50:.1f} ms p50, {p95:.1f} ms p95 a frame ({completer.engine.engine}, {completer.engine.model})")
    return int(len(milliseconds) < len(pairs))


def _read_image(path: Path, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(_read_bytes(path), np.uint8), flags)
    if image is None:
        raise InputError("file", f"{path} cannot be decoded: is it cut short, or no image that OpenCV reads?")
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
        raise InputError("file", f"{path} holds {len(names)} arrays: call the one to use 'depth'") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError("file", f"{path} cannot be read ({error}): save it again with numpy.save") from error


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError("file", f"{path} cannot be read ({error.strerror})") from error
    if not content:
        raise InputError("file", f"{path} is empty: write it again")
    return content


def _by_stem(folder: Path, suffixes: set[str]) -> dict[str, Path]:
    """The files of a folder by their names without the suffix, in natural order."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: _natural_order(path.name)):
        if path.suffix.lower() in suffixes and path.is_file():
            if path.stem in files:
                raise ConfigurationError(f"{files[path.stem]} and {path.name} have one name: leave one of them there")
            files[path.stem] = path
    return files


def _of_one_number(images: Iterable[str], depths: Iterable[str]) -> list[tuple[str, str]]:
    """Names of one number, the longest in each; none where a number is there twice."""

    def numbered(names: Iterable[str]) -> dict[int, str]:
        digits = {name: re.findall(r"\d+", name) for name in names}
        numbers = {name: int(max(reversed(found), key=len)) for name, found in digits.items() if found}
        return {number: name for name, number in numbers.items()} if len(set(numbers.values())) == len(numbers) else {}

    first, second = numbered(images), numbered(depths)
    return [(name, second[number]) for number, name in first.items() if number in second]


def _of_one_time(images: Iterable[str], depths: Iterable[str]) -> list[tuple[str, str]]:
    """Names whose times are each other's nearest; none where a name holds no time since 1970."""
    names = list(images), list(depths)
    times = [[_time_ns(name) for name in side] for side in names]
    if not all(times) or not all(time for side in times for time in side):
        return []
    first, second = (np.array(side) for side in times)
    there, back = _nearest(first, second), _nearest(second, first)
    return [
        (names[0][i], names[1][j])
        for i, j in enumerate(there.tolist())
        if back[j] == i and abs(first[i] - second[j]) <= _SLOP_NS
    ]


def _nearest(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each time the index of the nearest of the others."""
    order = np.argsort(others, kind="stable")
    ascending = others[order]
    after = np.searchsorted(ascending, times).clip(1, max(1, len(others) - 1))
    after = np.minimum(after, len(others) - 1)
    before = np.maximum(after - 1, 0)
    return order[np.where(times - ascending[before] <= ascending[after] - times, before, after)]


def _time_ns(name: str) -> int:
    """The time [ns] in a name: seconds with a fraction, or a whole number of ms, µs or ns since 1970; 0: none."""
    if found := re.search(r"(?<!\d)(\d{9,10})\.(\d{1,9})(?!\d)", name):
        return int(found[1]) * 1_000_000_000 + int(found[2].ljust(9, "0"))
    found = re.search(r"(?<!\d)(\d{13}|\d{16}|\d{19})(?!\d)", name)
    return int(found[1].ljust(19, "0")) if found else 0


def _natural_order(name: str) -> list[tuple[int, str]]:
    """frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _intrinsics(text: str) -> tuple[float, float, float, float]:
    try:
        fx, fy, cx, cy = (float(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not four numbers: fx,fy,cx,cy") from None
    return fx, fy, cx, cy
