"""Depth completion for a LiDAR beside a colour camera; its arguments: --show-args."""

from launch import LaunchDescription

from depth_completion_ros.launching import sensor_launch


def generate_launch_description() -> LaunchDescription:
    return sensor_launch("lidar")
