"""What surfaces look like: colours, pattern, gloss and how they answer infrared light, as one row of numbers each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..scene_batch import Material
from .textures import atlas

# Columns of a look (…, WIDTH).
COLOURS = slice(0, 9)  # three linear RGB colours
LAYER = 9  # of the atlas
PERIOD = 10  # metres per repetition of the pattern
COS, SIN = 11, 12  # its direction
SHIFT_U, SHIFT_V = 13, 14  # in periods
GLOSS = 15  # strength of the highlight
SHARPNESS = 16  # its exponent
REFLECTANCE = 17  # of infrared light
MATERIAL = 18
EMISSION = 19  # own light, in units of the colour
WIDTH = 20

LYING = 0.3  # share of surfaces whose pattern has nothing to do with what they are
CAMOUFLAGED = 0.1  # share of objects that look like what they stand on

Span = tuple[float, float]


class Style(NamedTuple):
    """Ranges to draw from. value: of the linear colour. contrast: of the pattern. period: metres, drawn in log."""

    hue: Span
    saturation: Span
    value: Span
    patterns: tuple[str, ...]
    period: Span
    contrast: Span = (0.05, 0.4)
    gloss: Span = (0.0, 0.15)


STYLES = {
    "wall": Style((0, 1), (0.0, 0.2), (0.35, 0.85), ("flat", "flat", "plaster", "noise"), (0.5, 3.0), (0.02, 0.15)),
    "wallpaper": Style((0, 1), (0.0, 0.5), (0.2, 0.8), ("stripes", "tiles", "bricks", "noise", "wood"), (0.4, 1.6)),
    "ceiling": Style((0.1, 0.2), (0.0, 0.06), (0.6, 0.9), ("flat", "plaster", "tiles"), (0.6, 2.4), (0.02, 0.12)),
    "floor": Style(
        (0.04, 0.12), (0.0, 0.6), (0.08, 0.6), ("planks", "planks", "tiles", "speckle", "noise"), (0.5, 2.5),
        (0.1, 0.5), (0.0, 0.4),
    ),
    "rug": Style((0, 1), (0.1, 0.8), (0.05, 0.5), ("weave", "checker", "stripes", "photo", "poster"), (0.2, 1.5), (0.1, 0.9), (0, 0)),
    "wood": Style((0.05, 0.1), (0.3, 0.75), (0.06, 0.6), ("wood", "wood", "planks", "flat"), (0.4, 1.2), (0.1, 0.5), (0.0, 0.3)),
    "board": Style((0.05, 0.15), (0.0, 0.3), (0.3, 0.85), ("flat", "flat", "wood", "plaster"), (0.5, 1.5), (0.05, 0.3), (0.0, 0.35)),
    "plastic": Style((0, 1), (0.0, 0.9), (0.03, 0.85), ("flat", "flat", "poster", "dots"), (0.1, 0.4), (0.0, 0.7), (0.1, 0.5)),
    "neutral": Style((0, 1), (0.0, 0.1), (0.02, 0.8), ("flat", "flat", "plaster"), (0.2, 1.0), (0.0, 0.2), (0.05, 0.5)),
    "black": Style((0, 1), (0.0, 0.2), (0.01, 0.04), ("flat", "plaster"), (0.2, 0.6), (0.0, 0.4), (0.1, 0.5)),
    "metal": Style((0.5, 0.7), (0.0, 0.12), (0.15, 0.6), ("flat",), (0.2, 0.6), (0.0, 0.1), (0.4, 1.0)),
    "fabric": Style((0, 1), (0.0, 0.7), (0.03, 0.6), ("weave", "noise", "flat", "stripes"), (0.1, 0.8), (0.05, 0.4), (0, 0)),
    "package": Style((0, 1), (0.2, 0.95), (0.1, 0.8), ("poster", "poster", "text", "photo", "stripes"), (0.15, 0.5), (0.6, 1.0), (0.0, 0.4)),
    "paper": Style((0.1, 0.6), (0.0, 0.08), (0.7, 0.9), ("text", "text", "flat"), (0.2, 0.3), (0.6, 1.0), (0, 0)),
    "books": Style((0, 1), (0.2, 0.9), (0.05, 0.7), ("spines",), (0.35, 0.6), (0.6, 1.0), (0.0, 0.3)),
    "picture": Style((0, 1), (0.1, 0.9), (0.1, 0.8), ("poster", "photo", "noise", "text"), (0.5, 1.2), (0.5, 1.0), (0.0, 0.3)),
    "plant": Style((0.2, 0.38), (0.4, 0.85), (0.03, 0.3), ("leaves", "flat"), (0.2, 0.8), (0.3, 0.7), (0.0, 0.2)),
    "skin": Style((0.02, 0.07), (0.35, 0.6), (0.15, 0.7), ("flat",), (0.5, 1.0), (0.0, 0.1), (0.0, 0.1)),
    "grass": Style((0.12, 0.3), (0.2, 0.7), (0.05, 0.25), ("leaves", "noise"), (0.6, 4.0), (0.3, 0.7), (0, 0)),
    "asphalt": Style((0, 1), (0.0, 0.1), (0.06, 0.3), ("speckle", "noise", "plaster", "tiles"), (0.8, 5.0), (0.1, 0.4), (0, 0)),
    "facade": Style((0.02, 0.15), (0.0, 0.5), (0.15, 0.75), ("windows", "windows", "bricks", "plaster"), (6.0, 14.0), (0.4, 0.9)),
    "car": Style((0, 1), (0.0, 0.9), (0.02, 0.8), ("flat",), (0.5, 1.0), (0.0, 0.1), (0.4, 1.0)),
    "glass": Style((0.3, 0.6), (0.0, 0.15), (0.02, 0.06), ("flat",), (1.0, 2.0), (0.0, 0.1), (0.6, 1.0)),
}  # fmt: skip


class Painter:
    """Draws looks for N scenes at a time."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        self.count, self.generator, self.device = count, generator, device

    def uniform(self, low: float, high: float, *size: int) -> Tensor:
        """(N, *size) uniform in low..high."""
        unit = torch.rand(self.count, *size, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def normal(self, deviation: float, *size: int) -> Tensor:
        """(N, *size) normal around 0."""
        return deviation * torch.randn(self.count, *size, generator=self.generator, device=self.device)

    def chance(self, probability: float, *size: int) -> Tensor:
        """(N, *size) bool."""
        return self.uniform(0, 1, *size) < probability

    def integer(self, end: int, *size: int) -> Tensor:
        """(N, *size) int64 in 0..end - 1."""
        return (self.uniform(0, end, *size)).long().clamp(max=end - 1)

    def log_uniform(self, low: float, high: float, *size: int) -> Tensor:
        """(N, *size), uniform in the logarithm."""
        return low * (high / low) ** self.uniform(0, 1, *size)

    def look(
        self,
        style: str,
        *size: int,
        like: Tensor | None = None,
        material: Material | None = None,
        emission: float = 0.0,
    ) -> Tensor:
        """(N, *size, WIDTH) looks of a style; a share of them camouflaged as ``like``, of the same shape.

        material: instead of matte with some dark and some shiny.
        """
        s = STYLES[style]
        lying = self.chance(LYING, *size) if material is None else self.chance(0.0, *size)
        base = _rgb(self.uniform(*s.hue, *size), self.uniform(*s.saturation, *size), self.uniform(*s.value, *size))
        contrast = torch.where(lying, self.uniform(0.3, 1.0, *size), self.uniform(*s.contrast, *size))[..., None]
        others = [
            _rgb(self.uniform(0, 1, *size), self.uniform(0, 0.9, *size), self.uniform(0.02, 0.8, *size)) for _ in "12"
        ]
        shade = base * self.log_uniform(0.15, 2.0, *size)[..., None]  # the same hue in a pattern of one material
        own = torch.tensor(s.contrast[1] < 0.6, device=self.device) & ~lying
        second = torch.lerp(base, torch.where(own[..., None], shade, others[0]), contrast)
        third = torch.lerp(base, torch.where(own[..., None], base * 0.4, others[1]), contrast)
        gloss = self.uniform(*s.gloss, *size)
        sharpness = self.log_uniform(4, 60, *size)
        reflectance = (base.mean(-1).sqrt() * self.uniform(0.7, 1.2, *size) + self.uniform(-0.1, 0.25, *size)).clamp(
            0.12, 1
        )
        kind = torch.full(gloss.shape, float(Material.MATTE), device=self.device)
        if material is None:
            dark, shiny = self.chance(0.06, *size), self.chance(0.05, *size)
            if style == "black":
                dark = self.chance(0.8, *size)
            if style in ("metal", "car"):
                shiny = self.chance(0.8, *size)
            shiny &= ~dark
            black = (dark & self.chance(0.8, *size))[..., None]
            base, second, third = (torch.where(black, c.clamp(max=0.05), c) for c in (base, second, third))
            reflectance = torch.where(dark, self.uniform(0.01, 0.08, *size), reflectance)
            gloss = torch.where(shiny, self.uniform(0.5, 1.2, *size), gloss)
            sharpness = torch.where(shiny, self.log_uniform(30, 200, *size), sharpness)
            kind = torch.where(dark, float(Material.DARK), torch.where(shiny, float(Material.SHINY), kind))
        else:
            kind = torch.full_like(kind, float(material))
        period = torch.where(lying, self.log_uniform(0.1, 2.5, *size), self.log_uniform(*s.period, *size))
        if s.period[0] >= 5:
            period = torch.where(lying, period * 5, period)
        angle = torch.where(lying, self.uniform(0, 6.3, *size), self.integer(2, *size) * (torch.pi / 2))
        angle = torch.where(self.chance(0.3, *size), angle, 0) if style in ("facade", "books", "wallpaper") else angle
        columns = [
            base, second, third,
            torch.where(lying, self._layer(_LIES, *size), self._layer(s.patterns, *size))[..., None], period[..., None],
            angle.cos()[..., None], angle.sin()[..., None], self.uniform(0, 1, *size, 2),
            gloss[..., None], sharpness[..., None], reflectance[..., None], kind[..., None],
            torch.full_like(gloss, emission)[..., None],
        ]  # fmt: skip
        look = torch.cat(columns, -1)
        if like is None:
            return look
        return torch.where(self.chance(CAMOUFLAGED, *size)[..., None], like.expand_as(look), look)

    def _layer(self, patterns: tuple[str, ...], *size: int) -> Tensor:
        """A layer of the atlas, of one of the patterns, each as likely."""
        names = atlas(self.device).names
        first = torch.tensor([names[p].start for p in patterns], device=self.device)
        variants = torch.tensor([len(names[p]) for p in patterns], device=self.device)
        pick = self.integer(len(patterns), *size)
        return (
            first[pick] + (self.uniform(0, 1, *size) * variants[pick]).floor().clamp(max=variants[pick] - 1)
        ).float()


_LIES = (
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


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """(…, 3) of hue, saturation and value, each 0..1."""
    offset = torch.tensor((0.0, 4.0, 2.0), device=hue.device)
    wheel = (((6 * hue[..., None] + offset) % 6 - 3).abs() - 1).clamp(0, 1)
    return value[..., None] * (1 - saturation[..., None] * (1 - wheel))
