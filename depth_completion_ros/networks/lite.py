"""Ours: a plain U-Net for CPUs that works at half of the resolution and may change everything.

It starts from a cheap filling of holes (``NearestFilling``) and not from a good one (``HoleFilling``), which is one of
several surfaces that it may choose: what a network adds to a good filling is mostly noise at first, and training closes
the gate instead of learning. Depth at half of the
resolution, repeated, would still be far better than any completion, so the resolution is not what is missing; and what
is learnt on frames of half the size is learnt several times faster.

All layers are plain 3x3 convolutions with batch norm (folded away by every engine) and ReLU, on features folded once
more (pixel-unshuffle, Shi et al., CVPR 2016), so that none works above a quarter of the image's resolution: on CPUs
they run at four times the speed of depthwise and normalised blocks of equal arithmetic.

Edges are a choice: each pixel mixes the start with the nearest and the farthest surface in a small and a large
neighbourhood of it (the two surfaces of SMD-Nets, Tosi et al., CVPR 2021, section 3.2, at two scales) and with planes
fitted along colour, and what is added to that is small. Which side of an edge a pixel belongs to is learnt much earlier
than how far away that side is.

Shapes at the core's resolution (h, w) = (H / 2, W / 2), channels c0..c4: inputs folded (32, h/2, w/2) → c0 → c1 at h/4
→ c2 at h/8 → c3 at h/16 → c4 at h/32, two convolutions each and residual blocks (He et al., CVPR 2016) on the coarsest
→ up again, 1x1, bilinear, added, one convolution each → head (32, h/2, w/2) → shuffle (8, h, w).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import START_LOG_B, ResidualBlock, conv, upsample
from .shell import CoreInputs, Method

_FOLD = 2
_FEATURES = 3 + 5  # image; sparse, measured, start, distance and planes
_KEEP = 1.0  # logit at the start: of a measurement rather than the network's own answer
_CELLS = (2, 8)  # pixels; a neighbourhood is 3x3 cells
_SURFACES = 2 * len(_CELLS) + 1
_START = 3.0  # logit of the start among the surfaces, which begin at 0
_GAIN = 4.0  # multiplies the logits of surfaces, so that training learns to choose early


class Lite(nn.Module):
    """channels: at 1/2, 1/4, 1/8, 1/16 and 1/32 of the core's resolution. blocks: residual blocks at each of them."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]):
        super().__init__()
        pairs = list(pairwise(channels))
        self.stem = conv(_FEATURES * _FOLD**2, channels[0])
        self.encoder = nn.ModuleList(
            nn.Sequential(conv(fine, coarse, stride=2), conv(coarse, coarse), *(_block(coarse) for _ in range(count)))
            for (fine, coarse), count in zip(pairs, blocks[1:], strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(conv(fine, fine) for fine, _ in pairs)
        self.head = nn.Conv2d(channels[0], (3 + _SURFACES) * _FOLD**2, 3, padding=1)
        weight, bias = self.head.parameters()
        nn.init.zeros_(weight)
        with torch.no_grad():
            bias.copy_(torch.tensor([0.0, START_LOG_B, _KEEP, *[0.0] * _SURFACES]).repeat_interleave(_FOLD**2))

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor]:
        depths = inputs.sparse, inputs.measured, inputs.prefill, inputs.distance, inputs.planes - inputs.prefill
        x = torch.cat([inputs.image, *depths], dim=1)
        x = self.stem(F.pixel_unshuffle(x, _FOLD))
        skips = [x]
        for stage in self.encoder:
            skips.append(stage(skips[-1]))
        x = skips.pop()
        for lateral, decode, skip in reversed(list(zip(self.lateral, self.decoder, skips, strict=True))):
            # The 1x1 convolution goes before the resize: the same result at a quarter of the cost. A grid of an odd
            # size was halved to one cell more.
            x = decode(upsample(lateral(x), 2)[..., : skip.shape[-2], : skip.shape[-1]] + skip)
        delta, log_b, keep, logits = F.pixel_shuffle(self.head(x), _FOLD).float().split((1, 1, 1, _SURFACES), dim=1)
        surfaces = torch.cat([*_surfaces(inputs.prefill), inputs.planes], dim=1)
        weights = torch.cat([torch.full_like(delta, _START), _GAIN * logits], dim=1).softmax(dim=1)
        chosen = (weights[:, 1:] * (surfaces - inputs.prefill)).sum(dim=1, keepdim=True)
        return chosen + delta, log_b, keep


def _surfaces(depth: Tensor) -> list[Tensor]:
    """The nearest and the farthest depth in 3x3 cells around each pixel, for each size of cells, (N, 1, h, w) each."""
    surfaces = []
    for cell in _CELLS:
        for sign in (-1, 1):
            farthest = F.max_pool2d(F.max_pool2d(sign * depth, cell), 3, 1, 1)
            surfaces.append(sign * F.interpolate(farthest, scale_factor=float(cell), mode="nearest"))
    return surfaces


def _block(channels: int) -> nn.Module:
    """A residual block that is the identity at the start."""
    block = ResidualBlock(channels, channels)
    scale, _ = block.second[1].parameters()
    nn.init.zeros_(scale)
    return block


METHOD = Method(
    core=Lite,
    paper="ours",
    inputs="image, depth",
    sizes={
        "small": {"channels": (32, 64, 128, 192, 192), "blocks": (0, 0, 0, 1, 1)},
        "full": {"channels": (64, 128, 256, 384, 512), "blocks": (1, 1, 1, 2, 2)},
    },
    halved=True,
)
