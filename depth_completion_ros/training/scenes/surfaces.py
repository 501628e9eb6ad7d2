"""The appearance ("look") of surfaces: colours, pattern, gloss and infrared reflectance as a row of numbers."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..scene_batch import Material
from .textures import atlas

# Columns of a look (…, WIDTH).
COLOURS = slice(0, 9)  # three linear RGB colours
LAYER = 9  # layer of the atlas
PERIOD = 10  # size of the pattern [m]
COS, SIN = 11, 12  # direction of the pattern
SHIFT_U, SHIFT_V = 13, 14  # offset of the pattern in periods
GLOSS = 15  # strength of the highlight
SHARPNESS = 16  # exponent of the highlight
REFLECTANCE = 17  # for infrared light
MATERIAL = 18
EMISSION = 19  # emitted light, in units of the colour
CASTS = 20  # whether the surface casts shadows
WIDTH = 21

FOREIGN_PATTERNS = (
    "checker",
    "stripes",
    "poster",
    "poster",
    "photo",
    "photo",
    "text",
    "tiles",
    "marble",
    "dots",
    "noise",
    "spines",
)

FOREIGN_SHARE = 0.3  # share of surfaces with a pattern that does not belong to their style
CAMOUFLAGED = 0.1  # share of objects with the colours of the surface on which they stand

Span = tuple[float, float]


class Style(NamedTuple):
    """Ranges of random values.

    Attributes:
        hue: Hue, 0..1.
        saturation: Saturation, 0..1.
        value: Brightness of the linear colour, 0..1.
        patterns: Names of patterns.
        period: Size of the pattern [m], log-uniform.
        contrast: Contrast of the pattern, 0..1.
        gloss: Strength of the highlight.
        dark: Share of surfaces that are dark in infrared light.
        shiny: Share of surfaces that are shiny.
        upright: Whether the pattern must not be rotated.
    """

    hue: Span
    saturation: Span
    value: Span
    patterns: tuple[str, ...]
    period: Span
    contrast: Span = (0.05, 0.4)
    gloss: Span = (0.0, 0.15)
    dark: float = 0.06
    shiny: float = 0.05
    upright: bool = False


STYLES = {
    "wall": Style((0, 1), (0.0, 0.2), (0.35, 0.85), ("flat", "flat", "plaster", "noise"), (0.5, 3.0), (0.02, 0.15)),
    "wallpaper": Style((0, 1), (0.0, 0.5), (0.2, 0.8), ("stripes", "tiles", "bricks", "noise", "wood"), (0.4, 1.6),
        upright=True),
    "ceiling": Style((0.1, 0.2), (0.0, 0.06), (0.6, 0.9), ("flat", "plaster", "tiles"), (0.6, 2.4), (0.02, 0.12)),
    "floor": Style(
        (0.04, 0.12), (0.0, 0.6), (0.08, 0.6), ("planks", "planks", "tiles", "speckle", "noise"), (0.5, 2.5),
        (0.1, 0.5), (0.0, 0.4),
    ),
    "rug": Style((0, 1), (0.1, 0.8), (0.05, 0.5), ("weave", "checker", "stripes", "photo", "poster"), (0.2, 1.5),
        (0.1, 0.9), (0, 0)),
    "wood": Style((0.05, 0.1), (0.3, 0.75), (0.06, 0.6), ("wood", "wood", "planks", "flat"), (0.4, 1.2), (0.1, 0.5),
        (0.0, 0.3)),
    "board": Style((0.05, 0.15), (0.0, 0.3), (0.3, 0.85), ("flat", "flat", "wood", "plaster"), (0.5, 1.5), (0.05,
        0.3), (0.0, 0.35)),
    "plastic": Style((0, 1), (0.0, 0.9), (0.03, 0.85), ("flat", "flat", "poster", "dots"), (0.1, 0.4), (0.0, 0.7),
        (0.1, 0.5)),
    "neutral": Style((0, 1), (0.0, 0.1), (0.02, 0.8), ("flat", "flat", "plaster"), (0.2, 1.0), (0.0, 0.2), (0.05, 0.5)),
    "black": Style((0, 1), (0.0, 0.2), (0.01, 0.04), ("flat", "plaster"), (0.2, 0.6), (0.0, 0.4), (0.1, 0.5), dark=0.8),
    "metal": Style((0.5, 0.7), (0.0, 0.12), (0.15, 0.6), ("flat",), (0.2, 0.6), (0.0, 0.1), (0.4, 1.0), shiny=0.8),
    "fabric": Style((0, 1), (0.0, 0.7), (0.03, 0.6), ("weave", "noise", "flat", "stripes"), (0.1, 0.8), (0.05, 0.4),
        (0, 0)),
    "package": Style((0, 1), (0.2, 0.95), (0.1, 0.8), ("poster", "poster", "text", "photo", "stripes"), (0.15, 0.5),
        (0.6, 1.0), (0.0, 0.4)),
    "paper": Style((0.1, 0.6), (0.0, 0.08), (0.7, 0.9), ("text", "text", "flat"), (0.2, 0.3), (0.6, 1.0), (0, 0)),
    "books": Style((0, 1), (0.2, 0.9), (0.05, 0.7), ("spines",), (0.35, 0.6), (0.6, 1.0), (0.0, 0.3), upright=True),
    "picture": Style((0, 1), (0.1, 0.9), (0.1, 0.8), ("poster", "photo", "noise", "text"), (0.5, 1.2), (0.5, 1.0),
        (0.0, 0.3)),
    "plant": Style((0.2, 0.38), (0.4, 0.85), (0.03, 0.3), ("leaves", "flat"), (0.2, 0.8), (0.3, 0.7), (0.0, 0.2)),
    "skin": Style((0.02, 0.07), (0.35, 0.6), (0.15, 0.7), ("flat",), (0.5, 1.0), (0.0, 0.1), (0.0, 0.1)),
    "grass": Style((0.12, 0.3), (0.2, 0.7), (0.05, 0.25), ("leaves", "noise"), (0.6, 4.0), (0.3, 0.7), (0, 0)),
    "asphalt": Style((0, 1), (0.0, 0.1), (0.06, 0.3), ("speckle", "noise", "plaster", "tiles"), (0.8, 5.0), (0.1,
        0.4), (0, 0)),
    "facade": Style((0.02, 0.15), (0.0, 0.5), (0.15, 0.75), ("windows", "windows", "bricks", "plaster"), (6.0, 14.0),
        (0.4, 0.9), upright=True),
    "car": Style((0, 1), (0.0, 0.9), (0.02, 0.8), ("flat",), (0.5, 1.0), (0.0, 0.1), (0.4, 1.0), shiny=0.8),
    "glass": Style((0.3, 0.6), (0.0, 0.15), (0.02, 0.06), ("flat",), (1.0, 2.0), (0.0, 0.1), (0.6, 1.0)),
}  # fmt: skip


class Painter:
    """Draws random numbers and random looks of surfaces for N scenes."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        self.count, self.generator, self.device = count, generator, device

    def uniform(self, low: float, high: float, *size: int) -> Tensor:
        """Draw numbers (N, *size), uniform in low..high."""
        unit = torch.rand(self.count, *size, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def normal(self, deviation: float, *size: int) -> Tensor:
        """Draw normal numbers (N, *size) with mean 0."""
        return deviation * torch.randn(self.count, *size, generator=self.generator, device=self.device)

    def chance(self, probability: float, *size: int) -> Tensor:
        """Draw booleans (N, *size)."""
        return self.uniform(0, 1, *size) < probability

    def integer(self, end: int, *size: int) -> Tensor:
        """Draw integers (N, *size) int64 in 0..end - 1."""
        return (self.uniform(0, end, *size)).long().clamp(max=end - 1)

    def log_uniform(self, low: float, high: float, *size: int) -> Tensor:
        """Draw numbers (N, *size), uniform in the logarithm."""
        return low * (high / low) ** self.uniform(0, 1, *size)

    def look(
        self,
        style: str,
        *size: int,
        like: Tensor | None = None,
        material: Material | None = None,
        emission: float = 0.0,
        casts: bool = True,
    ) -> Tensor:
        """Draw looks of a style, (N, *size, WIDTH).

        Args:
            style: Name of the style.
            size: Number of looks for each scene.
            like: Looks of the same shape, whose colours a share of the result gets; None = no such share.
            material: Material of all looks; None = matte, with some dark and some shiny looks.
            emission: Emitted light, in units of the colour.
            casts: Whether the surfaces cast shadows.
        """
        s, free = STYLES[style], material is None
        low, step = _ranges(style, self.device)
        draws = torch.rand(len(low), self.count, *size, generator=self.generator, device=self.device).flatten(1)
        draws[:3] = draws[:3].square()  # vivid colours are rare
        linear, logarithms = torch.addcmul(low, step, draws).split((len(low) - _LOGARITHMS, _LOGARITHMS))
        base, *others = _rgb(linear[3:6], linear[:3], linear[6:9]).unbind()
        (
            strange, contrast, bright, brighter, glossy, gloss, darkness, angle, quarter, shift_u, shift_v,
            foreign, dark, shiny, black, pattern, variant, same,
        ) = linear[9:].unbind()  # fmt: skip
        shade, wide, period, sharp, blunt = logarithms.exp().unbind()

        foreign = foreign < (FOREIGN_SHARE if free else 0)
        contrast = torch.where(foreign, strange, contrast)[:, None]
        plain = (~foreign & (s.contrast[1] < 0.6))[:, None]  # shades of one colour
        second = torch.lerp(base, torch.where(plain, base * shade[:, None], others[0]), contrast)
        third = torch.lerp(base, torch.where(plain, base * 0.4, others[1]), contrast)
        if material is None:
            kind = torch.where(shiny < s.shiny, float(Material.SHINY), float(Material.MATTE))
            kind = torch.where(dark < s.dark, float(Material.DARK), kind)
        else:
            kind = torch.full_like(dark, float(material))
        dark, shiny = kind == Material.DARK, kind == Material.SHINY
        colours = torch.cat([base, second, third], -1)
        black = (dark & (black < 0.8))[:, None]  # some surfaces are dark in infrared only
        colours = torch.where(black, colours.clamp(max=0.05), colours)
        bright = (colours[:, :3].mean(-1).sqrt() * bright + brighter).clamp(0.12, 1)
        angle = torch.where(foreign, angle, quarter.floor() * (torch.pi / 2))
        first, many = _layers(s.patterns, self.device)
        pick = torch.where(foreign, len(s.patterns) + pattern * len(FOREIGN_PATTERNS), pattern * len(s.patterns)).long()
        numbers = [
            first[pick] + (variant * many[pick]).floor(), torch.where(foreign, wide, period), angle.cos(), angle.sin(),
            shift_u, shift_v, torch.where(shiny, glossy, gloss), torch.where(shiny, sharp, blunt),
            torch.where(dark, darkness, bright), kind, torch.full_like(kind, emission),
            torch.full_like(kind, float(casts)),
        ]  # fmt: skip
        look = torch.cat([colours, torch.stack(numbers, -1)], -1).view(self.count, *size, WIDTH)
        if like is not None:
            same = (same < CAMOUFLAGED).view(self.count, *size, 1)
            look[..., :GLOSS] = torch.where(same, like[..., :GLOSS], look[..., :GLOSS])
        return look


_LOGARITHMS = 5


@cache
def _ranges(style: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return lower ends and widths (K, 1) of the ranges in ``Painter.look``, the last _LOGARITHMS as logarithms."""
    s, unit = STYLES[style], (0.0, 1.0)
    linear = [
        s.saturation, (0.0, 0.9), (0.0, 0.9), s.hue, unit, unit, s.value, (0.02, 0.8), (0.02, 0.8),
        (0.3, 1.0), s.contrast, (0.7, 1.2), (-0.1, 0.25), (0.5, 1.2), s.gloss, (0.01, 0.08),
        (0.0, 2 * torch.pi), (0.0, 0.0 if s.upright else 2.0), *[unit] * 9,
    ]  # fmt: skip
    far = max(1.0, s.period[0])
    logarithms = torch.tensor(((0.15, 2.0), (0.1 * far, 2.5 * far), s.period, (30.0, 200.0), (4.0, 60.0))).log()
    low, high = torch.cat([torch.tensor(linear), logarithms]).to(device).unsqueeze(-1).unbind(1)
    return low, high - low


@cache
def _layers(patterns: tuple[str, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return first layer and number of layers in the atlas for the patterns, then for FOREIGN_PATTERNS, as floats."""
    spans = [atlas(device).names[name] for name in (*patterns, *FOREIGN_PATTERNS)]
    first, many = torch.tensor([(span.start, len(span)) for span in spans], device=device).float().unbind(1)
    return first, many


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Convert hue, saturation and value, each 0..1, to linear RGB (…, 3)."""
    offset = torch.tensor((0.0, 4.0, 2.0), device=hue.device)
    wheel = (((6 * hue[..., None] + offset) % 6 - 3).abs() - 1).clamp(0, 1)
    return value[..., None] * (1 - saturation[..., None] * (1 - wheel))
