"""Ours: the core of ``planes`` at half of the resolution, for CPUs, and a stage that refines its answer.

Depth at half of the resolution, brought to full size with the measurements, would still be far better than any
completion, so the resolution is not what is missing. A core at half of it needs a quarter of the arithmetic, and each
of its pixels sees twice as far.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import STEP, NormalisedConvolution, ResidualBlock, stretch, upsample
from .completion_network import CoreInputs, Method
from .planes import Planes, zero_convolution

_FALL, _REACH = 0.4, 7  # of what is unexplained of the measurements
_FOLD = 2
_SURROUNDINGS = 4  # cells
_GAIN, _DISTRUST = 4.0, -4.0  # of what is chosen by; the logit at the start of what is not the unrefined depth


class Lite(Planes):
    """A core for ``HalfResolutionNetwork``. blocks: residual blocks (He et al., CVPR 2016) at each level of the
    encoder. refined: channels of the refinement.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], refined: int):
        super().__init__(channels)
        for stage, width, count in zip(self.encoder, channels, blocks, strict=True):
            assert isinstance(stage, nn.Sequential)
            stage.extend(_block(width) for _ in range(count))
        self.unexplained = NormalisedConvolution(_FALL, _REACH)
        self.refinement = Refinement(channels[0], refined)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """The correction of the prefill, log_b, and the share, 0 to 1, of a measurement, each (N, 1, h, w)."""
        correction, log_b, keep, features = self.without_measurements(inputs)
        with torch.autocast(correction.device.type, enabled=False):
            depth = inputs.prefill + correction
            depth = depth + self.unexplained(inputs.sparse - depth, inputs.measured)
        depth, log_b = self.refinement(inputs, features, depth, log_b)
        return depth - inputs.prefill, log_b, keep


class Refinement(nn.Module):
    """Sharpens edges and corrects fine detail, on features at half of the core's resolution.

    Like the core's last step it chooses between the nearest and the farthest surface around a pixel and what is there.
    inputs: channels of the core's features; channels: of its own.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        # Two halves of one convolution, because int8 would hide the fine relief of depth.
        self.of_image = nn.Conv2d(4 * _FOLD**2, channels, 3, padding=1, bias=False)
        self.of_depth = nn.Conv2d(4 * _FOLD**2, channels, 3, padding=1)
        self.lateral = nn.Conv2d(inputs, channels, 1, bias=False)
        self.block = ResidualBlock(channels, channels)
        self.choice = zero_convolution(channels, 4 * _FOLD**2)

    def forward(self, inputs: CoreInputs, features: Tensor, depth: Tensor, log_b: Tensor) -> tuple[Tensor, Tensor]:
        """features (N, C, h / 4, w / 4); depth in log-depth and log_b, (N, 1, h, w): both refined."""
        surroundings = upsample(F.avg_pool2d(depth, _SURROUNDINGS), _SURROUNDINGS)
        unexplained, filling = inputs.measured * (inputs.sparse - depth), inputs.prefill - depth
        relief = [stretch(difference) for difference in (depth - surroundings, unexplained, filling)]
        image = F.pixel_unshuffle(torch.cat([2 * inputs.image, inputs.measured], dim=1), _FOLD)
        x = self.of_image(image) + self.of_depth(F.pixel_unshuffle(torch.cat([*relief, log_b / 4], dim=1), _FOLD))
        x = self.block(torch.relu(x + upsample(self.lateral(features), 2)))

        side, trust, delta, doubt = (F.pixel_shuffle(x, _FOLD) for x in self.choice(x).float().chunk(4, dim=1))
        far, near = F.max_pool2d(depth, 3, 1, 1), -F.max_pool2d(-depth, 3, 1, 1)
        surface = torch.lerp(near, far, torch.sigmoid(_GAIN * side))
        depth = torch.lerp(depth, surface, torch.sigmoid(_GAIN * trust + _DISTRUST)) + STEP * delta
        return depth, log_b + doubt


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
        "small": {"channels": (32, 64, 128, 256), "blocks": (1, 2, 2, 2), "refined": 24},
        "full": {"channels": (64, 128, 256, 384), "blocks": (1, 2, 3, 3), "refined": 48},
    },
    # What reads relief in fine detail.
    precise=("of_depth", "encoder.1.0", "refinement.of_depth"),
    half_resolution=True,
)
