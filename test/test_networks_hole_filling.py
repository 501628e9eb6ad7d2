"""The filling of holes that every network starts from."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.hole_filling import Doubling, HoleFilling, cell_centres, pull  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def fill():
    return HoleFilling()


@pytest.mark.parametrize("autocast", [False, True])
def test_doubling_is_a_bilinear_resize_in_float32(autocast):
    """Under mixed precision too: rounded log-depth would move the prefill by up to 0.4 %."""
    x = torch.randn(2, 2, 5, 7)
    expected = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        torch.testing.assert_close(Doubling(2)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("coloured", [False, True])
def test_measured_pixels_and_their_range_are_kept(fill, coloured):
    torch.manual_seed(0)
    value, measured = torch.randn(2, 1, 64, 96), (torch.rand(2, 1, 64, 96) < 0.01).float()
    filled, distance = fill(value * measured, measured, torch.rand(2, 3, 64, 96) if coloured else None)
    assert torch.equal(filled[measured > 0], value[measured > 0])
    for one, known, full in zip(value, measured, filled, strict=True):
        assert full.min() >= one[known > 0].min() - 1e-5 and full.max() <= one[known > 0].max() + 1e-5
    assert (distance[measured > 0] == 0).all() and (distance[measured == 0] > 0).all()


def test_one_measured_corner_fills_the_whole_of_vga(fill):
    measured = torch.zeros(1, 1, 480, 640)
    measured[..., 0, 0] = 1
    filled, distance = fill(measured * 0.7, measured)
    torch.testing.assert_close(filled, torch.full_like(filled, 0.7), rtol=1e-4, atol=0)
    assert distance[0, 0, -1, -1] == distance.max()


def test_nothing_measured_gives_zero(fill):
    filled, distance = fill(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    assert (filled == 0).all() and torch.isfinite(distance).all()


def test_distance_is_that_to_the_measurements(fill):
    measured = torch.zeros(1, 1, 64, 256)
    measured[..., :4] = 1
    _, distance = fill(torch.zeros_like(measured), measured)
    for column in (20, 60, 120, 200):
        pixels = 2 ** (5 * distance[0, 0, 32, column].item()) - 1
        assert pixels == pytest.approx(column - 2, rel=0.15, abs=3)


def test_a_hole_takes_from_its_nearer_side(fill):
    """What plain push-pull lacks: it blends across the whole of its coarse cells."""
    value, measured = torch.zeros(1, 1, 64, 128), torch.zeros(1, 1, 64, 128)
    measured[..., :8] = measured[..., -8:] = 1
    value[..., -8:] = 1
    filled, _ = fill(value, measured)
    assert filled[0, 0, :, 24].max() < 0.1 and filled[0, 0, :, -24].min() > 0.9


def test_colour_decides_between_sides_that_are_equally_near(fill):
    """A hole over a colour edge that lies off its middle: depth follows the edge."""
    value, measured = torch.zeros(1, 1, 64, 128), torch.zeros(1, 1, 64, 128)
    measured[..., :32] = measured[..., -32:] = 1
    value[..., -32:] = 1
    image = torch.zeros(1, 3, 64, 128)
    image[..., 80:] = 0.8  # the middle of the hole is column 64
    guided, plain = fill(value, measured, image)[0], fill(value, measured)[0]
    between = slice(68, 77)
    assert guided[0, 0, :, between].mean() < 0.2 < plain[0, 0, :, between].mean()


def test_pull_equals_a_brute_force_loop():
    """Each finer cell: the mean of nine, weighted by 1 / (squared distance + core)³ and a Gaussian of colour."""
    torch.manual_seed(0)
    state = torch.cat([torch.randn(1, 1, 3, 4), 8 * torch.rand(1, 2, 3, 4)], dim=1)
    finer_guide, guide = torch.rand(1, 3, 6, 8), torch.rand(1, 3, 3, 4)
    centres = cell_centres(torch.empty(1, 1, 6, 8), 2)
    answer = pull(state, centres, finer_guide, guide, cell=4)
    for y in range(6):
        for x in range(8):
            total, weights = torch.zeros(3), 0.0
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    row, column = min(max(y // 2 + dy, 0), 2), min(max(x // 2 + dx, 0), 3)
                    cell = state[0, :, row, column]
                    offset = (torch.tensor([2 * y + 0.5, 2 * x + 0.5]) - cell[1:]) / 4
                    colour = (finer_guide[0, :, y, x] - guide[0, :, row, column]).square().sum() / (2 * 0.1**2)
                    weight = (offset.square().sum() + 0.1) ** -3 * torch.exp(-colour)
                    total, weights = total + weight * cell, weights + weight
            torch.testing.assert_close(answer[0, :, y, x], total / weights, rtol=1e-3, atol=1e-4)
