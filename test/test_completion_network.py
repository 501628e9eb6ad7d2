"""The parts that all networks share: normalisation, pooling and heads."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks import create  # noqa: E402
from depth_completion_ros.networks.blocks import Head, PixelShuffleUp, ResidualBlock, pool_measured  # noqa: E402
from depth_completion_ros.networks.completion_network import INPUT_CHANNELS, CompletionNetwork  # noqa: E402

torch.set_num_threads(1)


def test_pooling_averages_measured_pixels_only():
    value = torch.tensor([[1.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])[None, None]
    measured = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])[None, None]
    mean, has_measurement = pool_measured(value, measured, 2)
    assert mean.tolist() == [[[[2.0, 0.0]]]]
    assert has_measurement.tolist() == [[[[1.0, 0.0]]]]


def test_pooling_over_overlapping_windows_equals_a_loop():
    torch.manual_seed(0)
    measured = (torch.rand(1, 1, 6, 7) < 0.3).float()
    value = torch.randn(1, 1, 6, 7) * measured
    mean, has_measurement = pool_measured(value, measured, 3, stride=1)
    for y in range(6):
        for x in range(7):
            window = (0, 0, slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
            seen = value[window][measured[window] > 0]
            assert has_measurement[0, 0, y, x] == float(seen.numel() > 0)
            assert mean[0, 0, y, x] == pytest.approx(float(seen.mean()) if seen.numel() else 0.0, abs=1e-5)


def test_normalisation_is_log_depth_over_scale():
    depth = torch.full((1, 1, 32, 32), 4.0)
    depth[..., 0] = 0
    network = CompletionNetwork(torch.nn.Identity(), "none", "small")
    inputs = network.normalise(torch.zeros(1, 3, 32, 32), depth, torch.full((1, 1, 1, 1), 2.0))
    assert inputs.sparse[0, 0, 0, 5].item() == pytest.approx(0.6931, abs=1e-4)
    assert inputs.sparse[0, 0, 0, 0] == 0 and inputs.measured[0, 0, 0, :2].tolist() == [0, 1]
    assert inputs.features().shape[1] == INPUT_CHANNELS


def test_core_with_huge_outputs_gives_finite_positive_depth():
    class Runaway(torch.nn.Module):
        def forward(self, inputs):
            return torch.full_like(inputs.sparse, 1e6), torch.full_like(inputs.sparse, 1e6)

    network = CompletionNetwork(Runaway(), "runaway", "small")
    depth, sigma = network(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32), torch.ones(1, 1, 1, 1))
    assert torch.isfinite(depth).all() and torch.isfinite(sigma).all() and (sigma > 0).all()


def test_head_starts_without_correction_and_its_outputs_are_independent():
    """With a wrong order of channels, parts of the gate or of log_b would be zero instead of Δ."""
    head = Head(5, factor=2)
    x = torch.randn(1, 5, 8, 8)
    correction, log_b = head(x)
    assert (correction == 0).all() and correction.shape == (1, 1, 16, 16)
    assert log_b.mean().item() == pytest.approx(-3, abs=0.6) and log_b.std() > 0
    with torch.no_grad():
        head.expand[0].bias[:4] = 1.0  # Δ = 1 everywhere, so the correction is the gate / 10
    gate, _ = head(x)
    assert (gate > 0).all() and (gate < 1).all() and gate.std() > 0


def test_pixel_shuffle_turns_channels_into_neighbouring_pixels():
    """Shi et al., eq. 4, with the output's channels outermost: out[c, r·y + i, r·x + j] = in[c·r² + r·i + j, y, x]."""
    up = PixelShuffleUp(3, 2, factor=2)
    x = torch.randn(1, 3, 4, 5)
    low, high = up[0](x), up(x)
    for channel in range(2):
        for i in range(2):
            for j in range(2):
                assert torch.equal(high[:, channel, i::2, j::2], low[:, channel * 4 + 2 * i + j])


def test_residual_block_is_an_identity_when_its_second_convolution_is_zero():
    block = ResidualBlock(4, 4).eval()
    torch.nn.init.zeros_(block.second[0].weight)
    x = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(block(x), x)
    assert ResidualBlock(4, 6, stride=2)(x).shape == (1, 6, 4, 4)


def test_the_prefill_is_the_same_under_mixed_precision():
    """Planes fitted from rounded sums would be inaccurate or not finite."""
    torch.manual_seed(0)
    image, scale = torch.rand(1, 3, 64, 96), torch.ones(1, 1, 1, 1)
    depth = (1 + torch.rand(1, 1, 64, 96)) * (torch.rand(1, 1, 64, 96) < 0.05)
    network = create("planes").eval()
    expected = network.normalise(image, depth, scale).prefill
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network.normalise(image, depth, scale).prefill, expected)
