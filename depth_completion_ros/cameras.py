"""Camera drivers as data, ``config/cameras.yaml``: what each publishes, so that only its name need be given."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigurationError
from .resources import share_directory

FILE_NAME = "cameras.yaml"  # in the folder of the profiles
DEFAULT_FRAME = "camera_color_optical_frame"

# The node's own names of its input topics, by launch argument.
TOPICS = {
    "rgb_topic": "rgb/image_rect_color",
    "rgb_info_topic": "rgb/camera_info",
    "depth_topic": "depth_registered/image_rect",
    "depth_info_topic": "depth_registered/camera_info",
    "points_topic": "points",
}

# What image_transport puts behind the name of an image topic.
TRANSPORTS = ("compressed", "compressedDepth", "theora", "zstd", "ffmpeg")

# What an entry of a file for cameras.launch.py may say.
ENTRY_KEYS = ("camera", "camera_name", "profile", "engine", "model", *TOPICS, "params_file", "threads")


@dataclass(frozen=True)
class Camera:
    """One driver. driver: package and version; start: the command that starts it so that depth is registered.

    profile: of the node. topics: by launch argument. frame: of its colour image. parameters: of the node.
    """

    driver: str
    start: str
    profile: str
    topics: dict[str, str]
    frame: str
    parameters: dict[str, Any]


def camera_names() -> list[str]:
    """Names of all cameras in the table, in its order."""
    return list(_table())


def camera(name: str, camera_name: str = "") -> Camera:
    """The driver's entry for a camera of this name (empty: the driver's default).

    A camera_name that begins with "/" is the whole prefix of the topics. Raises ConfigurationError for an unknown name.
    """
    table = _table()
    if name not in table:
        raise ConfigurationError(f"no camera {name!r}: choose one of {', '.join(table)}, or give the topics instead")
    entry = table[name]
    used = camera_name.strip("/") or entry["name"]
    prefix = (used if camera_name.startswith("/") else entry["prefix"].format(name=used)).strip("/")
    topics = {f"{role}_topic": f"/{prefix}/{entry[role]}".replace("//", "/") for role in ("rgb", "depth")}
    topics |= {f"{role}_info_topic": beside(topics[f"{role}_topic"]) for role in ("rgb", "depth")}
    frame = entry["frame"].format(name=used.rpartition("/")[2])
    return Camera(entry["driver"], entry["start"], entry["profile"], topics, frame, entry["parameters"])


def beside(image_topic: str) -> str:
    """The camera_info beside an image topic, raw or compressed, by the convention of image_transport."""
    base, _, last = image_topic.rpartition("/")
    namespace, slash, _ = (base if last in TRANSPORTS else image_topic).rpartition("/")
    return f"{namespace}{slash}camera_info"


def resolved_topics(given: dict[str, str], chosen: Camera | None) -> dict[str, str]:
    """The input topics by launch argument: as given, else as the camera has them, else the node's own names.

    given: empty where nothing was. With an image topic of one's own, its camera_info is the one beside it.
    """
    topics = TOPICS | (chosen.topics if chosen is not None else {})
    for role in ("rgb", "depth"):
        if given.get(f"{role}_topic"):
            topics[f"{role}_info_topic"] = beside(given[f"{role}_topic"])
    return topics | {name: topic for name in TOPICS if (topic := given.get(name))}


def remappings(topics: dict[str, str]) -> list[tuple[str, str]]:
    """What the node is to be told: (its own name, the topic), where they differ."""
    return [(own, topics[name]) for name, own in TOPICS.items() if topics[name] != own]


def read_entries(config: str) -> dict[str, dict[str, str]]:
    """The entries of a file for cameras.launch.py, by namespace. Raises ConfigurationError, saying what is wrong."""
    if not config:
        raise ConfigurationError("config:= is missing: give a YAML file with an entry for each camera")
    try:
        entries = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"config:={config} cannot be read: {error}") from error
    if not (isinstance(entries, dict) and entries and all(isinstance(entry, dict) for entry in entries.values())):
        raise ConfigurationError(f"config:={config} must hold for each namespace what its node is to be given")
    for name, entry in entries.items():
        for key in entry:
            if key not in ENTRY_KEYS:
                raise ConfigurationError(
                    f"config:={config}: {name} has an unknown key {key!r}: choose of {', '.join(ENTRY_KEYS)}"
                )
    return {str(name): {key: str(value) for key, value in entry.items()} for name, entry in entries.items()}


def configure(parser: argparse.ArgumentParser) -> None:
    """``depth-completion cameras`` takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the table of the README."""
    print(markdown_table())
    return 0


def markdown_table() -> str:
    """All cameras as a Markdown table."""
    rows = [("`camera:=`", "driver, and how to start it", "profile", "colour", "depth"), ("---",) * 5]
    for name in camera_names():
        one = camera(name)
        colour, depth = one.topics["rgb_topic"], one.topics["depth_topic"]
        rows.append((f"`{name}`", f"{one.driver}: `{one.start}`", one.profile, f"`{colour}`", f"`{depth}`"))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _table() -> dict[str, dict[str, Any]]:
    path: Path = share_directory() / "config" / FILE_NAME
    return yaml.safe_load(path.read_text(encoding="utf-8"))
