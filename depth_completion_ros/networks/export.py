"""Export networks to ONNX files, with metadata for the engines."""

from __future__ import annotations

import hashlib
import logging
import warnings
from ast import literal_eval
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..atomic import new_file
from ..contract import CONTRACT_VERSION, INPUTS, MULTIPLE, OUTPUTS
from ..errors import ConfigurationError
from ..resources import PACKAGE
from . import method
from .completion_network import CompletionNetwork
from .half_precision import HalfPrecision, fold_batch_norm
from .weights import weights_hash

OPSET = 20  # the first opset with GridSample, which NLSPN needs, in the form that all engines read
_FOLD_SIZE_LIMIT = 2**30  # elements, more than any layer has
_MAX_SIDE = 4096  # longest side of an image for a network of dynamic size [pixels]
_MIN_INT8_SIZE = 1024  # elements; smaller tensors stay in the network file, in their own type
_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}  # axis of the output channels in an operator's weights
_BASE_PREFIXES = ("network.base.", "base.")  # starts of the names of a base network's weights in w8a16 and int8
Feed = dict[str, np.ndarray]  # the contract's inputs by name


def export_onnx(
    network: CompletionNetwork,
    path: Path,
    height: int,
    width: int,
    *,
    precision: str = "fp32",
    dynamic: bool = False,
    profile: str = "",
    calibration: Sequence[Feed] = (),
) -> None:
    """Write a network file for batches of one image.

    Inputs and outputs are float32 in every precision. In w8a16 and int8 the large weights are written to separate files
    beside the network file. Both precisions share one file with the network's own weights, and all networks with the
    same base network share the file with the weights of that network.

    Args:
        network: The network.
        path: The network file.
        height: Height of the images [pixels].
        width: Width of the images [pixels].
        precision: "fp32"; "fp16", convolutions and linear layers in float16; "int8", convolutions in int8; "w8a16",
            computed like fp16. int8 and w8a16 store the large weights as int8 with a scale for each output channel.
        dynamic: Whether the network accepts images of any size in multiples of 32.
        profile: Sensor profile that the weights were trained for; empty if they are random.
        calibration: Real frames of this size, needed for int8.

    Raises:
        ValueError: If height or width is not a multiple of 32.
        ConfigurationError: If the network does not support int8, or frames or a library for int8 are missing.
    """
    if height % MULTIPLE or width % MULTIPLE:
        raise ValueError(f"height and width must be multiples of {MULTIPLE}, not {height}x{width}")
    described = method(network.name)
    if precision == "int8" and described.no_int8:
        raise ConfigurationError(
            f"{network.name} does not support int8 ({described.no_int8}): choose w8a16, fp16 or fp32"
        )
    converted = HalfPrecision(network) if precision in ("fp16", "w8a16") else fold_batch_norm(network)
    model = _onnx(converted.eval(), height, width, dynamic)
    if precision == "int8":
        precise = {f"core.{part}" for part in described.precise}
        if network.base is not None:
            precise |= {f"base.core.{part}" for part in method(network.base.name).precise}
        model = _quantised(model, calibration, precise)
    weights_file = base_file = ""
    if precision in ("w8a16", "int8"):
        _store_weights_as_int8(model)
        weights_file, base_file = _move_weights(model, network, path.parent)
    if precision == "w8a16":
        _shorten_names(model.graph)
    metadata = {
        "producer": PACKAGE,
        "contract": str(CONTRACT_VERSION),
        "name": network.name,
        "size": network.size,
        "precision": precision,
        "height": "0" if dynamic else str(height),
        "width": "0" if dynamic else str(width),
        "profile": profile,
        "trained": "true" if profile else "false",
        "weights": weights_hash(network),
        "bfloat16": "true" if described.bfloat16 else "false",
        "weights_file": weights_file,
        "base_file": base_file,
    }
    import onnx

    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph):
        part.ClearField("metadata_props")  # lines of source code, with the paths of this machine
    graph.ClearField("value_info")  # shapes, a quarter of a megabyte; engines infer them
    onnx.helper.set_model_props(model, metadata)
    with new_file(path) as part:
        onnx.save(model, part)


def file_name(network: CompletionNetwork, precision: str, height: int, width: int, dynamic: bool) -> str:
    """Return the name by which ``find_model_file`` finds a network file, such as ``lite-small-fp32-480x640.onnx``."""
    return f"{network.name}-{network.size}-{precision}-{'dynamic' if dynamic else f'{height}x{width}'}.onnx"


def _onnx(network: torch.nn.Module, height: int, width: int, dynamic: bool) -> Any:
    """Convert the network to an ONNX ModelProto."""
    example = (torch.rand(1, 3, height, width), torch.rand(1, 1, height, width) + 1, torch.ones(1, 1, 1, 1))
    shapes = None
    if dynamic:
        rows, columns = (torch.export.Dim(name, min=2, max=_MAX_SIDE // MULTIPLE) for name in ("rows", "columns"))
        pixels = {2: MULTIPLE * rows, 3: MULTIPLE * columns}
        shapes = (pixels, pixels, None)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every optional library that is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of its own deprecations and of unused names
        program = torch.onnx.export(
            network,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=shapes,
            optimize=False,
            verbose=False,
        )
    assert program is not None  # it is None only if torch writes the file itself
    _simplify(program.model)
    return program.model_proto


def _simplify(model: Any) -> None:
    """Fold constants and remove duplicate and unused nodes.

    PyTorch's own optimisation also searches for patterns. That takes longer than the whole export and makes no engine
    faster.
    """
    from onnx_ir.passes.common import CommonSubexpressionEliminationPass, LiftConstantsToInitializersPass
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    fold_constants(model)
    CommonSubexpressionEliminationPass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    remove_unused_nodes(model)


def _store_weights_as_int8(model: Any) -> None:
    """Store large weights as int8 with a scale for each output channel; DequantizeLinear converts them back.

    Zero points are zero, as TensorRT requires. OpenVINO converts the weights when it compiles the network. Float32
    weights are rounded to float16 first, so that int8 and w8a16 contain the same integers.
    """
    from onnx import helper, numpy_helper

    axes = {node.input[1]: _CHANNEL_AXIS[node.op_type] for node in model.graph.node if node.op_type in _CHANNEL_AXIS}
    dequantised = []
    for tensor in list(model.graph.initializer):
        original = numpy_helper.to_array(tensor)
        if tensor.name not in axes or original.size < _MIN_INT8_SIZE or not np.issubdtype(original.dtype, np.floating):
            continue
        with np.errstate(over="ignore"):
            weights = original.astype(np.float16)
        if not np.isfinite(weights).all():
            continue  # weights beyond float16 stay in float32
        axis = axes[tensor.name] % weights.ndim
        others = tuple(each for each in range(weights.ndim) if each != axis)
        largest = np.abs(weights).astype(np.float32).max(axis=others, keepdims=True)
        scale = np.maximum(largest / 127, np.finfo(np.float16).tiny).astype(np.float16)
        stored = np.rint(weights / scale.astype(np.float32)).clip(-127, 127).astype(np.int8)
        names = f"{tensor.name}.int8", f"{tensor.name}.scale"
        dequantised.append(helper.make_node("DequantizeLinear", names, [tensor.name], axis=axis))
        tensor.CopyFrom(numpy_helper.from_array(stored, names[0]))
        model.graph.initializer.append(numpy_helper.from_array(scale.ravel().astype(original.dtype), names[1]))
    nodes = [*dequantised, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)


def _move_weights(model: Any, network: CompletionNetwork, directory: Path) -> tuple[str, str]:
    """Move large int8 weights to files beside the network file.

    Returns:
        The name of the file with the network's own weights, and that of the file with the weights of its base network.
        A name is empty if there is no such file.
    """
    import onnx

    int8 = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    large = [tensor for tensor in int8 if len(tensor.raw_data) >= _MIN_INT8_SIZE]
    own = [tensor for tensor in large if not tensor.name.startswith(_BASE_PREFIXES)]
    weights_file = _move(own, f"{network.name}-{network.size}", directory)
    if (base := network.base) is None:
        return weights_file, ""
    of_base = [tensor for tensor in large if tensor.name.startswith(_BASE_PREFIXES)]
    return weights_file, _move(of_base, f"{base.name}-{base.size}-w8a16", directory)


def _move(tensors: list[Any], stem: str, directory: Path) -> str:
    """Move tensors to a file and return its name, or "" if there are no tensors.

    The name contains a hash of the weights, so that other weights never overwrite the file.
    """
    import onnx

    if not tensors:
        return ""
    tensors.sort(key=lambda tensor: tensor.name)
    content = b"".join(tensor.raw_data for tensor in tensors)
    name = f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.weights"
    with new_file(directory / name) as part:
        part.write_bytes(content)
    offset = 0
    for tensor in tensors:
        length = len(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, name, offset, length)
        tensor.ClearField("raw_data")
        offset += length
    return name


def _shorten_names(graph: Any) -> None:
    """Replace the names of tensors, except inputs and outputs, by numbers: names take more bytes than the graph."""
    numbers = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}  # "" is an omitted input
    for node in graph.node:
        node.ClearField("name")
        for names in (node.input, node.output):
            names[:] = [numbers.setdefault(name, format(len(numbers), "x")) for name in names]
    for tensor in graph.initializer:
        tensor.name = numbers.setdefault(tensor.name, format(len(numbers), "x"))


def _quantised(model: Any, calibration: Sequence[Feed], precise: set[str]) -> Any:
    """Quantise the convolutions of the cores to int8 with pairs of QuantizeLinear and DequantizeLinear.

    Args:
        model: ONNX model.
        calibration: Inputs from which NNCF determines the ranges of activations.
        precise: Names of parts whose convolutions are not quantised.
    """
    if not calibration:
        raise ConfigurationError("int8 needs real frames to calibrate with: give a bag or folder with --frames")
    try:
        import nncf
    except ImportError as error:
        raise ConfigurationError(f"int8 needs NNCF ({error}): pip install nncf onnxruntime") from error
    from onnxscript.optimizer import fold_constants

    nncf.set_log_level(logging.ERROR)
    # MagaConv convolves masks with sums over its weights, and NNCF accepts only constants as weights.
    fold_constants(model, input_size_limit=_FOLD_SIZE_LIMIT)
    # Prefill, statistics, Fourier transforms, propagation and composition stay in float32.
    kept = [node.name for node in model.graph.node if not _is_core_convolution(node, precise)]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(calibration),
        # MIXED quantises only weights symmetrically. With symmetric activations, OpenVINO's depth is off by up to 50 %.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=kept),
    )
    _restore_large_weights(quantised.graph, model.graph)
    return quantised


def _restore_large_weights(graph: Any, original: Any) -> None:
    """Replace the large weights that NNCF rounded by those of the original graph.

    NNCF's scales differ from those of w8a16 in channels with small weights, and both precisions share one file.
    """
    large = {tensor.name: tensor for tensor in original.initializer if np.prod(tensor.dims) >= _MIN_INT8_SIZE}
    weights = {node.name: node.input[1] for node in original.node if node.op_type in ("Conv", "ConvTranspose")}
    for node in graph.node:
        if weights.get(node.name) in large:
            node.input[1] = weights[node.name]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    nodes = [node for node in graph.node if used.intersection(node.output)]
    used = {name for node in nodes for name in node.input}
    available = large | {tensor.name: tensor for tensor in graph.initializer}
    tensors = [tensor for name, tensor in available.items() if name in used]
    for field, kept in (("node", nodes), ("initializer", tensors)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)


def _is_core_convolution(node: Any, precise: set[str]) -> bool:
    """Return whether a node is a convolution of a core outside the parts named in ``precise``."""
    properties = {entry.key: entry.value for entry in node.metadata_props}
    scopes = literal_eval(properties.get("pkg.torch.onnx.name_scopes", "[]"))
    parts = {scope for scope in scopes if scope.startswith(("core.", "base.core."))}
    return node.op_type in ("Conv", "ConvTranspose") and bool(parts) and not parts & precise
