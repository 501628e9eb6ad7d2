"""Errors that a user can cause and fix. Each message says what is wrong and how to fix it."""

from __future__ import annotations

import re

# Parts of messages about node parameters, and what the commands ``complete`` and ``evaluate`` say instead.
_OPTIONS = {
    r"\bdepth\.unit\b": "--depth-unit",
    r"\bdepth\.min_range\b": "--min-range",
    r"\bdepth\.max_range\b": "--max-range",
    r"\b(the names of its colour and depth topics)\b": r"\1 with --rgb-topic and --depth-topic",
}
_OPTIONS_FOR_BAGS = {
    r"\bset depth\.registered false\b": "use --unregistered",
    r"\bdepth\.registered is true\b": "--unregistered is not given",
    r"\bSet rectify to on if the images are raw, or to off\b": "Use --rectify on if they are raw, or --rectify off",
    r"\bset the parameter extrinsic\b": "give it with --extrinsic",
    r"\bthe parameter extrinsic or tf\b": "--extrinsic or /tf",
    r"\bor publish it on tf\b": "or record /tf and /tf_static too",
    r"\bset extrinsic to\b": "set --extrinsic to",
    r"\bsync\.slop\b": "--slop",
    r"\bsync\.depth_offset\b": "--depth-offset",
}
_OPTIONS_FOR_FILES = {r", or set depth\.registered false[^:;]*": ""}


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


def in_options(message: object, bags: bool = False) -> str:
    """The message with the names of node parameters replaced by command-line options.

    Args:
        message: The message, or an error with it.
        bags: Whether the command reads bags, as ``evaluate`` does; ``complete`` reads files of images.
    """
    text = str(message)
    for parameter, option in (_OPTIONS | (_OPTIONS_FOR_BAGS if bags else _OPTIONS_FOR_FILES)).items():
        text = re.sub(parameter, option, text)
    return text
