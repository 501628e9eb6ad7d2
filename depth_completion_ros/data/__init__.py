"""Names of version 0.1 that other programs import. Use ``depth_completion_ros.bag``."""
