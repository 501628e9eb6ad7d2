"""List the requirements of the package and its extras that are missing here. The exit status is 1 if there are any.

python tools/installed.py ros,test
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

from pip._vendor.packaging.requirements import Requirement

PACKAGE = "depth_completion_ros"


def missing(extras: set[str], path: list[str] | None = None) -> list[str]:
    """The requirements that are not met; or the package itself, if it is not installed or files of it are missing.

    Args:
        extras: Extras of the package.
        path: Directories to search for packages; None = ``sys.path``.
    """
    installed = {_key(found.name): found for found in distributions(path=sys.path if path is None else path)}
    package = installed.get(_key(PACKAGE))
    if package is None or not all(file.locate().exists() for file in package.files or []):
        return [PACKAGE]
    lacking, seen = [], {(_key(PACKAGE), *sorted(extras))}
    waiting = [(one, True) for one in _requirements(package, extras)]
    while waiting:
        requirement, direct = waiting.pop()
        found = installed.get(_key(requirement.name))
        # Only check versions of direct requirements: pip has resolved the versions of all others.
        if found is None or (direct and not requirement.specifier.contains(found.version, prereleases=True)):
            lacking.append(str(requirement).partition(";")[0].strip())
        elif (asked := (_key(requirement.name), *sorted(requirement.extras))) not in seen:
            seen.add(asked)
            waiting += [(one, False) for one in _requirements(found, requirement.extras)]
    return sorted(lacking)


def _requirements(package: Distribution, extras: set[str]) -> list[Requirement]:
    """The requirements of a package on this machine with these extras."""
    requirements = [Requirement(line) for line in package.requires or []]
    return [
        one
        for one in requirements
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (extras or {""}))
    ]


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    lacking = missing(set(sys.argv[1].split(",")))
    print("\n".join(lacking))
    sys.exit(bool(lacking))
