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

OPSET = 20  # the first with the grid sampling of NLSPN in the form that all engines read
_ANY_WEIGHT = 2**30  # numbers, more than any layer has
_LARGEST = 4096  # pixels of each side that a network of open size takes
_COMPACT_SIZE = 1024  # numbers; smaller tensors stay in the network file
_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}  # of output channels, in the weights of each operator
_BASE_PREFIXES = "network.base.", "base."  # of the names of a base network's weights, in w8a16 and int8
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

    Inputs and outputs are float32 in every precision. In w8a16 and int8, large weights go to files beside the network
    file: one for the network, which both precisions share, and one for its base network, which all networks share that
    correct the same one.

    Args:
        network: The network.
        path: The network file.
        height: Height of the images [pixels].
        width: Width of the images [pixels].
        precision: "fp32"; "fp16", convolutions and linear layers in float16; "int8", convolutions in int8; "w8a16",
            computed like fp16. Both store large weights as int8 with a scale for each output channel.
        dynamic: Whether images of any size, in multiples of 32, are accepted.
        profile: What the weights were trained for; empty = they are random.
        calibration: Real frames of this size, for int8.

    Raises:
        ValueError: If height or width is no multiple of 32.
        ConfigurationError: If int8 lacks frames or a library, or the network does not support it.
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
        part.ClearField("metadata_props")  # which line made it, with the paths of this machine
    graph.ClearField("value_info")  # shapes that each engine infers, a quarter of a megabyte
    onnx.helper.set_model_props(model, metadata)
    with new_file(path) as part:
        onnx.save(model, part)


def file_name(network: CompletionNetwork, precision: str, height: int, width: int, dynamic: bool) -> str:
    """``lite-small-fp32-480x640.onnx``, by which ``find_model_file`` knows it."""
    return f"{network.name}-{network.size}-{precision}-{'dynamic' if dynamic else f'{height}x{width}'}.onnx"


def _onnx(network: torch.nn.Module, height: int, width: int, dynamic: bool) -> Any:
    """The network as an ONNX ModelProto."""
    example = (torch.rand(1, 3, height, width), torch.rand(1, 1, height, width) + 1, torch.ones(1, 1, 1, 1))
    shapes = None
    if dynamic:
        rows, columns = (torch.export.Dim(name, min=2, max=_LARGEST // MULTIPLE) for name in ("rows", "columns"))
        pixels = {2: MULTIPLE * rows, 3: MULTIPLE * columns}
        shapes = (pixels, pixels, None)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names every library that it does without
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself and about names that it does not need
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
    assert program is not None  # None only where torch writes the file by itself
    _tidy(program.model)
    return program.model_proto


def _tidy(model: Any) -> None:
    """Compute what is constant and leave out what is double or unused.

    PyTorch's own optimisation looks for patterns too, which takes longer than all of the export, and leaves no engine
    less to do.
    """
    from onnx_ir.passes.common import CommonSubexpressionEliminationPass, LiftConstantsToInitializersPass
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    fold_constants(model)
    CommonSubexpressionEliminationPass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    remove_unused_nodes(model)


def _store_weights_as_int8(model: Any) -> None:
    """Store large weights as int8 with a scale for each output channel; DequantizeLinear restores them.

    Zero points are zero, so TensorRT reads such a file. OpenVINO restores the weights when it compiles the network.
    They are rounded to float16 first, so that files in which they are float32 contain the same integers.
    """
    from onnx import helper, numpy_helper

    axes = {node.input[1]: _CHANNEL_AXIS[node.op_type] for node in model.graph.node if node.op_type in _CHANNEL_AXIS}
    restored = []
    for tensor in list(model.graph.initializer):
        original = numpy_helper.to_array(tensor)
        if tensor.name not in axes or original.size < _COMPACT_SIZE or not np.issubdtype(original.dtype, np.floating):
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
        restored.append(helper.make_node("DequantizeLinear", names, [tensor.name], axis=axis))
        tensor.CopyFrom(numpy_helper.from_array(stored, names[0]))
        model.graph.initializer.append(numpy_helper.from_array(scale.ravel().astype(original.dtype), names[1]))
    nodes = [*restored, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)


def _move_weights(model: Any, network: CompletionNetwork, directory: Path) -> tuple[str, str]:
    """Move large int8 weights to files beside the network file.

    Returns the names of the files of the network's own weights and of its base network's; empty = there are none.
    """
    import onnx

    int8 = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    large = [tensor for tensor in int8 if len(tensor.raw_data) >= _COMPACT_SIZE]
    own = [tensor for tensor in large if not tensor.name.startswith(_BASE_PREFIXES)]
    weights_file = _move(own, f"{network.name}-{network.size}", directory)
    if (base := network.base) is None:
        return weights_file, ""
    of_base = [tensor for tensor in large if tensor.name.startswith(_BASE_PREFIXES)]
    return weights_file, _move(of_base, f"{base.name}-{base.size}-w8a16", directory)


def _move(tensors: list[Any], stem: str, directory: Path) -> str:
    """Move tensors to a file; returns its name, which contains a hash of them, so that others never replace it."""
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
    """Number the tensors instead of naming them, but for inputs and outputs: names take more bytes than the graph."""
    numbers = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}  # "" is an omitted input
    for node in graph.node:
        node.ClearField("name")
        for names in (node.input, node.output):
            names[:] = [numbers.setdefault(name, format(len(numbers), "x")) for name in names]
    for tensor in graph.initializer:
        tensor.name = numbers.setdefault(tensor.name, format(len(numbers), "x"))


def _quantised(model: Any, calibration: Sequence[Feed], precise: set[str]) -> Any:
    """The model with its cores' convolutions in int8, as pairs of QuantizeLinear and DequantizeLinear; but for those of
    the parts named in ``precise``. Large weights are left to ``_store_weights_as_int8``.
    """
    if not calibration:
        raise ConfigurationError("int8 needs real frames to calibrate with: give a bag or folder with --frames")
    try:
        import nncf
    except ImportError as error:
        raise ConfigurationError(f"int8 needs NNCF ({error}): pip install nncf onnxruntime") from error
    from onnxscript.optimizer import fold_constants

    nncf.set_log_level(logging.ERROR)
    # MagaConv convolves masks with sums over its weights: NNCF takes weights as constants only.
    fold_constants(model, input_size_limit=_ANY_WEIGHT)
    # Prefill, statistics, Fourier transforms, propagation and composition keep float32.
    kept = [node.name for node in model.graph.node if not _is_core_convolution(node, precise)]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(calibration),
        # Weights symmetric, activations not: with symmetric activations OpenVINO is off by up to 50 %.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=kept),
    )
    _restore_large_weights(quantised.graph, model.graph)
    return quantised


def _restore_large_weights(graph: Any, original: Any) -> None:
    """Give convolutions the large weights back that they had in the original graph.

    NNCF rounds weights by a rule of its own, with other scales than those of w8a16 where a channel is small.
    """
    large = {tensor.name: tensor for tensor in original.initializer if np.prod(tensor.dims) >= _COMPACT_SIZE}
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
    """Whether a node is a convolution of a core and none of the parts that stay precise."""
    properties = {entry.key: entry.value for entry in node.metadata_props}
    scopes = literal_eval(properties.get("pkg.torch.onnx.name_scopes", "[]"))
    parts = {scope for scope in scopes if scope.startswith(("core.", "base.core."))}
    return node.op_type in ("Conv", "ConvTranspose") and bool(parts) and not parts & precise
