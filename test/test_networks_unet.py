"""The super-resolution U-Net follows its report: AdaIN, NAFNet blocks and exchangeable relative depth."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.networks.export import export_onnx  # noqa: E402
from depth_completion_ros.networks.relative_depth import load_relative_depth, normalise_by_quantiles  # noqa: E402
from depth_completion_ros.networks.unet import ChannelNorm, NafBlock, adain  # noqa: E402

torch.set_num_threads(1)


def test_adain_result_has_the_statistics_of_the_depth_features():
    torch.manual_seed(0)
    relative, depth = 5 + 3 * torch.randn(2, 4, 16, 24), -2 + 0.5 * torch.randn(2, 4, 16, 24)
    fused = adain(relative, depth)
    for statistic in (torch.mean, lambda x, dim: x.std(dim=dim, correction=0)):
        torch.testing.assert_close(statistic(fused, dim=(2, 3)), statistic(depth, dim=(2, 3)), rtol=1e-3, atol=1e-4)


def test_adain_keeps_the_pattern_of_the_relative_depth():
    """The result does not depend on the scale and shift of the relative depth."""
    torch.manual_seed(0)
    relative, depth = torch.randn(1, 2, 16, 24), torch.randn(1, 2, 16, 24)
    torch.testing.assert_close(adain(relative * 40 + 7, depth), adain(relative, depth), rtol=1e-3, atol=1e-3)


def test_adain_in_half_precision_is_finite_for_large_features():
    """The squares of values above 256 exceed the range of float16, so the statistics must be float32."""
    features = (1000 + 100 * torch.randn(1, 2, 16, 16)).half()
    assert torch.isfinite(adain(features, features)).all()


def test_nafnet_block_is_an_identity_until_its_scale_is_trained():
    torch.manual_seed(0)
    block, x = NafBlock(6), torch.randn(2, 6, 8, 8)
    assert torch.equal(block(x), x)
    with torch.no_grad():
        block.beta.fill_(1)
    assert not torch.allclose(block(x), x)


def test_norm_is_over_the_channels_of_each_pixel():
    x = torch.randn(2, 16, 4, 4) * 9 + 3
    normed = ChannelNorm(16)(x)
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(2, 4, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(normed.std(dim=1, correction=0), torch.ones(2, 4, 4), rtol=1e-3, atol=0)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_low_resolution_depth_is_completed_to_the_resolution_of_the_image(factor):
    """Super-resolution x1, x2, x4, x8: low-resolution depth is a regular pattern of pixels of the image."""
    image, _, scale = frame()
    low = 1 + torch.rand(1, 1, 64 // factor, 96 // factor)
    depth = torch.zeros(1, 1, 64, 96)
    depth[..., factor // 2 :: factor, factor // 2 :: factor] = low
    with torch.no_grad():
        completed, _ = stirred("unet")(image, depth, scale)
    assert completed.shape == depth.shape and torch.isfinite(completed).all() and (completed > 0).all()


def test_another_source_of_relative_depth_changes_the_result():
    class Brightness(torch.nn.Module):
        def forward(self, image):
            return image.mean(dim=1, keepdim=True)

    network = stirred("unet")
    inputs = frame()
    with torch.no_grad():
        own, _ = network(*inputs)
        network.core.relative_depth = Brightness()
        other, _ = network(*inputs)
    assert not torch.equal(own, other)


def test_quantiles_become_0_and_1():
    x = torch.linspace(3, 9, 64 * 96).view(1, 1, 64, 96)
    normed = normalise_by_quantiles(x)
    pooled = torch.nn.functional.avg_pool2d(normed, 16)
    assert pooled.min().item() == pytest.approx(0, abs=1e-4) and pooled.max().item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(normalise_by_quantiles(5 * x - 2), normed, rtol=1e-4, atol=1e-4)


def test_relative_depth_from_an_onnx_file_works_but_cannot_be_exported(tmp_path):
    pytest.importorskip("onnxruntime", reason="relative depth from ONNX needs ONNX Runtime")
    pytest.importorskip("onnxscript", reason="making the ONNX file needs onnxscript")

    class Darkness(torch.nn.Module):
        def forward(self, pixels):
            return -pixels.mean(dim=1)

    path = tmp_path / "darkness.onnx"
    torch.onnx.export(Darkness().eval(), (torch.zeros(1, 3, 70, 98),), path, dynamo=True, optimize=False, verbose=False)
    network = stirred("unet")
    network.core.relative_depth = load_relative_depth(path)
    image, depth, scale = frame()
    relative = network.core.relative_depth(image)
    assert relative.shape == depth.shape and relative.std() > 0
    brightness = image.mean(dim=1, keepdim=True)
    assert torch.corrcoef(torch.stack([relative.flatten(), brightness.flatten()]))[0, 1] < -0.3
    with torch.no_grad():
        assert torch.isfinite(network(image, depth, scale)[0]).all()
    with pytest.raises(Exception, match="cannot be exported"):
        export_onnx(network, tmp_path / "unet.onnx", 64, 96)


def test_relative_depth_from_a_transformers_folder_works_and_trains(tmp_path):
    """The folder contains a tiny Depth Anything V2 with random weights, written by the transformers library."""
    transformers = pytest.importorskip("transformers", reason="relative depth from a folder needs transformers")
    backbone = transformers.Dinov2Config(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=2, out_indices=[1, 2], reshape_hidden_states=False
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=12,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[4, 8],
        fusion_hidden_size=4,
        head_hidden_size=4,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(tmp_path)
    network = stirred("unet")
    network.core.relative_depth = load_relative_depth(tmp_path)
    image, depth, scale = frame()
    completed, _ = network(image, depth, scale)
    completed.mean().backward()
    assert completed.shape == depth.shape and torch.isfinite(completed).all()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.core.relative_depth.parameters())


def test_a_path_without_a_network_file_is_reported_with_a_fix(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    pytest.importorskip("onnxruntime", reason="relative depth from ONNX needs ONNX Runtime")
    with pytest.raises(ConfigurationError, match="transformers folder"):
        load_relative_depth(tmp_path / "broken.onnx")
