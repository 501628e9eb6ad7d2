"""S2ML with other numbers of pairs, and with other ways to handle amplitude and phase."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.s2ml import METHOD as S2ML
from ...networks.s2ml import S2ml, SpectralFusion
from .variant import METHOD, Variant


class Concatenation(nn.Module):
    """Replacement of all pairs: a 1x1 convolution of the features of depth and image, each (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.join = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, depth: Tensor, image: Tensor) -> Tensor:
        return self.join(torch.cat([depth, image], dim=1))


class AmplitudeFusion(SpectralFusion):
    """Spectral fusion that keeps the phase of the depth features."""

    def __init__(self, channels: int):
        super().__init__(channels)
        del self.attention

    def fuse_phase(self, depth: list[Tensor], image: list[Tensor], logs: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = depth
        return cos, sin


class PhaseFusion(SpectralFusion):
    """Spectral fusion that keeps the amplitude of the depth features."""

    def __init__(self, channels: int):
        super().__init__(channels)
        del self.cutoff, self.low_scale, self.high_gate

    def fuse_amplitude(self, amplitude: Tensor, logs: Tensor) -> Tensor:
        return amplitude


class DepthOnly(nn.Module):
    """Replacement of spectral fusion that returns the features of depth."""

    def forward(self, depth: Tensor, image: Tensor) -> Tensor:
        return depth


class ImageOnly(nn.Module):
    """Replacement of spectral fusion that returns the features of the image, which the pair merges with depth."""

    def forward(self, depth: Tensor, image: Tensor) -> Tensor:
        return image


def _without_pairs(core: Any) -> None:
    core.pairs = nn.ModuleList([Concatenation(_channels(core))])


def _with_pairs(core: Any, count: int) -> None:
    """Change the number of pairs; the first pairs keep their weights."""
    more = S2ml(**S2ML.sizes["small"], pairs=count).pairs
    core.pairs = nn.ModuleList([*core.pairs[:count], *more[len(core.pairs) :]])


def _with_fusion(core: Any, kind: Callable[[int], SpectralFusion]) -> None:
    """Replace the spectral fusions; the parts that remain keep their weights."""
    for pair in core.pairs:
        fusion = kind(_channels(core))
        fusion.load_state_dict({name: pair.spectral.state_dict()[name] for name in fusion.state_dict()})
        pair.spectral = fusion


def _without_spectrum(core: Any, kind: Callable[[], nn.Module]) -> None:
    for pair in core.pairs:
        pair.spectral = kind()


def _without_image(core: Any) -> None:
    _without_spectrum(core, DepthOnly)
    # No layer uses its features.
    core.image_encoder = nn.ModuleList(nn.Identity() for _ in core.image_encoder)


def _channels(core: Any) -> int:
    channels: int = core.pairs[0].merge.out_channels
    return channels


VARIANTS = (
    Variant("s2ml", METHOD, "2 pairs; amplitude and phase both fused"),
    Variant("s2ml", "0 pairs", "depth and colour features joined by a 1x1 instead", _without_pairs),
    Variant("s2ml", "1 pair", "of spectral and spatial fusion", partial(_with_pairs, count=1)),
    Variant("s2ml", "3 pairs", "of spectral and spatial fusion", partial(_with_pairs, count=3)),
    Variant(
        "s2ml",
        "amplitude",
        "only the amplitude fused, the depth's phase kept",
        partial(_with_fusion, kind=AmplitudeFusion),
    ),
    Variant(
        "s2ml", "phase", "only the phase fused, the depth's amplitude kept", partial(_with_fusion, kind=PhaseFusion)
    ),
    Variant(
        "s2ml",
        "colour in space",
        "colour features go past the spectrum into the spatial fusion",
        partial(_without_spectrum, kind=ImageOnly),
    ),
    Variant("s2ml", "neither", "spectral fusion an identity; colour then guides the prefill alone", _without_image),
)
