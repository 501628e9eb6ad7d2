"""Building blocks that several networks share. All tensors have the shape (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SOFTSIGN_SCALE = 0.05  # log-depth
CORRECTION_UNIT = 0.1  # log-depth per unit of a network's output: the typical size of a correction
_CELL = 8  # pixels
_HALF_WEIGHT = 1e-7  # sum of weights at which a mean is halved
INITIAL_LOG_B = -3.0  # an untrained network states an uncertainty of 5 % of the depth


def pool_measured(value: Tensor, measured: Tensor, window: int, stride: int | None = None) -> tuple[Tensor, Tensor]:
    """Compute the mean of the measured values in each window.

    Args:
        value: Values, 0 where not measured, (N, C, H, W).
        measured: 1 where measured, else 0, (N, 1, H, W).
        window: Side of the windows [pixels].
        stride: Distance between windows [pixels], ``window`` by default. A stride of 1 needs an odd window and keeps
            the size.

    Returns:
        The means, 0 in windows without a measurement; and 1 in windows with a measurement, else 0.
    """
    stride = stride or window
    padding = window // 2 if stride == 1 else 0
    share = mean_pool(measured, window, stride, padding)
    mean = mean_pool(value, window, stride, padding) / share.clamp(min=window**-2)
    return mean, (share > 0).to(share.dtype)


def mean_pool(x: Tensor, window: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Average pooling of few channels.

    CPU engines pad the channels of an image to sixteen, so each channel is pooled as an image of its own. Cells of 2x2
    pixels are averaged by a bilinear resize, which gives the same result in half the time.
    """
    if (window, stride or 2, padding) == (2, 2, 0):
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
    pooled = F.avg_pool2d(x.flatten(0, 1).unsqueeze(1), window, stride, padding)
    return pooled.unflatten(0, x.shape[:2]).squeeze(2)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Resize bilinearly with half-pixel centres."""
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def upsample_nearest(x: Tensor) -> Tensor:
    """Double the height and the width; each value is repeated four times."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, activation: Callable[[], nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Return a convolution followed by batch norm and an activation. The output size is the input size / stride."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), activation()
    )


def softsign(difference: Tensor) -> Tensor:
    """Map a difference of log-depth to a feature in -1..1 that is steep around zero: x / (|x| + 0.05).

    Differences as small as 1 % matter. Short trainings do not learn to use features that are so small.
    """
    return difference / (difference.abs() + _SOFTSIGN_SCALE)


class NormalisedConvolution(nn.Module):
    """Weighted mean of the known values around each pixel, 0 where there are none (Knutsson, Westin, CVPR 1993).

    The width of the images must be a multiple of 8.

    Args:
        decay: Factor of the weight of a value for each pixel of distance along rows and columns. With a small factor,
            the nearest values decide.
        radius: Largest distance along rows and columns with a weight above zero [pixels], at most 8.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, decay: float, radius: int):
        super().__init__()
        # Engines are slow at convolutions of one channel, so eight pixels of a row become the channels of one cell. In
        # the layout that CPU engines prefer, with the channels last, this moves no data in memory.
        cell = torch.arange(_CELL)
        offsets = (_CELL * torch.arange(-1, 2)).view(1, 1, -1) + cell.view(1, -1, 1) - cell.view(-1, 1, 1)
        self.register_buffer("rows", _weights(decay, radius, offsets).unsqueeze(2), persistent=False)
        column = _weights(decay, radius, torch.arange(-radius, radius + 1)).view(1, 1, -1, 1)
        self.register_buffer("columns", column.repeat(_CELL, 1, 1, 1), persistent=False)
        self.radius = radius

    def forward(self, value: Tensor, known: Tensor) -> Tensor:
        """Compute the weighted means.

        Args:
            value: Values, any finite number where unknown, (N, 1, H, W).
            known: 1 where ``value`` is known, else 0, (N, 1, H, W).

        Returns:
            The means, (N, 1, H, W).
        """
        batch, _, height, width = value.shape
        cells = torch.cat([value * known, known]).view(2 * batch, height, width // _CELL, _CELL).permute(0, 3, 1, 2)
        sums = F.conv2d(cells, self.rows, padding=(0, 1))
        sums = F.conv2d(sums, self.columns, padding=(self.radius, 0), groups=_CELL)
        total, weight = sums.permute(0, 2, 3, 1).reshape(2 * batch, 1, height, width).chunk(2)
        return total / (weight + _HALF_WEIGHT)


def _weights(decay: float, radius: int, offsets: Tensor) -> Tensor:
    """Return the weights of values at these offsets [pixels]."""
    distance = offsets.abs()
    return torch.where(distance <= radius, decay**distance, 0.0)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with an identity shortcut, or with a 1x1 projection where the shape changes.

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
    """3x3 convolution and pixel shuffle: (N, inputs, H, W) to (N, outputs, factor·H, factor·W).

    Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, CVPR 2016, eq. 4.
    """

    def __init__(self, inputs: int, outputs: int, factor: int = 2):
        super().__init__(nn.Conv2d(inputs, outputs * factor**2, 3, padding=1), nn.PixelShuffle(factor))


class Head(nn.Module):
    """Output layer of the cores: features (N, C, H/factor, W/factor) to (correction, log_b), each (N, 1, H, W).

    correction = sigmoid(gate)·Δ/10. A gate near 0 keeps the prefill, and a gate near 1 applies the predicted change Δ.
    Δ starts at zero, so an untrained network returns the prefill.

    Args:
        channels: Number of input channels.
        factor: Ratio of the output's resolution to the input's.
        bound: Function that limits Δ.
    """

    def __init__(self, channels: int, factor: int = 1, bound: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        self.expand = PixelShuffleUp(channels, 3, factor)
        self.bound = bound
        # Each output of the pixel shuffle (Δ, gate, log_b) comes from factor² consecutive channels.
        weight, bias = self.expand[0].parameters()
        with torch.no_grad():
            weight[: factor**2] = 0
            bias[: factor**2] = 0
            bias[2 * factor**2 :] = INITIAL_LOG_B

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        convolution, shuffle = self.expand
        # Split before the shuffle: at the low resolution each channel is one contiguous block of memory.
        delta, gate, log_b = convolution(x).chunk(3, dim=1)
        delta = CORRECTION_UNIT * delta
        if self.bound is not None:
            delta = self.bound(delta)
        return shuffle(torch.sigmoid(gate) * delta), shuffle(log_b)


class PlainUNet(nn.Module):
    """U-Net of plain convolutions down to 1/8 of the input's size: (N, inputs, H, W) to (N, channels[0], H, W).

    The decoder adds skip connections instead of concatenating them, which halves its cost.

    Args:
        inputs: Number of input channels.
        channels: Number of channels at 1, 1/2, 1/4 and 1/8 of the input's size.
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
            # The 1x1 convolution comes before the resize, which gives the same result at a quarter of the cost.
            x = decode(upsample(lateral(x), 2) + skip)
        return x
