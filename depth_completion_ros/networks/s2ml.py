"""S2ML: spatio-spectral mutual learning.

Zhao et al., S2ML: Spatio-Spectral Mutual Learning for Depth Completion, arXiv 2511.06033, 2025. Holes change the
spectrum of a depth map: their edges add high frequencies, and the missing surfaces reduce the low frequencies.
Taken from the paper's description (no public code was found): amplitude and phase are fused separately; the low
frequencies of the amplitude are scaled, the high ones are filtered; the depth's phase is blended with the image's phase
in each frequency bin with attention; the result is transformed back to the spatial domain and fused with the depth
features by a Swin-Conv block; this pair of spectral and spatial fusion is repeated, and two pairs are the best
compromise.
Swin-Conv block: Zhang et al., Practical Blind Denoising via Swin-Conv-UNet and Data Synthesis, 2022.
Shifted windows: Liu et al., Swin Transformer, ICCV 2021, section 3.2.

Our choices, and why:
- Spectra are computed from learnt features at a quarter of the resolution: a transform of the image itself costs 60
  times more, and the skip connections keep the detail.
- A smooth radius, learnt for each channel, separates low from high frequencies. Low frequencies are multiplied by a
  learnt scale for each channel, high ones by a gate that is predicted from the log-amplitudes of both spectra:
  amplitudes span many orders of magnitude.
- Phases are represented and blended as unit vectors. The transform consists of matrix products, so every engine runs
  it.
- Each pair has its own weights, and every second pair shifts its windows. Size full reduces the resolution to a quarter
  with residual blocks and has skip connections; size small folds 4x4 blocks.

Shapes at size full: image (3, H, W) and depth (5, H, W) → each (32, H, W), (64, H/2, W/2), (128, H/4, W/4); spectra
(128, H/4, W/8 + 1); pairs on (128, H/4, W/4); decoder with skips of both to (32, H, W); head.
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
_INITIAL_CUTOFF = 0.1  # cycles per pixel, upper limit of low frequencies: half a period is five cells
_TRANSITION_WIDTH = 0.02  # cycles per pixel


class SpectralFusion(nn.Module):
    """Fuse features of depth and image, each (N, C, H, W), to depth features of the same shape; W must be even."""

    def __init__(self, channels: int):
        super().__init__()
        self.cutoff = nn.Parameter(torch.full((channels, 1, 1), _INITIAL_CUTOFF))
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
        """Scale the low frequencies and gate the high frequencies of the amplitude (N, C, H, W/2 + 1)."""
        height, half = amplitude.shape[-2:]
        low = torch.sigmoid((self.cutoff - radius(height, half, amplitude.device)) / _TRANSITION_WIDTH)
        return amplitude * (low * self.low_scale + (1 - low) * torch.sigmoid(self.high_gate(logs)))

    def fuse_phase(self, depth: list[Tensor], image: list[Tensor], logs: Tensor) -> tuple[Tensor, Tensor]:
        """Blend phases (cos, sin) in each frequency bin; the results have unit norm.

        Args:
            depth: cos and sin of the depth's phase, each (N, C, H, W/2 + 1).
            image: cos and sin of the image's phase, each (N, C, H, W/2 + 1).
            logs: Log-amplitudes of both, (N, 2·C, H, W/2 + 1).

        Returns:
            cos and sin of the blended phase, each (N, C, H, W/2 + 1).
        """
        attention = torch.sigmoid(self.attention(torch.cat([*depth, *image, logs], dim=1)).float())
        _, cos, sin = polar(*(torch.lerp(d, i, attention) for d, i in zip(depth, image, strict=True)))
        return cos, sin


class WindowAttention(nn.Module):
    """Self-attention within windows of 8x8, with relative position bias.

    Input and output have the shape (N, H, W, C), where H and W are multiples of 8.

    Args:
        channels: Number of channels C.
        heads: Number of attention heads.
        shift: Whether to shift the windows by half a window.
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
            scores = scores + _shift_mask(height, width, self.shift, x.device)
        tokens = (scores.softmax(dim=-1) @ v).transpose(2, 3).flatten(-2)
        x = departition(self.project(tokens), height, width)
        return torch.roll(x, (self.shift, self.shift), dims=(1, 2)) if self.shift else x


def partition(x: Tensor) -> Tensor:
    """Split (N, H, W, C) into windows (N, H/8·W/8, 64, C)."""
    x = x.unflatten(2, (-1, _WINDOW)).unflatten(1, (-1, _WINDOW))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def departition(tokens: Tensor, height: int, width: int) -> Tensor:
    """Join windows; the inverse of ``partition``."""
    x = tokens.unflatten(2, (_WINDOW, _WINDOW)).unflatten(1, (height // _WINDOW, width // _WINDOW))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _shift_mask(height: int, width: int, shift: int, device: torch.device) -> Tensor:
    """Return -100 for pairs of positions that are neighbours only because the shift wraps around, else 0.

    The shape is (windows, 1, 64, 64).
    """
    rows = (torch.arange(height, device=device) >= height - shift).long()
    columns = (torch.arange(width, device=device) >= width - shift).long()
    region = partition((2 * rows.unsqueeze(1) + columns).view(1, height, width, 1)).squeeze(0).squeeze(-1)
    return -100.0 * (region.unsqueeze(1) != region.unsqueeze(2)).float().unsqueeze(1)


class SwinConv(nn.Module):
    """Residual block: convolutions process half of the channels, window attention the other half."""

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
    """A spectral and a spatial fusion: features of depth and image to depth features, each (N, C, H, W)."""

    def __init__(self, channels: int, heads: int, shift: bool):
        super().__init__()
        self.spectral = SpectralFusion(channels)
        self.merge = nn.Conv2d(2 * channels, channels, 1)
        self.spatial = SwinConv(channels, heads, shift)

    def forward(self, depth: Tensor, image: Tensor) -> Tensor:
        return self.spatial(self.merge(torch.cat([self.spectral(depth, image), depth], dim=1)))


class S2ml(nn.Module):
    """The core: two encoders, pairs of spectral and spatial fusion, and a decoder.

    Args:
        channels: Number of channels of the encoder stages, finest first. The last works at a quarter of the resolution.
        fold: Side of the blocks of pixels that the first stage works on.
        heads: Number of attention heads.
        pairs: Number of pairs of spectral and spatial fusion.
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
    # Measured with random weights on real frames at 96x64: depth is off by 5 % in ONNX Runtime, mostly because of the
    # encoders whose features are transformed. It is off by 38 % to 68 % in OpenVINO, no matter which convolutions near
    # the spectra are in int8.
    no_int8="its spectra amplify rounding errors, and depth would be off by 5 % to 68 %",
    bfloat16=False,  # the spectra are too inaccurate: depth is off by 9 %
)
