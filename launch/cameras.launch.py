"""Depth completion for several cameras, with one node per camera. List the arguments with --show-args."""

from launch import LaunchDescription

from depth_completion_ros.launching import cameras_launch


def generate_launch_description() -> LaunchDescription:
    return cameras_launch()
