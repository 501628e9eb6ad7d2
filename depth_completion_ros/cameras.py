"""The table of known camera drivers, ``config/cameras.yaml``: topics, frame and profile of each, by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigurationError
from .resources import share_directory

FILE_NAME = "cameras.yaml"  # in the same folder as the profiles
DEFAULT_FRAME = "camera_color_optical_frame"

# The node's own names of its input topics, by launch argument.
TOPICS = {
    "rgb_topic": "rgb/image_rect_color",
    "rgb_info_topic": "rgb/camera_info",
    "depth_topic": "depth_registered/image_rect",
    "depth_info_topic": "depth_registered/camera_info",
    "points_topic": "points",
}

# The suffixes that image_transport appends to the name of an image topic.
TRANSPORTS = ("compressed", "compressedDepth", "theora", "zstd", "ffmpeg")

# The keys that are allowed in an entry of a file for cameras.launch.py.
ENTRY_KEYS = ("camera", "camera_name", "profile", "engine", "model", *TOPICS, "params_file", "threads")


@dataclass(frozen=True)
class Camera:
    """One camera driver.

    Attributes:
        driver: Package and version.
        start: Command that starts the driver with registered depth.
        profile: Sensor profile of the node.
        topics: Topics by launch argument.
        frame: Frame of the colour image.
        parameters: Parameters of the node.
    """

    driver: str
    start: str
    profile: str
    topics: dict[str, str]
    frame: str
    parameters: dict[str, Any]


def camera_names() -> list[str]:
    """Names of all cameras in the order of the table."""
    return list(_table())


def camera(name: str, camera_name: str = "") -> Camera:
    """Look up a camera driver.

    Args:
        name: Name in the table.
        camera_name: The camera_name that the driver was started with; empty = the driver's default. A camera_name that
            begins with "/" replaces the whole prefix of the topics.

    Raises:
        ConfigurationError: If the name is not in the table.
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
    """The camera_info topic of a raw or compressed image topic, by the convention of image_transport."""
    base, _, last = image_topic.rpartition("/")
    namespace, slash, _ = (base if last in TRANSPORTS else image_topic).rpartition("/")
    return f"{namespace}{slash}camera_info"


def resolved_topics(given: dict[str, str], chosen: Camera | None) -> dict[str, str]:
    """The input topics by launch argument: the given ones, else those of the camera, else the node's own names.

    For a given image topic, camera_info is by default the topic in the same namespace.

    Args:
        given: Topics by launch argument; empty or missing = not given.
        chosen: The camera; None = none.
    """
    topics = TOPICS | (chosen.topics if chosen is not None else {})
    for role in ("rgb", "depth"):
        if given.get(f"{role}_topic"):
            topics[f"{role}_info_topic"] = beside(given[f"{role}_topic"])
    return topics | {name: topic for name in TOPICS if (topic := given.get(name))}


def remappings(topics: dict[str, str]) -> list[tuple[str, str]]:
    """The remapping rules (the node's own name, topic) of all topics that differ from the node's own names."""
    return [(own, topics[name]) for name, own in TOPICS.items() if topics[name] != own]


def read_entries(config: str) -> dict[str, dict[str, str]]:
    """The entries of a file for cameras.launch.py, by namespace. Raises ConfigurationError if it is not valid."""
    if not config:
        raise ConfigurationError("config:= is missing: give a YAML file with an entry for each camera")
    try:
        entries = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"config:={config} cannot be read: {error}") from error
    if not (isinstance(entries, dict) and entries and all(isinstance(entry, dict) for entry in entries.values())):
        raise ConfigurationError(
            f"config:={config} must contain a mapping from each namespace to the settings of its node"
        )
    for name, entry in entries.items():
        for key in entry:
            if key not in ENTRY_KEYS:
                raise ConfigurationError(
                    f"config:={config}: {name} has an unknown key {key!r}: choose from {', '.join(ENTRY_KEYS)}"
                )
    return {str(name): {key: str(value) for key, value in entry.items()} for name, entry in entries.items()}


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
