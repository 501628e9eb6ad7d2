"""Find parameter files that ROS ignores without a word, because they name other nodes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

_PARAMETERS = "ros__parameters"
_DEEPEST = 20  # levels of namespaces; an alias in YAML may contain itself


def unused_files(arguments: Iterable[str], node_name: str) -> list[str]:
    """A warning for each parameter file that has parameters, but none for this node.

    Args:
        arguments: The command line of the process, with ``--params-file FILE`` among the ROS arguments.
        node_name: Full name of the node, for example "/camera/depth_completion".
    """
    files = [Path(file) for option, file in itertools.pairwise(arguments) if option == "--params-file"]
    lines = []
    for file in dict.fromkeys(files):
        try:
            names = list(_node_names(yaml.safe_load(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, yaml.YAMLError):  # ROS could read it: nothing is known about it
            continue
        if names and not any(_matches(name, node_name) for name in names):
            lines.append(
                f"no parameter of {file} is used, because it names {' and '.join(names)}, but this node is called "
                f"{node_name}: begin the file with '{node_name}:', or with '/**:' for any node"
            )
    return lines


def _node_names(content: Any, namespace: str = "") -> Iterator[str]:
    """Full names of the nodes in a parameter file, in which a namespace may be a level of its own."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == _PARAMETERS:
            yield namespace
        elif namespace.count("/") < _DEEPEST:
            yield from _node_names(value, f"{namespace}/{str(key).strip('/')}")


def _matches(pattern: str, name: str) -> bool:
    """Whether a name in a parameter file applies: * stands for one part of a name, ** for any number of them."""
    parts = pattern.strip("/").split("/")
    wild = {"*": r"/\w+", "**": r"(/\w+)*"}
    return re.fullmatch("".join(wild.get(part, "/" + re.escape(part)) for part in parts), name) is not None
