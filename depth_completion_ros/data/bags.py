"""BagReader and BagWriter under their module name of version 0.1. New code should use ``depth_completion_ros.bag``."""

from ..bag.reader import BagReader
from ..bag.writer import BagWriter

__all__ = ["BagReader", "BagWriter"]
