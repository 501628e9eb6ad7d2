"""Depth completion for a time-of-flight camera. List the arguments with --show-args."""

from launch import LaunchDescription

from depth_completion_ros.launching import sensor_launch


def generate_launch_description() -> LaunchDescription:
    return sensor_launch("tof")
