"""The rviz2 configuration of a profile, adapted to the topics and frames of a running system."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .cameras import DEFAULT_FRAME, TOPICS
from .resources import share_directory


def absolute(topic: str, namespace: str) -> str:
    """The full name of a topic for a node in this namespace ("/", "/front")."""
    return topic if topic.startswith("/") else f"{namespace.rstrip('/')}/{topic}"


def displays(profile: str, namespace: str, topics: dict[str, str], frame: str) -> str:
    """The text of the configuration.

    Args:
        profile: Name of the profile.
        namespace: Namespace of the node.
        topics: Input topics by launch argument.
        frame: Frame of the colour image, in which everything is shown.
    """
    text = (share_directory() / "config" / "rviz" / f"{profile}.rviz").read_text(encoding="utf-8")
    text = text.replace(DEFAULT_FRAME, frame)
    text = text.replace(" /depth_completion/", f" {absolute('depth_completion', namespace)}/")
    for name, own in TOPICS.items():
        text = text.replace(f" /{own}\n", f" {absolute(topics[name], namespace)}\n")
    return text


def write_displays(profile: str, namespace: str, topics: dict[str, str], frame: str) -> Path:
    """Write the configuration to a new temporary file, which rviz2 can read and write, and return its path."""
    with tempfile.NamedTemporaryFile("w", prefix=f"{profile}_", suffix=".rviz", delete=False) as file:
        file.write(displays(profile, namespace, topics, frame))
    return Path(file.name)
