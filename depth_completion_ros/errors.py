"""The errors a user can cause and mend. Each message names the thing and the mend."""

from __future__ import annotations


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
