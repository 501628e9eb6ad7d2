"""S2ML follows its paper: spectra, separate fusion of amplitude and phase, window attention, pairs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros.networks import create  # noqa: E402
from depth_completion_ros.networks.s2ml import (  # noqa: E402
    Pair,
    S2ml,
    SpectralFusion,
    WindowAttention,
    departition,
    partition,
)
from depth_completion_ros.networks.spectrum import irfft2, polar, radius, rfft2  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize("shape", [(8, 8), (120, 160), (24, 40), (9, 14)])
def test_transform_with_matrix_products_equals_torch_fft(shape):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *shape)
    real, imaginary = rfft2(x)
    expected = torch.fft.rfft2(x, norm="ortho")
    torch.testing.assert_close(torch.complex(real, imaginary), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(irfft2(real, imaginary), x, rtol=1e-4, atol=1e-4)


def test_inverse_equals_torch_fft_on_spectra_that_no_image_has():
    """After the fusion, a spectrum need not be that of a real image."""
    torch.manual_seed(0)
    real, imaginary = torch.randn(1, 2, 16, 13), torch.randn(1, 2, 16, 13)
    expected = torch.fft.irfft2(torch.complex(real, imaginary), s=(16, 24), norm="ortho")
    torch.testing.assert_close(irfft2(real, imaginary), expected, rtol=1e-4, atol=1e-4)


def test_radius_is_the_frequency_of_each_bin():
    rows, columns = torch.fft.fftfreq(12), torch.fft.rfftfreq(20)
    torch.testing.assert_close(radius(12, 11, torch.device("cpu")), torch.hypot(rows[:, None], columns[None, :]))


def test_phases_have_unit_norm_even_where_there_is_no_amplitude():
    torch.manual_seed(0)
    real, imaginary = torch.randn(4, 50), torch.randn(4, 50)
    real[0], imaginary[0] = 0, 0
    real[1] *= 1e8
    amplitude, cos, sin = polar(real, imaginary)
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones(4, 50), rtol=0, atol=1e-3)
    torch.testing.assert_close(amplitude[2:], torch.hypot(real, imaginary)[2:], rtol=1e-3, atol=1e-5)


def test_fused_phases_have_unit_norm_and_attention_blends_depth_and_image():
    torch.manual_seed(0)
    fusion = SpectralFusion(3)
    _, *depth = polar(*rfft2(torch.randn(1, 3, 16, 16)))
    _, *image = polar(*rfft2(torch.randn(1, 3, 16, 16)))
    logs = torch.randn(1, 6, 16, 9)
    with torch.no_grad():
        cos, sin = fusion.fuse_phase(depth, image, logs)
        torch.testing.assert_close(cos.square() + sin.square(), torch.ones_like(cos), rtol=0, atol=1e-3)
        fusion.attention.weight.zero_()
        for bias, source in ((-30.0, depth), (30.0, image)):
            fusion.attention.bias.fill_(bias)
            fused = fusion.fuse_phase(depth, image, logs)
            for part, expected in zip(fused, source, strict=True):
                torch.testing.assert_close(part, expected, rtol=1e-3, atol=1e-3)


def test_low_frequencies_are_scaled_and_high_ones_gated():
    fusion = SpectralFusion(1)
    with torch.no_grad():
        fusion.low_scale.fill_(3.0)
        fusion.high_gate.weight.zero_()
        fusion.high_gate.bias.fill_(-30.0)  # shut
        fused = fusion.fuse_amplitude(torch.ones(1, 1, 32, 17), torch.zeros(1, 2, 32, 17))[0, 0]
    frequency = radius(32, 17, torch.device("cpu"))
    torch.testing.assert_close(fused[0, 0], torch.tensor(3.0), rtol=0.02, atol=0)
    assert (fused[frequency > 0.3] < 1e-3).all()


def test_spectral_fusion_that_changes_nothing_returns_the_depth_features():
    torch.manual_seed(0)
    fusion, depth, image = SpectralFusion(2), torch.randn(1, 2, 16, 24), torch.randn(1, 2, 16, 24)
    with torch.no_grad():
        for layer, bias in ((fusion.high_gate, 30.0), (fusion.attention, -30.0)):
            layer.weight.zero_()
            layer.bias.fill_(bias)
        torch.testing.assert_close(fusion(depth, image), depth, rtol=1e-3, atol=1e-3)


def test_splitting_into_windows_is_reversible():
    x = torch.randn(2, 16, 24, 5)
    windows = partition(x)
    assert windows.shape == (2, 6, 64, 5)
    assert torch.equal(windows[1, 4], x[1, 8:16, 8:16].reshape(64, 5))
    assert torch.equal(departition(windows, 16, 24), x)


def test_attention_depends_only_on_its_window():
    torch.manual_seed(0)
    attention, x = WindowAttention(4, 2, shift=False), torch.randn(1, 16, 24, 4)
    moved = x.clone()
    moved[:, 3, 3] += 1
    changed = (attention(x) - attention(moved)).abs().sum(dim=-1)[0] > 1e-6
    assert changed[:8, :8].all() and not changed[8:].any() and not changed[:, 8:].any()


def test_shifted_attention_does_not_wrap_around_the_border():
    torch.manual_seed(0)
    attention, x = WindowAttention(4, 2, shift=True), torch.randn(1, 16, 24, 4)
    moved = x.clone()
    moved[:, 0, 0] += 1
    changed = (attention(x) - attention(moved)).abs().sum(dim=-1)[0] > 1e-6
    assert changed[:4, :4].all() and not changed[4:].any() and not changed[:, 4:].any()


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_network_runs_the_given_number_of_pairs(pairs):
    """The paper's ablation varies this number."""
    core = S2ml(channels=(16,), fold=4, heads=2, pairs=pairs)
    assert len(core.pairs) == pairs
    called = []
    for index, pair in enumerate(core.pairs):
        pair.register_forward_hook(lambda *_, index=index: called.append(index))
    network = stirred("s2ml")
    network.core = core.eval()
    network(*frame())
    assert called == list(range(pairs))


def test_two_pairs_are_the_default():
    assert len(create("s2ml").core.pairs) == len(create("s2ml", "full").core.pairs) == 2


def test_transform_is_accurate_for_vga_images():
    """Angles from large products of frequency and position would be inaccurate in float32."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 480, 640)
    real, imaginary = rfft2(x)
    expected = torch.fft.rfft2(x.double(), norm="ortho")
    error = (torch.complex(real.double(), imaginary.double()) - expected).abs().max()
    assert error < 1e-4


def test_one_exported_pair_works_for_images_of_any_size(tmp_path):
    """The exported graph computes Fourier matrices, radii, windows and masks from the size of its inputs."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="it runs the graph")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript")
    torch.manual_seed(0)
    pair = Pair(4, heads=1, shift=True).eval()
    rows, columns = (torch.export.Dim(name, min=2, max=64) for name in ("rows", "columns"))
    sizes = {2: 8 * rows, 3: 8 * columns}
    torch.onnx.export(
        pair,
        (torch.rand(1, 4, 32, 40), torch.rand(1, 4, 32, 40)),
        tmp_path / "pair.onnx",
        dynamo=True,
        opset_version=20,
        input_names=("depth", "image"),
        dynamic_shapes=(sizes, sizes),
        optimize=False,  # as in networks/export.py
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "pair.onnx", providers=["CPUExecutionProvider"])
    for height, width in ((32, 40), (24, 64), (48, 16)):
        depth, image = torch.randn(2, 1, 4, height, width)
        with torch.no_grad():
            expected = pair(depth, image)
        (answer,) = session.run(None, {"depth": depth.numpy(), "image": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(answer), expected, rtol=1e-4, atol=1e-4)
