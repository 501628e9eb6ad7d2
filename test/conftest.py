"""The tests run on the checkout they lie in, and talk to each other on this machine only, on a domain of their own."""

import os
import sys
from pathlib import Path

# Not the option `pythonpath`: the pytest of ROS 2 Humble does not know it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from depth_completion_ros.node.environment import prepare_ros_environment

prepare_ros_environment()
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
