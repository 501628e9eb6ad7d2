"""All networks follow the contract of networks/completion_network.py."""

from __future__ import annotations

import copy
import functools

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.networks import BASES, SIZES, create, method, names  # noqa: E402
from depth_completion_ros.networks.completion_network import CompletionNetwork  # noqa: E402
from depth_completion_ros.networks.hole_filling import HoleFilling  # noqa: E402

torch.set_num_threads(1)
HEIGHT, WIDTH = 64, 96
NETWORKS = (*names(), *BASES)
ALL = [(name, size) for name in NETWORKS for size in SIZES]

# Networks whose untrained result is the prefill at full resolution.
FULL_RESOLUTION = [name for name in NETWORKS if not method(name).half_resolution]

# Untrained, ``planes`` changes the prefill a little: otherwise some of its layers would get no gradient.
PREFILL_TOLERANCE = {"planes": 0.05}
# Relative distance between neighbouring bfloat16 numbers. Kernels round at different places, so limits are several
# times larger.
BFLOAT16_STEP = 2**-8
# Parameters in millions at size full according to the papers.
PAPER_MILLIONS = {"nlspn": 25.84, "unet": 29.0, "magaconv": 48.0}


def frame(batch=1, height=HEIGHT, width=WIDTH, measured=0.3, seed=0):
    """Return a random image, depth of a slanted plane with a step, and its scale.

    Random pixels of the left half are measured; ``measured`` is their share.
    """
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, height, width, generator=generator)
    plane = 2 + torch.linspace(0, 3, width).expand(batch, 1, height, width).clone()
    plane[..., height // 2 :, :] *= 0.6
    depth = plane + 0.02 * torch.randn(plane.shape, generator=generator)
    depth *= torch.rand(depth.shape, generator=generator) < measured
    depth[..., width // 2 :] = 0
    scale = torch.stack([d[d > 0].median() if (d > 0).any() else torch.tensor(1.0) for d in depth]).view(-1, 1, 1, 1)
    return image, depth, scale


def stir(network):
    """Add noise to all weights, more in the heads, so that zero-initialised layers have an effect."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            step = 0.2 if "head." in name else 0.02
            parameter += step * torch.randn(parameter.shape, generator=generator)
    return network


@functools.cache
def _stirred(name, size):
    torch.manual_seed(0)
    return stir(create(name, size)).eval()


def stirred(name, size="small") -> CompletionNetwork:
    """Return a copy of a network with noise added to its weights (``stir``)."""
    return copy.deepcopy(_stirred(name, size))


@pytest.mark.parametrize(("name", "size"), ALL)
def test_completes_a_frame_with_finite_positive_depth(name, size):
    image, depth, scale = frame(2, 64, 64)
    with torch.no_grad():
        completed, sigma = stirred(name, size)(image, depth, scale)
    assert completed.shape == sigma.shape == (2, 1, 64, 64)
    assert completed.dtype == sigma.dtype == torch.float32
    assert (
        torch.isfinite(completed).all() and (completed > 0).all() and torch.isfinite(sigma).all() and (sigma > 0).all()
    )


@pytest.mark.parametrize(("name", "size"), ALL)
def test_parameter_count_equals_the_papers_or_is_small(name, size):
    with torch.device("meta"):
        network = create(name, size)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    if size == "small":
        assert millions <= 5
    elif name in PAPER_MILLIONS:
        assert millions == pytest.approx(PAPER_MILLIONS[name], rel=0.05)


@pytest.mark.parametrize("name", FULL_RESOLUTION)
def test_untrained_network_returns_the_prefill(name):
    """Training starts from the result of the hole filling."""
    image, depth, scale = frame()
    torch.manual_seed(0)
    with torch.no_grad():
        completed, _ = create(name).eval()(image, depth, scale)
    known = depth > 0
    sparse = torch.log(torch.where(known, depth / scale, torch.ones(())))
    guide = image if "image" in method(name).inputs else None
    expected = scale * HoleFilling()(sparse, known.float(), guide)[0].exp()
    torch.testing.assert_close(completed, expected, rtol=PREFILL_TOLERANCE.get(name, 1e-5), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name):
    network = stirred(name).train()
    image, depth, scale = frame(2, 64, 160)
    depth[..., 20:] = 0  # a hole so wide that the masks of the deepest layers still contain missing pixels
    completed, sigma = network(image, depth, scale)
    weights = torch.rand(completed.shape)
    ((completed * weights).mean() + (sigma * weights.flip(-1)).mean()).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    broken = [n for n, p in network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    assert without == [] and broken == []


@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_gives_finite_gradients_and_a_similar_result(name):
    """Spectra, coordinates, statistics and prefill stay in float32 under autocast."""
    network = stirred(name)
    image, depth, scale = frame()
    with torch.no_grad():
        exact, _ = network(image, depth, scale)
    with torch.autocast("cpu", torch.bfloat16):
        completed, sigma = network(image, depth, scale)
    assert completed.dtype == sigma.dtype == torch.float32
    ratio = torch.log(completed / exact)
    assert ratio.abs().median() < 8 * BFLOAT16_STEP
    (completed.mean() + sigma.mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(32, 32), (96, 64), (32, 160)])
def test_images_of_any_multiple_of_32_are_accepted(name, shape):
    with torch.no_grad():
        completed, _ = stirred(name)(*frame(1, *shape))
    assert completed.shape[-2:] == shape


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_that_are_not_multiples_of_32_are_rejected_with_a_fix(name):
    with pytest.raises(ValueError, match=r"multiples of 32.*pad"):
        stirred(name)(*frame(1, 48, 64))


@pytest.mark.parametrize("name", NETWORKS)
def test_same_input_gives_the_same_output(name):
    network, inputs = stirred(name), frame()
    with torch.no_grad():
        first, second = network(*inputs), network(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("factor", [0.05, 3.7, 40.0])
def test_scaled_depth_gives_scaled_result(name, factor):
    """The result does not depend on the unit of depth or on the size of the scene."""
    network = stirred(name)
    image, depth, scale = frame()
    with torch.no_grad():
        completed, sigma = network(image, depth, scale)
        scaled, scaled_sigma = network(image, depth * factor, scale * factor)
    torch.testing.assert_close(scaled, completed * factor, rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled_sigma, sigma * factor, rtol=3e-3, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_measured_still_gives_finite_depth(name):
    image, depth, scale = frame(measured=0)
    with torch.no_grad():
        completed, sigma = stirred(name)(image, depth, scale)
    assert (
        torch.isfinite(completed).all() and (completed > 0).all() and torch.isfinite(sigma).all() and (sigma > 0).all()
    )


@pytest.mark.parametrize("name", FULL_RESOLUTION)
def test_untrained_network_keeps_all_measured_pixels(name):
    image, _, scale = frame()
    depth = 1 + torch.rand(1, 1, HEIGHT, WIDTH)
    torch.manual_seed(0)
    with torch.no_grad():
        completed, _ = create(name).eval()(image, depth, scale)
    torch.testing.assert_close(completed, depth, rtol=PREFILL_TOLERANCE.get(name, 1e-5), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_frames_of_a_batch_do_not_affect_each_other(name):
    network = stirred(name)
    image, depth, scale = frame(2)
    depth[1] *= 7
    scale[1] *= 7
    with torch.no_grad():
        together = network(image, depth, scale)
        alone = network(image[:1], depth[:1], scale[:1])
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[:1], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_result_depends_on_exactly_the_inputs_that_the_method_lists(name):
    network = stirred(name)
    image, depth, scale = frame()
    with torch.no_grad():
        completed, _ = network(image, depth, scale)
        other_image, _ = network(image.flip(-1), depth, scale)
        other_depth, _ = network(image, depth.flip(-2), scale)
    assert not torch.equal(completed, other_depth)
    assert torch.equal(completed, other_image) == ("image" not in method(name).inputs)


def test_unknown_names_and_sizes_are_rejected_with_the_valid_values():
    with pytest.raises(ConfigurationError, match="lite"):
        create("resnet")
    with pytest.raises(ConfigurationError, match="small"):
        create("lite", "huge")
