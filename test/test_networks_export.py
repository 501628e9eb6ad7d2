"""Exported networks give the same answer in other engines as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="the comparison needs ONNX Runtime")

from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros.networks import create, names  # noqa: E402
from depth_completion_ros.networks.export import INPUTS, export_onnx, weights_hash  # noqa: E402
from depth_completion_ros.networks.shell import CONTRACT_VERSION  # noqa: E402

# Outside the domains that ship with ONNX, or known not to be built by TensorRT.
FORBIDDEN = {"DFT", "Atan", "DeformConv"}


@pytest.mark.parametrize("name", names())
def test_exported_network_equals_pytorch(name, tmp_path):
    network, inputs = stirred(name), frame()
    path = tmp_path / f"{name}.onnx"
    export_onnx(network, path, *inputs[0].shape[-2:])
    feed = {key: tensor.numpy() for key, tensor in zip(INPUTS, inputs, strict=True)}

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == list(INPUTS)
    properties = session.get_modelmeta().custom_metadata_map
    assert (properties["name"], properties["size"]) == (name, "small")
    assert properties["contract"] == str(CONTRACT_VERSION)
    assert (properties["height"], properties["width"]) == ("64", "96")
    assert properties["weights"] == weights_hash(network)

    with torch.no_grad():
        expected = [tensor.numpy() for tensor in network(*inputs)]
    for answer, truth in zip(session.run(None, feed), expected, strict=True):
        np.testing.assert_allclose(answer, truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", names())
def test_exported_network_equals_pytorch_in_openvino(name, tmp_path):
    openvino = pytest.importorskip("openvino", reason="the comparison needs OpenVINO")
    network, inputs = stirred(name), frame()
    path = tmp_path / f"{name}.onnx"
    export_onnx(network, path, *inputs[0].shape[-2:])
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    answers = compiled([tensor.numpy() for tensor in inputs])
    with torch.no_grad():
        expected = [tensor.numpy() for tensor in network(*inputs)]
    for index, truth in enumerate(expected):
        np.testing.assert_allclose(answers[index], truth, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", names())
def test_exported_graph_holds_only_operators_that_every_engine_runs(name, tmp_path):
    onnx = pytest.importorskip("onnx", reason="reading the graph needs onnx")
    path = tmp_path / f"{name}.onnx"
    export_onnx(create(name), path, 32, 64)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {node.op_type for node in model.graph.node} & FORBIDDEN == set()
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions
    assert {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")} == {20}


def test_weights_hash_tells_weights_apart():
    torch.manual_seed(0)
    first, second = create("lite"), create("lite")
    assert weights_hash(first) != weights_hash(second)
    second.load_state_dict(first.state_dict())
    assert weights_hash(first) == weights_hash(second)
