"""Dense metric depth with confidence from a colour image and depth with holes."""

from .completer import DepthCompleter
from .errors import ConfigurationError, InputError
from .frame import CompletedDepth, Intrinsics, RgbdFrame
from .profiles import Profile, load_profile

__all__ = [
    "CompletedDepth",
    "ConfigurationError",
    "DepthCompleter",
    "InputError",
    "Intrinsics",
    "Profile",
    "RgbdFrame",
    "load_profile",
]
