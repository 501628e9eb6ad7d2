"""Depth completion of a recording, played in a loop. List the arguments with --show-args."""

from launch import LaunchDescription

from depth_completion_ros.launching import replay_launch


def generate_launch_description() -> LaunchDescription:
    return replay_launch()
