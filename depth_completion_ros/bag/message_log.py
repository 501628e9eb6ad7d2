"""The CSV files that ``bag play --log`` and ``bag record --log`` write."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from ..errors import ConfigurationError


def open_log(path: Path, time_column: str) -> TextIO:
    """Open the file for one row for each message: topic, stamp_ns, and the time that the last column is named for.

    Raises:
        ConfigurationError: If the file cannot be written.
    """
    try:
        log = path.open("w", buffering=1, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"--log {path} cannot be written ({error.strerror}): choose a file in a folder that exists"
        ) from error
    log.write(f"topic,stamp_ns,{time_column}\n")
    return log
