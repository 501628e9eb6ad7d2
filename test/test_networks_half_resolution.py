"""Networks whose core works at half of the resolution: the inputs of the core and the step to full resolution."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from test_networks import stirred  # noqa: E402

from depth_completion_ros.networks import create  # noqa: E402
from depth_completion_ros.networks.blocks import NormalisedConvolution  # noqa: E402
from depth_completion_ros.networks.completion_network import CoreInputs  # noqa: E402
from depth_completion_ros.networks.half_resolution import HalfResolutionNetwork  # noqa: E402

torch.set_num_threads(1)


class NoCorrection(torch.nn.Module):
    """A core that predicts no correction and the constant weight ``keep``, 0 to 1, for measurements."""

    def __init__(self, keep: float):
        super().__init__()
        self.keep = keep

    def forward(self, inputs):
        zero = torch.zeros_like(inputs.sparse)
        return zero, zero - 3, zero + self.keep


def completed(core, depth, image=None):
    """Return the depth [m] of a HalfResolutionNetwork with this core for depth (1, 1, H, W)."""
    image = torch.full((1, 3, *depth.shape[-2:]), 0.5) if image is None else image
    with torch.no_grad():
        return HalfResolutionNetwork(core, "no-correction", "small").eval()(
            image, depth, torch.full((1, 1, 1, 1), 2.0)
        )[0]


def test_the_core_gets_the_mean_of_the_measured_pixels_in_each_2x2_block():
    seen = []

    class Recording(NoCorrection):
        def forward(self, inputs):
            seen.append(inputs)
            return super().forward(inputs)

    depth = torch.full((1, 1, 32, 32), 4.0)
    depth[..., ::2] = 1.0
    depth[..., 16:, ::2] = 0
    depth[..., :8, :] = 0
    completed(Recording(0.0), depth)
    assert seen[0].sparse.shape == (1, 1, 16, 16)
    mean, alone = (torch.full((1, 1, height, 16), value / 2.0).log() for height, value in ((4, 2.5), (8, 4.0)))
    torch.testing.assert_close(seen[0].sparse[..., 4:8, :], mean)
    torch.testing.assert_close(seen[0].sparse[..., 8:, :], alone)
    assert not seen[0].measured[..., :4, :].any() and seen[0].measured[..., 4:, :].all()


def test_measured_pixels_are_unchanged_where_the_core_keeps_them():
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(1, 1, 64, 96, generator=generator)
    depth *= torch.rand(depth.shape, generator=generator) < 0.4
    result = completed(NoCorrection(keep=1.0), depth)
    torch.testing.assert_close(result[depth > 0], depth[depth > 0])
    assert result.min() > 0.9 and result.max() < 2.2  # all other pixels stay close to the range of the measurements


def test_the_last_step_corrects_pixels_next_to_measurements():
    """Depth alternates from row to row, which half of the resolution cannot represent, and two columns are missing."""
    rows = torch.where(torch.arange(64).view(-1, 1) % 2 == 0, 2.0, 2.1).expand(1, 1, 64, 64)
    shown = rows * (torch.arange(64) % 4 < 2)
    between = completed(NoCorrection(keep=1.0), shown)[..., 8:-8, 10]
    assert (between[..., 1::2] - between[..., ::2]).min() > 0.005


def test_normalised_convolution_is_the_weighted_mean_of_known_values():
    generator = torch.Generator().manual_seed(0)
    value = 0.5 + torch.rand(1, 1, 9, 16, generator=generator)
    known = (torch.rand(1, 1, 9, 16, generator=generator) < 0.3).float()
    mean = NormalisedConvolution(decay=0.5, radius=1)(value, known)
    weight = torch.tensor([0.5, 1.0, 0.5]).view(-1, 1) * torch.tensor([0.5, 1.0, 0.5]) * known[0, 0, 3:6, 6:9]
    expected = (weight * value[0, 0, 3:6, 6:9]).sum() / weight.sum()
    torch.testing.assert_close(mean[0, 0, 4, 7], expected)
    torch.testing.assert_close(NormalisedConvolution(0.5, 1)(value, 0 * known), torch.zeros_like(value))


def test_training_works_at_the_cores_own_resolution():
    """``predict_with_prefill`` returns the result before the last step, and the prefill."""
    network = HalfResolutionNetwork(NoCorrection(keep=1.0), "no-correction", "small")
    depth = torch.zeros(2, 1, 32, 32)
    depth[..., 5, 5] = 2.0
    answer, log_b, start = network.predict_with_prefill(torch.rand(2, 3, 32, 32), depth, torch.ones(2, 1, 1, 1))
    assert answer.shape == log_b.shape == start.shape == depth.shape
    torch.testing.assert_close(start, torch.full_like(start, 2.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(answer, start)


def test_untrained_residual_blocks_of_lite_are_identities():
    planes, lite = stirred("planes"), create("lite").eval()
    lite.core.load_state_dict(planes.core.state_dict(), strict=False)
    image, depth, scale = torch.rand(1, 3, 64, 96), 1 + torch.rand(1, 1, 64, 96), torch.ones(1, 1, 1, 1)
    inputs = planes.normalise(image, depth * (torch.rand(depth.shape) < 0.1), scale)
    with torch.no_grad():
        answers = (network.core.predict_before_measurements(inputs) for network in (lite, planes))
        for answer, expected in zip(*answers, strict=True):
            torch.testing.assert_close(answer, expected)


def test_untrained_refinement_of_lite_changes_depth_by_less_than_2_percent():
    core = create("lite").eval().core
    generator = torch.Generator().manual_seed(0)
    image, depth = (torch.rand(1, channels, 64, 96, generator=generator) for channels in (3, 1))
    inputs = CoreInputs(image, depth, torch.ones_like(depth), depth, torch.zeros(1, 1, 8, 12))
    features, log_b = torch.rand(1, 32, 16, 24, generator=generator), torch.full_like(depth, -3.0)
    with torch.no_grad():
        refined, doubt = core.refinement(inputs, features, depth, log_b)
    torch.testing.assert_close(refined, depth, rtol=0, atol=0.02)
    torch.testing.assert_close(doubt, log_b)


def test_result_is_positive_near_measurements_with_a_large_error_of_the_core():
    """The correction by a measurement that is far nearer than the core's depth must not make depth negative."""

    class Rough(NoCorrection):
        def forward(self, inputs):
            correction, log_b, keep = super().forward(inputs)
            column = torch.arange(inputs.sparse.shape[-1]) % 4
            return correction + torch.where(column < 2, 3.0, -3.0), log_b, keep

    depth = torch.zeros(1, 1, 64, 64)
    depth[..., ::3, ::3] = 0.5
    assert completed(Rough(keep=0.0), depth).min() > 0
