"""Recipes: the settings of a training, from a YAML file that overrides ``config/training/base.yaml``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..contract import MULTIPLE
from ..errors import ConfigurationError
from ..networks import method
from ..resources import share_directory
from .hiding import HOLES, PATTERNS
from .losses import LOSSES
from .sensors import PROFILES

SOURCES = ("synthetic", "clean", "real")
_NOT_RECIPES = ("base", "splits")


@dataclass(frozen=True)
class Recipe:
    """The settings of a training by their names in the file. ``config/training/base.yaml`` explains each setting."""

    name: str
    network: str
    size: str
    base: str
    profile: str
    seed: int
    batch: int
    crop: int
    zoom: list[float]
    precision: str
    compile: bool
    learning_rate: float
    warm_up: float
    decay: float
    weight_decay: float
    ema_decay: float
    clip_norm: float
    sources: dict[str, float]
    scenes: dict[str, int]
    hiding: dict[str, float]
    shown_weight: float
    far_weight: float
    image_dropout: float
    losses: dict[str, float]

    @property
    def model(self) -> str:
        """Name of the weights, such as "lite-small" or "lite-small-lidar"."""
        return f"{self.network}-{self.size}" + ("" if self.profile == "any" else f"-{self.profile}")

    def hash(self) -> str:
        """Return the first 12 hex digits of the SHA-256 of all settings."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Splits:
    """Division of recorded sets, assets and seeds of procedural scenes into training and validation."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    max_turn_rad: float
    validation_assets: tuple[str, ...]
    train_scenes_seed: int
    validation_scenes_seed: int


def recipe_names() -> list[str]:
    """Return the names of the installed recipes, sorted."""
    return sorted(path.stem for path in _directory().glob("*.yaml") if path.stem not in _NOT_RECIPES)


def read_recipe(name: str, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        name: Name of an installed recipe, or path of a YAML file.
        changes: Settings that replace those of the recipe, such as "batch=64".

    Raises:
        ConfigurationError: If there is no such recipe or a setting is invalid. The message names the setting.
    """
    path = Path(name) if Path(name).suffix else _directory() / f"{name}.yaml"
    if not path.is_file():
        raise ConfigurationError(f"no recipe {name!r}: give a YAML file or one of {', '.join(recipe_names())}")
    settings = {**_read(_directory() / "base.yaml"), "name": path.stem, **_read(path)}
    for change in changes:
        setting, _, value = change.partition("=")
        settings[setting] = _parse(value, change)
    recipe = _build(Recipe, settings, path)
    _check(recipe, path)
    return recipe


def read_splits() -> Splits:
    """Read ``config/training/splits.yaml``.

    Raises:
        ConfigurationError: If the file is invalid.
    """
    path = _directory() / "splits.yaml"
    splits = _build(Splits, {k: tuple(v) if isinstance(v, list) else v for k, v in _read(path).items()}, path)
    if both := set(splits.train) & set(splits.validation):
        raise ConfigurationError(f"{path}: {', '.join(both)} must be in train or in validation, not in both")
    return splits


def _directory() -> Path:
    return share_directory() / "config" / "training"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error})") from error
    content = _parse(text, path)
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must contain names and values")
    return content


def _parse(text: str, origin: str | Path) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin} cannot be read as YAML ({error})") from error


def _build(kind: Callable[..., Any], settings: dict[str, Any], path: Path) -> Any:
    """Create a dataclass from the file's settings and check their types against the annotations."""
    expected = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if missing := expected.keys() - settings.keys():
        raise ConfigurationError(f"{path} lacks {', '.join(sorted(missing))}")
    if unknown := settings.keys() - expected.keys():
        raise ConfigurationError(
            f"{path}: unknown settings {', '.join(sorted(unknown))}: choose from {', '.join(expected)}"
        )
    converted = {name: _number(v) if expected[name] == "float" else v for name, v in settings.items()}
    for name, value in converted.items():
        if type(value).__name__ != expected[name].partition("[")[0]:
            raise ConfigurationError(f"{path}: {name} must be a {expected[name]}, not {value!r}")
    return kind(**converted)


def _number(value: Any) -> Any:
    """Convert an integer or a numeric text to a float; YAML reads numbers such as 2e-3 as text. Return others as is."""
    try:
        return float(value) if type(value) in (int, str) else value
    except ValueError:
        return value


def _check(recipe: Recipe, path: Path) -> None:
    if recipe.size not in method(recipe.network).sizes:
        raise ConfigurationError(f"{path}: {recipe.network} has no size {recipe.size!r}")
    if recipe.base and any("image" not in method(name).inputs for name in (recipe.base, recipe.network)):
        raise ConfigurationError(
            f"{path}: base is only for networks that use the image, and the base network must use the image too"
        )
    rules = {
        "batch must be at least 1": recipe.batch >= 1,
        f"crop must be a multiple of {MULTIPLE}": recipe.crop >= MULTIPLE and recipe.crop % MULTIPLE == 0,
        "precision must be auto, float32 or bfloat16": recipe.precision in ("auto", "float32", "bfloat16"),
        f"profile must be one of {', '.join(PROFILES)}": recipe.profile in PROFILES,
        "learning_rate and clip_norm must be above zero": min(recipe.learning_rate, recipe.clip_norm) > 0,
        "warm_up, decay and ema_decay must be between 0 and 1": all(
            0 < x < 1 for x in (recipe.warm_up, recipe.decay, recipe.ema_decay)
        ),
        "zoom must be two numbers of at least 1, the larger one last": len(recipe.zoom) == 2
        and 1 <= recipe.zoom[0] <= recipe.zoom[1],
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise ConfigurationError(f"{path}: {broken[0]}")
    for setting, known in (("sources", SOURCES), ("hiding", (HOLES, *PATTERNS)), ("losses", LOSSES)):
        weights = getattr(recipe, setting)
        if unknown := weights.keys() - set(known):
            raise ConfigurationError(
                f"{path}: {setting} has unknown names {', '.join(unknown)}: choose from {', '.join(known)}"
            )
        if not weights or min(weights.values()) < 0 or not sum(weights.values()):
            raise ConfigurationError(f"{path}: {setting} must be numbers that are not negative and not all zero")
