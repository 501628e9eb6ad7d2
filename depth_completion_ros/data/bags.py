"""The reader and writer of recordings under their name of version 0.1. Use ``depth_completion_ros.bag``."""

from ..bag.reader import BagReader
from ..bag.writer import BagWriter

__all__ = ["BagReader", "BagWriter"]
