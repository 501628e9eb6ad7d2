"""The model card: training settings and validation scores of weights, as metadata and as a Markdown page."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import torch

from ..networks import method
from ..networks.weights import weights_hash
from ..resources import share_directory
from .recipe import Recipe
from .trainer import Trainer
from .validation import Scores

_SENSORS = {
    "any": "all modelled sensors",
    "kinect": "structured light",
    "tof": "time-of-flight cameras",
    "lidar": "LiDARs",
}


def provenance(recipe: Recipe, trainer: Trainer) -> dict[str, str]:
    """Return a description of the training as metadata for ``save_weights``."""
    base = trainer.network.base
    return {
        "recipe": recipe.name,
        "recipe_hash": recipe.hash(),
        "began_with": trainer.origin,
        **({"corrects": f"{base.name}-{base.size}, weights {weights_hash(base)}"} if base is not None else {}),
        "seed": str(recipe.seed),
        "steps": str(trainer.step),
        "minutes": f"{trainer.elapsed_s / 60:.1f}",
        "device": device_name(trainer.device),
        "commit": commit(),
    }


def model_card(recipe: Recipe, about: Mapping[str, str], data: list[str], columns: Mapping[str, Scores]) -> str:
    """Return the model card in Markdown.

    Args:
        recipe: The recipe of the training.
        about: The result of ``provenance``.
        data: A line for each part of the training data, with its licence.
        columns: Scores of the weights and of the models that they are compared with, by name.
    """
    paper, sensors = method(recipe.network).paper, _SENSORS[recipe.profile]
    settings = {
        **{name.replace("_", " "): value for name, value in about.items()},
        "batch": f"{recipe.batch} crops of {recipe.crop}x{recipe.crop}, {recipe.precision}",
        "optimiser": f"AdamW, {recipe.learning_rate:g} between warm-up and decay; the weights' moving average is kept",
        "losses": _weights(recipe.losses),
        "sources": _weights(recipe.sources),
    }
    keys = list(next(iter(columns.values())))
    cells = [[*key, *(scores[key].millimetres() for scores in columns.values())] for key in keys]
    lines = [
        f"# {recipe.model}",
        "",
        f"Weights of the network {recipe.network} ({paper}), trained for {sensors}.",
        "",
        *_table(["training", ""], [[name, value] for name, value in settings.items()]),
        "",
        "## Data",
        "",
        *(f"- {line}" for line in data),
        "",
        "## Validation",
        "",
        "RMSE / MAE in mm on frames that were not used for training; start is the depth that the network corrects.",
        "",
        *_table(["set", "protocol", *columns], cells),
    ]
    return "\n".join([*lines, ""])


def _table(heading: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *rows)]


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())


def device_name(device: torch.device) -> str:
    """Return a name such as "NVIDIA H100" or "CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def commit() -> str:
    """Return the commit of this code, or "unknown" if it does not run from a git checkout."""
    command = ["git", "-C", str(share_directory()), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
