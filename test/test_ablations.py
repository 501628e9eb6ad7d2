"""Ablations: a variant differs from its method only in the named part, and an interrupted command can continue."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from test_networks import frame, stir  # noqa: E402
from test_training_batches import write_ramp  # noqa: E402

from depth_completion_ros.cli import main  # noqa: E402
from depth_completion_ros.networks import create, method  # noqa: E402
from depth_completion_ros.networks.nlspn import Propagation  # noqa: E402
from depth_completion_ros.networks.s2ml import SpectralFusion  # noqa: E402
from depth_completion_ros.networks.spectrum import polar, rfft2  # noqa: E402
from depth_completion_ros.training.ablations import METHODS, variants  # noqa: E402
from depth_completion_ros.training.ablations.magaconv import PartialConv, PartialConvLayer  # noqa: E402
from depth_completion_ros.training.ablations.nlspn import AbsSum, AbsSumStar, LocalNeighbours, TanhC  # noqa: E402
from depth_completion_ros.training.ablations.results import Result, table  # noqa: E402
from depth_completion_ros.training.ablations.s2ml import AmplitudeFusion, PhaseFusion  # noqa: E402
from depth_completion_ros.training.ablations.variant import METHOD  # noqa: E402
from depth_completion_ros.training.recipe import read_splits  # noqa: E402

torch.set_num_threads(1)
ALL = [variant for method in METHODS for variant in variants(method)]
NAMES = [f"{variant.method}-{variant.name}" for variant in ALL]


def built(method: str, name: str):
    """Build a variant with the same random weights in every call."""
    torch.manual_seed(0)
    return next(variant for variant in variants(method) if variant.name == name).build()


@pytest.mark.parametrize("variant", ALL, ids=NAMES)
def test_every_parameter_of_every_variant_gets_a_gradient(variant):
    """The table counts only parameters that are used."""
    network = stir(built(variant.method, variant.name)).train()
    image, depth, scale = frame(2, 64, 160)
    depth[..., 20:] = 0  # a hole so wide that the masks of the deepest layers still contain missing pixels
    completed, sigma = network(image, depth, scale)
    assert completed.shape == sigma.shape == depth.shape
    weights = torch.rand(completed.shape)
    ((completed * weights).mean() + (sigma * weights.flip(-1)).mean()).backward()
    gradients = {n: p.grad for n, p in network.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all() or not g.abs().sum() > 0] == []


@pytest.mark.parametrize("method", METHODS)
def test_unchanged_parts_of_variants_start_with_the_weights_of_the_method(method):
    torch.manual_seed(0)
    own = create(method).state_dict()
    names = set()
    for variant in variants(method):
        state = built(method, variant.name).state_dict()
        assert all(torch.equal(state[name], own[name]) for name in state.keys() & own.keys())
        assert len(state.keys() & own.keys()) > len(own) // 3
        names.add(variant.name)
    assert len(names) == len(variants(method)) and variants(method)[0].name == METHOD


@pytest.mark.parametrize(("name", "count"), [(METHOD, 2), ("1 pair", 1), ("3 pairs", 3)])
def test_variants_have_the_named_number_of_pairs_and_every_second_one_is_shifted(name, count):
    pairs = built("s2ml", name).core.pairs
    assert [pair.spatial.attention.shift > 0 for pair in pairs] == [i % 2 == 1 for i in range(count)]


def spectra(kind):
    """Return amplitude and phase of depth features before and after a spectral fusion of this kind."""
    torch.manual_seed(0)
    fusion, depth, image = stir(kind(4)), torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        return [polar(*rfft2(x)) for x in (depth, fusion(depth, image))]


def test_variants_keep_the_amplitude_or_the_phase_that_they_name():
    kept = {}
    for kind in (SpectralFusion, AmplitudeFusion, PhaseFusion):
        (amplitude, cos, _), (new_amplitude, new_cos, _) = spectra(kind)
        inner = (..., slice(1, 8), slice(1, 8))  # a real image has no free phase at the other frequencies
        pairs = (amplitude, new_amplitude), (cos, new_cos)
        kept[kind] = tuple(torch.allclose(a[inner], b[inner], rtol=1e-3, atol=1e-3) for a, b in pairs)
    assert kept == {SpectralFusion: (False, False), AmplitudeFusion: (False, True), PhaseFusion: (True, False)}


@pytest.mark.parametrize(("name", "uses_colour"), [("neither", False), ("colour in space", True), ("0 pairs", True)])
def test_core_without_spectrum_uses_colour_as_configured(name, uses_colour):
    network = stir(built("s2ml", name)).eval()
    with torch.no_grad():
        inputs = network.normalise(*frame(1, 64, 64))
        answers = [network.core(inputs._replace(image=image))[0] for image in (inputs.image, 0 * inputs.image)]
    assert torch.equal(*answers) != uses_colour


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2)])
def test_partial_convolution_equals_a_brute_force_loop(kernel, stride):
    """Equation 1 of Liu et al. holds at every position; all pixels beyond the border are missing."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(2, 3, kernel, stride, kernel // 2, bias=False)
    features, missing = torch.randn(1, 2, 6, 8), (torch.rand(1, 1, 6, 8) < 0.8).float()
    with torch.no_grad():
        answer = PartialConv(convolution)(features, missing)[0]
    weight, reach, empty = convolution.weight.detach(), kernel // 2, 0
    for i in range(0, 6, stride):
        for j in range(0, 8, stride):
            total, count = torch.zeros(3), 0
            for x in range(-reach, reach + 1):
                for y in range(-reach, reach + 1):
                    if 0 <= i + x < 6 and 0 <= j + y < 8 and not missing[0, 0, i + x, j + y]:
                        total += weight[:, :, x + reach, y + reach] @ features[0, :, i + x, j + y]
                        count += 1
            expected = total * kernel**2 / count if count else total
            empty += count == 0
            torch.testing.assert_close(answer[:, i // stride, j // stride], expected, rtol=1e-4, atol=1e-4)
    assert empty or kernel > 3


def test_partial_convolution_extends_valid_pixels_by_its_widest_window():
    layer = built("magaconv", "partial").core.depth_encoder[0].layers[1]
    assert isinstance(layer, PartialConvLayer) and layer.stride == 1
    missing = torch.ones(1, 1, 16, 16)
    missing[..., 8, 8] = 0
    channels = method("magaconv").sizes["small"]["channels"][0]
    _, after = layer(torch.randn(1, channels, 16, 16), missing)
    expected = torch.ones(1, 1, 16, 16)
    expected[..., 5:12, 5:12] = 0
    assert torch.equal(after, expected)


@pytest.mark.parametrize(("name", "same"), [(METHOD, False), ("partial", False), ("plain", True), ("baseline", True)])
def test_plain_convolutions_ignore_the_mask(name, same):
    block = built("magaconv", name).core.depth_encoder[0].eval()
    features = torch.randn(1, 2, 16, 16)
    missing = (torch.rand(1, 1, 16, 16) < 0.5).float()
    with torch.no_grad():
        answers = [block(features, mask)[0] for mask in (missing, torch.zeros_like(missing))]
    assert torch.equal(*answers) == same


@pytest.mark.parametrize(("name", "present"), [(METHOD, True), ("no BP-Fusion", False), ("baseline", False)])
def test_bp_fusion_is_present_as_configured(name, present):
    network = built("magaconv", name)
    assert any("to_colour" in parameter for parameter, _ in network.named_parameters()) == present


def test_local_propagation_equals_a_convolution_of_the_3x3_neighbours():
    torch.manual_seed(0)
    propagation = Propagation(3)
    propagation.neighbours = LocalNeighbours(8)
    torch.nn.init.normal_(propagation.neighbours.affinity.weight)
    initial, guidance, confidence = torch.randn(1, 1, 7, 9), torch.randn(1, 8, 7, 9), torch.rand(1, 1, 7, 9)
    nothing = torch.zeros_like(initial)

    def neighbours(x):
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return torch.nn.functional.unfold(padded, 3).view(1, 9, 7, 9)[:, [0, 1, 2, 3, 5, 6, 7, 8]]

    with torch.no_grad():
        answer = propagation(initial, guidance, confidence, nothing, nothing)
        weights = propagation.affinities(propagation.neighbours.affinity(guidance), neighbours(confidence))
        expected = initial
        for _ in range(3):
            expected = expected + (weights * (neighbours(expected) - expected)).sum(dim=1, keepdim=True)
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)


def test_weights_of_each_normalisation_have_the_sums_of_its_definition():
    torch.manual_seed(0)
    raw, confidence = torch.randn(2, 8, 4, 5), torch.rand(2, 8, 4, 5)

    def weights(kind, factor):
        return kind(1).affinities(factor * raw, confidence)

    for factor in (0.0, 0.01, 10.0):
        sums = weights(AbsSum, factor).abs().sum(dim=1)
        torch.testing.assert_close(sums, torch.ones_like(sums))
        assert (weights(AbsSumStar, factor).abs().sum(dim=1) <= 1).all()
    torch.testing.assert_close(weights(AbsSumStar, 0.01), 0.01 * raw * confidence)
    torch.testing.assert_close(weights(AbsSumStar, 10.0).abs().sum(dim=1), torch.ones(2, 4, 5), rtol=1e-3, atol=0)
    torch.testing.assert_close(weights(TanhC, 3.0), torch.tanh(3 * raw) / 8 * confidence)


@pytest.mark.parametrize("kind", [AbsSumStar, TanhC])
def test_these_normalisations_start_without_propagation(kind):
    """The method's own normalisation does so too; only AS cannot."""
    torch.manual_seed(0)
    initial, guidance, confidence = torch.randn(1, 1, 7, 9), torch.randn(1, 8, 7, 9), torch.rand(1, 1, 7, 9)
    nothing = torch.zeros_like(initial)
    assert torch.equal(kind(2)(initial, guidance, confidence, nothing, nothing), initial)


def test_variant_without_confidence_uses_a_confidence_of_one():
    core = built("nlspn", "no confidence").core
    x = torch.randn(1, 64, 4, 6)
    assert torch.equal(core.confidence_head(torch.cat([core.confidence(x), x], dim=1)), torch.ones(1, 1, 4, 6))


def test_without_relative_depth_its_channel_is_zero():
    network = built("unet", "no relative depth")
    assert not network.core.relative_depth(torch.rand(1, 3, 64, 64)).any()
    assert not any("relative_depth" in name for name in network.state_dict())


def test_documentation_names_every_variant():
    text = (Path(__file__).parent.parent / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert [v.name for v in ALL if f"| {v.method} | {v.name} |" not in text] == []


def result(variant: str, seed: int, rmse: float) -> Result:
    return Result("unet", variant, seed, 1500000, rmse, 0.5, 2.0, 600, 4, 128, 2, "CPU, 1 threads", "c0ffee", "abc")


def test_table_compares_seed_by_seed():
    """A seed that is better for all variants does not affect the changes."""
    other = variants("unet")[1].name
    text = table([result(METHOD, 0, 0.8), result(METHOD, 1, 0.6), result(other, 0, 0.88), result(other, 1, 0.66)])
    method, changed = (line for line in text.splitlines() if line.startswith("| unet"))
    assert "| 1.500 M | 0.700 (0.600 to 0.800) | 0.500 (0.500 to 0.500) |  |  | 2.00 |" in method
    assert "| 0.770 (0.660 to 0.880) |" in changed and "| +10.0 % (+10.0 % to +10.0 %) | +0.0 % " in changed
    assert (
        "600 steps, batch 4, crop 128, validation frames of each set: 2; seeds 0, 1; CPU, 1 threads, commit c0ffee."
        in text
    )


def test_interrupted_command_continues_and_writes_the_table(tmp_path, capsys):
    splits = read_splits()
    for name in (*splits.train, *splits.validation):
        write_ramp(tmp_path / "data" / name)
    out = tmp_path / "out"
    settings = ("batch=2", "crop=32", "precision=float32", "profile=kinect", "sources={real: 1.0}")
    folders = ["--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), "--out", str(out)]
    options = [*folders, "--device", "cpu", "--validation-frames", "1", *(f"--set={setting}" for setting in settings)]

    def ablate(*extra: str) -> int:
        return main(["ablate", "unet", *options, *extra])

    assert ablate("--steps", "1", "--seeds", "0") == 0
    path = out / "ablations.csv"
    first, second = rows = list(csv.DictReader(path.open()))
    assert [row["variant"] for row in rows] == [METHOD, "no relative depth"]
    assert int(first["parameters"]) > int(second["parameters"]) and float(first["rmse"]) > 0
    assert (out / "ablations.md").read_text(encoding="utf-8") == capsys.readouterr().out

    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert ablate("--steps", "1", "--seeds", "0") == 0
    assert path.read_text(encoding="utf-8").startswith("".join(lines[:-1])), "existing rows are kept"
    again = list(csv.DictReader(path.open()))[-1]
    assert {**again, "steps_per_s": ""} == {**second, "steps_per_s": ""}, "the same batches, steps and scores"

    assert ablate("--steps", "2", "--seeds", "0") == 1
    assert "use another --out" in capsys.readouterr().err
