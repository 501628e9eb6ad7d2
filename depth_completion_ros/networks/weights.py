"""Weights of a network in a safetensors file, with all that is needed to build the network again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..contract import CONTRACT_VERSION
from ..errors import ConfigurationError
from . import create
from .shell import CompletionNetwork

_MEND = "give a file that training wrote"


@dataclass(frozen=True)
class WeightedNetwork:
    """A network and where its weights come from. profile: of the sensor whose frames it was trained on, "any" for
    several, "" for random weights.
    """

    network: CompletionNetwork
    profile: str

    @property
    def trained(self) -> bool:
        return bool(self.profile)


def untrained(name: str, size: str = "small") -> WeightedNetwork:
    """A network with random weights, the same ones every time. Raises ConfigurationError as ``create`` does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WeightedNetwork(create(name, size), "")


def save_weights(weighted: WeightedNetwork, path: Path, provenance: Mapping[str, str] | None = None) -> None:
    """Write the weights of a trained network, replacing the file at one stroke.

    Kernels and matrices in float16, which changes the answer by less than a thousandth; biases, norms and their
    statistics in float32. provenance: how it was trained, for ``read_metadata``. Raises ConfigurationError without the
    package safetensors.
    """
    network = weighted.network
    metadata = {
        **(provenance or {}),
        "contract": str(CONTRACT_VERSION),
        "name": network.name,
        "size": network.size,
        "profile": weighted.profile,
    }
    tensors = {name: _compact(tensor.detach().cpu()) for name, tensor in network.state_dict().items()}
    unfinished = path.with_name(f"{path.name}.unfinished")
    _safetensors().save_file(tensors, unfinished, metadata)
    unfinished.replace(path)


def load_weights(path: Path) -> WeightedNetwork:
    """The network that ``save_weights`` wrote. Raises ConfigurationError, naming the mend, for any other file."""
    metadata = read_metadata(path)
    network = create(metadata["name"], metadata["size"])
    try:
        network.load_state_dict(_safetensors().load_file(path))  # which converts each to the type it has there
    except Exception as error:  # safetensors and torch have a kind each
        reason = str(error).partition("\n")[0]  # torch goes on to name every tensor
        raise ConfigurationError(f"{path} holds no weights of {network.name} ({reason}): {_MEND}") from error
    return WeightedNetwork(network, metadata["profile"])


def read_metadata(path: Path) -> dict[str, str]:
    """What a weights file says of itself: contract, name, size, profile and how it was trained.

    Raises ConfigurationError, naming the mend, for a file that is none or of another contract.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= path.stat().st_size else b""
        metadata = {str(key): str(value) for key, value in json.loads(header)["__metadata__"].items()}
        contract, _, _, _ = (metadata[name] for name in ("contract", "name", "size", "profile"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} holds no weights of a network ({error!r}): {_MEND}") from error
    if contract != str(CONTRACT_VERSION):
        raise ConfigurationError(f"{path} holds weights for contract {contract}, not {CONTRACT_VERSION}: train again")
    return metadata


def weights_hash(network: CompletionNetwork) -> str:
    """The first 16 hex digits of the SHA-256 of all weights and statistics, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _compact(tensor: Tensor) -> Tensor:
    if tensor.ndim > 1 and tensor.is_floating_point() and tensor.abs().max() < torch.finfo(torch.float16).max:
        tensor = tensor.half()
    return tensor.contiguous()


def _safetensors():  # type: ignore[no-untyped-def]
    try:
        import safetensors.torch
    except ImportError as error:
        raise ConfigurationError(
            "weights files need the package safetensors: pip install 'depth_completion_ros[networks]'"
        ) from error
    return safetensors.torch
