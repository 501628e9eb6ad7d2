"""The factor of sigma: fitted to the errors of a network, kept in its weights, and part of its exported files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")
pytest.importorskip("safetensors", reason="weights files need it")

from frame_sets import write_set  # noqa: E402
from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros.cli import main  # noqa: E402
from depth_completion_ros.contract import INPUTS  # noqa: E402
from depth_completion_ros.networks.weights import (  # noqa: E402
    WeightedNetwork,
    load_weights,
    read_metadata,
    save_weights,
    weights_hash,
)
from depth_completion_ros.training import recipe  # noqa: E402
from depth_completion_ros.training.calibration import LEVELS, coverage, error_ratios, fit_factor  # noqa: E402
from depth_completion_ros.training.sources import recorded_cases  # noqa: E402


def laplace_ratios(factor, count=20_000):
    """Errors whose true scale is ``factor`` times that of sigma."""
    rng = np.random.default_rng(0)
    return np.sort(np.abs(rng.laplace(0, factor / np.sqrt(2), count)))


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.7])
def test_the_factor_of_known_errors_is_found(factor):
    ratios = {("room", "raw"): laplace_ratios(factor), ("hall", "blocks"): laplace_ratios(factor, 500)}
    found = fit_factor(ratios)
    assert found == pytest.approx(factor, rel=0.03)
    assert coverage(ratios, found)["raw"] == pytest.approx(np.array(LEVELS), abs=0.01)


def test_each_group_has_the_same_weight():
    ratios = {("large", "raw"): np.zeros(1000), ("small", "raw"): np.full(10, 1e3)}
    np.testing.assert_array_equal(coverage(ratios)["raw"], np.full(len(LEVELS), 0.5))


@pytest.mark.parametrize("name", ["lite", "planes", "fast_interpolation"])
def test_sigma_is_multiplied_and_depth_is_the_same(name):
    network = stirred(name)
    with torch.no_grad():
        depth, sigma = network(*frame())
        network.sigma_scale = 1.5
        same, larger = network(*frame())
    assert torch.equal(depth, same)
    torch.testing.assert_close(larger, 1.5 * sigma, rtol=1e-5, atol=0)


def test_the_factor_is_kept_in_weights_and_belongs_to_their_hash(tmp_path):
    network = stirred("lite")
    before = weights_hash(network)
    save_weights(WeightedNetwork(network, "any"), tmp_path / "one.safetensors")
    assert "sigma_scale" not in read_metadata(tmp_path / "one.safetensors")
    network.sigma_scale = 1.25
    assert weights_hash(network) != before
    save_weights(WeightedNetwork(network, "any"), tmp_path / "two.safetensors")
    assert load_weights(tmp_path / "two.safetensors").network.sigma_scale == 1.25


def test_the_factor_is_part_of_an_exported_file(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="runs the file")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript")
    from depth_completion_ros.networks.export import export_onnx

    network = stirred("fast_interpolation")
    network.sigma_scale = 1.5
    inputs = frame()
    export_onnx(network, tmp_path / "n.onnx", *inputs[1].shape[-2:])
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
    with torch.no_grad():
        expected = network(*inputs)[1].numpy()
    np.testing.assert_allclose(session.run(["sigma"], feed)[0], expected, rtol=1e-3)


def test_the_command_writes_weights_with_the_factor_that_fits_the_validation_sets(tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        write_set(tmp_path / "data" / name, name=name)
    splits = dataclasses.replace(recipe.read_splits(), validation=("one", "two"))
    monkeypatch.setattr(recipe, "read_splits", lambda: splits)
    network = stirred("fast_interpolation")
    network.sigma_scale = 2.0
    save_weights(WeightedNetwork(network, "any"), tmp_path / "w.safetensors", {"minutes": "7"})
    command = ["calibrate", "fast_interpolation", "--weights", str(tmp_path / "w.safetensors")]
    out = tmp_path / "calibrated.safetensors"
    assert main([*command, "--data", str(tmp_path / "data"), "--frames", "1", "--out", str(out)]) == 0
    assert "95% interval" in capsys.readouterr().out
    cases = recorded_cases([tmp_path / "data"], splits.validation, 1)
    factor = fit_factor(
        error_ratios(load_weights(tmp_path / "w.safetensors").network.eval(), cases, torch.device("cpu"))
    )
    assert factor != 1 and load_weights(out).network.sigma_scale == pytest.approx(2.0 * factor, abs=1e-3)
    assert read_metadata(out)["minutes"] == "7"

    assert main([*command[:1], "lite", *command[2:], "--data", str(tmp_path / "data"), "--out", str(out)]) == 1
    assert "weights of fast_interpolation, not of lite" in capsys.readouterr().err
