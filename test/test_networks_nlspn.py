"""NLSPN follows its paper: propagation, affinities and preserved input."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.nlspn import Propagation, propagate, sample, sampling_grid  # noqa: E402

torch.set_num_threads(1)
NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
H, W = 7, 9


def bilinear(image, y, x):
    """Return the value of an (H, W) image at a position; pixel centres are integers, and the border is repeated."""
    height, width = image.shape
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    y0, x0 = min(math.floor(y), height - 2), min(math.floor(x), width - 2)
    fy, fx = y - y0, x - x0
    top = (1 - fx) * image[y0, x0] + fx * image[y0, x0 + 1]
    bottom = (1 - fx) * image[y0 + 1, x0] + fx * image[y0 + 1, x0 + 1]
    return (1 - fy) * top + fy * bottom


@pytest.fixture
def propagation():
    torch.manual_seed(0)
    module = Propagation(3)
    torch.nn.init.normal_(module.neighbours.weight, std=0.3)
    torch.nn.init.normal_(module.neighbours.bias, std=1.0)
    return module


@pytest.fixture
def given():
    torch.manual_seed(1)
    initial, sparse = torch.randn(1, 1, H, W), torch.randn(1, 1, H, W)
    measured = (torch.rand(1, 1, H, W) < 0.2).float()
    return initial, torch.randn(1, 8, H, W), torch.rand(1, 1, H, W), sparse * measured, measured


def test_propagation_equals_a_brute_force_loop(propagation, given):
    """Sections 3 and 4 pixel by pixel; measured depth is restored before every iteration."""
    initial, guidance, confidence, sparse, measured = given
    with torch.no_grad():
        answer = propagation(*given)[0, 0]
        predicted = propagation.neighbours(guidance)[0].double()
    gamma = propagation.gamma.item() + 1e-8

    depth = initial[0, 0].double()
    for _ in range(3):
        before = torch.where(measured[0, 0] > 0, sparse[0, 0].double(), depth)
        depth = torch.empty_like(before)
        for y in range(H):
            for x in range(W):
                places = [
                    (y + dy + float(predicted[2 * k, y, x]), x + dx + float(predicted[2 * k + 1, y, x]))
                    for k, (dy, dx) in enumerate(NEIGHBOURS)
                ]
                raw = [math.tanh(float(predicted[16 + k, y, x])) / gamma for k in range(8)]
                raw = [a * bilinear(confidence[0, 0].double(), *place) for a, place in zip(raw, places, strict=True)]
                norm = max(1.0, sum(abs(a) for a in raw) + 1e-4)
                weights = [a / norm for a in raw]
                depth[y, x] = (1 - sum(weights)) * before[y, x] + sum(
                    w * bilinear(before, *place) for w, place in zip(weights, places, strict=True)
                )
    torch.testing.assert_close(answer.double(), depth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gamma", [0.01, 0.5, 4.0])
def test_absolute_affinities_sum_to_at_most_one(propagation, given, gamma):
    """This bound keeps the propagation stable for every gamma."""
    with torch.no_grad():
        propagation.gamma.fill_(gamma)
        weights = propagation.affinities(5 * torch.randn(2, 8, H, W), torch.rand(2, 8, H, W))
    sums = weights.abs().sum(dim=1)
    assert (sums <= 1).all() and sums.max() > 0.1


def test_neighbours_without_confidence_are_ignored(propagation):
    confidence = torch.ones(1, 8, H, W)
    confidence[:, 3] = 0
    weights = propagation.affinities(torch.ones(1, 8, H, W), confidence)
    assert (weights[:, 3] == 0).all() and (weights[:, 4] > 0).all()


def test_every_iteration_starts_with_measured_depth(propagation, given):
    """If all pixels are measured, three iterations give the same result as one."""
    initial, guidance, confidence, sparse, _ = given
    everywhere = torch.ones(1, 1, H, W)
    with torch.no_grad():
        many = propagation(initial, guidance, confidence, sparse, everywhere)
        propagation.iterations = 1
        once = propagation(initial * 5, guidance, confidence, sparse, everywhere)
    torch.testing.assert_close(many, once)


def test_untrained_propagation_keeps_measured_pixels_and_the_initial_depth(given):
    initial, _, _, sparse, measured = given
    with torch.no_grad():
        answer = Propagation(18)(*given)
    assert torch.equal(answer[measured > 0], sparse[measured > 0])
    assert torch.equal(answer[measured == 0], initial[measured == 0])


def test_constant_depth_is_a_fixed_point(propagation, given):
    """The weights of the centre and its eight neighbours sum to 1."""
    _, guidance, confidence, _, _ = given
    flat = torch.full((1, 1, H, W), 0.7)
    with torch.no_grad():
        answer = propagation(flat, guidance, confidence, torch.zeros_like(flat), torch.zeros_like(flat))
    torch.testing.assert_close(answer, flat, rtol=1e-5, atol=1e-5)


def test_offset_of_one_pixel_reads_the_next_neighbour():
    """The y offset comes before the x offset, and offsets are relative to the neighbour."""
    values = torch.arange(H * W, dtype=torch.float32).view(1, 1, H, W)
    offsets = torch.zeros(1, 16, H, W)
    offsets[:, 0] = 2  # the first neighbour, up and left: two rows down makes it down and left
    read = sample(values, sampling_grid(offsets))
    assert read[0, 0, 3, 4] == values[0, 0, 4, 3]
    assert read[0, 7, 3, 4] == values[0, 0, 4, 5]


def test_grid_is_float32_in_half_precision_networks():
    assert sampling_grid(torch.zeros(1, 16, 4, 640, dtype=torch.float16)).dtype == torch.float32


def test_one_iteration_is_a_weighted_sum_of_neighbours():
    depth = torch.zeros(1, 1, 3, 3)
    depth[..., 0, 0], depth[..., 1, 1] = 8.0, 4.0
    weights = torch.zeros(1, 8, 3, 3)
    weights[:, 0] = 0.25
    assert propagate(depth, weights, sampling_grid(torch.zeros(1, 16, 3, 3)))[0, 0, 1, 1] == pytest.approx(5.0)
