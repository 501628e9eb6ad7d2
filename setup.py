"""The files under share/depth_completion_ros. Everything else is in setup.cfg."""

from pathlib import Path

from setuptools import setup

SHARE = "share/depth_completion_ros"


def data_files() -> list[tuple[str, list[str]]]:
    files = [
        ("share/ament_index/resource_index/packages", ["resource/depth_completion_ros"]),
        (SHARE, ["package.xml"]),
        # ros2 run and ros2 launch look there. The entry points in setup.cfg install the commands for the terminal.
        ("lib/depth_completion_ros", ["scripts/completion_node", "scripts/depth-completion", "scripts/evaluator"]),
    ]
    for folder in ("launch", "config", "models", "samples"):
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append((f"{SHARE}/{path.parent.as_posix()}", [str(path)]))
    return files


# Not in setup.cfg, because colcon cannot read python_requires from there.
setup(
    data_files=data_files(),
    package_data={
        # type checkers look for py.typed
        "depth_completion_ros": ["py.typed", "evaluation/html/template/*"],
    },
    python_requires=">=3.10",
)
