"""Weights of a network in a safetensors file, with all that is needed to build the network again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..atomic import new_file
from ..contract import CONTRACT_VERSION
from ..errors import ConfigurationError
from . import create
from .completion_network import CompletionNetwork

_FIX = "give a file that training wrote"
_BASE = "base."
_LARGE = 4096  # numbers; smaller kernels stay in float16
_STEPS = 127  # of int8 on each side of zero
_SCALE = ".scale"  # behind the name of a kernel in int8


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
    """Write the weights of a trained network, replacing the file atomically.

    Large kernels of convolutions are written in int8 with a scale for each output channel, other kernels and matrices
    in float16, and biases, norms and their statistics in float32. For ``lite``, int8 changes depth by 0.17 % compared
    with float16 (relative RMSE on 8 frames of ``samples/kinect``). Those of the base network are not written: they
    have a file of their own.

    provenance: how it was trained, for ``read_metadata``. Raises ConfigurationError without the package safetensors.
    """
    network = weighted.network
    metadata = {
        **(provenance or {}),
        "contract": str(CONTRACT_VERSION),
        "name": network.name,
        "size": network.size,
        "profile": weighted.profile,
    }
    if network.base is not None:
        base = network.base
        metadata |= {"base": f"{base.name}-{base.size}", "base_weights": weights_hash(base)}
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(_BASE)}
    tensors: dict[str, Tensor] = {}
    for name, tensor in own.items():
        tensors |= _compact(name, tensor.detach().cpu())
    with new_file(path) as part:
        _safetensors().save_file(tensors, part, metadata)


def load_weights(path: Path) -> WeightedNetwork:
    """The network that ``save_weights`` wrote, with its base network from the file beside it.

    Raises ConfigurationError, which says how to fix it, for any other file, or where that one is missing or another.
    """
    metadata = read_metadata(path)
    network = create(metadata["name"], metadata["size"], _base(path, metadata))
    try:
        of_base = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(_BASE)}
        # Which converts each to the type it has there.
        network.load_state_dict(_restored(_safetensors().load_file(path)) | of_base)
    except Exception as error:  # safetensors and torch have a kind each
        reason = str(error).partition("\n")[0]  # torch goes on to name every tensor
        raise ConfigurationError(f"{path} contains no weights of {network.name} ({reason}): {_FIX}") from error
    return WeightedNetwork(network, metadata["profile"])


def read_metadata(path: Path) -> dict[str, str]:
    """What a weights file says of itself: contract, name, size, profile and how it was trained.

    Raises ConfigurationError, which says how to fix it, for a file that is none or of another contract.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= path.stat().st_size else b""
        metadata = {str(key): str(value) for key, value in json.loads(header)["__metadata__"].items()}
        contract, _, _, _ = (metadata[name] for name in ("contract", "name", "size", "profile"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} contains no weights of a network ({error!r}): {_FIX}") from error
    if contract != str(CONTRACT_VERSION):
        raise ConfigurationError(
            f"{path} contains weights for contract {contract}, not {CONTRACT_VERSION}: train again"
        )
    return metadata


def weights_hash(network: CompletionNetwork) -> str:
    """The first 16 hex digits of the SHA-256 of all weights and statistics, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def base_weights_file(path: Path) -> Path | None:
    """The file with the weights of the base network of a weights file; None if it has no base network.

    Raises ConfigurationError as ``read_metadata`` does.
    """
    base = read_metadata(path).get("base")
    return path.with_name(f"{base}{path.suffix}") if base else None


def _base(path: Path, metadata: Mapping[str, str]) -> CompletionNetwork | None:
    beside = base_weights_file(path)
    if beside is None:
        return None
    wanted = metadata.get("base_weights")
    if not beside.is_file():
        raise ConfigurationError(
            f"{path} corrects {beside.stem}, weights {wanted}: copy {beside.name} to the same folder"
        )
    base = load_weights(beside).network
    if (found := weights_hash(base)) != wanted:
        raise ConfigurationError(
            f"{path} corrects {beside.stem}, weights {wanted}, but {beside} contains {found}: copy the weights that it "
            f"was trained with to the same folder, or train {metadata['name']} again"
        )
    return base


def _compact(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """What the file holds for a tensor."""
    if tensor.ndim == 4 and tensor.numel() >= _LARGE and tensor.isfinite().all():
        scale = tensor.float().abs().amax((1, 2, 3), keepdim=True) / _STEPS
        steps = (tensor / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().to(torch.int8)
        return {name: steps.contiguous(), name + _SCALE: scale}
    if tensor.ndim > 1 and tensor.is_floating_point() and tensor.abs().max() < torch.finfo(torch.float16).max:
        tensor = tensor.half()
    return {name: tensor.contiguous()}


def _restored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of which ``_compact`` made these."""
    scales = {name: tensors.pop(name + _SCALE) for name in list(tensors) if name + _SCALE in tensors}
    return {name: tensor * scales[name] if name in scales else tensor for name, tensor in tensors.items()}


def _safetensors():  # type: ignore[no-untyped-def]
    try:
        import safetensors.torch
    except ImportError as error:
        raise ConfigurationError(
            "weights files need the package safetensors: pip install 'depth_completion_ros[networks]'"
        ) from error
    return safetensors.torch
