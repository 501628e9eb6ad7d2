"""The two methods that do not use colour: fast interpolation and the generator of the GAN."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros.networks.completion_network import DEPTH_CHANNELS  # noqa: E402
from depth_completion_ros.networks.fast_interpolation import InterpolationNetwork, SuperResolutionNetwork  # noqa: E402
from depth_completion_ros.networks.srgan import Generator, bounded  # noqa: E402

torch.set_num_threads(1)


def inputs_of(image, depth, scale):
    """Return the inputs that ``CompletionNetwork`` gives to a core."""
    return stirred("srgan").normalise(image, depth, scale)


def test_interpolation_works_at_a_quarter_and_super_resolution_restores_full_resolution():
    network, seen = stirred("fast_interpolation"), {}
    core = network.core
    core.interpolate.register_forward_hook(lambda _, inputs, output: seen.update(low=(inputs[0].shape, output.shape)))
    core.super_resolve.register_forward_hook(lambda _, inputs, output: seen.update(high=(inputs[0], output[0].shape)))
    image, depth, scale = frame()
    network(image, depth, scale)
    assert seen["low"] == ((1, DEPTH_CHANNELS, 16, 24), (1, 1, 16, 24))
    explicit, shape = seen["high"]
    assert explicit.shape == (1, 1 + DEPTH_CHANNELS, 16, 24) and shape == (1, 1, 64, 96)


def test_untrained_interpolation_returns_the_prefill():
    assert (InterpolationNetwork(8, 1)(torch.randn(1, DEPTH_CHANNELS, 8, 12)) == 0).all()


def test_super_resolution_multiplies_the_size_by_four():
    correction, log_b = SuperResolutionNetwork(8)(torch.randn(1, 1 + DEPTH_CHANNELS, 8, 12))
    assert correction.shape == log_b.shape == (1, 1, 32, 48)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_generator_works_at_its_factor_and_returns_to_full_size(factor):
    generator, seen = Generator(width=8, blocks=1, factor=factor), []
    generator.blocks.register_forward_hook(lambda _, inputs, output: seen.append(output.shape))
    correction, log_b = generator(inputs_of(*frame()))
    assert seen == [(1, 8, 64 // factor, 96 // factor)]
    assert correction.shape == log_b.shape == (1, 1, 64, 96)


def test_tanh_limits_the_correction_of_the_generator():
    """With any weights, the result differs from the prefill by at most a factor of e²."""
    generator = stirred("srgan").core
    with torch.no_grad():
        for parameter in generator.head.parameters():
            parameter.normal_(std=100)
        correction, _ = generator(inputs_of(*frame()))
    assert correction.abs().max() <= 2 and correction.abs().max() > 1
    assert bounded(torch.tensor([-50.0, 0.0, 50.0])).tolist() == [-2, 0, 2]


def test_activations_are_elu_and_never_relu():
    """The authors' change to SRGAN."""
    kinds = {type(module) for module in Generator(8, 2, 4).modules()}
    assert torch.nn.ELU in kinds and torch.nn.ReLU not in kinds and torch.nn.BatchNorm2d in kinds


def test_downscaled_depth_is_the_mean_of_measured_pixels():
    image, depth, scale = frame()
    inputs = inputs_of(image, depth, scale)
    low = inputs.downscaled(8)
    block = (0, 0, slice(24, 32), slice(8, 16))
    seen = inputs.sparse[block][inputs.measured[block] > 0]
    assert low.sparse[0, 0, 3, 1].item() == pytest.approx(seen.mean().item(), abs=1e-5)
    assert low.prefill[0, 0, 3, 1].item() == pytest.approx(seen.mean().item(), abs=1e-5)
    assert low.measured[0, 0, 3, 1] == 1 and low.measured[0, 0, 3, -1] == 0
    assert inputs.downscaled(1) is inputs
