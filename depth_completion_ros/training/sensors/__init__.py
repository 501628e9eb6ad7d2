"""Sensor models: simulate the depth that a sensor measures in a scene, with its noise, errors and holes."""

from __future__ import annotations

from .holes import HoleMasks, contiguous_blocks, missing_border
from .lidar import Lidar
from .low_resolution import LowResolution
from .mix import PROFILES, SensorMix
from .sensor import Sensor
from .sparse import Pattern, SparsePoints
from .stereo import Stereo, active_stereo
from .structured_light import KinectStructuredLight
from .time_of_flight import TimeOfFlight

__all__ = [
    "PROFILES",
    "HoleMasks",
    "KinectStructuredLight",
    "Lidar",
    "LowResolution",
    "Pattern",
    "Sensor",
    "SensorMix",
    "SparsePoints",
    "Stereo",
    "TimeOfFlight",
    "active_stereo",
    "contiguous_blocks",
    "missing_border",
]
