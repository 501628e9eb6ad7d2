"""Completion of image files: a pair, or two folders matched by file name."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from .completer import DepthCompleter
from .errors import ConfigurationError, InputError
from .frame import CompletedDepth, Intrinsics, RgbdFrame
from .geometry import back_project
from .preview import colour_range, panel, save_picture

RGB_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm"}
DEPTH_SUFFIXES = {".png", ".tif", ".tiff", ".exr", ".pgm", ".npy", ".npz"}  # .exr, to say that it is not read
_FARTHEST_M = 65.535  # of a 16-bit image in millimetres


class FilePair(NamedTuple):
    """The two files of one frame and the name its results get."""

    name: str
    rgb: Path
    depth: Path


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8, red first, as stored: an EXIF rotation would part it from the depth. Raises InputError."""
    image = _read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.ascontiguousarray(image[..., ::-1])


def read_depth(path: Path, scale: float) -> np.ndarray:
    """(h, w) float32 metres, NaN where missing. Whole numbers are multiplied by ``scale``, others are metres already.

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
    depth = stored.astype(np.float32) * np.float32(1 if stored.dtype.kind == "f" else scale)
    depth[~(depth > 0)] = np.nan
    if stored.dtype == np.uint16:
        depth[stored == 65535] = np.nan
    return depth


def find_pairs(rgb: Path, depth: Path) -> tuple[list[FilePair], list[Path]]:
    """Pairs in natural order, and the files left over.

    Two files are one pair; in two folders the files of one name belong together, whatever their suffix.
    Raises ConfigurationError where a path is absent, one is a file and one a folder, or nothing matches.
    """
    for path in (rgb, depth):
        if not path.exists():
            raise ConfigurationError(f"{path} does not exist: give an image file or a folder of them")
    if rgb.is_dir() != depth.is_dir():
        raise ConfigurationError(f"{rgb} and {depth} must be two files or two folders")
    if rgb.is_file():
        return [FilePair(rgb.stem, rgb, depth)], []
    images, depths = _by_stem(rgb, RGB_SUFFIXES), _by_stem(depth, DEPTH_SUFFIXES)
    names = sorted(images.keys() & depths.keys(), key=_natural_order)
    if not names:
        raise ConfigurationError(
            f"{rgb} ({min(images, default='no image')}, …) and {depth} ({min(depths, default='no image')}, …) "
            "have no file name in common: rename the files so that a pair differs only in its suffix"
        )
    left_over = [path for files in (images, depths) for name, path in files.items() if name not in names]
    return [FilePair(name, images[name], depths[name]) for name in names], left_over


def read_pair(pair: FilePair, scale: float, intrinsics: tuple[float, float, float, float] | None) -> RgbdFrame:
    """The frame of a pair. scale: as in ``read_depth``; intrinsics: fx, fy, cx, cy [pixels]. Raises InputError."""
    rgb = read_rgb(pair.rgb)
    height, width = rgb.shape[:2]
    camera = Intrinsics(*intrinsics, width, height) if intrinsics else None
    return RgbdFrame(rgb, read_depth(pair.depth, scale), camera)


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
    add("--depth", type=Path, required=True, help="depth of the same view, or a folder with the same names")
    add("--depth-scale", type=float, default=0.001, help="metres per unit of whole-number depth (default 0.001)")
    add("--intrinsics", type=_intrinsics, help="fx,fy,cx,cy of the colour image [pixels]: adds point clouds (PLY)")
    add("--profile", default="kinect", help="kind of depth sensor: kinect, tof or lidar (default kinect)")
    add("--engine", default="", help="what runs the model (default as the profile says, auto for a --model)")
    add("--model", default="auto", help="the model (default auto)")
    add("--fill-only", action="store_true", help="keep measured depth exactly as it is")
    add("--min-confidence", type=float, default=0.0, help="leave depth below it out, 0 to 1 (default 0)")
    add("--out", type=Path, required=True, help="folder for the results")


def run(args: argparse.Namespace) -> int:
    """Complete every pair; 1 if any failed."""
    if not args.depth_scale > 0:
        raise ConfigurationError(f"--depth-scale {args.depth_scale} must be above zero: 0.001 for millimetres")
    if not 0 <= args.min_confidence <= 1:
        raise ConfigurationError(f"--min-confidence {args.min_confidence} must lie between 0 and 1")
    pairs, left_over = find_pairs(args.rgb, args.depth)
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    if left_over:
        console.print(f"{len(left_over)} files have no partner of the same name: {left_over[0]} and so on are left out")
    completer = DepthCompleter(
        args.profile, args.engine, args.model, fill_only=args.fill_only, min_confidence=args.min_confidence
    )
    milliseconds, too_far = [], 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for pair in track(pairs, "Completing", console=console, disable=not sys.stderr.isatty()):
            try:
                frame = read_pair(pair, args.depth_scale, args.intrinsics)
                started = time.perf_counter()
                completed = completer.complete(frame)
            except InputError as error:
                console.print(f"{pair.name}: {error}")
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
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and path.is_file():
            if path.stem in files:
                raise ConfigurationError(f"{files[path.stem]} and {path.name} have one name: leave one of them there")
            files[path.stem] = path
    return files


def _natural_order(name: str) -> list[tuple[int, str]]:
    """frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _intrinsics(text: str) -> tuple[float, float, float, float]:
    try:
        fx, fy, cx, cy = (float(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not four numbers: fx,fy,cx,cy") from None
    return fx, fy, cx, cy
