"""The rooms of the package import each other only as docs/architecture.md says, and no imports form a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "depth_completion_ros"
TOP = "top level"
# Entry points, which call what others hold: nothing in the package imports them.
ENTRY_POINTS = ("cli", "launching")
ROOMS = {
    TOP: {"engines"},
    "engines": {TOP},
    "networks": {TOP},
    "node": {TOP, "engines"},
    "bag": {TOP},
    "data": {"bag"},  # names of version 0.1
    "evaluation": {TOP, "engines", "bag"},
    "training": {TOP, "engines", "bag", "networks", "evaluation"},
    "commands": {TOP, "engines", "networks", "node", "bag", "evaluation", "training"},
}
# Single files that need another room; all of them import it inside a function, or are run on their own.
EXCEPTIONS = {
    ("engines", "networks"): "the contract's checks of names, and the engine torch, which runs the networks themselves",
    ("evaluation.prefill", "networks"): "the filling of holes, which every network begins with, as a model",
    ("evaluation.benchmarks", "node"): "the node is what they measure",
    ("evaluation.demo", "node"): "the node is what it shows",
    ("evaluation.live", "node"): "the evaluator is a node too, and uses what nodes share",
}


def modules() -> dict[str, Path]:
    """The files of the package by the name of their module, relative to the package."""
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(name: str) -> set[str]:
    """The modules of the package that a module imports anywhere, but for those of type checkers alone."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in runtime_nodes(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if package else []
        base += node.module.split(".") if node.module else []
        for alias in node.names:
            module = ".".join([*base, alias.name])
            found.add(module if module in MODULES else ".".join(base))
    return found


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree that are not below ``if TYPE_CHECKING``."""
    nodes = [tree]
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            nodes += runtime_nodes(child)
    return nodes


def room_of(module: str) -> str:
    first = module.partition(".")[0]
    return first if first in ROOMS else TOP


def allowed(module: str, room: str) -> bool:
    own = room_of(module)
    if room == own or room in ROOMS[own] or module in ENTRY_POINTS:
        return True
    return any((module == name or module.startswith(f"{name}.")) and to == room for name, to in EXCEPTIONS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_the_rooms_that_its_own_may_use(module):
    wrong = {other for other in imports(module) if not allowed(module, room_of(other))}
    assert not wrong, f"{module} imports {wrong}: move the code, not the table"


def test_every_room_has_a_row():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == ROOMS.keys() - {TOP}


def test_nothing_imports_an_entry_point():
    assert {module for module in MODULES if imports(module) & set(ENTRY_POINTS)} == set()


def test_no_imports_form_a_circle():
    """Of single modules, imports inside functions included. ``prepare`` raises CycleError and names the modules."""
    TopologicalSorter({module: imports(module) - {module} for module in MODULES}).prepare()


def test_the_rooms_form_no_circle():
    """But for engines, which the completer at the top level opens, and which use the types there."""
    TopologicalSorter(
        {room: others - ({"engines"} if room == TOP else set()) for room, others in ROOMS.items()}
    ).prepare()


@pytest.mark.parametrize("command", ["node --help", "complete --help", "cameras", "parameters"])
def test_commands_that_robots_use_do_not_import_pytorch(command):
    code = "import sys; from depth_completion_ros.cli import main\n"
    code += f"try: main({command.split()!r})\nexcept SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=True, capture_output=True, timeout=60)
