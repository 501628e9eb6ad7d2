"""Weights files are small and give nearly the same result, and other files are rejected with a message."""

from __future__ import annotations

import argparse
import json

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")
pytest.importorskip("safetensors", reason="weights files need it")

from safetensors.torch import load_file, save_file  # noqa: E402
from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros import model_file  # noqa: E402
from depth_completion_ros.commands import models  # noqa: E402
from depth_completion_ros.contract import CONTRACT_VERSION  # noqa: E402
from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.networks import BASES, names  # noqa: E402
from depth_completion_ros.networks.weights import (  # noqa: E402
    WeightedNetwork,
    load_weights,
    read_metadata,
    save_weights,
)

ORIGIN = {"contract": str(CONTRACT_VERSION), "name": "lite", "size": "small", "profile": "kinect"}


@pytest.mark.parametrize("name", (*names(), *BASES))
def test_loaded_network_gives_the_result_of_the_saved_one(name, tmp_path):
    """The file has little more than one byte for each weight of a large kernel and two for each other weight."""
    network, path = stirred(name), tmp_path / "weights.safetensors"
    with torch.no_grad():
        for key, value in network.named_buffers():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(key)))
            if key.endswith("running_var"):
                value.uniform_(0.5, 2, generator=torch.Generator().manual_seed(len(key)))
    save_weights(WeightedNetwork(network, "tof"), path, {"minutes": "12.5"})
    loaded = load_weights(path)
    assert loaded.trained and (loaded.profile, loaded.network.name, loaded.network.size) == ("tof", name, "small")
    assert read_metadata(path)["minutes"] == "12.5"
    with torch.inference_mode():
        expected, answer = network(*frame())[0], loaded.network.eval()(*frame())[0]
    assert ((answer - expected).square().mean() / expected.square().mean()).sqrt() < 5e-3
    sizes = [(tensor.ndim == 4 and tensor.numel() >= 4096, tensor.numel()) for tensor in network.state_dict().values()]
    assert path.stat().st_size < sum((1.05 if large else 2.3) * numbers for large, numbers in sizes) + 50_000


def test_each_weight_of_a_large_kernel_is_off_by_half_a_step_at_most(tmp_path):
    """A step is 1/127 of the largest weight of the output channel. A channel of zeros stays zero."""
    network = stirred("lite")
    before = network.core.encoder[3][1][0].weight
    with torch.no_grad():
        before[0] = 0
        before[1] *= 1e-3
    save_weights(WeightedNetwork(network, "kinect"), tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    after = loaded.network.core.encoder[3][1][0].weight
    step = before.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((after - before).abs() <= 0.5001 * step).all()
    assert after.dtype == torch.float32 and 100 < len(after[2].unique()) <= 255

    save_weights(loaded, tmp_path / "again.safetensors")
    held, again = (load_file(tmp_path / f"{name}.safetensors") for name in ("w", "again"))
    assert held.keys() == again.keys()
    for name, tensor in held.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-6, atol=0)


def test_files_with_all_kernels_in_float16_load(tmp_path):
    """Earlier versions wrote such files."""
    network = stirred("lite")
    tensors = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in network.state_dict().items()}
    save_file(tensors, tmp_path / "w.safetensors", ORIGIN)
    loaded = load_weights(tmp_path / "w.safetensors").network.state_dict()
    assert all(loaded[name].equal(tensor.to(loaded[name].dtype)) for name, tensor in tensors.items())


def test_weight_beyond_the_range_of_float16_is_saved_exactly(tmp_path):
    network = stirred("lite")
    with torch.no_grad():
        next(network.parameters())[0] = 1e6
        network.core.refinement.of_depth.weight[0] = 1e6
    save_weights(WeightedNetwork(network, "kinect"), tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors").network
    for weight in (next(loaded.parameters()), loaded.core.refinement.of_depth.weight):
        torch.testing.assert_close(weight[0], torch.full_like(weight[0], 1e6))


@pytest.mark.parametrize("how", ["absent", "empty", "text", "cut short", "foreign", "other network", "no metadata"])
def test_unusable_file_is_rejected_with_a_fix(how, tmp_path):
    path = tmp_path / "w.safetensors"
    if how in ("empty", "text"):
        path.write_bytes(b"" if how == "empty" else b"no weights, but some text that is longer than a header")
    elif how == "cut short":
        save_weights(WeightedNetwork(stirred("lite"), "kinect"), path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif how != "absent":
        metadata = {"foreign": ORIGIN, "other network": {**ORIGIN, "name": "nlspn"}, "no metadata": None}[how]
        save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(
        ConfigurationError, match=r"w\.safetensors contains no weights of .*use a file that was written by training"
    ):
        load_weights(path)


def test_weights_of_another_contract_are_rejected(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "w.safetensors", {**ORIGIN, "contract": "0"})
    with pytest.raises(ConfigurationError, match=r"contract 0.*train again"):
        load_weights(tmp_path / "w.safetensors")


def test_metadata_is_readable_as_standard_safetensors_metadata(tmp_path):
    """Our own code reads the header; the result must equal that of the safetensors library."""
    save_weights(WeightedNetwork(stirred("lite"), "kinect"), tmp_path / "w.safetensors", {"note": "ä"})
    from safetensors import safe_open

    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert json.dumps(file.metadata(), sort_keys=True) == json.dumps(
            read_metadata(tmp_path / "w.safetensors"), sort_keys=True
        )


def test_weights_for_one_sensor_are_preferred_and_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(model_file, "share_directory", lambda: tmp_path)
    monkeypatch.setenv(model_file.DIRECTORY_VARIABLE, str(tmp_path / "none"))
    monkeypatch.setattr(models, "cost", lambda name, size: (0, 0))
    for profile, minutes in (("any", "61.7"), ("lidar", "5")):
        path = tmp_path / "models" / f"lite-small{'' if profile == 'any' else '-lidar'}.safetensors"
        save_weights(WeightedNetwork(stirred("lite"), profile), path, {"minutes": minutes})
    chosen = [load_weights(model_file.find_weights_file("lite", profile)).profile for profile in ("kinect", "lidar")]
    assert chosen == ["any", "lidar"]
    assert models.run(argparse.Namespace()) == 0
    # The second table of the output lists networks; its first row is lite-small.
    lines = capsys.readouterr().out.partition("for the engine torch")[2].strip().splitlines()[1:]
    lines = [line for line in lines if line]
    assert [line.endswith("untrained") for line in lines[1:]] == [False] + [True] * (len(lines) - 2)
    assert "any (62 min)" in lines[1] and "lidar (5 min)" in lines[1]
