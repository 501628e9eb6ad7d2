"""Says what this environment lacks of the package, its extras and all that those need; exit status 1 if anything.

python tools/installed.py ros,test
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

from pip._vendor.packaging.requirements import Requirement

PACKAGE = "depth_completion_ros"


def missing(extras: set[str], path: list[str] | None = None) -> list[str]:
    """The requirements that are not met, and the package itself where files of it are gone.

    path: where to look for packages, ``sys.path`` by default.
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
        # What pip has chosen for the requirements of others, it has weighed against each other.
        if found is None or (direct and not requirement.specifier.contains(found.version, prereleases=True)):
            lacking.append(str(requirement).partition(";")[0].strip())
        elif (asked := (_key(requirement.name), *sorted(requirement.extras))) not in seen:
            seen.add(asked)
            waiting += [(one, False) for one in _requirements(found, requirement.extras)]
    return sorted(lacking)


def _requirements(package: Distribution, extras: set[str]) -> list[Requirement]:
    """What the package needs on this machine with these extras."""
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
