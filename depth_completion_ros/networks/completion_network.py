"""The parts that all completion networks share: contract, normalisation, hole filling and composition of the result.

Inputs are image (N, 3, H, W) 0..1; depth (N, 1, H, W) metres, 0 = missing; scale (N, 1, 1, 1) metres, the median of the
measured depth. Outputs are depth (N, 1, H, W) metres and its standard deviation sigma (N, 1, H, W) metres.
H and W are multiples of 32. Networks work with log(depth / scale), so k·depth with k·scale gives k·result.

A network consists of a core, which differs between the methods, and of hole filling before the core. The core predicts
a correction of the prefill, which is the depth with filled holes, and log_b, the logarithm of the Laplace scale of
log-depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contract import MULTIPLE
from .blocks import INITIAL_LOG_B, conv, pool_measured, softsign, upsample
from .hole_filling import HoleFilling

DEPTH_CHANNELS = 5
INPUT_CHANNELS = 3 + DEPTH_CHANNELS

_LOCAL_MEAN_SIZE = 4  # pixels
MAX_LOG_DEPTH = 7.0  # limits depth to scale times or divided by 1000, so that exp is finite in float16 too
_MAX_LOG_B = 4.0
_MIN_LOG_B = -9.0
_LOG_SQRT_2 = math.log(2) / 2
_BLOCK_SIZE, _CHOICE_WIDTH = 2, 32
_INITIAL_BLEND_LOGIT = -1.0  # prefers the base network's result


class CoreInputs(NamedTuple):
    """Inputs of a core, all float32. Depth is given as log(depth / scale).

    Attributes:
        image: Colour image, shifted to about -0.5..0.5, (N, 3, H, W).
        sparse: Measured depth, 0 where missing, (N, 1, H, W).
        measured: 1 where depth is measured, else 0, (N, 1, H, W).
        prefill: ``sparse`` with its holes filled, or the result of a base network, (N, 1, H, W).
        distance: Distance to the measurements, 0..4, (N, 1, H / 8, W / 8), see ``HoleFilling``.
    """

    image: Tensor
    sparse: Tensor
    measured: Tensor
    prefill: Tensor = None  # type: ignore[assignment]
    distance: Tensor = None  # type: ignore[assignment]

    def depth_features(self) -> Tensor:
        """Return all depth inputs, and their differences from the local mean, as (N, DEPTH_CHANNELS, H, W)."""
        local_mean = upsample(F.avg_pool2d(self.prefill, _LOCAL_MEAN_SIZE), _LOCAL_MEAN_SIZE)
        differences = softsign(self.measured * (self.sparse - local_mean)), softsign(self.prefill - local_mean)
        distance = upsample(self.distance, self.prefill.shape[-1] // self.distance.shape[-1])
        return torch.cat([self.measured, self.prefill, *differences, distance], dim=1)

    def features(self) -> Tensor:
        """Return image and depth features, (N, INPUT_CHANNELS, H, W)."""
        return torch.cat([self.image, self.depth_features()], dim=1)

    def downscaled(self, factor: int) -> CoreInputs:
        """Return the inputs at 1/factor of the resolution.

        Each value is the mean of a block of pixels. For ``sparse``, it is the mean of the block's measured pixels.
        """
        if factor == 1:
            return self
        sparse, measured = pool_measured(self.sparse, self.measured, factor)
        image, prefill = (F.avg_pool2d(x, factor) for x in (self.image, self.prefill))
        return CoreInputs(image, sparse, measured, torch.lerp(prefill, sparse, measured), self.distance)


@dataclass(frozen=True)
class Method:
    """Description of a method.

    Attributes:
        core: Module that takes CoreInputs and returns (correction, log_b), each (N, 1, H, W). The correction is in
            log-depth.
        paper: The method's name and publication, or "ours".
        inputs: Names of the network's inputs, for tables.
        sizes: Arguments of the core for each size.
        precise: Names of the parts of the core whose accuracy suffers most in int8. They are not quantised.
        no_int8: Why int8 is not accurate enough; empty if it is.
        bfloat16: Whether bfloat16 is accurate enough on CPUs that have it.
        half_resolution: Whether the core works at half of the resolution (``HalfResolutionNetwork``).
    """

    core: type[nn.Module]
    paper: str
    inputs: str
    sizes: dict[str, dict[str, Any]]
    precise: tuple[str, ...] = ()
    no_int8: str = ""
    bfloat16: bool = True
    half_resolution: bool = False


class CompletionNetwork(nn.Module):
    """A network that follows the contract: hole filling, a core, and the composition of the result.

    With a base network, the core corrects a blend of the base network's result and of holes that are filled with more
    detail. ``Choice`` predicts the share of each for each pixel.

    Args:
        core: The core, see ``Method.core``.
        name: Name of the network, as in ``create``.
        size: Size of the network, as in ``create``.
        guided: Whether the image guides the hole filling. False for methods that use depth only.
        base: Trained network with the same inputs. Its weights are not trained any further.

    Attributes:
        sigma_scale: Factor of sigma, from recordings that the network was not trained on (training/calibration.py).
    """

    def __init__(
        self, core: nn.Module, name: str, size: str, guided: bool = True, base: CompletionNetwork | None = None
    ):
        super().__init__()
        self.fill_holes: nn.Module = HoleFilling()
        self.guided = guided
        self.core = core
        self.name = name
        self.size = size
        self.sigma_scale = 1.0
        self.base = base.eval().requires_grad_(False) if base is not None else None
        if base is not None:
            self.fill_finely = HoleFilling(fine=True)
            self.choose = Choice()

    def train(self, mode: bool = True) -> CompletionNetwork:
        """Set the training mode. ``base`` stays in evaluation mode, so its batch norm statistics do not change."""
        super().train(mode)
        if self.base is not None:
            self.base.eval()
        return self

    def forward(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Complete depth.

        Args:
            image: Colour image, 0..1, (N, 3, H, W).
            depth: Measured depth [m], 0 where missing, (N, 1, H, W).
            scale: Median of the measured depth [m], (N, 1, 1, 1).

        Returns:
            Depth and its standard deviation [m], each (N, 1, H, W), finite and positive.

        Raises:
            ValueError: If height or width is not a multiple of 32.
        """
        self.check_size(depth)
        completed, log_b, _ = self.predict_with_prefill(image, depth, scale)
        return completed, completed * relative_sigma(log_b, self.sigma_scale)

    @staticmethod
    def check_size(depth: Tensor) -> None:
        """Raise ValueError if height or width is not a multiple of 32."""
        if depth.shape[-2] % MULTIPLE or depth.shape[-1] % MULTIPLE:
            raise ValueError(
                f"height and width must be multiples of {MULTIPLE}, not {tuple(depth.shape[-2:])}: pad first"
            )

    def predict_with_prefill(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Complete depth and return the values that training needs. Arguments are those of ``forward``.

        Returns:
            Depth [m]; log_b, the logarithm of the Laplace scale of log-depth, from which ``forward`` computes sigma;
            and the depth [m] that training compares the result with, which is the prefill or the base network's
            result. Each (N, 1, H, W).
        """
        inputs = self.normalise(image, depth, scale)
        prefill = inputs.prefill
        base_log_b: Tensor | float = 0.0  # relative to that of an untrained network
        if self.base is not None:
            prefill, log_b = _apply_core(self.base.core, inputs)
            base_log_b = log_b - INITIAL_LOG_B
            with torch.autocast(depth.device.type, enabled=False):
                filled, _ = self.fill_finely(inputs.sparse, inputs.measured, inputs.image)
            inputs = inputs._replace(prefill=self.choose(inputs, prefill, base_log_b, filled))
        log_depth, log_b = _apply_core(self.core, inputs)
        return scale * torch.exp(log_depth), clamp_log_b(log_b + base_log_b), scale * torch.exp(prefill)

    def normalise(self, image: Tensor, depth: Tensor, scale: Tensor) -> CoreInputs:
        """Convert the contract's inputs to the inputs of the core."""
        sparse, measured = log_depth_ratio(depth, scale)
        return self.make_core_inputs(image - 0.5, sparse, measured)

    def make_core_inputs(self, shifted: Tensor, sparse: Tensor, measured: Tensor) -> CoreInputs:
        """Fill the holes and return the inputs of the core. shifted: the image, about -0.5 to 0.5."""
        # Not in half precision: the planes of the prefill are differences of large sums.
        with torch.autocast(sparse.device.type, enabled=False):
            prefill, distance = self.fill_holes(sparse, measured, shifted if self.guided else None)
        return CoreInputs(shifted, sparse, measured, prefill, distance)


def log_depth_ratio(depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return log(depth / scale), 0 where missing, and a mask that is 1 where depth is measured, else 0."""
    known = depth > 0
    return torch.log(torch.where(known, depth / scale, 1.0)), known.to(depth.dtype)


class Choice(nn.Module):
    """Predict a blend of two depths for each pixel with a few convolutions on 2x2 blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv(7 * _BLOCK_SIZE**2 + 1, _CHOICE_WIDTH),
            conv(_CHOICE_WIDTH, _CHOICE_WIDTH),
            nn.Conv2d(_CHOICE_WIDTH, _BLOCK_SIZE**2, 1),
        )
        weight, bias = self.layers[-1].parameters()
        nn.init.zeros_(weight)
        nn.init.constant_(bias, _INITIAL_BLEND_LOGIT)

    def forward(self, inputs: CoreInputs, base: Tensor, base_log_b: Tensor, filled: Tensor) -> Tensor:
        """Blend the depth of the base network and the filled depth.

        Args:
            inputs: The inputs of the core.
            base: The base network's log(depth / scale), (N, 1, H, W).
            base_log_b: The base network's log_b, (N, 1, H, W).
            filled: The filled log(depth / scale), (N, 1, H, W).

        Returns:
            The blended log(depth / scale), (N, 1, H, W).
        """
        differences = softsign(inputs.measured * (inputs.sparse - base)), softsign(filled - base)
        features = torch.cat([inputs.image, inputs.measured, *differences, base_log_b], dim=1)
        features = F.pixel_unshuffle(features, _BLOCK_SIZE)
        distance = upsample(inputs.distance, features.shape[-1] // inputs.distance.shape[-1])
        share = F.pixel_shuffle(self.layers(torch.cat([features, distance], dim=1)).float(), _BLOCK_SIZE)
        return torch.lerp(base, filled, torch.sigmoid(share))


def relative_sigma(log_b: Tensor, factor: float) -> Tensor:
    """Return the standard deviation of depth as a fraction of the depth, for a Laplace distribution of its logarithm.

    To first order, it is √2·b, where b = factor·exp(log_b) is the scale of the distribution.
    """
    return torch.exp(log_b + (_LOG_SQRT_2 + math.log(factor)))


def clamp_log_b(log_b: Tensor) -> Tensor:
    """Limit log_b so that its exponential is finite and positive in every precision."""
    return log_b.clamp(_MIN_LOG_B, _MAX_LOG_B)


def _apply_core(core: nn.Module, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
    """Return the corrected log(depth / scale) and log_b of a core, each (N, 1, H, W), float32."""
    correction, log_b = core(inputs)
    return (inputs.prefill + correction.float()).clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH), log_b.float()
