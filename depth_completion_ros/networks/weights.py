"""Weights of a network in a file, with all that is needed to build the network again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from ..contract import CONTRACT_VERSION
from ..errors import ConfigurationError
from . import create
from .shell import CompletionNetwork


@dataclass(frozen=True)
class WeightedNetwork:
    """A network and where its weights come from. profile: of the sensor whose frames it was trained on, "" for random
    weights.
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


def save_weights(weighted: WeightedNetwork, path: Path) -> None:
    """Write the weights of a trained network."""
    network = weighted.network
    content = {
        "contract": CONTRACT_VERSION,
        "name": network.name,
        "size": network.size,
        "profile": weighted.profile,
        "weights": network.state_dict(),
    }
    torch.save(content, path)


def load_weights(path: Path) -> WeightedNetwork:
    """The network that ``save_weights`` wrote. Raises ConfigurationError, naming the mend, for any other file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        network = create(content["name"], content["size"])
        network.load_state_dict(content["weights"])
        profile, contract = str(content["profile"]), content["contract"]
    except Exception as error:  # torch has many kinds for a file that is not one of its own
        raise ConfigurationError(
            f"{path} holds no weights of a network ({error}): give a file that training wrote"
        ) from error
    if contract != CONTRACT_VERSION:
        raise ConfigurationError(f"{path} holds weights for contract {contract}, not {CONTRACT_VERSION}: train again")
    return WeightedNetwork(network, profile)


def weights_hash(network: CompletionNetwork) -> str:
    """The first 16 hex digits of the SHA-256 of all weights and statistics, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
