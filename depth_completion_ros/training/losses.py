"""The losses of training. Each takes a Comparison and returns one number. Recipes give their weights by name.

Errors in metres are divided by scale, so that training does not depend on the unit of depth. Losses that compare
neighbouring pixels use only pixels whose neighbours are all known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_GRADIENT_SCALES = 4
_MIN_RELATIVE_DEPTH = 0.05  # in units of scale; limits the weight 1/z
_MIN_START_ERROR = 2e-3  # in units of scale; limits the divisor of the relative losses
_MIN_RMSE = 1e-3  # in units of scale; limits the gradient of the square root


class Comparison(NamedTuple):
    """A prediction and the true depth; all (N, 1, H, W) float32 except scale.

    Attributes:
        depth: The network's depth [m].
        log_b: The network's logarithm of the Laplace scale of log-depth.
        target: True depth [m], finite; its value is ignored where ``weight`` is 0.
        weight: Weight of the target, 0..1; 0 = unknown.
        scale: Median of the measured depth [m], (N, 1, 1, 1).
        start: Depth that the network corrects [m]: the prefill, or the result of its base network.
    """

    depth: Tensor
    log_b: Tensor
    target: Tensor
    weight: Tensor
    scale: Tensor
    start: Tensor

    def error(self) -> Tensor:
        """Return (depth - target) / scale, 0 where unknown."""
        return self._error_of(self.depth)

    def start_error(self) -> Tensor:
        """Return (start - target) / scale, 0 where unknown."""
        return self._error_of(self.start)

    def _error_of(self, depth: Tensor) -> Tensor:
        return torch.where(self.weight > 0, depth - self.target, 0) / self.scale

    def log_error(self) -> Tensor:
        """Return log(depth / target), 0 where unknown."""
        return torch.where(self.weight > 0, torch.log(self.depth) - _log(self.target), 0)

    def completed_target(self) -> Tensor:
        """Return target / scale, or the prediction without its gradient where the target is unknown."""
        return torch.where(self.weight > 0, self.target, self.depth.detach()) / self.scale


Loss = Callable[[Comparison], Tensor]


def laplace_nll(c: Comparison) -> Tensor:
    """Negative log-likelihood of the log-depth under a Laplace distribution of scale b, without its constant.

    Kendall, Gal, What Uncertainties Do We Need in Bayesian Deep Learning for Computer Vision?, NeurIPS 2017, section 3.
    """
    return _mean(c.log_error().abs() * torch.exp(-c.log_b) + c.log_b, c.weight)


def laplace_scale(c: Comparison) -> Tensor:
    """The same value as ``laplace_nll``, but with a gradient of log_b only."""
    return _mean(c.log_error().abs().detach() * torch.exp(-c.log_b) + c.log_b, c.weight)


def laplace_crps(c: Comparison) -> Tensor:
    """Continuous ranked probability score of the log-depth under a Laplace distribution of scale b, divided by b.

    It is the Brier score of P(|error| < t), averaged over all t (Gneiting, Raftery, JASA 2007, section 4.2), and has a
    gradient of log_b only.

    Errors have heavier tails than a Laplace distribution. Likelihood fits b to the mean error, which depends on the
    tail, so the confidence of most pixels becomes too low. The score fits b to most pixels. It is divided by b, without
    a gradient, so that certain and uncertain pixels have the same weight.
    """
    error, b = c.log_error().abs().detach(), torch.exp(c.log_b)
    return _mean((error + b * torch.exp(-error / b) - 0.75 * b) / b.detach(), c.weight)


def l1(c: Comparison) -> Tensor:
    """Mean absolute error, divided by scale."""
    return _mean(c.error().abs(), c.weight)


def relative_l1(c: Comparison) -> Tensor:
    """Mean over samples of the mean absolute error, divided by that of ``start``.

    Easy samples, which are most frames, have the same weight as samples whose depth is hard to predict.
    """
    error, start = (_sample_mean(e.abs(), c.weight) for e in (c.error(), c.start_error()))
    return _mean(error / (start + _MIN_START_ERROR), (c.weight.sum(dim=(1, 2, 3)) > 0).float())


def relative_rmse(c: Comparison) -> Tensor:
    """Mean over samples of the root mean square error, divided by that of ``start``."""
    error, start = (
        (_sample_mean(e.square(), c.weight) + _MIN_START_ERROR**2).sqrt() for e in (c.error(), c.start_error())
    )
    return _mean(error / start, (c.weight.sum(dim=(1, 2, 3)) > 0).float())


def l2(c: Comparison) -> Tensor:
    """Mean square error, divided by scale²."""
    return _mean(c.error().square(), c.weight)


def rmse(c: Comparison) -> Tensor:
    """Mean over samples of the root mean square error, divided by scale. Unlike L2, no single sample dominates it."""
    known = (c.weight.sum(dim=(1, 2, 3)) > 0).float()
    return _mean((_sample_mean(c.error().square(), c.weight) + _MIN_RMSE**2).sqrt(), known)


def inverse_depth_l1(c: Comparison) -> Tensor:
    """Mean absolute error weighted by 1 / target, which gives near surfaces a higher weight."""
    return _mean(c.error().abs() / (c.target / c.scale).clamp(min=_MIN_RELATIVE_DEPTH), c.weight)


def gradient(c: Comparison) -> Tensor:
    """Absolute differences of log-depth errors between neighbours, at 1, 1/2, 1/4 and 1/8 of the resolution.

    Li, Snavely, MegaDepth: Learning Single-View Depth Prediction from Internet Photos, CVPR 2018, eq. 4.
    """
    error, total = c.log_error(), c.depth.new_zeros(())
    for level in range(_GRADIENT_SCALES):
        step = 2**level
        coarse, known = error[..., ::step, ::step], c.weight[..., ::step, ::step]
        for dim in (-2, -1):
            pair = torch.minimum(_without_first(known, dim), _without_last(known, dim))
            total = total + _mean(coarse.diff(dim=dim).abs(), pair)
    return total / _GRADIENT_SCALES


def sobel(c: Comparison) -> Tensor:
    """Absolute error of the two Sobel derivatives of depth / scale (first place, CVPR AIS depth challenge 2024)."""
    horizontal = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    return _mean(_filtered(c.error(), horizontal, horizontal.T).abs(), _window_min(c.weight))


def structure_consistency(c: Comparison) -> Tensor:
    """Square error of the Laplacian of depth / scale (MagaConv, eq. 8)."""
    laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return _mean(_filtered(c.error(), laplacian).square(), _window_min(c.weight))


def spectral_amplitude(c: Comparison) -> Tensor:
    """Absolute error of the amplitudes of the orthonormal Fourier transforms of depth / scale (S2ML)."""
    prediction, target = (torch.fft.rfft2(x, norm="ortho").abs() for x in (c.depth / c.scale, c.completed_target()))
    return (prediction - target).abs().mean()


def total_variation(c: Comparison) -> Tensor:
    """Mean absolute difference of neighbours in the prediction's log-depth (Rudin, Osher, Fatemi, Physica D 1992)."""
    log_depth = torch.log(c.depth / c.scale)
    return sum(
        (log_depth.diff(dim=dim).abs().mean() for dim in (-2, -1)),
        start=c.depth.new_zeros(()),
    )


ADVERSARIAL = "adversarial"  # needs a discriminator, which the trainer trains together with the network
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
    """Return each loss of a recipe by name, without its weight and without the adversarial loss."""
    return {name: loss(comparison) for name in names if (loss := LOSSES[name]) is not None}


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean, or 0 if all weights are 0."""
    return (value * weight).sum() / weight.sum().clamp(min=1)


def _sample_mean(value: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of each sample, (N,); 0 if all weights of a sample are 0."""
    return (value * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp(min=1)


def _log(depth: Tensor) -> Tensor:
    return torch.log(depth.clamp(min=1e-6))


def _without_first(x: Tensor, dim: int) -> Tensor:
    return x.narrow(dim, 1, x.shape[dim] - 1)


def _without_last(x: Tensor, dim: int) -> Tensor:
    return x.narrow(dim, 0, x.shape[dim] - 1)


def _filtered(x: Tensor, *kernels: Tensor) -> Tensor:
    """Convolve (N, 1, H, W) with 3x3 kernels to (N, kernels, H - 2, W - 2)."""
    return F.conv2d(x, torch.stack(kernels).unsqueeze(1).to(x))


def _window_min(weight: Tensor) -> Tensor:
    """Return the smallest weight in each 3x3 window, (N, 1, H - 2, W - 2)."""
    return -F.max_pool2d(-weight, 3, 1)
