"""The completion networks by name: published methods and our own. All follow the contract of ``CompletionNetwork``.

``create("nlspn", "full")`` builds a network with random weights. PyTorch is imported only when a network is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .completion_network import CompletionNetwork, Method

SIZES = ("small", "full")
BASES = ("planes",)  # networks that only serve as the base of others (``CompletionNetwork``)
_NAMES = ("lite", "nlspn", "s2ml", "unet", "magaconv", "fast_interpolation", "srgan")


def names() -> tuple[str, ...]:
    """Names of the networks that users select, the default first."""
    return _NAMES


def method(name: str) -> Method:
    """Return the description of a method without building its network.

    Raises:
        ConfigurationError: If the name is unknown or PyTorch is not installed.
    """
    if name not in (*_NAMES, *BASES):
        raise ConfigurationError(f"no network {name!r}: choose one of {', '.join(_NAMES)}")
    try:
        return import_module(f".{name}", __package__).METHOD
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigurationError("the networks need PyTorch: pip install 'depth_completion_ros[networks]'") from error


def create(name: str, size: str = "small", base: CompletionNetwork | None = None) -> CompletionNetwork:
    """Build a network with random weights.

    Args:
        name: Name of the network, one of ``names()`` or ``BASES``.
        size: "full" is the paper's size; "small" trains and runs on a modest machine.
        base: Trained network whose result this one corrects, see ``CompletionNetwork``.

    Raises:
        ConfigurationError: If the name or the size is unknown, or PyTorch is not installed.
    """
    chosen = method(name)
    if size not in chosen.sizes:
        raise ConfigurationError(f"no size {size!r} of {name}: choose one of {', '.join(chosen.sizes)}")
    core = chosen.core(**chosen.sizes[size])
    if chosen.half_resolution:
        from .half_resolution import HalfResolutionNetwork

        return HalfResolutionNetwork(core, name, size)
    from .completion_network import CompletionNetwork

    return CompletionNetwork(core, name, size, "image" in chosen.inputs, base)
