"""Networks whose core computes at half of the image's resolution, and the step that enlarges the result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .blocks import NormalisedConvolution, double, mean_pool, pool_measured, upsample
from .completion_network import MAX_LOG_DEPTH, CompletionNetwork, clamped_log_b, logarithm, relative_sigma

# How far a measurement corrects the answer around it (``NormalisedConvolution``). Chosen on the recorded sets for
# validation, like the values in lite.py.
_FALL, _REACH = 0.2, 6


class HalfResolutionNetwork(CompletionNetwork):
    """A core that sees images and depth at half of the resolution, behind the contract.

    The core takes CoreInputs and returns (correction, log_b, keep), each (N, 1, H / 2, W / 2): the correction of the
    prefill in log-depth, log_b as of ``with_start``, and the share, 0 to 1, of a measurement in the answer.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.spread = NormalisedConvolution(_FALL, _REACH)

    def forward(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """(depth, sigma) [m], each (N, 1, H, W), finite and positive. Raises ValueError where sizes are no multiples of
        32.
        """
        self.check_size(depth)
        known = (depth > 0).to(depth.dtype)
        half_image = mean_pool(image, 2)
        half_sparse, half_known = logarithm(pool_measured(depth, known, 2)[0], scale)
        log_depth, log_b, keep, _ = self._completed(half_image - 0.5, half_sparse, half_known)
        completed = upsample(scale * torch.exp(log_depth), 2)
        # As a ratio, because a sum of differences could fall below zero; and no logarithm is taken at full size.
        completed = completed * (1 + self.spread(depth / completed - 1, known))
        completed = torch.lerp(completed, depth, known * double(keep))
        return completed, completed * double(relative_sigma(log_b))

    def with_start(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The answer at the core's own resolution, of which image and depth are, without the last step.

        This is what training works on: images of half the size.
        """
        sparse, known = logarithm(depth, scale)
        log_depth, log_b, _, start = self._completed(image - 0.5, sparse, known)
        return scale * torch.exp(log_depth), log_b, scale * torch.exp(start)

    def _completed(self, image: Tensor, sparse: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log(depth / scale), log_b, keep and prefill, each (N, 1, h, w), float32."""
        inputs = self.filled(image, sparse, known)
        correction, log_b, keep = (x.float() for x in self.core(inputs))
        log_depth = (inputs.prefill + correction).clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH)
        return torch.lerp(log_depth, sparse, known * keep), clamped_log_b(log_b), keep, inputs.prefill
