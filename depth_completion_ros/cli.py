"""``depth-completion COMMAND …``: import the file of the command from ``commands/``, and run it.

The file has ``configure(parser)``, which adds the arguments, and ``run(args) -> int``, which returns the exit status.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from importlib import import_module
from types import ModuleType

from .errors import ConfigurationError, InputError, in_options
from .memory import keep_freed_memory

COMMANDS = {
    "node": "run the completion node (ROS arguments after --ros-args)",
    "parameters": "print the node's parameters as a table",
    "cameras": "print the table of known camera drivers",
    "complete": "complete depth image files or folders",
    "evaluate": "score completion methods on recorded frames",
    "evaluator": "score what a running completion node publishes (ROS arguments after --ros-args)",
    "robustness": "show how error and confidence change as the input gets worse",
    "costmap": "show which obstacles completed depth hides from a costmap, and which it invents",
    "bag make": "write a rosbag2 from a folder of frames",
    "bag info": "show the contents of a rosbag2",
    "bag play": "publish the messages of a rosbag2",
    "bag record": "record topics to a rosbag2",
    "scenes": "render examples of the procedural scenes for training",
    "scenes furnished": "fill a pool with views of furnished rooms for training",
    "scenes sequences": "render what a moving camera sees in furnished rooms, with poses and true depth",
    "models": "list the networks with parameters, cost, inputs, paper and weights",
    "train": "train a network with a recipe",
    "adapt": "adapt the default network to your own rooms and camera with a recording",
    "calibrate": "fit a network's sigma to recordings that it was not trained on",
    "ablate": "train variants of a method at equal budgets and compare them in a table",
    "export": "export a network to an ONNX file that engines run",
    "build-engine": "build the TensorRT engine of a network in advance",
    "bench engines": "compare the speed of engines and models",
    "bench node": "compare the speed of the node with that of a bare relay",
    "bench endurance": "test the node for an hour with crashes, jumps in time and engine failures",
    "demo": "play a sample recording through the node and show the results",
}

EVALUATIONS = ("evaluate", "robustness", "costmap")  # commands with the options of evaluate for bags


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script. Returns the exit status: 0 = success, 1 = failure, 2 = wrong usage."""
    keep_freed_memory()
    arguments = sys.argv[1:] if arguments is None else arguments
    name = _command_name(arguments)
    if name is None:
        asked = not arguments or arguments[0] in ("-h", "--help")
        print(_overview(), file=sys.stdout if asked and arguments else sys.stderr)
        return 0 if asked and arguments else 2
    try:
        module = command_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rosbags":
            raise
        print(f"depth-completion {name} needs the Python package rosbags: pip install rosbags", file=sys.stderr)
        return 1
    summary = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"depth-completion {name}", description=f"{summary[0].upper()}{summary[1:]}.")
    module.configure(parser)
    try:
        return module.run(parser.parse_args(arguments[len(name.split()) :]))
    except (ConfigurationError, InputError) as error:
        message = in_options(error, bags=name != "complete") if name in ("complete", "adapt", *EVALUATIONS) else error
        print(f"depth-completion {name}: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has seen enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def command_module(name: str) -> ModuleType:
    """Import the file of a command: "bag make" is ``commands/bag_make.py``."""
    return import_module(f".commands.{re.sub('[ -]', '_', name)}", __package__)


def _command_name(arguments: list[str]) -> str | None:
    """The longest command name at the beginning of the arguments; None if there is none."""
    return next((name for n in (2, 1) if (name := " ".join(arguments[:n])) in COMMANDS), None)


def _overview() -> str:
    lines = ["usage: depth-completion COMMAND [-h] …", "", "commands:"]
    lines += [f"  {name:<17}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
