"""Networks as ONNX files, with all that an engine must know inside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from ..contract import CONTRACT_VERSION, INPUTS, OUTPUTS
from ..resources import PACKAGE
from .shell import CompletionNetwork

OPSET = 20  # the first with the grid sampling of NLSPN in the form that all engines read


def export_onnx(network: CompletionNetwork, path: Path, height: int, width: int) -> None:
    """Write the network in float32 for images of one size; the batch is 1.

    The file's metadata: name, size, contract (its version), height, width, weights (their hash). The network is left in
    evaluation mode. Raises ValueError where height or width is no multiple of 32.
    """
    network.eval()
    example = (torch.rand(1, 3, height, width), torch.rand(1, 1, height, width) + 1, torch.ones(1, 1, 1, 1))
    program = torch.onnx.export(
        network,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=INPUTS,
        output_names=OUTPUTS,
        verbose=False,
    )
    assert program is not None  # None only where torch writes the file by itself
    program.model.metadata_props.update(
        producer=PACKAGE,
        name=network.name,
        size=network.size,
        contract=str(CONTRACT_VERSION),
        height=str(height),
        width=str(width),
        precision="fp32",
        profile="kinect",
        trained="false",
        weights=weights_hash(network),
    )
    program.save(path)


def weights_hash(network: CompletionNetwork) -> str:
    """The first 16 hex digits of the SHA-256 of all weights and statistics, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
