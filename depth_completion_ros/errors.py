"""Errors that a user can cause and fix. Each message says what is wrong and how to fix it."""

from __future__ import annotations

import re

# Parameter names in messages, and the equivalent option of the commands ``complete`` and ``evaluate``.
_OPTIONS = {
    r"\bdepth\.unit\b": "--depth-unit",
    r"\bdepth\.min_range\b": "--min-range",
    r"\bdepth\.max_range\b": "--max-range",
    r", or set depth\.registered false[^:;]*": "",
    r"\bthe parameter extrinsic( or tf)?\b": "--extrinsic",
    r"\b(the names of its colour and depth topics)\b": r"\1 with --rgb-topic and --depth-topic",
}


class InputError(ValueError):
    """A frame, message or file that cannot be used; the next one may be fine.

    Attributes:
        cause: A short name in snake_case ("encoding", "size", "empty_depth", …). Diagnostics count drops by cause.
    """

    def __init__(self, cause: str, message: str):
        super().__init__(message)
        self.cause = cause


class ConfigurationError(ValueError):
    """A setting, profile, engine or model that cannot be used until the user changes it."""


class EngineError(RuntimeError):
    """An engine failed while it ran. ``__cause__`` is the exception of its library."""


def in_options(message: object) -> str:
    """The message with the names of node parameters replaced by command-line options."""
    text = str(message)
    for parameter, option in _OPTIONS.items():
        text = re.sub(parameter, option, text)
    return text
