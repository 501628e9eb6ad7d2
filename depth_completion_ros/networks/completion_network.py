"""What all completion networks share: the contract, the normalisation, the filling of holes and the composition.

Inputs image (N, 3, H, W) 0..1; depth (N, 1, H, W) metres, 0 = missing; scale (N, 1, 1, 1) metres, the median of the
measured depth. Outputs depth (N, 1, H, W) metres and its standard deviation sigma (N, 1, H, W) metres.
H and W are multiples of 32. All learning happens in log(depth / scale), so k·depth with k·scale gives k·result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contract import MULTIPLE
from .blocks import START_LOG_B, conv, pool_measured, stretch, upsample
from .hole_filling import HoleFilling

DEPTH_CHANNELS = 5
INPUT_CHANNELS = 3 + DEPTH_CHANNELS

_SURROUNDINGS = 4  # pixels
MAX_LOG_DEPTH = 7.0  # depth stays within a factor 1000 of scale whatever the weights, so exp is finite in float16 too
_MAX_LOG_B = 4.0
_MIN_LOG_B = -9.0
_LOG_SQRT_2 = math.log(2) / 2
_FOLD, _CHOICE_WIDTH = 2, 32
_PREFER_BASE = -1.0  # logit at the start


class CoreInputs(NamedTuple):
    """What a core sees; all float32, depth as log(depth / scale).

    image (N, 3, H, W) about -0.5..0.5; sparse (N, 1, H, W), 0 where missing; measured (N, 1, H, W) 0 or 1;
    prefill (N, 1, H, W), sparse with its holes filled, or the result of a base network; distance (N, 1, H / 8,
    W / 8), how far away the measurements are that filled it, 0..4 (``HoleFilling``).
    """

    image: Tensor
    sparse: Tensor
    measured: Tensor
    prefill: Tensor = None  # type: ignore[assignment]
    distance: Tensor = None  # type: ignore[assignment]

    def depth_features(self) -> Tensor:
        """(N, DEPTH_CHANNELS, H, W): all that is known of the depth, also as differences to the surroundings."""
        surroundings = upsample(F.avg_pool2d(self.prefill, _SURROUNDINGS), _SURROUNDINGS)
        differences = stretch(self.measured * (self.sparse - surroundings)), stretch(self.prefill - surroundings)
        distance = upsample(self.distance, self.prefill.shape[-1] // self.distance.shape[-1])
        return torch.cat([self.measured, self.prefill, *differences, distance], dim=1)

    def features(self) -> Tensor:
        """(N, INPUT_CHANNELS, H, W): image and depth."""
        return torch.cat([self.image, self.depth_features()], dim=1)

    def downscaled(self, factor: int) -> CoreInputs:
        """The same at 1/factor of the resolution: each block's means, of sparse the mean of what is measured in it."""
        if factor == 1:
            return self
        sparse, measured = pool_measured(self.sparse, self.measured, factor)
        image, prefill = (F.avg_pool2d(x, factor) for x in (self.image, self.prefill))
        return CoreInputs(image, sparse, measured, torch.lerp(prefill, sparse, measured), self.distance)


@dataclass(frozen=True)
class Method:
    """What a method is, before it is built.

    Attributes:
        core: Module that takes CoreInputs and returns (correction, log_b), each (N, 1, H, W), the correction in
            log-depth.
        paper: The method's name and publication, or "ours".
        inputs: What the network sees, for tables.
        sizes: Arguments of the core by size.
        precise: Names of the parts of the core that int8 would harm most.
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
    """A core behind the contract. name, size: as in ``create``. guided: the image guides the filling of holes; False
    for methods that see depth only. base: a trained network that sees the same, and is not trained any further. Then
    the core corrects, pixel by pixel, its answer or holes filled more finely, whichever is the better (``Choice``).
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
        self.base = base.eval().requires_grad_(False) if base is not None else None
        if base is not None:
            self.fill_finely = HoleFilling(fine=True)
            self.choose = Choice()

    def train(self, mode: bool = True) -> CompletionNetwork:
        """As of every module; ``base`` keeps the statistics that it was trained with."""
        super().train(mode)
        if self.base is not None:
            self.base.eval()
        return self

    def forward(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """(depth, sigma) [m], each (N, 1, H, W), finite and positive. Raises ValueError where sizes are no multiples of
        32.
        """
        self.check_size(depth)
        completed, log_b, _ = self.with_start(image, depth, scale)
        return completed, sigma_of(completed, log_b)

    @staticmethod
    def check_size(depth: Tensor) -> None:
        """Raises ValueError where height or width is no multiple of 32."""
        if depth.shape[-2] % MULTIPLE or depth.shape[-1] % MULTIPLE:
            raise ValueError(
                f"height and width must be multiples of {MULTIPLE}, not {tuple(depth.shape[-2:])}: pad first"
            )

    def with_start(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For training, (N, 1, H, W) each: depth [m]; log_b, the log of the Laplace scale of its logarithm, from which
        ``forward`` makes sigma; and the prefill, or what the base network answers, as depth [m], to compare with.
        """
        inputs = self.normalise(image, depth, scale)
        start = inputs.prefill
        doubt: Tensor | float = 0.0
        if self.base is not None:
            start, log_b = _corrected(self.base.core, inputs)
            doubt = log_b - START_LOG_B
            with torch.autocast(depth.device.type, enabled=False):
                filled, _ = self.fill_finely(inputs.sparse, inputs.measured, inputs.image)
            inputs = inputs._replace(prefill=self.choose(inputs, start, doubt, filled))
        log_depth, log_b = _corrected(self.core, inputs)
        return scale * torch.exp(log_depth), clamped_log_b(log_b + doubt), scale * torch.exp(start)

    def normalise(self, image: Tensor, depth: Tensor, scale: Tensor) -> CoreInputs:
        """The contract's inputs as the core sees them."""
        sparse, measured = logarithm(depth, scale)
        return self.filled(image - 0.5, sparse, measured)

    def filled(self, shifted: Tensor, sparse: Tensor, measured: Tensor) -> CoreInputs:
        """What the core sees, with the holes filled. shifted: the image, about -0.5 to 0.5."""
        # Not in half precision: the planes of the prefill stem from differences of large sums.
        with torch.autocast(sparse.device.type, enabled=False):
            prefill, distance = self.fill_holes(sparse, measured, shifted if self.guided else None)
        return CoreInputs(shifted, sparse, measured, prefill, distance)


def logarithm(depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """log(depth / scale), 0 where missing, and where depth is measured, 0 or 1."""
    known = depth > 0
    return torch.log(torch.where(known, depth / scale, 1.0)), known.to(depth.dtype)


class Choice(nn.Module):
    """Of two depths the better for each pixel, or something between: a few convolutions on 2x2 blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv(7 * _FOLD**2 + 1, _CHOICE_WIDTH),
            conv(_CHOICE_WIDTH, _CHOICE_WIDTH),
            nn.Conv2d(_CHOICE_WIDTH, _FOLD**2, 1),
        )
        weight, bias = self.layers[-1].parameters()
        nn.init.zeros_(weight)
        nn.init.constant_(bias, _PREFER_BASE)

    def forward(self, inputs: CoreInputs, base: Tensor, doubt: Tensor, filled: Tensor) -> Tensor:
        """base, filled: log(depth / scale); doubt: log_b of base; each (N, 1, H, W). Returns the same shape."""
        differences = stretch(inputs.measured * (inputs.sparse - base)), stretch(filled - base)
        features = F.pixel_unshuffle(torch.cat([inputs.image, inputs.measured, *differences, doubt], dim=1), _FOLD)
        distance = upsample(inputs.distance, features.shape[-1] // inputs.distance.shape[-1])
        share = F.pixel_shuffle(self.layers(torch.cat([features, distance], dim=1)).float(), _FOLD)
        return torch.lerp(base, filled, torch.sigmoid(share))


def sigma_of(depth: Tensor, log_b: Tensor) -> Tensor:
    """Standard deviation [m] of depth [m] whose logarithm has a Laplace distribution of scale exp(log_b)."""
    return depth * relative_sigma(log_b)


def relative_sigma(log_b: Tensor) -> Tensor:
    """The same as a share of the depth, to first order: a Laplace variable of scale b deviates by b·√2."""
    return torch.exp(log_b + _LOG_SQRT_2)


def clamped_log_b(log_b: Tensor) -> Tensor:
    """Within what every precision can hold the exponential of."""
    return log_b.clamp(_MIN_LOG_B, _MAX_LOG_B)


def _corrected(core: nn.Module, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
    """log(depth / scale) and log_b as a core has them, each (N, 1, H, W), float32."""
    correction, log_b = core(inputs)
    return (inputs.prefill + correction.float()).clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH), log_b.float()
