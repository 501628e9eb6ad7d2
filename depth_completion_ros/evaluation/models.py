"""The models of an evaluation by name: classical models, networks on any engine, and the prefill of the networks."""

from __future__ import annotations

from importlib.util import find_spec

from ..completer import DepthCompleter
from ..engines import model_names
from ..engines.classical_models import MEASURED, check_requirements
from ..errors import ConfigurationError
from ..model_file import (
    WEIGHTS_SUFFIX,
    find_model_file,
    find_weights_file,
    model_directories,
    network_names,
)
from ..profiles import Profile

BASELINES = tuple(name for name in model_names("classical") if name != MEASURED)
PREFILLS = {"prefill": True, "prefill-depth": False}  # name -> whether it is guided by the image


def open_model(name: str, profile: Profile) -> DepthCompleter:
    """Open a model by name.

    Args:
        name: One of
            - a classical model;
            - "prefill", the filled depth that networks start from, or "prefill-depth", that of depth-only networks;
            - a network ("lite", "nlspn-full"): its network file, or else its weights;
            - "ENGINE:NAME", to choose the engine; "torch:NAME" uses weights, or random weights if there are none;
            - the path of a network or weights file.
        profile: The depth sensor.

    Raises:
        ConfigurationError: If the model cannot be opened.
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
    """All classical models whose libraries are installed, and all weights and network files of trained networks."""
    weights = [path.stem for directory in model_directories() for path in sorted(directory.glob(f"*{WEIGHTS_SUFFIX}"))]
    networks = model_names("torch")
    selectable = [stem for stem in dict.fromkeys(weights) if stem.partition("-")[0] in networks]
    by_torch = [f"torch:{stem}" for stem in selectable] if find_spec("torch") else []
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
    except ConfigurationError:  # not a network file; this is only an error if the user asks for it by name
        return False


def _usable(baseline: str) -> bool:
    try:
        check_requirements(baseline)
    except ConfigurationError:
        return False
    return True
