"""Networks with a base network: training does not change the base network, and files contain or name both networks."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")
pytest.importorskip("safetensors", reason="weights files need it")

from network_files import feed_of, real_frames  # noqa: E402
from test_networks import HEIGHT, WIDTH, frame, stir, stirred  # noqa: E402
from test_training import CPU, bowls, same, tiny  # noqa: E402

from depth_completion_ros import model_file  # noqa: E402
from depth_completion_ros.commands import models  # noqa: E402
from depth_completion_ros.contract import INPUTS  # noqa: E402
from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.networks import create  # noqa: E402
from depth_completion_ros.networks.blocks import INITIAL_LOG_B, conv  # noqa: E402
from depth_completion_ros.networks.completion_network import CompletionNetwork  # noqa: E402
from depth_completion_ros.networks.hole_filling import HoleFilling  # noqa: E402
from depth_completion_ros.networks.weights import WeightedNetwork, load_weights, save_weights  # noqa: E402
from depth_completion_ros.resources import share_directory  # noqa: E402
from depth_completion_ros.training.batches import Batches  # noqa: E402
from depth_completion_ros.training.recipe import read_recipe  # noqa: E402
from depth_completion_ros.training.trainer import Trainer  # noqa: E402


class NoCorrection(torch.nn.Module):
    """A core that predicts no correction and stores its inputs."""

    def forward(self, inputs):
        self.seen = inputs
        return torch.zeros_like(inputs.prefill), torch.full_like(inputs.prefill, INITIAL_LOG_B)


def with_base_planes(name: str = "nlspn") -> CompletionNetwork:
    """Return a network whose base network is ``planes``, both with noise in their weights."""
    network = create(name, "small", stirred("planes"))
    stir(network.core)
    stir(network.choose)
    return network.eval()


@pytest.mark.parametrize(("share", "logit"), [(0, -50.0), (0.2689, None), (1, 50.0)])
def test_without_a_correction_the_result_is_a_blend_of_the_base_and_the_filled_holes(share, logit):
    """A logit of None stands for the untrained network. The uncertainty is that of the base network."""
    network = CompletionNetwork(NoCorrection(), "no-correction", "small", base=stirred("planes")).eval()
    if logit is not None:
        torch.nn.init.constant_(network.choose.layers[-1].bias, logit)
    image, depth, scale = frame()
    known = depth > 0
    sparse = torch.log(torch.where(known, depth / scale, 1.0))
    with torch.no_grad():
        base, expected_log_b, _ = stirred("planes").predict_with_prefill(image, depth, scale)
        filled, _ = HoleFilling(fine=True)(sparse, known.float(), image)
        completed, log_b, start = network.predict_with_prefill(image, depth, scale)
    expected = scale * torch.lerp((base / scale).log(), filled, share).exp()
    for answer in (completed, scale * network.core.seen.prefill.exp()):
        torch.testing.assert_close(answer, expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(start, base)
    torch.testing.assert_close(log_b, expected_log_b)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_scaled_depth_gives_scaled_depth(factor):
    image, depth, scale = frame()
    network = with_base_planes()
    with torch.no_grad():
        completed, sigma = network(image, depth, scale)
        scaled, scaled_sigma = network(image, depth * factor, scale * factor)
    torch.testing.assert_close(scaled, completed * factor, rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled_sigma, sigma * factor, rtol=2e-3, atol=0)


def test_training_does_not_change_the_base_network():
    """Neither its weights nor its batch norm statistics change."""
    recipe = dataclasses.replace(tiny("unet"), sources={"real": 1.0}, base="planes")
    trainer = Trainer(recipe, Batches(recipe, {"real": bowls}, CPU), CPU, stirred("planes"))
    before = {name: parameter.clone() for name, parameter in trainer.network.named_parameters()}
    for _ in range(3):
        trainer.train_step(0.1)
    for network in (trainer.network, trainer.ema):
        assert same(dict(network.base.state_dict()), dict(stirred("planes").state_dict()))
        changed = {
            name.partition(".")[0] for name, value in network.named_parameters() if not same(value, before[name])
        }
        assert changed == {"choose", "core"}


def save_both(folder) -> CompletionNetwork:
    folder.mkdir(exist_ok=True)
    network = with_base_planes()
    save_weights(WeightedNetwork(network.base, "any"), folder / "planes-small.safetensors")
    network.base.load_state_dict(load_weights(folder / "planes-small.safetensors").network.state_dict())  # rounded
    save_weights(WeightedNetwork(network, "any"), folder / "nlspn-small.safetensors")
    return network


def test_loading_weights_also_loads_the_base_network_from_the_same_folder(tmp_path):
    """The file of the network does not contain the weights of the base network."""
    network = save_both(tmp_path)
    loaded = load_weights(tmp_path / "nlspn-small.safetensors").network.eval()
    with torch.no_grad():
        given, expected = loaded(*frame())[0], network(*frame())[0]
    assert (given - expected).square().mean() < 1e-4 * expected.square().mean()  # kernels were rounded
    assert loaded.base.name == "planes"
    values = sum(tensor.numel() for name, tensor in network.state_dict().items() if not name.startswith("base."))
    assert (tmp_path / "nlspn-small.safetensors").stat().st_size < 2.3 * values + 50_000


def test_a_base_network_that_is_missing_or_differs_is_reported(tmp_path):
    save_both(tmp_path / "one")
    alone = tmp_path / "nlspn-small.safetensors"
    shutil.copy(tmp_path / "one" / alone.name, alone)
    with pytest.raises(ConfigurationError, match=r"corrects planes-small, weights \w{16}: copy .* to the same folder"):
        load_weights(alone)
    torch.manual_seed(3)
    save_weights(WeightedNetwork(create("planes"), "any"), tmp_path / "planes-small.safetensors")
    with pytest.raises(ConfigurationError, match=r"but .*planes-small\.safetensors contains \w{16}: copy the weights"):
        load_weights(alone)


def test_the_list_of_networks_names_the_base(tmp_path, monkeypatch, capsys):
    """The listed parameters and operations do not include those of the base network."""
    monkeypatch.setenv(model_file.DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setattr(model_file, "share_directory", lambda: tmp_path / "none")
    monkeypatch.setattr(models, "cost", lambda name, size: (0, 0))
    save_both(tmp_path)
    assert models.run(argparse.Namespace()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "min after planes-small)" in line] == ["nlspn"]


class Short(torch.nn.Module):
    """A core of two convolutions, which exports quickly. The first is large enough for a file of weights."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(conv(5, 32), torch.nn.Conv2d(32, 2, 3, padding=1))

    def forward(self, inputs):
        features = torch.cat([inputs.image, inputs.sparse, inputs.prefill], dim=1)
        correction, log_b = self.layers(features).split(1, dim=1)
        return 0.1 * correction, INITIAL_LOG_B + log_b


@pytest.fixture(scope="module")
def short() -> CompletionNetwork:
    torch.manual_seed(0)
    network = CompletionNetwork(Short(), "nlspn", "small", base=stirred("planes"))
    stir(network.core)
    stir(network.choose)
    gamma, _ = network.core.layers[0][1].parameters()
    with torch.no_grad():
        gamma[:2] *= torch.tensor([1e-3, -1.0])
    return network.eval()


def test_exported_file_contains_both_networks(short, tmp_path):
    pytest.importorskip("onnxscript", reason="the export needs onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the comparison needs ONNX Runtime")
    from depth_completion_ros.networks.export import export_onnx

    export_onnx(short, tmp_path / "n.onnx", HEIGHT, WIDTH)
    feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, frame(), strict=True)}
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = [tensor.numpy() for tensor in short(*frame())]
    for answer, truth in zip(session.run(None, feed), expected, strict=True):
        np.testing.assert_allclose(answer, truth, rtol=1e-3, atol=1e-3)


def test_compact_files_share_the_weights_of_their_base_network(tmp_path):
    openvino = pytest.importorskip("openvino", reason="the comparison needs OpenVINO")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript")
    from depth_completion_ros.networks.export import export_onnx

    feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, frame(), strict=True)}
    for name in ("magaconv", "s2ml"):
        network = with_base_planes(name)
        export_onnx(network, tmp_path / f"{name}.onnx", HEIGHT, WIDTH, precision="w8a16")
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        given = openvino.compile_model(tmp_path / f"{name}.onnx", "CPU", settings)(feed)["completed"]
        with torch.no_grad():
            expected = network(*frame())[0].numpy()
        assert np.sqrt(np.mean((given - expected) ** 2) / np.mean(expected**2)) < 0.02
    (shared,) = tmp_path.glob("planes-*.weights")
    assert shared.name.startswith("planes-small-w8a16-")
    assert shared.stat().st_size > 0.95 * sum(p.numel() for p in network.base.parameters())


@pytest.fixture(scope="module")
def int8_file(short, tmp_path_factory) -> Path:
    pytest.importorskip("onnxscript", reason="the export needs onnxscript")
    pytest.importorskip("nncf", reason="int8 needs NNCF")
    from depth_completion_ros.networks.export import export_onnx

    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    calibration = [feed_of(frame) for frame in real_frames()[:2]]
    export_onnx(short, path, HEIGHT, WIDTH, precision="int8", calibration=calibration)
    return path


def test_int8_applies_to_both_networks_except_precise_parts_of_the_base(short, int8_file):
    import onnx
    from network_files import shapes_not_in_int8, weights_of_convolutions

    graph = onnx.load(int8_file).graph
    base = short.base.core
    precise = [base.of_depth.weight.shape, base.encoder[1][0][0].weight.shape]
    choice = [p.shape for p in short.choose.parameters() if p.dim() == 4]
    assert sorted(shapes_not_in_int8(graph)) == sorted(precise + choice)
    assert len(weights_of_convolutions(graph)) > 15


def test_both_compact_precisions_share_the_files_of_weights(short, int8_file):
    """One channel has small weights, and the norm of another has a negative factor."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the comparison needs ONNX Runtime")
    from depth_completion_ros.networks.export import export_onnx

    compact = int8_file.with_name("w8a16.onnx")
    export_onnx(short, compact, HEIGHT, WIDTH, precision="w8a16")
    files = model_file.read_model_file(compact).weights_files
    assert model_file.read_model_file(int8_file).weights_files == files
    assert sorted(int8_file.parent.glob("*.weights")) == sorted(files) and len(files) == 2
    own = sum(weight.numel() for name, weight in short.named_parameters() if not name.startswith("base."))
    assert files[0].name.startswith("nlspn-small-") and 0.8 * own < files[0].stat().st_size <= own
    feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, frame(), strict=True)}
    with torch.no_grad():
        expected = short(*frame())[0].numpy()
    for path, tolerance in ((compact, 0.02), (int8_file, 0.1)):
        assert path.stat().st_size < 300_000
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        given = session.run(["completed"], feed)[0]
        difference = np.sqrt(np.mean((given - expected) ** 2) / np.mean(expected**2))
        print(path.name, path.stat().st_size, difference)
        assert difference < tolerance


@pytest.mark.parametrize(
    "path", sorted((share_directory() / "models").glob("*.safetensors")), ids=lambda path: path.stem
)
def test_shipped_weights_load_together_with_their_base_network(path):
    """A network does not work with another base network than the one that it was trained with."""
    weighted = load_weights(path)
    assert weighted.trained
    assert (weighted.network.base is not None) == bool(read_recipe(weighted.network.name).base)
