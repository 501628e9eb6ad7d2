"""The models of an evaluation by name: classical ones, networks on any engine, and the networks' start."""

from __future__ import annotations

from importlib.util import find_spec

from ..completer import DepthCompleter
from ..engines import model_names
from ..engines.classical_models import MEASURED, check_requirements
from ..engines.model_file import (
    WEIGHTS_SUFFIX,
    find_model_file,
    find_weights_file,
    model_directories,
    network_names,
)
from ..errors import ConfigurationError
from ..profiles import Profile

BASELINES = tuple(name for name in model_names("classical") if name != MEASURED)
PREFILLS = {"prefill": True, "prefill-depth": False}  # and whether the image guides them


def open_model(name: str, profile: Profile) -> DepthCompleter:
    """A completer that runs a model.

    name: a classical model; "prefill", what the networks start from, or "prefill-depth", the same of those that do not
    see the image; or a network ("lite", "nlspn-full"): its network file, else its weights. "ENGINE:" before the name
    chooses the engine; "torch:NAME" takes weights, random ones where there are none. Files may be given by their paths.
    Raises ConfigurationError for what cannot be opened here.
    """
    if name in PREFILLS:
        try:
            from .prefill import PrefillEngine
        except ImportError as error:
            raise ConfigurationError(f"the model {name} needs PyTorch ({error}): pip install torch") from error
        return DepthCompleter(profile, PrefillEngine(name, PREFILLS[name]))
    engine, _, model = name.rpartition(":")
    has_weights = model.endswith(WEIGHTS_SUFFIX) or find_weights_file(model, profile.name)
    if not engine and has_weights and not _has_network_file(model):
        engine = "torch"
    return DepthCompleter(profile, engine or "auto", model)


def default_models() -> list[str]:
    """All classical baselines whose libraries are here, and every trained network: its weights and network files."""
    weights = [path.stem for directory in model_directories() for path in sorted(directory.glob(f"*{WEIGHTS_SUFFIX}"))]
    by_torch = [f"torch:{stem}" for stem in dict.fromkeys(weights)] if find_spec("torch") else []
    return [*filter(_usable, BASELINES), *by_torch, *(name for name in network_names() if _is_trained(name))]


def _has_network_file(model: str) -> bool:
    try:
        find_model_file(model)
    except ConfigurationError:
        return False
    return True


def _is_trained(model: str) -> bool:
    try:
        return find_model_file(model).trained
    except ConfigurationError:  # no file of this package: those that are asked for by name are told of
        return False


def _usable(baseline: str) -> bool:
    try:
        check_requirements(baseline)
    except ConfigurationError:
        return False
    return True
