"""Our network for CPUs: the core of ``planes`` at half of the resolution, and a stage that refines its result.

Half of the resolution is enough: exact depth of that size, resized to full size, is far better than any completion.
A core of that size needs a quarter of the arithmetic, and its receptive field is twice as large.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import STEP, NormalisedConvolution, ResidualBlock, stretch, upsample
from .completion_network import CoreInputs, Method
from .planes import Planes, zero_convolution

_FALL, _REACH = 0.4, 7  # how far a measurement corrects the depth around it (``NormalisedConvolution``)
_FOLD = 2
_SURROUNDINGS = 4  # cells
_GAIN = 4.0  # factor of the logits, so that choices are made early in training
_DISTRUST = -4.0  # logit of the refined depth at the start, so that the depth first stays as it is


class Lite(Planes):
    """A core for ``HalfResolutionNetwork``. blocks: residual blocks (He et al., CVPR 2016) at each level of the
    encoder. refined: channels of the refinement.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], refined: int):
        super().__init__(channels)
        for stage, width, count in zip(self.encoder, channels, blocks, strict=True):
            assert isinstance(stage, nn.Sequential)
            stage.extend(_block(width) for _ in range(count))
        self.spread = NormalisedConvolution(_FALL, _REACH)
        self.refinement = Refinement(channels[0], refined)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """The correction of the prefill, log_b, and the share, 0 to 1, of a measurement, each (N, 1, h, w)."""
        correction, log_b, keep, features = self.without_measurements(inputs)
        with torch.autocast(correction.device.type, enabled=False):
            depth = inputs.prefill + correction
            depth = depth + self.spread(inputs.sparse - depth, inputs.measured)
        depth, log_b = self.refinement(inputs, features, depth, log_b)
        return depth - inputs.prefill, log_b, keep


class Refinement(nn.Module):
    """Sharpens edges and corrects fine detail, with features at half of the core's resolution.

    Each pixel chooses between its own depth and the nearest and the farthest depth around it, and adds a correction.

    Args:
        inputs: Channels of the core's features.
        channels: Channels of the refinement.
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
        """Refine depth and its uncertainty.

        Args:
            inputs: What the core sees, (N, ·, h, w).
            features: Features of the core, (N, C, h / 4, w / 4).
            depth: log(depth / scale), (N, 1, h, w).
            log_b: Logarithm of the Laplace scale of ``depth``, (N, 1, h, w).

        Returns:
            The refined ``depth`` and ``log_b``.
        """
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
