"""Checkpoints: files that are complete or missing, but never damaged, even if the process is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..atomic import new_file
from ..errors import ConfigurationError


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint and replace an existing file atomically."""
    with new_file(path) as part:
        torch.save(state, part)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Load a file that ``save_checkpoint`` wrote.

    Raises:
        ConfigurationError: If the file is missing or cannot be read. The message says how to fix it.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} does not exist: omit --resume, or give its folder with --out") from error
    except Exception as error:  # torch raises many kinds of exceptions for files of other formats
        raise ConfigurationError(f"{path} cannot be read ({error}): omit --resume to start again") from error
