"""Module names of version 0.1, kept for programs that import them. New code should use ``depth_completion_ros.bag``."""
