"""Message classes by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def message_class(type_name: str) -> Any | None:
    """The class of a type such as "sensor_msgs/msg/Image"; None if its package is not installed."""
    package, kind, name = type_name.split("/")
    try:
        return getattr(import_module(f"{package}.{kind}"), name)
    except (ImportError, AttributeError):
        return None
