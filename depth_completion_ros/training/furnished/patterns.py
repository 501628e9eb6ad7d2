"""Procedural textures of walls, floors, fabrics, posters, pages and book spines."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

SIDE = 256
Rng = np.random.Generator


def colour(
    rng: Rng, saturation: tuple[float, float] = (0.0, 0.8), value: tuple[float, float] = (0.1, 0.9)
) -> np.ndarray:
    """Draw a random colour (3,), 0..255, in sRGB."""
    low, high = saturation
    return (
        np.array(colorsys.hsv_to_rgb(rng.random(), low + (high - low) * rng.random() ** 2, rng.uniform(*value))) * 255
    )


def cloud(rng: Rng, slope: float = 1.0, smallest: float = 0.0) -> np.ndarray:
    """Return tileable noise with mean 0 and standard deviation 1, (SIDE, SIDE).

    Args:
        rng: Random generator.
        slope: The amplitude is proportional to the frequency to the power of -slope.
        smallest: Frequencies up to this one are removed [cycles per image].
    """
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) * SIDE
    spectrum = np.maximum(f, 1) ** -slope * (f > smallest)
    phases = rng.standard_normal(spectrum.shape) + 1j * rng.standard_normal(spectrum.shape)
    noise = np.fft.irfft2(spectrum * phases, (SIDE, SIDE))
    return (noise - noise.mean()) / (noise.std() + 1e-9)


def _tint(base: np.ndarray, *layers: tuple[np.ndarray, float]) -> np.ndarray:
    picture: np.ndarray = np.broadcast_to(base, (SIDE, SIDE, 3)).astype(np.float32)
    for layer, strength in layers:
        picture = picture * (1 + strength * layer[..., None])
    return picture


def plaster(rng: Rng) -> np.ndarray:
    """Draw a nearly uniform surface: a painted wall, a ceiling, plastic."""
    return _tint(colour(rng, (0, 0.35), (0.45, 0.98)), (cloud(rng, 1.4), 0.03), (cloud(rng, 0.3), rng.uniform(0, 0.06)))


def speckle(rng: Rng) -> np.ndarray:
    """Draw carpet, stone or terrazzo."""
    a, b = colour(rng, (0, 0.6), (0.15, 0.8)), colour(rng, (0, 0.6), (0.1, 0.9))
    mix = 1 / (1 + np.exp(-rng.uniform(0.5, 4) * cloud(rng, rng.uniform(0, 1.2), rng.uniform(0, 20))))
    return a + (b - a) * rng.uniform(0.2, 1) * mix[..., None]


def _cells(rng: Rng, rows: int, columns: int, shift: float, joint: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each pixel and whether it lies in a joint. Odd rows of cells are shifted."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    row = (y * rows).astype(int)
    x = (x * columns + (row % 2) * shift) % columns
    cell = row * columns + x.astype(int)
    near = (np.abs(x - np.round(x)) / columns < joint) | (np.abs(y * rows - np.round(y * rows)) / rows < joint)
    return cell, near


def tiles(rng: Rng) -> np.ndarray:
    """Draw tiles or bricks."""
    rows = int(rng.choice([1, 2, 3, 4, 6, 8]))
    columns = max(1, int(rows * rng.choice([0.5, 1, 1])))
    cell, joint = _cells(rng, rows - rows % 2 or 1, columns, rng.choice([0, 0, 0.5]), rng.uniform(0.002, 0.012))
    base = colour(rng, (0, 0.6), (0.25, 0.95))
    shade = 1 + rng.uniform(0, 0.15) * rng.standard_normal(cell.max() + 1)
    picture = base * shade[cell][..., None] * (1 + rng.uniform(0, 0.1) * cloud(rng, 1.2))[..., None]
    picture[joint] = colour(rng, (0, 0.2), (0.2, 0.9))
    return picture


def _grain(rng: Rng) -> np.ndarray:
    noise = cloud(rng, 0.9)
    stretched = cv2.resize(noise[: SIDE // 8], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.sin(rng.uniform(1, 6) * stretched + 0.4 * cloud(rng, 1.5)) + 0.5 * cv2.blur(cloud(rng, 0.2), (31, 1))


def wood(rng: Rng) -> np.ndarray:
    """Draw boards of wood with the grain along the rows."""
    base = np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.12), rng.uniform(0.2, 0.75), rng.uniform(0.2, 0.9))) * 255
    picture = _tint(base, (_grain(rng), rng.uniform(0.04, 0.18)))
    if rng.random() < 0.6:
        cell, joint = _cells(rng, int(rng.choice([2, 4, 6, 8])), 1, rng.uniform(0.2, 0.5), 0.003)
        picture = picture * (1 + 0.1 * rng.standard_normal(cell.max() + 1))[cell][..., None]
        picture[joint] *= 0.45
    return picture


def weave(rng: Rng) -> np.ndarray:
    """Draw woven cloth, sometimes with stripes or checks."""
    y, x = np.mgrid[:SIDE, :SIDE]
    n = int(rng.choice([16, 32, 64]))
    thread = np.sin(2 * np.pi * x * n / SIDE) * np.sin(2 * np.pi * y * n / SIDE)
    picture = _tint(colour(rng, (0, 0.8), (0.1, 0.9)), (thread, rng.uniform(0.03, 0.2)), (cloud(rng, 1), 0.05))
    for axis in (x, y):
        if rng.random() < 0.4:
            k = int(rng.choice([1, 2, 4, 8]))
            band = (axis * k / SIDE) % 1 < rng.uniform(0.1, 0.6)
            picture = np.where(band[..., None], 0.5 * picture + 0.5 * colour(rng), picture)
    return picture


def ornament(rng: Rng) -> np.ndarray:
    """Draw a repeated motif of shapes, for wallpaper and rugs."""
    n = int(rng.choice([1, 2, 2, 4, 4, 8]))
    motif = np.empty((SIDE // n, SIDE // n, 3), np.uint8)
    motif[:] = colour(rng, (0, 0.5), (0.3, 0.95))
    for _ in range(rng.integers(1, 7)):
        _shape(rng, motif, float(rng.uniform(0.08, 0.3)))
    if rng.random() < 0.5:
        motif = np.minimum(motif, motif[:, ::-1]) if rng.random() < 0.5 else np.maximum(motif, motif[:, ::-1])
    return np.tile(motif, (n, n, 1)) * (1 + 0.04 * cloud(rng, 0.8))[..., None]


def _shape(rng: Rng, picture: np.ndarray, size: float) -> None:
    h, w = picture.shape[:2]
    centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
    radius = max(2, int(size * max(h, w)))
    paint = tuple(float(c) for c in colour(rng, (0.0, 0.9), (0.05, 0.98)))
    kind = rng.integers(5)
    if kind == 0:
        cv2.circle(picture, centre, radius, paint, -1 if rng.random() < 0.7 else max(1, radius // 5), cv2.LINE_AA)
    elif kind == 1:
        corner = (centre[0] + int(radius * rng.uniform(0.3, 2)), centre[1] + int(radius * rng.uniform(0.3, 2)))
        cv2.rectangle(picture, centre, corner, paint, -1 if rng.random() < 0.7 else max(1, radius // 5))
    elif kind == 2:
        points = np.array(centre) + rng.normal(0, radius, (rng.integers(3, 7), 2))
        cv2.fillPoly(picture, [points.astype(np.int32)], paint, cv2.LINE_AA)
    elif kind == 3:
        axes = (radius, max(1, int(radius * rng.uniform(0.2, 0.8))))
        cv2.ellipse(picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, paint, -1, cv2.LINE_AA)
    else:
        end = (centre[0] + int(rng.normal(0, 2 * radius)), centre[1] + int(rng.normal(0, 2 * radius)))
        cv2.line(picture, centre, end, paint, max(1, radius // 6), cv2.LINE_AA)


def _words(rng: Rng, picture: np.ndarray, size: float, lines: int) -> None:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIKLMNOPRSTUVWZ 0123456789 "))
    paint = tuple(float(c) for c in colour(rng, (0, 0.9), (0.0, 0.95)))
    x, y = int(rng.uniform(4, 80)), int(rng.uniform(10, 120))
    for _ in range(lines):
        text = "".join(rng.choice(letters, rng.integers(3, 40)))
        cv2.putText(picture, text, (x, y), int(rng.integers(0, 5)), size, paint, max(1, int(size * 1.7)), cv2.LINE_AA)
        y += int(size * 34) + 2


def poster(rng: Rng) -> np.ndarray:
    """Draw shapes and words, for packages, covers, posters and signs."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = colour(rng, (0, 0.9), (0.1, 0.98))
    for _ in range(rng.integers(1, 9)):
        _shape(rng, picture, float(rng.uniform(0.05, 0.4)))
    for _ in range(rng.integers(0, 4)):
        _words(rng, picture, float(rng.uniform(0.3, 2.2)), int(rng.integers(1, 4)))
    return picture


def page(rng: Rng) -> np.ndarray:
    """Draw a printed page."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = colour(rng, (0, 0.08), (0.85, 1.0))
    _words(rng, picture, float(rng.uniform(0.25, 0.45)), int(rng.integers(5, 24)))
    if rng.random() < 0.5:
        _words(rng, picture, float(rng.uniform(0.6, 1.2)), 1)
    if rng.random() < 0.4:
        _shape(rng, picture, 0.15)
    return picture


def spines(rng: Rng) -> np.ndarray:
    """Draw the spines of a row of books."""
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    x = 0
    while x < SIDE:
        wide, top = int(rng.uniform(6, 26)), int(rng.uniform(0, 60) * (rng.random() < 0.8))
        paint = colour(rng, (0.1, 0.9), (0.08, 0.9))
        picture[top:, x : x + wide] = paint
        for _ in range(rng.integers(0, 4)):
            y = int(rng.uniform(top, SIDE - 8))
            picture[y : y + int(rng.uniform(2, 30)), x + 1 : x + wide - 2] = colour(rng)
        picture[top:, x] *= 0.4
        x += wide
    return picture


def painting(rng: Rng) -> np.ndarray:
    """Draw smooth colours with edges at all scales, similar to a photograph."""
    field = np.stack([cloud(rng, rng.uniform(1.1, 1.8)) for _ in range(3)], -1)
    mixed = field @ (np.eye(3) * rng.uniform(0.2, 1) + rng.normal(0, 0.2, (3, 3)) + rng.uniform(0.2, 0.8))
    picture = 128 + 40 * mixed + rng.normal(0, 25, 3)
    if rng.random() < 0.7:
        levels = rng.integers(3, 9)
        picture = np.round(picture / 255 * levels) / levels * 255
    picture = np.ascontiguousarray(picture.clip(0, 255).astype(np.uint8))
    for _ in range(rng.integers(0, 6)):
        _shape(rng, picture, 0.2)
    return picture


def screen(rng: Rng) -> np.ndarray:
    """Draw the content of a screen: windows with words."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = colour(rng, (0, 0.7), (0.05, 0.6))
    for _ in range(rng.integers(1, 4)):
        x, y, w, h = (int(v) for v in rng.uniform((0, 0, 60, 60), (150, 150, 240, 240)))
        cv2.rectangle(picture, (x, y), (x + w, y + h), tuple(float(c) for c in colour(rng, (0, 0.1), (0.1, 1))), -1)
        cv2.rectangle(picture, (x, y), (x + w, y + 10), tuple(float(c) for c in colour(rng)), -1)
        _words(rng, picture, float(rng.uniform(0.25, 0.4)), 8)
    return picture


def brushed(rng: Rng) -> np.ndarray:
    """Draw metal with fine scratches along the rows."""
    scratches = cv2.blur(rng.standard_normal((SIDE, SIDE)), (61, 1))
    return _tint(colour(rng, (0, 0.15), (0.3, 0.85)), (scratches / scratches.std(), 0.04), (cloud(rng, 1.4), 0.04))


DRAWN: dict[str, tuple[Callable[[Rng], np.ndarray], ...]] = {
    "wall": (plaster, plaster, plaster, ornament, tiles, weave, speckle),
    "ceiling": (plaster, plaster, tiles),
    "floor": (wood, wood, tiles, tiles, speckle, speckle),
    "rug": (weave, ornament, ornament, speckle),
    "wood": (wood,),
    "metal": (brushed, speckle),
    "fabric": (weave, weave, ornament, speckle),
    "package": (poster, poster, painting, page),
    "paper": (page,),
    "books": (spines,),
    "picture": (painting, poster, ornament),
    "screen": (screen, screen, painting),
    "plain": (plaster, speckle),
}
"""Functions that draw a texture (SIDE, SIDE, 3), by use."""


def draw(rng: Rng, use: str) -> np.ndarray:
    """Draw a random texture (SIDE, SIDE, 3) uint8 for a use in ``DRAWN``."""
    makers = DRAWN[use]
    return makers[rng.integers(len(makers))](rng).clip(0, 255).astype(np.uint8)


def panorama(rng: Rng) -> np.ndarray:
    """Draw a panorama (256, 512, 3) uint8 of 360 x 180 degrees, with a cloudy sky, a horizon and the ground."""
    above, horizon, ground = (colour(rng, (0, 0.6), (0.35, 0.95)) for _ in range(3))
    height = np.linspace(1, -1, SIDE)[:, None, None]
    sky = horizon + (above - horizon) * np.clip(height, 0, 1) ** 0.5
    image = np.where(height > 0, sky, 0.5 * ground + 0.2 * horizon * (1 + height))
    image = np.broadcast_to(image, (SIDE, SIDE, 3)) * (1 + 0.15 * cloud(rng, 1.3))[..., None]
    return np.concatenate([image, image[:, ::-1]], 1).clip(0, 255).astype(np.uint8)
