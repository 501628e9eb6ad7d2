"""Exported networks give the same result in other engines as in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")
onnx = pytest.importorskip("onnx", reason="the export needs onnx")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")

from network_files import network_file, shapes_not_in_int8, weights_of_convolutions  # noqa: E402
from test_networks import frame, stirred  # noqa: E402

from depth_completion_ros.commands import export  # noqa: E402
from depth_completion_ros.contract import CONTRACT_VERSION, DEFAULT_NETWORK, INPUTS, OUTPUTS  # noqa: E402
from depth_completion_ros.networks import create, method, names  # noqa: E402
from depth_completion_ros.networks.export import export_onnx  # noqa: E402
from depth_completion_ros.networks.weights import weights_hash  # noqa: E402
from depth_completion_ros.resources import share_directory  # noqa: E402

# Standard operators that TensorRT does not support. Operators such as FusedMatMul have another domain.
FORBIDDEN = {"DFT", "Atan", "DeformConv"}


@pytest.fixture(scope="module", params=names())
def exported(request):
    """Return a network, its file, inputs as NumPy arrays by name, and PyTorch's result."""
    network, inputs = stirred(request.param), frame()
    path = network_file(request.param)
    feed = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
    with torch.no_grad():
        expected = [tensor.numpy() for tensor in network(*inputs)]
    return network, path, feed, expected


def test_onnx_runtime_equals_pytorch(exported):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the comparison needs ONNX Runtime")
    _, path, feed, expected = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    depth, sigma = session.run(None, feed)
    np.testing.assert_allclose(depth, expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sigma, expected[1], rtol=1e-3, atol=1e-4)  # exp magnifies rounding errors


def test_graph_contains_only_operators_that_every_engine_runs(exported):
    model = onnx.load(exported[1])
    onnx.checker.check_model(model)
    assert {node.op_type for node in model.graph.node} & FORBIDDEN == set()
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")} == {20}


def test_metadata_of_a_network_file_is_read(exported):
    network, path, _, _ = exported
    model = onnx.load(path)
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert held == held | {
        "name": network.name,
        "size": "small",
        "contract": str(CONTRACT_VERSION),
        "height": "64",
        "width": "96",
        "weights": weights_hash(network),
    }
    assert [value.name for value in model.graph.input] == list(INPUTS)
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    shape = model.graph.output[0].type.tensor_type.shape
    assert [dimension.dim_value for dimension in shape.dim] == [1, 1, 64, 96]


def test_shipped_int8_file_excludes_only_the_parts_that_the_method_lists_as_precise():
    """The inputs of these parts contain differences that are smaller than one int8 step."""
    graph = onnx.load(share_directory() / "models" / f"{DEFAULT_NETWORK}-small-int8-dynamic.onnx").graph
    core = stirred(DEFAULT_NETWORK).core
    kept = [shape for shape in shapes_not_in_int8(graph) if shape in {p.shape for p in core.parameters()}]
    parts = [core.get_submodule(part) for part in method(DEFAULT_NETWORK).precise]
    assert kept == [p.shape for part in parts for p in part.parameters() if p.dim() == 4]
    assert len(weights_of_convolutions(graph)) > 30


def test_int8_is_calibrated_and_measured_with_dense_and_sparse_depth():
    """Ranges from dense depth alone would make the network inaccurate for sparse depth."""
    frames = export._network_inputs(share_directory() / "samples" / "kinect", "kinect", 64, 96)
    for half in (frames[::2], frames[1::2]):
        shares = sorted(float((feed["depth"] > 0).mean()) for feed in half)
        assert len(shares) == 16
        assert shares[0] > 0 and shares[3] < 0.01 and shares[4] > 0.005 and shares[7] < 0.02
        assert shares[8] > 0.05 and shares[11] < 0.13 and shares[12] > 0.3


def test_different_weights_have_different_hashes():
    torch.manual_seed(0)
    first, second = create("lite"), create("lite")
    assert weights_hash(first) != weights_hash(second)
    second.load_state_dict(first.state_dict())
    assert weights_hash(first) == weights_hash(second)


def test_sizes_that_are_not_multiples_of_32_are_rejected(tmp_path):
    with pytest.raises(Exception, match="multiples of 32"):
        export_onnx(create("lite"), tmp_path / "lite.onnx", 48, 64)
    assert list(tmp_path.iterdir()) == []
