"""Export networks to ONNX files, with metadata for the engines."""

from __future__ import annotations

import logging
import warnings
from ast import literal_eval
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
# Measured with random weights on real frames at 96x64: off by 5 % in ONNX Runtime, most of it from the encoders whose
# features are transformed, and by 38 % to 68 % in OpenVINO, whichever convolutions beside the spectra are in int8.
NOT_IN_INT8 = {"s2ml": "the spectra that it fuses magnify rounding, its depth would be off by 5 % to 68 %"}

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
    """Write the network for images of one size, or of any multiples of 32 where ``dynamic``; the batch is 1.

    precision: "fp32"; "fp16", convolutions and linear layers in float16; "int8", convolutions in int8 by ranges seen on
    ``calibration``, real frames of this size. Inputs and outputs are float32 in all of them. profile: what the weights
    were trained for, empty where they are random. The file's metadata is that of ``model_file.ModelFile``.
    Raises ValueError where height or width is no multiple of 32, ConfigurationError where int8 lacks
    frames or a library, or the network cannot be had in it (``NOT_IN_INT8``).
    """
    if height % MULTIPLE or width % MULTIPLE:
        raise ValueError(f"height and width must be multiples of {MULTIPLE}, not {height}x{width}")
    if precision == "int8" and network.name in NOT_IN_INT8:
        raise ConfigurationError(
            f"{network.name} cannot be had in int8: {NOT_IN_INT8[network.name]}: take fp32 or fp16"
        )
    converted = HalfPrecision(network) if precision == "fp16" else fold_batch_norm(network)
    model = _onnx(converted.eval(), height, width, dynamic)
    if precision == "int8":
        precise = {f"core.{part}" for part in method(network.name).precise}
        if network.base is not None:
            precise |= {f"base.core.{part}" for part in method(network.base.name).precise}
        model = _quantised(model, calibration, precise)
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
    }
    import onnx

    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph):
        part.ClearField("metadata_props")  # which line made it, with the paths of this machine
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


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


def _quantised(model: Any, calibration: Sequence[Feed], precise: set[str]) -> Any:
    """The model with its cores' convolutions in int8, as pairs of QuantizeLinear and DequantizeLinear; but for those of
    the parts named in ``precise``.
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
    return nncf.quantize(
        model,
        nncf.Dataset(calibration),
        # Weights symmetric, activations not: with symmetric activations OpenVINO is off by up to 50 %.
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=kept),
    )


def _is_core_convolution(node: Any, precise: set[str]) -> bool:
    """Whether a node is a convolution of a core and none of the parts that stay precise."""
    properties = {entry.key: entry.value for entry in node.metadata_props}
    scopes = literal_eval(properties.get("pkg.torch.onnx.name_scopes", "[]"))
    parts = {scope for scope in scopes if scope.startswith(("core.", "base.core."))}
    return node.op_type in ("Conv", "ConvTranspose") and bool(parts) and not parts & precise
