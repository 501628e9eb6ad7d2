"""Ours: the core of ``planes`` at half of the resolution, for CPUs.

Depth at half of the resolution, brought to full size along colour and measurements, would still be far better than any
completion, so the resolution is not what is missing. A core at half of it needs a quarter of the arithmetic, and each
of its pixels sees twice as far.
"""

from __future__ import annotations

from torch import Tensor, nn

from .blocks import ResidualBlock
from .completion_network import CoreInputs, Method
from .planes import Planes


class Lite(Planes):
    """A core for ``HalfResolutionNetwork``. blocks: residual blocks (He et al., CVPR 2016) at each level of the
    encoder."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]):
        super().__init__(channels)
        for stage, width, count in zip(self.encoder, channels, blocks, strict=True):
            assert isinstance(stage, nn.Sequential)
            stage.extend(_block(width) for _ in range(count))

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """The correction of the prefill, log_b, and the share, 0 to 1, of a measurement, each (N, 1, h, w)."""
        return self.without_measurements(inputs)


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
        "small": {"channels": (32, 64, 128, 256), "blocks": (0, 1, 1, 1)},
        "full": {"channels": (64, 128, 256, 384), "blocks": (1, 1, 2, 2)},
    },
    precise=("of_depth", "encoder.1.0"),  # what reads relief at 1/4 of the resolution
    half_resolution=True,
)
