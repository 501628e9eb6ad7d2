"""``depth-completion COMMAND …``: finds the command's module, imports only that, and runs it.

A command's module offers ``configure(parser)``, which adds its arguments, and ``run(args) -> int``, its exit status.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from .errors import ConfigurationError, InputError, in_options
from .memory import keep_freed_memory

COMMANDS = {
    "node": ("node.command", "run the completion node (ROS arguments after --ros-args)"),
    "parameters": ("node.parameter_table", "print the node's parameters as a table"),
    "cameras": ("cameras", "print the camera drivers whose topics are known"),
    "complete": ("files", "complete depth image files or folders"),
    "evaluate": ("evaluation.command", "score completion methods on recorded frames"),
    "bag make": ("data.make_bag", "write a rosbag2 from a folder of frames"),
    "bag info": ("data.bag_info", "say what a rosbag2 holds"),
    "bag play": ("node.play", "publish a rosbag2 into the ROS graph"),
    "bag record": ("node.record", "record topics of the ROS graph into a rosbag2"),
    "scenes": ("data.scenes.command", "render a page of the procedural scenes that networks train on"),
    "models": ("networks.command", "list the networks: parameters, cost, inputs, paper, weights"),
    "train": ("training.command", "train a network by a recipe"),
    "ablate": ("training.ablations.command", "train methods with parts changed, at equal budgets, into one table"),
    "export": ("networks.export_command", "write a network as an ONNX file that engines run"),
    "build-engine": ("engines.build_command", "build a network's TensorRT engine ahead of time"),
    "bench engines": ("bench.engines", "time every engine and model side by side"),
    "bench node": ("bench.node", "time the node against a bare relay, process to process"),
    "bench endurance": ("bench.endurance", "run for an hour while the camera crashes, time jumps and an engine fails"),
    "demo": ("bench.demo", "play a sample recording through the node and report"),
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status: 0, 1 for a failure, 2 for wrong usage."""
    keep_freed_memory()
    arguments = sys.argv[1:] if arguments is None else arguments
    name = _command_name(arguments)
    if name is None:
        asked = not arguments or arguments[0] in ("-h", "--help")
        print(_overview(), file=sys.stdout if asked and arguments else sys.stderr)
        return 0 if asked and arguments else 2
    module_name, summary = COMMANDS[name]
    try:
        module = import_module(f".{module_name}", __package__)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rosbags":
            raise
        print(f"depth-completion {name} needs the Python package rosbags: pip install rosbags", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(prog=f"depth-completion {name}", description=f"{summary[0].upper()}{summary[1:]}.")
    module.configure(parser)
    try:
        return module.run(parser.parse_args(arguments[len(name.split()) :]))
    except (ConfigurationError, InputError) as error:
        told = in_options(error) if name in ("complete", "evaluate") else error
        print(f"depth-completion {name}: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _command_name(arguments: list[str]) -> str | None:
    """The longest command that the arguments begin with."""
    return next((name for n in (2, 1) if (name := " ".join(arguments[:n])) in COMMANDS), None)


def _overview() -> str:
    lines = ["usage: depth-completion COMMAND [-h] …", "", "commands:"]
    lines += [f"  {name:<17}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
