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
    """A method of size small with a part changed. meaning: one line for people. change: of the fresh core."""

    method: str
    name: str
    meaning: str
    change: Callable[[Any], None] = lambda core: None

    def build(self) -> CompletionNetwork:
        """With fresh weights. Whatever is not changed has the weights of the method built from the same seed.

        Its prefill sees no colour, as in the papers: else next to nothing is left that a short training could add.
        """
        network = create(self.method)
        network.guided = False
        self.change(network.core)
        return network
