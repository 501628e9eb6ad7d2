"""S2ML: spatio-spectral mutual learning.

Zhao et al., S2ML: Spatio-Spectral Mutual Learning for Depth Completion, arXiv 2511.06033, 2025. Holes change the
spectrum of a depth map: their edges add high frequencies, the smoothness they take is missing from the low ones.
Taken from the paper's description (no public code was found): amplitude and phase are fused apart; of the amplitude,
low frequencies are rescaled and high ones filtered; the phase takes from the image's phase, bin by bin, under
attention; the result goes back to the spatial domain and is fused with the depth features by a Swin-Conv block; the
pair is applied again and again, two pairs being the best balance.
Swin-Conv block: Zhang et al., Practical Blind Denoising via Swin-Conv-UNet and Data Synthesis, 2022.
Shifted windows: Liu et al., Swin Transformer, ICCV 2021, section 3.2.

Chosen here, and why:
- Spectra are those of learnt features at a quarter of the resolution: a transform of the image itself costs 60 times
  more, and the residual keeps its detail.
- Low and high are parted by a soft radius, learnt for each channel. Low frequencies take a learnt scale for each
  channel, high ones a gate from the log-amplitudes of both spectra: amplitudes span many orders of magnitude.
- Phases are unit vectors and are blended as such. The transform is made of matrix products, so every engine runs it.
- Each pair has weights of its own; every second one shifts its windows. Size full comes down to a quarter of the
  resolution by residual blocks and has skips; size small folds 4x4 blocks.

Shapes at size full: image (3, H, W) and depth (4, H, W) → each (32, H, W), (64, H/2, W/2), (128, H/4, W/4); spectra
(128, H/4, W/8 + 1); pairs on (128, H/4, W/4); back with skips of both to (32, H, W); head.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Head, PixelShuffleUp, ResidualBlock, conv
from .completion_network import DEPTH_CHANNELS, CoreInputs, Method
from .spectrum import irfft2, polar, radius, rfft2

_WINDOW = 8
_CUTOFF = 0.1  # cycles per pixel where low frequencies end at the start of training: holes of five cells and more
_SOFTNESS = 0.02


class SpectralFusion(nn.Module):
    """Features of depth and image, each (N, C, H, W), to depth features of the same shape; W even."""

    def __init__(self, channels: int):
        super().__init__()
        self.cutoff = nn.Parameter(torch.full((channels, 1, 1), _CUTOFF))
        self.low_scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.high_gate = nn.Conv2d(2 * channels, channels, 1)
        self.attention = nn.Conv2d(6 * channels, channels, 1)

    def forward(self, depth: Tensor, image: Tensor) -> Tensor:
        depth_amplitude, *depth_phase = polar(*rfft2(depth))
        image_amplitude, *image_phase = polar(*rfft2(image))
        logs = torch.cat([depth_amplitude, image_amplitude], dim=1).log()
        amplitude = self.fuse_amplitude(depth_amplitude, logs)
        cos, sin = self.fuse_phase(depth_phase, image_phase, logs)
        return irfft2(amplitude * cos, amplitude * sin).to(depth.dtype)

    def fuse_amplitude(self, amplitude: Tensor, logs: Tensor) -> Tensor:
        """Low frequencies rescaled, high ones let through as far as the gate is open."""
        height, half = amplitude.shape[-2:]
        low = torch.sigmoid((self.cutoff - radius(height, half, amplitude.device)) / _SOFTNESS)
        return amplitude * (low * self.low_scale + (1 - low) * torch.sigmoid(self.high_gate(logs)))

    def fuse_phase(self, depth: list[Tensor], image: list[Tensor], logs: Tensor) -> tuple[Tensor, Tensor]:
        """Phases (cos, sin) blended bin by bin; the result has unit norm again."""
        attention = torch.sigmoid(self.attention(torch.cat([*depth, *image, logs], dim=1)).float())
        _, cos, sin = polar(*(torch.lerp(d, i, attention) for d, i in zip(depth, image, strict=True)))
        return cos, sin


class WindowAttention(nn.Module):
    """Self-attention within windows of 8x8, with relative position bias; shift: moves the windows by half a window.

    (N, H, W, C) to the same; H and W are multiples of 8.
    """

    relative_place: Tensor

    def __init__(self, channels: int, heads: int, shift: bool):
        super().__init__()
        self.heads = heads
        self.shift = _WINDOW // 2 if shift else 0
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.project = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.zeros((2 * _WINDOW - 1) ** 2, heads))
        y, x = torch.meshgrid(torch.arange(_WINDOW), torch.arange(_WINDOW), indexing="ij")
        place = torch.stack([y.flatten(), x.flatten()])
        dy, dx = (place[:, :, None] - place[:, None, :]) + _WINDOW - 1
        self.register_buffer("relative_place", dy * (2 * _WINDOW - 1) + dx, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
        tokens = partition(x)  # (N, windows, 64, C)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        scores = scores + self.position_bias[self.relative_place].permute(2, 0, 1)
        if self.shift:
            scores = scores + _foreign(height, width, self.shift, x.device)
        tokens = (scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(-2)
        x = departition(self.project(tokens), height, width)
        return torch.roll(x, (self.shift, self.shift), dims=(1, 2)) if self.shift else x


def partition(x: Tensor) -> Tensor:
    """(N, H, W, C) to windows (N, H/8·W/8, 64, C)."""
    x = x.unflatten(2, (-1, _WINDOW)).unflatten(1, (-1, _WINDOW))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def departition(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of ``partition``."""
    x = tokens.unflatten(2, (_WINDOW, _WINDOW)).unflatten(1, (height // _WINDOW, width // _WINDOW))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _foreign(height: int, width: int, shift: int, device: torch.device) -> Tensor:
    """(windows, 1, 64, 64): 0, or -100 between places that only the wrap-around of the shift brought together."""
    rows = (torch.arange(height, device=device) >= height - shift).long()
    columns = (torch.arange(width, device=device) >= width - shift).long()
    region = partition((2 * rows.unsqueeze(1) + columns).view(1, height, width, 1)).squeeze(0).squeeze(-1)
    return -100.0 * (region.unsqueeze(1) != region.unsqueeze(2)).float().unsqueeze(1)


class SwinConv(nn.Module):
    """Half of the channels through a residual convolution, half through window attention, then joined; residual."""

    def __init__(self, channels: int, heads: int, shift: bool):
        super().__init__()
        half = channels // 2
        self.split = nn.Conv2d(channels, channels, 1)
        self.local = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(half, half, 3, padding=1, bias=False)
        )
        self.norm = nn.LayerNorm(half)
        self.attention = WindowAttention(half, heads, shift)
        self.feed = nn.Sequential(nn.LayerNorm(half), nn.Linear(half, 2 * half), nn.GELU(), nn.Linear(2 * half, half))
        self.join = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        near, far = self.split(x).chunk(2, dim=1)
        near = near + self.local(near)
        far = far.permute(0, 2, 3, 1)
        far = far + self.attention(self.norm(far))
        far = far + self.feed(far)
        return x + self.join(torch.cat([near, far.permute(0, 3, 1, 2)], dim=1))


class Pair(nn.Module):
    """One spectral and one spatial fusion: features of depth and image, (N, C, H, W), to better ones of depth."""

    def __init__(self, channels: int, heads: int, shift: bool):
        super().__init__()
        self.spectral = SpectralFusion(channels)
        self.merge = nn.Conv2d(2 * channels, channels, 1)
        self.spatial = SwinConv(channels, heads, shift)

    def forward(self, depth: Tensor, image: Tensor) -> Tensor:
        return self.spatial(self.merge(torch.cat([self.spectral(depth, image), depth], dim=1)))


class S2ml(nn.Module):
    """channels: of the stages down to a quarter of the resolution, finest first; fold: size of the blocks that the
    first stage works on; heads: of the attention; pairs: of spectral and spatial fusion.
    """

    def __init__(self, channels: tuple[int, ...], fold: int, heads: int, pairs: int = 2):
        super().__init__()
        self.fold = fold
        self.image_encoder = _encoder(3 * fold**2, channels)
        self.depth_encoder = _encoder(DEPTH_CHANNELS * fold**2, channels)
        self.pairs = nn.ModuleList(Pair(channels[-1], heads, shift=i % 2 == 1) for i in range(pairs))
        self.ups = nn.ModuleList(PixelShuffleUp(coarse, fine) for fine, coarse in pairwise(channels))
        self.decoder = nn.ModuleList(conv(3 * fine, fine) for fine in channels[:-1])
        self.head = Head(channels[0], fold)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        image, depth = inputs.image, inputs.depth_features()
        if self.fold > 1:
            image, depth = F.pixel_unshuffle(image, self.fold), F.pixel_unshuffle(depth, self.fold)
        skips = []
        for image_stage, depth_stage in zip(self.image_encoder, self.depth_encoder, strict=True):
            image, depth = image_stage(image), depth_stage(depth)
            skips.append((image, depth))
        for pair in self.pairs:
            depth = pair(depth, image)
        for up, decode, skip in reversed(list(zip(self.ups, self.decoder, skips[:-1], strict=True))):
            depth = decode(torch.cat([up(depth), *skip], dim=1))
        return self.head(depth)


def _encoder(inputs: int, channels: tuple[int, ...]) -> nn.ModuleList:
    first = nn.Sequential(conv(inputs, channels[0]), ResidualBlock(channels[0], channels[0]))
    later = (
        nn.Sequential(ResidualBlock(fine, coarse, stride=2), ResidualBlock(coarse, coarse))
        for fine, coarse in pairwise(channels)
    )
    return nn.ModuleList([first, *later])


METHOD = Method(
    core=S2ml,
    paper="S2ML, arXiv 2511.06033",
    inputs="image, depth",
    sizes={
        "small": {"channels": (48,), "fold": 4, "heads": 2},
        "full": {"channels": (32, 64, 128), "fold": 1, "heads": 4},
    },
    # Measured with random weights on real frames at 96x64: off by 5 % in ONNX Runtime, most of it from the encoders
    # whose features are transformed, and by 38 % to 68 % in OpenVINO, whichever convolutions beside the spectra are in
    # int8.
    no_int8="the spectra that it fuses magnify rounding, its depth would be off by 5 % to 68 %",
    bfloat16=False,  # the spectra are too inaccurate: depth is off by 9 %
)
