"""The losses of training. Each takes a Comparison and returns one number. Recipes give their weights by name.

Errors in metres are divided by scale, so that training is the same for k·depth; within a frame they stay proportional
to metres. A loss that needs neighbours counts only pixels whose neighbours are all known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_GRADIENT_SCALES = 4
_MIN_RELATIVE_DEPTH = 0.05  # of scale; nearer than this, 1/z weighs no more
_NEGLIGIBLE = 2e-3  # of scale; a start that is closer counts as this far off
_SMALLEST_RMSE = 1e-3  # below it the gradient of the root fades


class Comparison(NamedTuple):
    """A prediction and what is known of the truth; all (N, 1, H, W) float32 but scale.

    depth, log_b: the network's outputs. target [m], finite, of no meaning where weight is 0. weight: 0..1, 0 = unknown.
    scale (N, 1, 1, 1) [m]. start [m]: the prefill that the network began with.
    """

    depth: Tensor
    log_b: Tensor
    target: Tensor
    weight: Tensor
    scale: Tensor
    start: Tensor

    def error(self) -> Tensor:
        """(depth - target) / scale, 0 where unknown."""
        return self._error_of(self.depth)

    def start_error(self) -> Tensor:
        """(start - target) / scale, 0 where unknown."""
        return self._error_of(self.start)

    def _error_of(self, depth: Tensor) -> Tensor:
        return torch.where(self.weight > 0, depth - self.target, 0) / self.scale

    def log_error(self) -> Tensor:
        """log(depth / target), 0 where unknown."""
        return torch.where(self.weight > 0, torch.log(self.depth) - _log(self.target), 0)

    def completed_target(self) -> Tensor:
        """target / scale, and where that is unknown the prediction, through which no gradient flows."""
        return torch.where(self.weight > 0, self.target, self.depth.detach()) / self.scale


Loss = Callable[[Comparison], Tensor]


def laplace_nll(c: Comparison) -> Tensor:
    """Negative log-likelihood of the log-depth under a Laplace distribution of scale b, without its constant.

    Kendall, Gal, What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?, NeurIPS 2017, section 3.
    """
    return _mean(c.log_error().abs() * torch.exp(-c.log_b) + c.log_b, c.weight)


def laplace_scale(c: Comparison) -> Tensor:
    """As ``laplace_nll``, but it teaches log_b alone and leaves the depth to the other losses."""
    return _mean(c.log_error().abs().detach() * torch.exp(-c.log_b) + c.log_b, c.weight)


def laplace_crps(c: Comparison) -> Tensor:
    """Continuous ranked probability score of the log-depth under a Laplace distribution of scale b, which teaches log_b
    alone: the Brier score of P(|error| < t), averaged over all t (Gneiting, Raftery, JASA 2007, section 4.2).

    Errors have heavier tails than a Laplace distribution. Likelihood fits b to their mean, which the tail decides, and
    the confidence of all other pixels comes out too low; this fits it to most of them. Over b, through which no
    gradient flows here, so that sure pixels count as much as unsure ones.
    """
    error, b = c.log_error().abs().detach(), torch.exp(c.log_b)
    return _mean((error + b * torch.exp(-error / b) - 0.75 * b) / b.detach(), c.weight)


def l1(c: Comparison) -> Tensor:
    """Mean absolute error over scale."""
    return _mean(c.error().abs(), c.weight)


def relative_l1(c: Comparison) -> Tensor:
    """Mean absolute error of each sample over that of its start, averaged: the easy samples, which most frames are
    like, count as much as those of which little can be known.
    """
    error, start = (_sample_mean(e.abs(), c.weight) for e in (c.error(), c.start_error()))
    return _mean(error / (start + _NEGLIGIBLE), (c.weight.sum(dim=(1, 2, 3)) > 0).float())


def relative_rmse(c: Comparison) -> Tensor:
    """As ``relative_l1``, of root mean squares."""
    error, start = ((_sample_mean(e.square(), c.weight) + _NEGLIGIBLE**2).sqrt() for e in (c.error(), c.start_error()))
    return _mean(error / start, (c.weight.sum(dim=(1, 2, 3)) > 0).float())


def l2(c: Comparison) -> Tensor:
    """Mean square error over scale²."""
    return _mean(c.error().square(), c.weight)


def rmse(c: Comparison) -> Tensor:
    """Root mean square error over scale of each sample, averaged: as L2, but no single sample outweighs the others."""
    known = (c.weight.sum(dim=(1, 2, 3)) > 0).float()
    return _mean((_sample_mean(c.error().square(), c.weight) + _SMALLEST_RMSE**2).sqrt(), known)


def inverse_depth_l1(c: Comparison) -> Tensor:
    """Absolute error weighted by 1 / target: what is near counts more."""
    return _mean(c.error().abs() / (c.target / c.scale).clamp(min=_MIN_RELATIVE_DEPTH), c.weight)


def gradient(c: Comparison) -> Tensor:
    """Differences of the error of log-depth between neighbours, at 1, 1/2, 1/4 and 1/8 of the resolution.

    Li, Snavely, MegaDepth: Learning Single-View Depth Prediction from Internet Photos, CVPR 2018, eq. 4.
    """
    error, total = c.log_error(), c.depth.new_zeros(())
    for level in range(_GRADIENT_SCALES):
        step = 2**level
        coarse, known = error[..., ::step, ::step], c.weight[..., ::step, ::step]
        for dim in (-2, -1):
            pair = torch.minimum(_from_second(known, dim), _to_last_but_one(known, dim))
            total = total + _mean((_from_second(coarse, dim) - _to_last_but_one(coarse, dim)).abs(), pair)
    return total / _GRADIENT_SCALES


def sobel(c: Comparison) -> Tensor:
    """Absolute error of the two Sobel derivatives of depth / scale (first place, CVPR AIS depth challenge 2024)."""
    horizontal = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    return _mean(_filtered(c.error(), horizontal, horizontal.T).abs(), _all_known(c.weight))


def structure_consistency(c: Comparison) -> Tensor:
    """Square error of the Laplacian of depth / scale (MagaConv, eq. 8)."""
    laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return _mean(_filtered(c.error(), laplacian).square(), _all_known(c.weight))


def spectral_amplitude(c: Comparison) -> Tensor:
    """Absolute error of the amplitudes of the orthonormal Fourier transforms of depth / scale (S2ML)."""
    prediction, target = (torch.fft.rfft2(x, norm="ortho").abs() for x in (c.depth / c.scale, c.completed_target()))
    return (prediction - target).abs().mean()


def total_variation(c: Comparison) -> Tensor:
    """Mean absolute difference of neighbours in the prediction's log-depth (Rudin, Osher, Fatemi, Physica D 1992)."""
    log_depth = torch.log(c.depth / c.scale)
    return sum(
        ((_from_second(log_depth, dim) - _to_last_but_one(log_depth, dim)).abs().mean() for dim in (-2, -1)),
        start=c.depth.new_zeros(()),
    )


ADVERSARIAL = "adversarial"  # needs a discriminator beside the network, which the loop trains along
LOSSES: dict[str, Loss | None] = {
    "laplace_nll": laplace_nll,
    "laplace_scale": laplace_scale,
    "laplace_crps": laplace_crps,
    "l1": l1,
    "relative_l1": relative_l1,
    "relative_rmse": relative_rmse,
    "l2": l2,
    "rmse": rmse,
    "inverse_depth_l1": inverse_depth_l1,
    "gradient": gradient,
    "sobel": sobel,
    "structure_consistency": structure_consistency,
    "spectral_amplitude": spectral_amplitude,
    "total_variation": total_variation,
    ADVERSARIAL: None,
}


def evaluate_losses(names: Mapping[str, float], comparison: Comparison) -> dict[str, Tensor]:
    """Each loss of a recipe by name, unweighted, without the adversarial one."""
    return {name: loss(comparison) for name in names if (loss := LOSSES[name]) is not None}


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 where nothing has a weight."""
    return (value * weight).sum() / weight.sum().clamp(min=1)


def _sample_mean(value: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each sample, (N,); 0 where nothing has a weight."""
    return (value * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1)


def _log(depth: Tensor) -> Tensor:
    return torch.log(depth.clamp(min=1e-6))


def _from_second(x: Tensor, dim: int) -> Tensor:
    return x.narrow(dim, 1, x.shape[dim] - 1)


def _to_last_but_one(x: Tensor, dim: int) -> Tensor:
    return x.narrow(dim, 0, x.shape[dim] - 1)


def _filtered(x: Tensor, *kernels: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, kernels, H - 2, W - 2) by 3x3 kernels."""
    return F.conv2d(x, torch.stack(kernels).unsqueeze(1).to(x))


def _all_known(weight: Tensor) -> Tensor:
    """(N, 1, H - 2, W - 2): the least weight within each 3x3."""
    return -F.max_pool2d(-weight, 3, 1)
