"""Depth completion for several cameras, a node for each; its arguments: --show-args."""

from launch import LaunchDescription

from depth_completion_ros.launching import cameras_launch


def generate_launch_description() -> LaunchDescription:
    return cameras_launch()
