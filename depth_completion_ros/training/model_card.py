"""Where weights come from and what they scored: as metadata of their file and as a page beside it."""

from __future__ import annotations

import subprocess

import torch

from ..resources import share_directory
from .recipe import Recipe, Splits
from .trainer import Trainer
from .validation import Scores, Validation


def provenance(recipe: Recipe, trainer: Trainer) -> dict[str, str]:
    """How weights came about, as ``save_weights`` takes it."""
    return {
        "recipe": recipe.name,
        "recipe_hash": recipe.hash(),
        "seed": str(recipe.seed),
        "steps": str(trainer.step),
        "minutes": f"{trainer.elapsed_s / 60:.1f}",
        "device": device_name(trainer.device),
        "commit": _commit(),
    }


def model_card(
    recipe: Recipe, splits: Splits, about: dict[str, str], scores: Scores, validation: Validation | None
) -> str:
    """A page of Markdown. scores: of the weights, on the cases of ``validation``."""
    return ""


def device_name(device: torch.device) -> str:
    """Such as "NVIDIA H100" or "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _commit() -> str:
    """Of the checkout this code runs from, "unknown" where it is none."""
    command = ["git", "-C", str(share_directory()), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
