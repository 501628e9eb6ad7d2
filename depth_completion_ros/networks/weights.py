"""Save and load the weights of a network in a safetensors file, with the metadata that describes the network."""

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

_FIX = "use a file that was written by training"
_BASE_PREFIX = "base."
_MIN_INT8_SIZE = 4096  # elements; smaller kernels are stored as float16
_INT8_MAX = 127
_SCALE_SUFFIX = ".scale"  # of the name of the scales of a kernel that is stored as int8


@dataclass(frozen=True)
class WeightedNetwork:
    """A network and the origin of its weights.

    Attributes:
        network: The network.
        profile: Profile of the sensor whose frames it was trained on; "any" for several sensors, "" for random weights.
    """

    network: CompletionNetwork
    profile: str

    @property
    def trained(self) -> bool:
        return bool(self.profile)


def untrained(name: str, size: str = "small") -> WeightedNetwork:
    """Return a network with random weights that are the same in every call.

    Raises:
        ConfigurationError: As ``create``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return WeightedNetwork(create(name, size), "")


def save_weights(weighted: WeightedNetwork, path: Path, provenance: Mapping[str, str] | None = None) -> None:
    """Write the weights of a network and replace an existing file atomically.

    Large kernels of convolutions are stored as int8 with a scale for each output channel, and other kernels and
    matrices as float16. For ``lite``, int8 instead of float16 changes depth by 0.17 % (relative RMSE on 8 frames of
    ``samples/kinect``). Biases, norms and their statistics are stored as float32. The weights of the base network are
    not written, because they have their own file.

    Args:
        weighted: The network.
        path: The file.
        provenance: How the network was trained, for ``read_metadata``.

    Raises:
        ConfigurationError: If the package safetensors is not installed.
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
    own_weights = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(_BASE_PREFIX)}
    tensors: dict[str, Tensor] = {}
    for name, tensor in own_weights.items():
        tensors |= _compact(name, tensor.detach().cpu())
    if network.sigma_scale != 1:
        metadata["sigma_scale"] = repr(network.sigma_scale)
    with new_file(path) as part:
        _safetensors().save_file(tensors, part, metadata)


def load_weights(path: Path) -> WeightedNetwork:
    """Load a network that ``save_weights`` wrote. Its base network is loaded from the same folder.

    Raises:
        ConfigurationError: If the file contains no weights of a network, or the base network's file is missing or
            contains other weights. The message says how to fix it.
    """
    metadata = read_metadata(path)
    network = create(metadata["name"], metadata["size"], _load_base(path, metadata))
    try:
        network.sigma_scale = float(metadata.get("sigma_scale", "1"))
        base_weights = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(_BASE_PREFIX)}
        # load_state_dict converts each tensor to the type of the network's tensor.
        network.load_state_dict(_restore(_safetensors().load_file(path)) | base_weights)
    except Exception as error:  # safetensors and torch raise exceptions of their own
        reason = str(error).partition("\n")[0]  # the further lines of torch's message list every tensor
        raise ConfigurationError(f"{path} contains no weights of {network.name} ({reason}): {_FIX}") from error
    return WeightedNetwork(network, metadata["profile"])


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a weights file: contract, name, size, profile and how it was trained.

    Raises:
        ConfigurationError: If the file is not a weights file or follows another contract. The message says how to fix
            it.
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
    """Return the first 16 hex digits of the SHA-256 of all weights and statistics, in the order of their names.

    The factor of sigma is one of them unless it is 1.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    if network.sigma_scale != 1:
        digest.update(f"sigma_scale {network.sigma_scale!r}".encode())
    return digest.hexdigest()[:16]


def base_weights_file(path: Path) -> Path | None:
    """Return the file with the weights of a network's base network, or None if it has no base network.

    Raises:
        ConfigurationError: As ``read_metadata``.
    """
    base = read_metadata(path).get("base")
    return path.with_name(f"{base}{path.suffix}") if base else None


def _load_base(path: Path, metadata: Mapping[str, str]) -> CompletionNetwork | None:
    file = base_weights_file(path)
    if file is None:
        return None
    wanted = metadata.get("base_weights")
    if not file.is_file():
        raise ConfigurationError(f"{path} corrects {file.stem}, weights {wanted}: copy {file.name} to the same folder")
    base = load_weights(file).network
    if (found := weights_hash(base)) != wanted:
        raise ConfigurationError(
            f"{path} corrects {file.stem}, weights {wanted}, but {file} contains {found}: copy the weights that it "
            f"was trained with to the same folder, or train {metadata['name']} again"
        )
    return base


def _compact(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return the tensors that the file contains instead of this one: itself, or an int8 kernel and its scales."""
    if tensor.ndim == 4 and tensor.numel() >= _MIN_INT8_SIZE and tensor.isfinite().all():
        scale = tensor.float().abs().amax((1, 2, 3), keepdim=True) / _INT8_MAX
        rounded = (tensor / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().to(torch.int8)
        return {name: rounded.contiguous(), name + _SCALE_SUFFIX: scale}
    if tensor.ndim > 1 and tensor.is_floating_point() and tensor.abs().max() < torch.finfo(torch.float16).max:
        tensor = tensor.half()
    return {name: tensor.contiguous()}


def _restore(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo ``_compact``: multiply the int8 kernels of a file by their scales."""
    scales = {name: tensors.pop(name + _SCALE_SUFFIX) for name in list(tensors) if name + _SCALE_SUFFIX in tensors}
    return {name: tensor * scales[name] if name in scales else tensor for name, tensor in tensors.items()}


def _safetensors():  # type: ignore[no-untyped-def]
    try:
        import safetensors.torch
    except ImportError as error:
        raise ConfigurationError(
            "weights files need the package safetensors: pip install 'depth_completion_ros[networks]'"
        ) from error
    return safetensors.torch
