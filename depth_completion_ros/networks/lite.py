"""Our network for CPUs: the core of ``planes`` at half of the resolution, and a stage that refines its result.

Half of the resolution is enough: true depth of that size, resized to full size, is far more accurate than any
completion. A core of that size needs a quarter of the arithmetic, and its receptive field is twice as large.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import CORRECTION_UNIT, NormalisedConvolution, ResidualBlock, softsign, upsample
from .completion_network import CoreInputs, Method
from .planes import Planes, zero_convolution

_DECAY, _RADIUS = 0.4, 7  # how measurements correct the depth around them (``NormalisedConvolution``)
_BLOCK_SIZE = 2
_LOCAL_MEAN_SIZE = 4  # cells
_LOGIT_SCALE = 4.0  # factor of the logits; a large factor makes the predicted shares approach 0 or 1 early in training
_INITIAL_REPLACE_LOGIT = -4.0  # an untrained refinement keeps the depth


class Lite(Planes):
    """A core for ``HalfResolutionNetwork``.

    Args:
        channels: Number of channels at 1/4, 1/8, 1/16 and 1/32 of the core's resolution.
        blocks: Number of residual blocks (He et al., CVPR 2016) at each level of the encoder.
        refined: Number of channels of the refinement.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], refined: int):
        super().__init__(channels)
        for stage, width, count in zip(self.encoder, channels, blocks, strict=True):
            assert isinstance(stage, nn.Sequential)
            stage.extend(_identity_block(width) for _ in range(count))
        self.spread = NormalisedConvolution(_DECAY, _RADIUS)
        self.refinement = Refinement(channels[0], refined)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Return the correction of the prefill, log_b, and the weight of a measurement, 0 to 1, each (N, 1, h, w)."""
        correction, log_b, keep, features = self.predict_before_measurements(inputs)
        with torch.autocast(correction.device.type, enabled=False):
            depth = inputs.prefill + correction
            depth = depth + self.spread(inputs.sparse - depth, inputs.measured)
        depth, log_b = self.refinement(inputs, features, depth, log_b)
        return depth - inputs.prefill, log_b, keep


class Refinement(nn.Module):
    """Sharpen edges and correct fine detail, with features at half of the core's resolution.

    The refined depth of a pixel is a mean of its own depth and the nearest and farthest depth around it, plus a
    correction. The weights of the mean and the correction are predicted.

    Args:
        inputs: Number of channels of the core's features.
        channels: Number of channels of the refinement.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        # One convolution in two parts, because int8 is too coarse for small differences of depth.
        self.of_image = nn.Conv2d(4 * _BLOCK_SIZE**2, channels, 3, padding=1, bias=False)
        self.of_depth = nn.Conv2d(4 * _BLOCK_SIZE**2, channels, 3, padding=1)
        self.lateral = nn.Conv2d(inputs, channels, 1, bias=False)
        self.block = ResidualBlock(channels, channels)
        self.choice = zero_convolution(channels, 4 * _BLOCK_SIZE**2)

    def forward(self, inputs: CoreInputs, features: Tensor, depth: Tensor, log_b: Tensor) -> tuple[Tensor, Tensor]:
        """Refine depth and its uncertainty.

        Args:
            inputs: Inputs of the core, (N, ·, h, w).
            features: Features of the core, (N, C, h / 4, w / 4).
            depth: log(depth / scale), (N, 1, h, w).
            log_b: Logarithm of the Laplace scale of ``depth``, (N, 1, h, w).

        Returns:
            The refined ``depth`` and ``log_b``.
        """
        local_mean = upsample(F.avg_pool2d(depth, _LOCAL_MEAN_SIZE), _LOCAL_MEAN_SIZE)
        residual, change = inputs.measured * (inputs.sparse - depth), inputs.prefill - depth
        differences = [softsign(difference) for difference in (depth - local_mean, residual, change)]
        image = F.pixel_unshuffle(torch.cat([2 * inputs.image, inputs.measured], dim=1), _BLOCK_SIZE)
        relief = F.pixel_unshuffle(torch.cat([*differences, log_b / 4], dim=1), _BLOCK_SIZE)
        x = self.of_image(image) + self.of_depth(relief)
        x = self.block(torch.relu(x + upsample(self.lateral(features), 2)))

        far_logit, replace_logit, delta, delta_log_b = (
            F.pixel_shuffle(x, _BLOCK_SIZE) for x in self.choice(x).float().chunk(4, dim=1)
        )
        far, near = F.max_pool2d(depth, 3, 1, 1), -F.max_pool2d(-depth, 3, 1, 1)
        surface = torch.lerp(near, far, torch.sigmoid(_LOGIT_SCALE * far_logit))
        replace = torch.sigmoid(_LOGIT_SCALE * replace_logit + _INITIAL_REPLACE_LOGIT)
        depth = torch.lerp(depth, surface, replace) + CORRECTION_UNIT * delta
        return depth, log_b + delta_log_b


def _identity_block(channels: int) -> nn.Module:
    """Return a residual block that is the identity before training."""
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
    # The layers whose inputs are small differences of depth.
    precise=("of_depth", "encoder.1.0", "refinement.of_depth"),
    half_resolution=True,
)
