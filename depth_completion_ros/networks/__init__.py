"""The completion networks by name: the published methods and one of ours, all behind the one contract of ``shell.py``.

``create("nlspn", "full")`` builds one with fresh weights. Importing this package imports PyTorch.
"""

from __future__ import annotations

from importlib import import_module

from ..errors import ConfigurationError
from .shell import CompletionNetwork, Method

SIZES = ("small", "full")
_NAMES = ("lite", "nlspn", "unet", "s2ml", "magaconv", "fast_interpolation", "srgan")


def names() -> tuple[str, ...]:
    """Names of all methods, the CPU default first."""
    return _NAMES


def method(name: str) -> Method:
    """What is known of a method before it is built. Raises ConfigurationError for an unknown name."""
    if name not in _NAMES:
        raise ConfigurationError(f"no network {name!r}: choose one of {', '.join(_NAMES)}")
    return import_module(f".{name}", __package__).METHOD


def create(name: str, size: str = "small") -> CompletionNetwork:
    """A network with fresh weights. size: "full" is the paper's size, "small" trains and runs on a modest machine.

    Raises ConfigurationError for an unknown name or size.
    """
    chosen = method(name)
    if size not in chosen.sizes:
        raise ConfigurationError(f"no size {size!r} of {name}: choose one of {', '.join(chosen.sizes)}")
    return CompletionNetwork(chosen.core(**chosen.sizes[size]), name, size)


__all__ = ["SIZES", "CompletionNetwork", "Method", "create", "method", "names"]
