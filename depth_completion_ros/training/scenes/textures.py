"""Procedural patterns: an atlas of small periodic textures with a mipmap pyramid, and its filtered look-up.

A texel consists of two weights that blend three colours of a surface, so one atlas can be used for all colours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SIZE = 256  # texels
_LEVELS = 7


class Atlas(NamedTuple):
    """All textures.

    Attributes:
        texels: All levels of all layers, (M,) int32. The halves of a number contain two weights in units of
            1 / _MAX_WEIGHT.
        names: Layers of each pattern by name.
    """

    texels: Tensor
    names: dict[str, range]


_LAYER_TEXELS = sum((SIZE >> level) ** 2 for level in range(_LEVELS))
_MAX_WEIGHT = (1 << 15) - 1


@lru_cache(maxsize=4)
def atlas(device: torch.device) -> Atlas:
    """Return the atlas. It is the same on every machine and is created once for each device."""
    g = torch.Generator().manual_seed(20)
    layers: list[Weights] = []
    names = {}
    for name, (make, variants) in _PATTERNS.items():
        names[name] = range(len(layers), len(layers) + variants)
        layers += [make(g) for _ in range(variants)]
    level = torch.stack([_pair(weights) for weights in layers]).clamp(0, 1)
    pyramid = []
    for _ in range(_LEVELS):
        pyramid.append(level.flatten(2))
        level = F.avg_pool2d(level, 2)
    first, second = (torch.cat(pyramid, 2) * _MAX_WEIGHT).round().int().unbind(1)
    return Atlas((first | second << 16).flatten().to(device), names)


def look_up(device: torch.device, layer: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Look up weights in the atlas.

    Args:
        device: Device of the atlas.
        layer: Layers.
        u: Horizontal positions with a period of 1, of the shape of ``layer``.
        v: Vertical positions with a period of 1, of the shape of ``layer``.
        footprint: Size of the area over which the texture is averaged, in periods, of the shape of ``layer``.

    Returns:
        Two weights, 0..1, each of the shape of ``layer``.
    """
    texels = atlas(device).texels
    level = torch.log2(footprint * SIZE + 1e-6).ceil().clamp(0, _LEVELS - 1)
    size = torch.exp2(math.log2(SIZE) - level)
    x, y = (u - u.floor()) * size - 0.5, (v - v.floor()) * size - 0.5
    x0, y0 = x.floor(), y.floor()
    wx, wy = x - x0, y - y0
    side = size.long()
    start = layer * _LAYER_TEXELS + (SIZE * SIZE * 4 - side * side * 4) // 3
    column, row = x0.long() & (side - 1), y0.long() & (side - 1)
    column1, row1 = (column + 1) & (side - 1), (row + 1) & (side - 1)
    row, row1 = start + row * side, start + row1 * side
    corners = [
        texels.index_select(0, corner.flatten()).view(u.shape)
        for corner in (row + column, row + column1, row1 + column, row1 + column1)
    ]

    def blend(corners: list[Tensor]) -> Tensor:
        a, b, c, d = (corner.float() for corner in corners)
        return torch.lerp(torch.lerp(a, b, wx), torch.lerp(c, d, wx), wy) / _MAX_WEIGHT

    return blend([c & _MAX_WEIGHT for c in corners]), blend([c >> 16 for c in corners])


Weights = Tensor | tuple[Tensor, Tensor]


def _pair(weights: Weights) -> Tensor:
    """Return two weights (2, SIZE, SIZE); the second is 0 for patterns with one weight."""
    return torch.stack((weights, torch.zeros_like(weights)) if isinstance(weights, Tensor) else weights)


def _grid() -> tuple[Tensor, Tensor]:
    """Return v and u at the texels' centres, (SIZE, SIZE) each, 0..1."""
    t = ((torch.arange(SIZE) + 0.5) / SIZE).expand(SIZE, SIZE)
    return t.T, t


def _rand(g: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=g))


def _noise(g: torch.Generator, first: int, octaves: int, gain: float = 0.5, stretch: int = 1) -> Tensor:
    """Return periodic value noise (SIZE, SIZE), 0..1.

    Args:
        g: Random generator.
        first: Number of cells across in the first octave; it doubles with each octave.
        octaves: Number of octaves.
        gain: Ratio of the amplitudes of successive octaves.
        stretch: Ratio of the length of cells along v to their width.
    """
    total = torch.zeros(SIZE, SIZE)
    for octave in range(octaves):
        columns = min(first << octave, SIZE)
        rows = max(1, columns // stretch)
        total += gain**octave * _interpolate(_interpolate(torch.rand(rows, columns, generator=g)).T).T
    total -= total.min()
    return total / total.max()


def _interpolate(values: Tensor) -> Tensor:
    """Interpolate values (R, C) to (R, SIZE) smoothly and periodically."""
    x = torch.arange(SIZE) * (values.shape[1] / SIZE)
    cell, t = x.long(), x % 1
    return torch.lerp(values[:, cell], values[:, (cell + 1) % values.shape[1]], t * t * (3 - 2 * t))


def _edge(x: Tensor, sharpness: float = SIZE / 3) -> Tensor:
    """Return 0 for negative and 1 for positive numbers, with an edge about a texel wide."""
    return (x * sharpness + 0.5).clamp(0, 1)


def _make_flat(g: torch.Generator) -> Weights:
    return torch.zeros(SIZE, SIZE)


def _make_noise(g: torch.Generator) -> Weights:
    first = int(_rand(g, 2, 9))
    return _noise(g, first, 5, _rand(g, 0.4, 0.7)), _noise(g, first, 3) ** 2


def _make_plaster(g: torch.Generator) -> Weights:
    return 0.5 * _noise(g, 64, 3, 0.8) + 0.5 * _noise(g, 2, 3)


def _make_speckle(g: torch.Generator) -> Weights:
    grain = torch.rand(SIZE, SIZE, generator=g)
    return (_noise(g, 96, 2, 0.9) * 1.6 - 0.3).clamp(0, 1), (grain > 0.97).float()


def _make_marble(g: torch.Generator) -> Weights:
    v, u = _grid()
    bend = _noise(g, 3, 5)
    vein = (2 * math.pi * (2 * u + v + 3 * bend)).sin().abs() ** _rand(g, 0.2, 0.6)
    return 1 - vein, _noise(g, 4, 4) * 0.5


def _make_wood(g: torch.Generator) -> Weights:
    grain = _noise(g, 32, 3, 0.7, stretch=16)
    rings = (2 * math.pi * (_rand(g, 4, 9) * _noise(g, 4, 3, 0.4, stretch=4))).sin() * 0.5 + 0.5
    return 0.55 * rings + 0.45 * grain, 0.4 * _noise(g, 3, 3)


def _make_planks(g: torch.Generator) -> Weights:
    v, u = _grid()
    boards = int(_rand(g, 3, 8))
    board = (u * boards).floor().long()
    tone, shift = torch.rand(boards, generator=g)[board], torch.rand(boards, generator=g)[board]
    x, y = (u * boards) % 1, (v + shift) % 1
    gap = _edge(x - 0.03) * _edge(0.97 - x) * _edge(y - 0.012)
    return 0.5 * tone + 0.5 * _noise(g, 48, 3, 0.7, stretch=16), 1 - gap


def _make_checker(g: torch.Generator) -> Weights:
    v, u = _grid()
    n = 2 * int(_rand(g, 2, 5))
    return _edge((math.pi * n * u).sin() * (math.pi * n * v).sin(), 12), 0.3 * _noise(g, 8, 3)


def _make_stripes(g: torch.Generator) -> Weights:
    _, u = _grid()
    n = int(_rand(g, 3, 14))
    duty, thin = _rand(g, 0.2, 0.8), _rand(g, 0.02, 0.2)
    phase = (u * n) % 1
    return _edge(duty - phase, 30), _edge(thin - (phase - duty).abs(), 30)


def _make_tiles(g: torch.Generator) -> Weights:
    v, u = _grid()
    n = int(_rand(g, 2, 7))
    tone = torch.rand(n, n, generator=g)[(v * n).floor().long(), (u * n).floor().long()]
    joint = _rand(g, 0.02, 0.05)
    inside = _edge(torch.minimum((u * n) % 1, (v * n) % 1) - joint)
    return 0.4 * tone + 0.2 * _noise(g, 16, 3), 1 - inside


def _make_bricks(g: torch.Generator) -> Weights:
    v, u = _grid()
    rows, columns = 10, 4
    row = (v * rows).floor().long()
    x = (u * columns + 0.5 * (row % 2)) % columns
    tone = torch.rand(rows, columns, generator=g)[row, x.floor().long()]
    inside = _edge((v * rows) % 1 - 0.13, 30) * _edge(x % 1 - 0.05, 30)
    return 0.7 * tone + 0.3 * _noise(g, 32, 3), 1 - inside


def _make_weave(g: torch.Generator) -> Weights:
    v, u = _grid()
    n = 2 * math.pi * int(_rand(g, 12, 40))
    return 0.5 + 0.25 * (n * u).sin() * (n * v).sin() + 0.25 * (_noise(g, 4, 4) - 0.5), torch.zeros(SIZE, SIZE)


def _make_text(g: torch.Generator) -> Weights:
    """Return lines of word-like blocks on a page, with a picture or a heading."""
    lines = int(_rand(g, 14, 34))
    page = torch.zeros(SIZE, SIZE)
    pitch = SIZE / lines
    for line in range(1, lines - 1):
        x, row = 0.08 * SIZE, slice(int(line * pitch), int(line * pitch + max(1.5, pitch * 0.45)))
        end = SIZE * _rand(g, 0.4, 0.93)
        while x < end:
            width = pitch * _rand(g, 0.5, 3.0)
            page[row, int(x) : int(min(x + width, end))] = _rand(g, 0.5, 1.0)
            x += width + pitch * 0.4
    letters = (torch.rand(SIZE, SIZE, generator=g) > 0.25).float()
    picture = torch.zeros(SIZE, SIZE)
    top, left = int(_rand(g, 0, 0.7) * SIZE), int(_rand(g, 0.05, 0.5) * SIZE)
    picture[top : top + SIZE // 4, left : left + SIZE // 3] = 1
    return page * letters * (1 - picture), picture * _noise(g, 6, 4)


def _make_spines(g: torch.Generator) -> Weights:
    """Return spines of books: strips of random widths and tones, each with a label."""
    tone, label = torch.zeros(SIZE, SIZE), torch.zeros(SIZE, SIZE)
    x = 0
    while x < SIZE:
        width = int(_rand(g, 8, 26))
        tone[:, x : x + width] = _rand(g, 0, 1)
        label[:, x : x + 1] = 0.6
        top = int(_rand(g, 0.1, 0.6) * SIZE)
        label[top : top + int(_rand(g, 10, 80)), x + 2 : x + width - 2] = _rand(g, 0.2, 1)
        x += width
    return tone, label


def _make_windows(g: torch.Generator) -> Weights:
    v, u = _grid()
    columns, rows = int(_rand(g, 3, 6)), int(_rand(g, 3, 5))
    x, y = (u * columns) % 1, (v * rows) % 1
    wide, high = _rand(g, 0.2, 0.4), _rand(g, 0.25, 0.4)
    pane = _edge(wide - (x - 0.5).abs(), 50) * _edge(high - (y - 0.5).abs(), 50)
    bar = _edge(0.03 - (x - 0.5).abs(), 60) * pane
    tone = 0.6 + 0.4 * torch.rand(rows, columns, generator=g)[(v * rows).floor().long(), (u * columns).floor().long()]
    return (pane - bar) * tone, 0.35 * _noise(g, 4, 4) * (1 - pane)


def _make_poster(g: torch.Generator) -> Weights:
    """Return discs and bars on a background with a gradient, for packages, posters and pictures."""
    v, u = _grid()
    first, second = 0.4 * _noise(g, 2, 3), torch.zeros(SIZE, SIZE)
    for _ in range(int(_rand(g, 4, 12))):
        cx, cy, r, angle = _rand(g, 0, 1), _rand(g, 0, 1), _rand(g, 0.04, 0.28), _rand(g, 0, math.pi)
        x, y = u - cx, v - cy
        x, y = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        disc = _edge(r - (x * x + y * y).sqrt())
        bar = _edge(r - x.abs()) * _edge(r * _rand(g, 0.15, 0.8) - y.abs())
        mask = disc if _rand(g, 0, 1) < 0.4 else bar
        a, b = _rand(g, 0, 1), _rand(g, 0, 1)
        first, second = (
            torch.lerp(first, torch.full_like(first, a), mask),
            torch.lerp(second, (1 - a) * b * torch.ones_like(second), mask),
        )
    return first, second


def _make_photo(g: torch.Generator) -> Weights:
    """Return blotches of several sizes with sharp outlines, similar to a photograph or camouflage cloth."""
    field = _noise(g, 3, 6, 0.55)
    return _edge(field - 0.5, 8) * 0.7 + 0.3 * _noise(g, 24, 3), _edge(_noise(g, 5, 5) - 0.6, 12)


def _make_leaves(g: torch.Generator) -> Weights:
    return _noise(g, 24, 4, 0.8) ** 2, _noise(g, 40, 3, 0.8) ** 3


def _make_dots(g: torch.Generator) -> Weights:
    v, u = _grid()
    n, r = int(_rand(g, 5, 14)), _rand(g, 0.2, 0.4)
    return _edge(r - (((u * n) % 1 - 0.5) ** 2 + ((v * n) % 1 - 0.5) ** 2).sqrt(), 12), torch.zeros(SIZE, SIZE)


def _make_clouds(g: torch.Generator) -> Weights:
    return ((_noise(g, 3, 6, 0.55) - 0.45) * 3).clamp(0, 1), torch.zeros(SIZE, SIZE)


_PATTERNS: dict[str, tuple[Callable[[torch.Generator], Weights], int]] = {
    "flat": (_make_flat, 1),
    "noise": (_make_noise, 3),
    "plaster": (_make_plaster, 2),
    "speckle": (_make_speckle, 2),
    "marble": (_make_marble, 2),
    "wood": (_make_wood, 3),
    "planks": (_make_planks, 2),
    "checker": (_make_checker, 2),
    "stripes": (_make_stripes, 3),
    "tiles": (_make_tiles, 2),
    "bricks": (_make_bricks, 2),
    "weave": (_make_weave, 2),
    "text": (_make_text, 3),
    "spines": (_make_spines, 3),
    "windows": (_make_windows, 3),
    "poster": (_make_poster, 6),
    "photo": (_make_photo, 3),
    "leaves": (_make_leaves, 2),
    "dots": (_make_dots, 1),
    "clouds": (_make_clouds, 2),
}
