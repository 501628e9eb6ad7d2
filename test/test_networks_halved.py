"""Networks whose core works at half of the resolution: the filling that they start from, and the step to full size."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_completion_ros.networks import create  # noqa: E402
from depth_completion_ros.networks.halved import HalvedNetwork  # noqa: E402
from depth_completion_ros.networks.nearest import NearestFilling  # noqa: E402

torch.set_num_threads(1)


class Still(torch.nn.Module):
    """Corrects nothing, and holds measurements as far as ``keep``, a logit, says."""

    def __init__(self, keep: float):
        super().__init__()
        self.keep = keep

    def forward(self, inputs):
        zero = torch.zeros_like(inputs.sparse)
        return zero, zero - 3, zero + self.keep


def completed(core, depth, image=None):
    """Depth [m] of a halved network around a core, for depth (1, 1, H, W)."""
    image = torch.full((1, 3, *depth.shape[-2:]), 0.5) if image is None else image
    with torch.no_grad():
        return HalvedNetwork(core, "still", "small").eval()(image, depth, torch.full((1, 1, 1, 1), 2.0))[0]


def exact(measured):
    """Pixels to the nearest measurement, by comparing with all of them."""
    rows, columns = measured[0, 0].nonzero().T
    y, x = torch.meshgrid(*(torch.arange(size) for size in measured.shape[-2:]), indexing="ij")
    return ((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2).float().sqrt()


@pytest.mark.parametrize("share", [0.0005, 0.003, 0.03, 0.3])
def test_a_hole_takes_a_measurement_that_is_hardly_farther_than_the_nearest(share):
    generator = torch.Generator().manual_seed(3)
    measured = (torch.rand(1, 1, 96, 160, generator=generator) < share).float()
    measured[0, 0, 40, 100] = 1
    value = torch.rand(measured.shape, generator=generator) * measured
    filled, distance = NearestFilling()(value, measured)
    pixels = exact(measured)
    of_value = (filled[0, 0, ..., None] - value[measured > 0]).abs()
    assert of_value.min(dim=-1).values.max() < 1e-6, "nothing but measured values"
    taken = pixels.gather(-1, of_value.argmin(dim=-1, keepdim=True))[..., 0]
    assert (taken > pixels.amin(dim=-1) + 1e-3).float().mean() < 0.12
    assert (taken - pixels.amin(dim=-1)).mean() < 0.5
    told = torch.expm1(5 * distance[0, 0])
    torch.testing.assert_close(told, taken, rtol=0.01, atol=0.01)


def test_nothing_measured_fills_with_zero():
    filled, distance = NearestFilling()(torch.zeros(1, 1, 32, 48), torch.zeros(1, 1, 32, 48))
    assert not filled.any() and distance.min() == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.9))
def test_filled_values_lie_within_the_measured_ones(seed, share):
    generator = torch.Generator().manual_seed(seed)
    measured = (torch.rand(1, 1, 48, 80, generator=generator) < share).float()
    value = torch.randn(measured.shape, generator=generator) * measured
    filled, _ = NearestFilling()(value, measured)
    if measured.any():
        known = value[measured > 0]
        assert filled.min() >= known.min() - 1e-5 and filled.max() <= known.max() + 1e-5
        assert torch.equal(filled[measured > 0], known)


def test_of_four_measured_pixels_the_core_sees_the_nearest():
    """A mean would lie between the two sides of an edge, where nothing is."""
    seen = []

    class Watching(Still):
        def forward(self, inputs):
            seen.append(inputs)
            return super().forward(inputs)

    depth = torch.full((1, 1, 32, 32), 4.0)
    depth[..., ::2] = 1.0
    depth[..., :16, :] = 0
    completed(Watching(0.0), depth)
    assert seen[0].sparse.shape == (1, 1, 16, 16)
    torch.testing.assert_close(seen[0].sparse[..., 8:, :], torch.full((1, 1, 8, 16), 0.5).log())
    assert not seen[0].measured[..., :8, :].any() and seen[0].measured[..., 8:, :].all()


def test_measured_pixels_come_back_as_they_are_where_the_core_keeps_them():
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(1, 1, 64, 96, generator=generator)
    depth *= torch.rand(depth.shape, generator=generator) < 0.4
    result = completed(Still(keep=50.0), depth)
    torch.testing.assert_close(result[depth > 0], depth[depth > 0])
    assert result.min() > 0.99 and result.max() < 2.01


def test_the_last_step_follows_edges_of_colour():
    """Left of column 33 all is near and dark, right of it far and bright; the depth is measured here and there."""
    columns = torch.arange(64).expand(1, 1, 64, 64)
    truth = torch.where(columns < 33, 1.0, 3.0)
    image = torch.where(columns < 33, 0.1, 0.9).expand(1, 3, 64, 64)
    shown = truth * ((columns % 2 == 0) & (torch.arange(64).view(-1, 1) % 2 == 0))
    result = completed(Still(keep=50.0), shown, image)
    torch.testing.assert_close(result, truth, rtol=0.02, atol=0)


def test_training_works_at_the_cores_own_resolution():
    """What ``with_start`` returns is the answer before the last step, and the filled holes."""
    network = HalvedNetwork(Still(keep=50.0), "still", "small")
    depth = torch.zeros(2, 1, 32, 32)
    depth[..., 5, 5] = 2.0
    answer, log_b, start = network.with_start(torch.rand(2, 3, 32, 32), depth, torch.ones(2, 1, 1, 1))
    assert answer.shape == log_b.shape == start.shape == depth.shape
    torch.testing.assert_close(start, torch.full_like(start, 2.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(answer, start)


def test_an_untrained_lite_answers_with_little_but_the_filled_holes():
    """The other surfaces have a small share from the start, or no gradient would reach the choice."""
    torch.manual_seed(0)
    image, depth, scale = torch.rand(1, 3, 64, 96), 1 + torch.rand(1, 1, 64, 96), torch.ones(1, 1, 1, 1)
    depth *= torch.rand(depth.shape) < 0.1
    with torch.no_grad():
        answer, _, start = create("lite").eval().with_start(image, depth, scale)
    change = (answer / start).log().abs().mean()
    assert 0 < change < 0.2 * depth[depth > 0].log().std()
