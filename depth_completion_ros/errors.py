"""The errors a user can cause and mend. Each message names the thing and the mend."""

from __future__ import annotations

import re

# What the messages call by the name of the node's parameter, and the option of ``complete`` and ``evaluate`` for it.
_OPTIONS = {
    r"\bdepth\.unit\b": "--depth-unit",
    r"\bdepth\.min_range\b": "--min-range",
    r"\bdepth\.max_range\b": "--max-range",
    r", or set depth\.registered false[^:;]*": "",
    r"\bthe parameter extrinsic( or tf)?\b": "--extrinsic",
    r"\b(the names of its colour and depth topics)\b": r"\1 with --rgb-topic and --depth-topic",
}


class InputError(ValueError):
    """One frame, message or file that cannot be used; the next one may be fine.

    ``cause`` is a short snake_case word ("encoding", "size", "empty_depth", …): diagnostics count drops by it.
    """

    def __init__(self, cause: str, message: str):
        super().__init__(message)
        self.cause = cause


class ConfigurationError(ValueError):
    """A setting, profile, engine or model that cannot be used until somebody changes it."""


class EngineError(RuntimeError):
    """An engine failed while it ran; whatever its library threw is the cause."""


def in_options(message: object) -> str:
    """A message for the command line: it names options where the node's messages name parameters."""
    text = str(message)
    for parameter, option in _OPTIONS.items():
        text = re.sub(parameter, option, text)
    return text
