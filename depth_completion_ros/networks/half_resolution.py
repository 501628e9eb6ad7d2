"""Networks whose core works at half of the image's resolution, and the step that upsamples the result."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .blocks import NormalisedConvolution, mean_pool, pool_measured, upsample, upsample_nearest
from .completion_network import MAX_LOG_DEPTH, CompletionNetwork, clamp_log_b, log_depth_ratio, relative_sigma

# How measurements correct the depth around them (``NormalisedConvolution``). Chosen on the recorded validation sets,
# like the values in lite.py.
_DECAY, _RADIUS = 0.2, 6


class HalfResolutionNetwork(CompletionNetwork):
    """A network that follows the contract and whose core works at half of the resolution.

    The core takes CoreInputs and returns (correction, log_b, keep), each (N, 1, H / 2, W / 2): the correction of the
    prefill in log-depth, log_b, and the weight, 0 to 1, of a measurement in the result.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.spread = NormalisedConvolution(_DECAY, _RADIUS)

    def forward(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Complete depth, see ``CompletionNetwork.forward``."""
        self.check_size(depth)
        known = (depth > 0).to(depth.dtype)
        half_image = mean_pool(image, 2)
        half_sparse, half_known = log_depth_ratio(pool_measured(depth, known, 2)[0], scale)
        log_depth, log_b, keep, _ = self._complete(half_image - 0.5, half_sparse, half_known)
        completed = upsample(scale * torch.exp(log_depth), 2)
        # The correction is a factor because adding a difference could make depth negative. A factor also avoids
        # logarithms at full resolution.
        completed = completed * (1 + self.spread(depth / completed - 1, known))
        completed = torch.lerp(completed, depth, known * upsample_nearest(keep))
        return completed, completed * upsample_nearest(relative_sigma(log_b, self.sigma_scale))

    def predict_with_prefill(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the result before it is upsampled, see ``CompletionNetwork.predict_with_prefill``.

        Image and depth must have the core's resolution: training uses images of half the size.
        """
        sparse, known = log_depth_ratio(depth, scale)
        log_depth, log_b, _, prefill = self._complete(image - 0.5, sparse, known)
        return scale * torch.exp(log_depth), log_b, scale * torch.exp(prefill)

    def _complete(self, image: Tensor, sparse: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log(depth / scale), log_b, keep and prefill, each (N, 1, h, w), float32."""
        inputs = self.make_core_inputs(image, sparse, known)
        correction, log_b, keep = (x.float() for x in self.core(inputs))
        log_depth = (inputs.prefill + correction).clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH)
        return torch.lerp(log_depth, sparse, known * keep), clamp_log_b(log_b), keep, inputs.prefill
