"""A variant of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...networks import create
from ...networks.completion_network import CompletionNetwork

METHOD = "method"  # the name of the variant that changes nothing


@dataclass(frozen=True)
class Variant:
    """A method of size small with one part changed.

    Attributes:
        method: Name of the method.
        name: Name of the variant.
        meaning: Description of the change in one line.
        change: Function that changes the core before training.
    """

    method: str
    name: str
    meaning: str
    change: Callable[[Any], None] = lambda core: None

    def build(self) -> CompletionNetwork:
        """Build the variant with random weights. With the same seed, unchanged parts have the weights of the method.

        The prefill does not use colour, because the papers have no such step. With colour, a short training could
        hardly improve on the prefill.
        """
        network = create(self.method)
        network.guided = False
        self.change(network.core)
        return network
