"""Pictures of depth and confidence: colour maps, a labelled panel of one frame, and an animation of several frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .errors import ConfigurationError

MISSING = np.array((52, 54, 58), np.uint8)  # dark grey, which is in neither colour map
_BACKGROUND = (18, 20, 24)
_TEXT = (225, 228, 232)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TALLEST = 3.0  # height of a tile by its width: a picture of a very tall image would need gigabytes


def _colour_map(name: int, first: int, last: int) -> np.ndarray:
    levels = np.linspace(first, last, 256).round().astype(np.uint8).reshape(256, 1)
    return cv2.applyColorMap(levels, name)[:, 0, ::-1]


# The lightness of both colour maps is uniform, and neither contains grey, so missing depth stands out. Near is bright.
_DEPTH_COLOURS = _colour_map(cv2.COLORMAP_PLASMA, 255, 0)
_CONFIDENCE_COLOURS = _colour_map(cv2.COLORMAP_DEEPGREEN, 20, 235)

Range = tuple[float, float]


def colour_range(depth: np.ndarray) -> Range:
    """Near and far [m] for a picture of depth [m] (NaN = missing): slightly wider than the 2nd to 98th percentile."""
    seen = depth[np.isfinite(depth) & (depth > 0)]
    if seen.size == 0:
        return 0.5, 5.0
    near, far = np.percentile(seen[:: max(1, seen.size // 50_000)], [2, 98])
    return float(near) * 0.95, max(float(far) * 1.05, float(near) * 1.1)


def smooth_range(previous: Range | None, current: Range, weight: float = 0.15) -> Range:
    """The colour range of the next frame of an animation: a moving average, so that colours do not flicker."""
    if previous is None:
        return current
    near, far = (p + weight * (c - p) for p, c in zip(previous, current, strict=True))
    return near, far


def colour_depth(depth: np.ndarray, limits: Range) -> np.ndarray:
    """Depth (H, W) [m] as (H, W, 3) uint8 RGB on a logarithmic scale; near is bright, missing (or 0) is dark grey."""
    return _coloured(_log_position(depth, limits), _DEPTH_COLOURS, np.isfinite(depth) & (depth > 0))


def colour_confidence(confidence: np.ndarray) -> np.ndarray:
    """Confidence (H, W) as (H, W, 3) uint8 RGB, 0 (dark) to 1 (bright); values that are not finite are dark grey."""
    return _coloured(confidence, _CONFIDENCE_COLOURS, np.isfinite(confidence))


def panel(
    rgb: np.ndarray,
    raw: np.ndarray,
    depth: np.ndarray,
    confidence: np.ndarray,
    limits: Range,
    width: int = 1296,
    classical: np.ndarray | None = None,
) -> np.ndarray:
    """Draw RGB, raw depth, completed depth and confidence with labels and legends.

    Args:
        rgb: (H, W, 3) uint8. An image that is more than three times as tall as wide is drawn less tall.
        raw: Measured depth [m], float32, of any resolution.
        depth: (H, W), completed depth [m].
        confidence: (H, W), 0..1.
        limits: Near and far [m] of the colours, for all depth.
        width: Width of the panel [pixels].
        classical: (H, W), depth completed without a network [m], for comparison; None = not shown.

    Returns:
        (h, width, 3) uint8 RGB.
    """
    columns = 2 if classical is None else 3
    gap = width // (40 * columns)
    tile_width = (width - (columns + 1) * gap) // columns
    tile_height = max(1, round(tile_width * min(rgb.shape[0] / rgb.shape[1], _TALLEST)))
    size = (tile_width, tile_height)
    bar = round(2.3 * gap)
    canvas = np.full((2 * (bar + tile_height) + 3 * gap + bar, width, 3), _BACKGROUND, np.uint8)

    percent = 100 * float(np.mean(np.isfinite(raw) & (raw > 0)))
    tiles = [
        ("RGB", _resized(rgb, size)),
        (
            f"Raw depth, {percent:.{1 if percent < 10 else 0}f} % measured",
            colour_depth(visible_depth(raw, size), limits),
        ),
        ("Completed depth", colour_depth(_nearest(depth, size), limits)),
        ("Confidence", colour_confidence(_resized(confidence, size))),
    ]
    if classical is not None:
        tiles.insert(2, ("Completed without a network", colour_depth(_nearest(classical, size), limits)))
    for i, (label, tile) in enumerate(tiles):
        x = gap + (i % columns) * (tile_width + gap)
        y = bar + (i // columns) * (tile_height + bar)
        canvas[y : y + tile_height, x : x + tile_width] = tile
        _write(canvas, label, (x, y - round(0.75 * gap)), bar)

    y = canvas.shape[0] - 3 * gap - bar + round(1.2 * gap)
    legend = (tile_width, round(0.9 * gap))
    near, far = limits
    ticks = [(float(_log_position(np.float64(m), limits)), f"{m:g} m") for m in _round_distances(near, far)]
    _draw_legend(canvas, (gap, y), legend, _DEPTH_COLOURS, ticks, bar)
    ticks = [(c, f"{c:g}") for c in (0.0, 0.25, 0.5, 0.75, 1.0)]
    _draw_legend(canvas, (2 * gap + tile_width, y), legend, _CONFIDENCE_COLOURS, ticks, bar)
    return canvas


def save_animation(path: Path, frames: list[np.ndarray], milliseconds: list[int]) -> None:
    """Write a looping WebP animation.

    Args:
        path: The file to write.
        frames: (H, W, 3) uint8 RGB, all of one size.
        milliseconds: Duration of each frame [ms].

    Raises:
        ConfigurationError: If OpenCV does not support animations.
        OSError: If the file cannot be written.
    """
    if not hasattr(cv2, "imencodeanimation"):
        raise ConfigurationError(f"{path} needs OpenCV 4.12 or later: pip install -U opencv-contrib-python-headless")
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
    animation.durations = milliseconds
    encoded = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, 80])[1]
    path.write_bytes(encoded.tobytes())


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write an image as PNG: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16. Raises OSError."""
    encoded = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1]
    path.write_bytes(encoded.tobytes())


def _log_position(depth: np.ndarray | np.float64, limits: Range) -> np.ndarray:
    """Position of depth between near (0) and far (1) on a logarithmic scale."""
    near, far = limits
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(depth / near) / np.log(far / near))


def _coloured(position: np.ndarray, colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    index = (np.where(known, position, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return np.where(known[..., None], colours[index], MISSING)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinking = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def _nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)


def visible_depth(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Raw depth at the displayed size. Sparse points are enlarged to be visible, with the nearest on top."""
    raw = np.where(np.isfinite(raw) & (raw > 0), raw, np.inf).astype(np.float32)
    if np.isfinite(raw).mean() < 0.15:
        side = 2 * round(0.75 * max(1.0, raw.shape[1] / size[0])) + 1
        raw = cv2.erode(raw, np.ones((side, side), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return _nearest(raw, size)


def _round_distances(near: float, far: float) -> list[float]:
    """Round distances [m] between near and far; about 4 to 8 if they span one or two decades."""
    rungs = (1, 1.5, 2, 3, 4, 5, 7) if far / near < 8 else (1, 2, 5)
    decades = range(int(np.floor(np.log10(near))), int(np.ceil(np.log10(far))) + 1)
    return [m for decade in decades for rung in rungs if near <= (m := float(f"{rung * 10.0**decade:.3g}")) <= far]


def _draw_legend(
    canvas: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    colours: np.ndarray,
    ticks: list[tuple[float, str]],
    text_height: int,
) -> None:
    (x, y), (width, height) = corner, size
    canvas[y : y + height, x : x + width] = colours[np.linspace(0, 255, width).astype(int)]
    for position, label in ticks:
        at = x + round(position * (width - 1))
        canvas[y + height : y + height + height // 3, at - 1 : at + 1] = _TEXT
        (label_width, _), _ = cv2.getTextSize(label, _FONT, _text_scale(text_height) * 0.8, 1)
        left = min(max(at - label_width // 2, x), x + width - label_width)
        _write(canvas, label, (left, y + height + text_height * 3 // 4), text_height, 0.8)


def _write(canvas: np.ndarray, text: str, at: tuple[int, int], bar: int, scale: float = 1.0) -> None:
    cv2.putText(canvas, text, at, _FONT, _text_scale(bar) * scale, _TEXT, max(1, bar // 30), cv2.LINE_AA)


def _text_scale(bar: int) -> float:
    return bar / 62
