"""Building blocks that several networks share. Shapes are (N, C, H, W) throughout."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALL = 0.05  # log-depth
STEP = 0.1  # log-depth that an output of 1 stands for: about the size of what there is to correct
_CELL = 8  # pixels
_LEAST_WEIGHT = 1e-7  # sum of weights at which a mean fades to a half
START_LOG_B = -3.0  # an untrained network is unsure by 5 % of depth


def pool_measured(value: Tensor, measured: Tensor, window: int, stride: int | None = None) -> tuple[Tensor, Tensor]:
    """Mean of the measured values in each window, 0 where there is none, and whether there is one (0 or 1).

    value (N, C, H, W), 0 where not measured; measured (N, 1, H, W), 0 or 1. stride: default window; 1 needs an odd
    window and keeps the size.
    """
    stride = stride or window
    padding = window // 2 if stride == 1 else 0
    share = mean_pool(measured, window, stride, padding)
    mean = mean_pool(value, window, stride, padding) / share.clamp(min=window**-2)
    return mean, (share > 0).to(share.dtype)


def mean_pool(x: Tensor, window: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Average pooling of few channels, which CPU engines would pad to sixteen: of each as an image of its own.

    Cells of 2x2 pixels are averaged by a bilinear resize, which gives the same in half the time.
    """
    if (window, stride or 2, padding) == (2, 2, 0):
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    pooled = F.avg_pool2d(x.flatten(0, 1).unsqueeze(1), window, stride, padding)
    return pooled.unflatten(0, x.shape[:2]).squeeze(2)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear, half-pixel centres."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def double(x: Tensor) -> Tensor:
    """Twice the height and width, each value repeated four times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Convolution, batch norm, activation; output size is input size / stride."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), activation()
    )


def stretch(difference: Tensor) -> Tensor:
    """A difference of log-depth as a feature, -1..1, steep around zero: x / (|x| + 0.05).

    Differences matter down to 1 %, and a training that is short never finds features so small.
    """
    return difference / (difference.abs() + _SMALL)


class NormalisedConvolution(nn.Module):
    """The weighted mean of the known values around each pixel, 0 where there are none (Knutsson, Westin, CVPR 1993).

    The weight of a value falls to the share ``fall`` with each pixel of distance along rows and columns, so that the
    nearest values decide, and is zero beyond ``reach`` pixels, at most 8. The width must be a multiple of 8.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, fall: float, reach: int):
        super().__init__()
        # Engines are slow at convolutions of one channel, so eight pixels of a row become the channels of one cell. In
        # the layout that CPU engines prefer, with the channels last, that moves nothing in memory.
        cell = torch.arange(_CELL)
        offsets = (_CELL * torch.arange(-1, 2)).view(1, 1, -1) + cell.view(1, -1, 1) - cell.view(-1, 1, 1)
        self.register_buffer("rows", _weights(fall, reach, offsets).unsqueeze(2), persistent=False)
        column = _weights(fall, reach, torch.arange(-reach, reach + 1)).view(1, 1, -1, 1)
        self.register_buffer("columns", column.repeat(_CELL, 1, 1, 1), persistent=False)
        self.reach = reach

    def forward(self, value: Tensor, known: Tensor) -> Tensor:
        """value, anything finite where unknown, and known, 0 or 1, (N, 1, H, W): the same shape."""
        batch, _, height, width = value.shape
        cells = torch.cat([value * known, known]).view(2 * batch, height, width // _CELL, _CELL).permute(0, 3, 1, 2)
        sums = F.conv2d(cells, self.rows, padding=(0, 1))
        sums = F.conv2d(sums, self.columns, padding=(self.reach, 0), groups=_CELL)
        total, weight = sums.permute(0, 2, 3, 1).reshape(2 * batch, 1, height, width).chunk(2)
        return total / (weight + _LEAST_WEIGHT)


def _weights(fall: float, reach: int, offsets: Tensor) -> Tensor:
    """The weights of values at these offsets [pixels]."""
    distance = offsets.abs()
    return torch.where(distance <= reach, fall**distance, 0.0)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity, or around a 1x1 projection where the shape changes.

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 3.3, option B.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, activation: Callable[[], nn.Module] = nn.ReLU):
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride, activation)
        self.second = conv(outputs, outputs, activation=nn.Identity)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride, nn.Identity)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.first(x)) + self.shortcut(x))


class PixelShuffleUp(nn.Sequential):
    """3x3 convolution and sub-pixel rearrangement: (N, inputs, H, W) to (N, outputs, factor·H, factor·W).

    Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, CVPR 2016, eq. 4.
    """

    def __init__(self, inputs: int, outputs: int, factor: int = 2):
        super().__init__(nn.Conv2d(inputs, outputs * factor**2, 3, padding=1), nn.PixelShuffle(factor))


class Head(nn.Module):
    """The last layer of every core: features (N, C, H/factor, W/factor) to (correction, log_b), each (N, 1, H, W).

    correction = sigmoid(gate)·Δ/10. A gate of 0 keeps what is measured, 1 takes the network's word. Δ starts at zero:
    an untrained network returns the prefill. bound: applied to Δ.
    """

    def __init__(self, channels: int, factor: int = 1, bound: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self.expand = PixelShuffleUp(channels, 3, factor)
        self.bound = bound
        # Each output of the pixel shuffle stems from factor² neighbouring channels: Δ, gate, log_b.
        weight, bias = self.expand[0].parameters()
        with torch.no_grad():
            weight[: factor**2] = 0
            bias[: factor**2] = 0
            bias[2 * factor**2 :] = START_LOG_B

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        convolution, shuffle = self.expand
        # Split at the low resolution, where the channels are whole blocks of memory, rather than behind the shuffle.
        delta, gate, log_b = convolution(x).chunk(3, dim=1)
        delta = STEP * delta
        if self.bound is not None:
            delta = self.bound(delta)
        return shuffle(torch.sigmoid(gate) * delta), shuffle(log_b)


class PlainUNet(nn.Module):
    """Convolutions down to 1/8 of the input's size and back: (N, inputs, H, W) to (N, channels[0], H, W).

    channels: at 1, 1/2, 1/4 and 1/8. The decoder adds skips rather than concatenating them, which halves its cost.
    """

    def __init__(self, inputs: int, channels: tuple[int, ...]):
        super().__init__()
        pairs = list(pairwise(channels))
        self.encoder = nn.ModuleList([nn.Sequential(conv(inputs, channels[0]), conv(channels[0], channels[0]))])
        self.encoder.extend(nn.Sequential(conv(fine, coarse, stride=2), conv(coarse, coarse)) for fine, coarse in pairs)
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(conv(fine, fine) for fine, _ in pairs)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        for lateral, decode, skip in reversed(list(zip(self.lateral, self.decoder, skips[:-1], strict=True))):
            # The 1x1 convolution goes before the resize: the same result at a quarter of the cost.
            x = decode(upsample(lateral(x), 2) + skip)
        return x
