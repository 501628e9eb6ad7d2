"""Networks whose core works at half of the image's resolution, and the step that brings its answer to full size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .along_colour import doubled
from .blocks import double
from .nearest import NearestFilling
from .shell import MAX_LOG_DEPTH, CompletionNetwork, CoreInputs, clamped_log_b, sigma_of

_FAR = 1e4  # larger than any value


class HalvedNetwork(CompletionNetwork):
    """A core that sees images and depth at half of the resolution, behind the contract.

    The core takes CoreInputs and returns (correction, log_b, keep), each (N, 1, H / 2, W / 2): the correction of the
    start in log-depth, log_b as of ``with_start``, and the logit of how far a measurement stands against the core's
    own answer. Of four measured pixels the core sees the nearest: a mean would lie between the two sides of an edge.
    """

    def __init__(self, core: nn.Module, name: str, size: str):
        super().__init__(core, name, size)
        self.fill_nearest = NearestFilling()

    def forward(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """(depth, sigma) [m], each (N, 1, H, W), finite and positive. Raises ValueError where sizes are no multiples of
        32.
        """
        self.check_size(depth)
        fine = self.normalise(image, depth, scale)
        near = -F.max_pool2d(-fine.sparse - _FAR * (1 - fine.measured), 2)
        measured = F.max_pool2d(fine.measured, 2)
        coarse = CoreInputs(F.avg_pool2d(fine.image, 2), near * measured, measured)
        log_depth, log_b, keep, _ = self._completed(coarse)
        # The sum of the channels shows as many edges, in a third of the time.
        guides = (x.sum(dim=1, keepdim=True) for x in (coarse.image, fine.image))
        dense, _ = doubled(log_depth, *guides)
        dense = torch.lerp(dense, fine.sparse, fine.measured * double(keep))
        completed = scale * torch.exp(dense)
        return completed, sigma_of(completed, double(log_b))

    def with_start(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The answer at the core's own resolution, of which image and depth are, without the last step.

        This is what training works on: images of half the size.
        """
        log_depth, log_b, _, start = self._completed(self.normalise(image, depth, scale))
        return scale * torch.exp(log_depth), log_b, scale * torch.exp(start)

    def normalise(self, image: Tensor, depth: Tensor, scale: Tensor) -> CoreInputs:
        """The contract's inputs in log-depth, holes not filled."""
        known = depth > 0
        sparse = torch.log(torch.where(known, depth / scale, 1.0))
        return CoreInputs(image - 0.5, sparse, known.to(depth.dtype))

    def _completed(self, inputs: CoreInputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(log(depth / scale), log_b, share 0..1 of a measurement in the answer, start), each (N, 1, h, w), float32."""
        # Not in half precision: planes stem from differences of large sums.
        with torch.autocast(inputs.sparse.device.type, enabled=False):
            start, distance = self.fill_nearest(inputs.sparse, inputs.measured)
            planes, _ = self.fill_holes(inputs.sparse, inputs.measured, inputs.image)
        inputs = inputs._replace(prefill=start, distance=distance, planes=planes)
        correction, log_b, keep = (x.float() for x in self.core(inputs))
        log_depth = (start + correction).clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH)
        keep = torch.sigmoid(keep)
        log_depth = torch.lerp(log_depth, inputs.sparse, inputs.measured * keep)
        return log_depth, clamped_log_b(log_b), keep, start
