"""The location of data files: config, launch, models and samples."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import ConfigurationError

PACKAGE = "depth_completion_ros"


def share_directory() -> Path:
    """The source checkout of this code, or ``share/depth_completion_ros`` of the prefix in which it is installed.

    Raises:
        ConfigurationError: If neither is found.
    """
    here = Path(__file__).resolve()
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    # First the prefix of this code, <prefix>/lib/python3.x/site-packages/<package>: other prefixes may contain other
    # versions.
    installed = [Path(prefix) / "share" / PACKAGE for prefix in [*map(str, here.parents), *prefixes, sys.prefix]]
    for candidate in [here.parent.parent, *installed]:
        if (candidate / "package.xml").is_file() and (candidate / "config").is_dir():
            return candidate
    raise ConfigurationError(
        f"the data files of {PACKAGE} were not found beside {here.parent}: install it with pip or colcon, "
        "or run it from a checkout"
    )
