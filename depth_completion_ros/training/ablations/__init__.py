"""Ablations: the published methods with one part changed or removed, trained and evaluated in the same way.

``variants("s2ml")`` returns the variants of one method, the method itself first. Only this call imports PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .variant import Variant

METHODS = ("s2ml", "magaconv", "nlspn", "unet")


def variants(method: str) -> tuple[Variant, ...]:
    """Return the variants of one of METHODS, in the order of the table. The first is the unchanged method."""
    return import_module(f".{method}", __package__).VARIANTS
