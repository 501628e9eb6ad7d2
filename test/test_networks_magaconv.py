"""MagaConv and BP-Fusion follow their paper: equations 3 to 7 equal plain loops."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.networks.magaconv import (  # noqa: E402
    BidFusion,
    CrossModalFusion,
    GatedDeconvolution,
    MagaConv,
    MagaConvLayer,
    rnc,
    shrink_mask,
)

torch.set_num_threads(1)


@pytest.mark.parametrize(("x", "expected"), [(0.0, 1.0), (math.log(4 / 3), 0.5), (math.log(2), 0.0), (5.0, 0.0)])
def test_reverse_and_cut_has_the_papers_values(x, expected):
    assert rnc(torch.tensor(x)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)])
def test_magaconv_equals_a_brute_force_loop(kernel, stride):
    """Equations 1 and 3 to 5 hold at every position, with zero padding for both depth and mask."""
    torch.manual_seed(0)
    layer = MagaConv(2, 3, kernel, stride)
    features, missing = torch.randn(1, 2, 8, 10), (torch.rand(1, 1, 8, 10) < 0.4).float()
    with torch.no_grad():
        answer = layer(features, missing)[0]
        epsilon = torch.sigmoid(layer.theta).item()
    weight, reach = layer.convolution.weight.detach(), kernel // 2
    assert answer.shape == (3, 8 // stride, 10 // stride)
    shut = 0
    for out in range(3):
        for i in range(0, 8, stride):
            for j in range(0, 10, stride):
                plain = unsuitable = 0.0
                for x in range(-reach, reach + 1):
                    for y in range(-reach, reach + 1):
                        if 0 <= i + x < 8 and 0 <= j + y < 10:
                            for channel in range(2):
                                w = weight[out, channel, x + reach, y + reach].item()
                                plain += w * features[0, channel, i + x, j + y].item()
                                unsuitable += abs(w) * missing[0, 0, i + x, j + y].item()
                gate = 2 * max(math.exp(-epsilon * unsuitable) - 0.5, 0)
                shut += gate == 0
                assert answer[out, i // stride, j // stride].item() == pytest.approx(gate * plain, abs=1e-4)
    assert shut < answer.numel()


def test_mask_shrinks_by_min_pooling_until_all_pixels_are_valid():
    """Equation 6: a pixel becomes valid when a pixel of its 3x3 window is valid."""
    missing = torch.ones(1, 1, 16, 16)
    missing[..., 8, 8] = 0
    sizes = [missing.sum().item()]
    for _ in range(9):
        before, missing = missing, shrink_mask(missing, 1)
        assert (missing <= before).all()
        sizes.append(missing.sum().item())
    assert sizes[1] == 256 - 9 and sizes[2] == 256 - 25 and sizes[-1] == 0
    loop = torch.ones(1, 1, 16, 16)
    loop[..., 8, 8] = 0
    halved = shrink_mask(loop, 2)
    for i in range(8):
        for j in range(8):
            window = loop[0, 0, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            assert halved[0, 0, i, j] == window.min()


def test_fully_measured_input_gives_a_plain_convolution_and_missing_input_gives_zero():
    torch.manual_seed(0)
    layer, x = MagaConv(4, 6, 3), torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, torch.zeros(1, 1, 8, 8)), layer.convolution(x))
        layer.theta += 1.0  # the initial value closes the gate only for kernels with the mean weight or more
        inside = layer(x, torch.ones(1, 1, 8, 8))[..., 1:-1, 1:-1]
        assert (inside == 0).all()


def test_layer_runs_kernels_3_5_7_on_a_third_of_the_channels_each():
    layer = MagaConvLayer(4, 12, stride=2)
    assert [head.convolution.kernel_size for head in layer.heads] == [(3, 3), (5, 5), (7, 7)]
    assert [head.convolution.out_channels for head in layer.heads] == [4, 4, 4]
    features, missing = layer(torch.randn(2, 4, 8, 8), torch.ones(2, 1, 8, 8))
    assert features.shape == (2, 12, 4, 4) and missing.shape == (2, 1, 4, 4)


def test_cross_modal_fusion_is_equivariant_to_position():
    """All positions share the MLP, so shuffling the positions of the input shuffles those of the result."""
    torch.manual_seed(0)
    fusion = CrossModalFusion(4)
    target, query = torch.randn(1, 4, 6, 5), torch.randn(1, 4, 6, 5)
    order = torch.randperm(30)

    def shuffled(x):
        return x.flatten(2)[..., order].unflatten(2, (6, 5))

    torch.testing.assert_close(fusion(shuffled(target), shuffled(query)), shuffled(fusion(target, query)))


def test_cross_modal_fusion_equals_equation_7_for_one_slice():
    """Three heads for each channel; one MLP for all of them; ReLU(c + t')·sigmoid(g)."""
    torch.manual_seed(0)
    fusion = CrossModalFusion(2)
    target, query = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    with torch.no_grad():
        slices = fusion.expand_target(target), fusion.expand_query(query)
        assert slices[0].shape == (1, 6, 3, 3)
        t, q = (s[0, 4, 1, 2] for s in slices)
        correction, gate = fusion.mlp(torch.stack([t, q]).view(1, 2, 1, 1)).flatten()
        expected = torch.relu(correction + t) * torch.sigmoid(gate)
        fusion.fuse.weight.zero_()
        fusion.fuse.bias.zero_()
        fusion.fuse.weight[0, 4] = 1.0
        assert fusion(target, query)[0, 0, 1, 2].item() == pytest.approx(expected.item(), abs=1e-6)


def test_fusion_changes_both_depth_and_colour():
    torch.manual_seed(0)
    fusion = BidFusion(4)
    depth, colour = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
    new_depth, new_colour = fusion(depth, colour)
    other_depth, _ = fusion(depth, colour + 1)
    _, other_colour = fusion(depth + 1, colour)
    assert not torch.allclose(new_depth, other_depth) and not torch.allclose(new_colour, other_colour)


def test_gated_deconvolution_doubles_the_size_and_a_closed_gate_gives_zero():
    layer, x = GatedDeconvolution(3, 2), torch.randn(1, 3, 4, 6)
    assert layer(x).shape == (1, 2, 8, 12)
    with torch.no_grad():
        layer.gate.bias.fill_(-100)
    assert layer(x).abs().max() < 1e-10
