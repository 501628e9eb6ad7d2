"""The environment that ROS reads at its start: tests talk on this machine only, on a domain of their own."""

import os

from depth_completion_ros.node.environment import prepare_ros_environment

prepare_ros_environment()
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
