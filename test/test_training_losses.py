"""Each loss equals its formula, ignores unknown pixels, and does not depend on the unit of depth."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from depth_completion_ros.training.discriminator import Adversary  # noqa: E402
from depth_completion_ros.training.losses import ADVERSARIAL, LOSSES, Comparison  # noqa: E402

NAMES = [name for name in LOSSES if name != ADVERSARIAL]
LOG_B_ALONE = ("laplace_scale", "laplace_crps")


def comparison(seed: int = 0, known: float = 0.7, factor: float = 1.0) -> Comparison:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 1, 32, 48)
    target = 1 + 2 * torch.rand(shape, generator=generator)
    depth = target * torch.exp(0.1 * torch.randn(shape, generator=generator))
    weight = (torch.rand(shape, generator=generator) < known) * torch.rand(shape, generator=generator)
    log_b = torch.randn(shape, generator=generator) - 2
    start = 1.2 * target
    scale = torch.full((2, 1, 1, 1), 1.7)
    return Comparison(factor * depth, log_b, factor * target, weight, factor * scale, factor * start)


@pytest.mark.parametrize("name", NAMES)
def test_loss_does_not_depend_on_the_unit_of_depth(name):
    assert float(LOSSES[name](comparison(factor=1000))) == pytest.approx(float(LOSSES[name](comparison())), rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_pixels_have_no_weight(name):
    """Their values change neither the loss nor its gradient."""
    if name == "total_variation":
        pytest.skip("this loss does not use the target")
    results = []
    for filler in (0.0, 7.0):
        c = comparison()
        target = torch.where(c.weight > 0, c.target, filler)
        depth = c.depth.clone().requires_grad_()
        loss = LOSSES[name](c._replace(target=target, depth=depth))
        if name not in LOG_B_ALONE:
            loss.backward()
            assert depth.grad is not None and depth.grad.isfinite().all()
            if name != "spectral_amplitude":  # every frequency depends on every pixel
                assert not depth.grad[c.weight == 0].any()
        results.append(float(loss.detach()))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_finite_without_any_known_pixel(name):
    c = comparison(known=0.0)
    assert not c.weight.any() and math.isfinite(float(LOSSES[name](c)))


@pytest.mark.parametrize("name", sorted({*NAMES} - {*LOG_B_ALONE, "laplace_nll", "total_variation"}))
def test_losses_are_smallest_at_the_truth(name):
    c = comparison()
    at_truth = float(LOSSES[name](c._replace(depth=c.target)))
    assert at_truth == pytest.approx(0, abs=0.02) and float(LOSSES[name](c)) > 2 * at_truth


def test_relative_losses_give_every_sample_the_same_weight():
    """Half of the error of the start gives a loss of about 0.5, for samples whose errors differ by a factor of 100."""
    c = comparison()
    harder = torch.tensor([1.0, 100.0]).view(2, 1, 1, 1)
    off = 0.05 * harder
    c = c._replace(depth=c.target + off, start=c.target + 2 * off)
    for name in ("relative_l1", "relative_rmse"):
        assert float(LOSSES[name](c)) == pytest.approx(0.5, abs=0.02)


def test_pixel_losses_are_weighted_means():
    c = comparison()
    error, weight = ((c.depth - c.target) / 1.7).double().numpy(), c.weight.double().numpy()
    log_error = np.abs(np.log(c.depth.double().numpy() / c.target.double().numpy()))
    log_b = c.log_b.double().numpy()
    per_sample = np.sqrt((weight * error**2).sum(axis=(1, 2, 3)) / weight.sum(axis=(1, 2, 3)) + 1e-6)
    nearness = 1.7 / np.maximum(c.target.double().numpy(), 0.05 * 1.7)
    expected = {
        "l1": np.average(np.abs(error), weights=weight),
        "l2": np.average(error**2, weights=weight),
        "rmse": per_sample.mean(),
        "inverse_depth_l1": np.average(np.abs(error) * nearness, weights=weight),
        "laplace_nll": np.average(log_error * np.exp(-log_b) + log_b, weights=weight),
    }
    assert {name: float(LOSSES[name](c)) for name in expected} == pytest.approx(expected, rel=1e-4)


def test_likelihood_is_greatest_where_b_is_the_mean_error():
    c = comparison(known=1.1)
    mean = (torch.log(c.depth / c.target).abs() * c.weight).sum() / c.weight.sum()
    values = [
        float(LOSSES["laplace_nll"](c._replace(log_b=(mean * f).log().expand_as(c.depth)))) for f in (0.8, 1, 1.25)
    ]
    assert values[1] < min(values[0], values[2])


@pytest.mark.parametrize("name", LOG_B_ALONE)
def test_scale_losses_have_a_gradient_of_log_b_only(name):
    c = comparison()
    depth, log_b = c.depth.clone().requires_grad_(), c.log_b.clone().requires_grad_()
    LOSSES[name](c._replace(depth=depth, log_b=log_b)).backward()
    assert depth.grad is None and log_b.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "changed_by_outliers"), [("laplace_scale", True), ("laplace_crps", False)])
def test_minimum_of_scale_losses_is_the_scale_of_the_errors(name, changed_by_outliers):
    """Both losses find the scale of Laplace errors. With 2 % of outliers, only the likelihood gives a larger scale."""

    def fitted(error):
        log_b = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.Adam([log_b], 0.1)
        target = torch.ones(1, 1, 64, 64)
        for _ in range(120):
            c = Comparison(error.exp(), log_b.expand_as(target), target, target, target[..., :1, :1], target)
            optimiser.zero_grad()
            LOSSES[name](c).backward()
            optimiser.step()
        return float(log_b.detach().exp())

    torch.manual_seed(0)
    error = torch.distributions.Laplace(0, 0.02).sample((1, 1, 64, 64))
    assert fitted(error) == pytest.approx(0.02, rel=0.1)
    error[torch.rand(error.shape) < 0.02] = 1.0
    assert (fitted(error) > 1.5 * 0.02) == changed_by_outliers


@pytest.mark.parametrize("name", ["sobel", "structure_consistency"])
def test_edge_losses_ignore_a_constant_offset(name):
    c = comparison(known=1.1)
    assert float(LOSSES[name](c._replace(depth=c.target + 0.5))) == pytest.approx(0, abs=1e-6)


def test_gradient_ignores_a_constant_factor_and_includes_a_step_at_all_scales():
    c = comparison(known=1.1)
    c = c._replace(weight=torch.ones_like(c.weight))
    assert float(LOSSES["gradient"](c._replace(depth=1.3 * c.target))) == pytest.approx(0, abs=1e-6)
    step = torch.ones_like(c.target)
    step[..., 24:] = math.e
    # At scale s, one of the 48/s - 1 horizontal differences is 1.
    expected = sum(1 / (48 // s - 1) for s in (1, 2, 4, 8)) / 4
    assert float(LOSSES["gradient"](c._replace(depth=step * c.target))) == pytest.approx(expected, rel=1e-4)


def test_structure_consistency_is_the_laplacian():
    c = comparison(known=1.1)
    c = c._replace(weight=torch.ones_like(c.weight))
    error = ((c.depth - c.target) / 1.7).double().numpy()[:, 0]
    laplacian = (
        error[:, :-2, 1:-1] + error[:, 2:, 1:-1] + error[:, 1:-1, :-2] + error[:, 1:-1, 2:] - 4 * error[:, 1:-1, 1:-1]
    )
    assert float(LOSSES["structure_consistency"](c)) == pytest.approx((laplacian**2).mean(), rel=1e-4)


def test_spectral_amplitude_ignores_a_shift():
    c = comparison(known=1.1)
    shifted = torch.roll(c.target, (3, 5), dims=(-2, -1))
    c = c._replace(weight=torch.ones_like(c.weight))
    assert float(LOSSES["spectral_amplitude"](c._replace(depth=shifted))) == pytest.approx(0, abs=1e-5)


def test_total_variation_of_a_step():
    c = comparison()
    step = torch.ones(2, 1, 32, 48)
    step[..., 24:] = math.e
    assert float(LOSSES["total_variation"](c._replace(depth=step))) == pytest.approx(1 / 47, rel=1e-4)


def test_discriminator_learns_to_distinguish_noisy_depth_from_true_depth():
    """After some steps, true depth has a lower generator loss than noisy depth. The loss has a gradient of depth."""
    torch.manual_seed(0)
    adversary = Adversary(1e-3, torch.device("cpu"))
    c = comparison(known=1.1)
    c = c._replace(target=torch.linspace(1, 2, 48).expand_as(c.target), weight=torch.ones_like(c.weight))
    losses = [float(adversary.train_step(c, 1e-3)) for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]
    depth = c.depth.clone().requires_grad_()
    loss_of_noise = adversary.loss(c._replace(depth=depth))
    loss_of_noise.backward()
    loss_of_truth = adversary.loss(c._replace(depth=c.target))
    assert loss_of_truth.detach() < loss_of_noise.detach() and depth.grad.abs().sum() > 0
