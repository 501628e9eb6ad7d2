"""The table of camera drivers: every entry can be launched, says where it comes from, and stands in the README."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from depth_completion_ros.cameras import (
    TOPICS,
    camera,
    camera_names,
    markdown_table,
    read_entries,
    remappings,
    resolved_topics,
)
from depth_completion_ros.cli import main
from depth_completion_ros.commands.node import configure, ros_arguments
from depth_completion_ros.errors import ConfigurationError
from depth_completion_ros.node.parameters import PARAMETERS
from depth_completion_ros.profiles import profile_names

ROOT = Path(__file__).resolve().parent.parent
TOPIC = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


@pytest.mark.parametrize("name", camera_names())
@pytest.mark.parametrize("camera_name", ["", "left", "/robot/head"])
def test_every_camera_has_topics_a_profile_and_parameters_that_exist(name, camera_name):
    chosen = camera(name, camera_name)
    assert chosen.profile in profile_names()
    assert set(chosen.topics) == {"rgb_topic", "rgb_info_topic", "depth_topic", "depth_info_topic"}
    for topic in chosen.topics.values():
        assert TOPIC.fullmatch(topic)
        assert not camera_name or topic.startswith(camera_name) or f"/{camera_name}/" in topic
    assert len(set(chosen.topics.values())) >= 3, "colour, depth and a calibration at least"
    assert re.fullmatch(r"[A-Za-z]\w*", chosen.frame)
    for parameter, value in chosen.parameters.items():
        assert PARAMETERS[parameter].checked(value) == value


def test_every_camera_says_where_its_names_come_from():
    """A comment above it names the repository and the version."""
    text = (ROOT / "config" / "cameras.yaml").read_text(encoding="utf-8")
    for name in camera_names():
        comment = text.split(f"\n{name}:\n")[0].rpartition("\n\n")[2]
        assert comment.startswith("#")
        assert "The same source" in comment or re.search(r"\w+/\w+.*\d\.?\d", comment)


@pytest.mark.parametrize(
    ("name", "camera_name", "rgb", "frame"),
    [
        ("realsense", "", "/camera/camera/color/image_raw", "camera_color_optical_frame"),
        ("realsense", "front", "/camera/front/color/image_raw", "front_color_optical_frame"),
        ("realsense", "/robot/front", "/robot/front/color/image_raw", "front_color_optical_frame"),
        ("azure_kinect", "", "/rgb/image_raw", "rgb_camera_link"),
        ("azure_kinect", "left", "/left/rgb/image_raw", "rgb_camera_link"),
        ("zed", "left", "/left/zed_node/rgb/color/rect/image", "left_left_camera_frame_optical"),
    ],
)
def test_the_name_of_a_camera_finds_its_topics(name, camera_name, rgb, frame):
    chosen = camera(name, camera_name)
    assert chosen.topics["rgb_topic"] == rgb
    assert chosen.topics["rgb_info_topic"] == rgb.rpartition("/")[0] + "/camera_info"
    assert chosen.frame == frame


def test_topics_come_from_the_arguments_then_the_camera_then_the_node():
    assert resolved_topics({}, None) == TOPICS and remappings(TOPICS) == []
    topics = resolved_topics({"depth_topic": "/filtered/depth/image", "rgb_topic": ""}, camera("realsense"))
    assert topics["rgb_topic"] == "/camera/camera/color/image_raw"
    assert topics["depth_topic"] == "/filtered/depth/image"
    assert topics["depth_info_topic"] == "/filtered/depth/camera_info"
    assert topics["points_topic"] == "points"
    assert ("rgb/image_rect_color", "/camera/camera/color/image_raw") in remappings(topics)


def test_an_unknown_camera_is_rejected_with_the_list():
    with pytest.raises(ConfigurationError, match="realsense, orbbec"):
        camera("webcam")


def test_a_robots_cameras_are_read_as_launch_arguments(tmp_path):
    path = tmp_path / "my_cameras.yaml"
    path.write_text("front: {camera: realsense, threads: 2}\nrear: {}\n")
    assert read_entries(str(path)) == {"front": {"camera": "realsense", "threads": "2"}, "rear": {}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "must contain a mapping"),
        ("front: zed", "must contain a mapping"),
        ("[zed]", "must contain a mapping"),
        ("front: {camra: zed}", "front has an unknown key 'camra'"),
        ("a: [", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_errors_in_a_file_of_cameras_are_reported(tmp_path, content, words):
    path = tmp_path / "my_cameras.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=words):
        read_entries(str(path))
    with pytest.raises(ConfigurationError, match="config:= is missing"):
        read_entries("")


def test_the_readme_shows_the_table(capsys):
    assert markdown_table() in (ROOT / "README.md").read_text(encoding="utf-8")
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.strip() == markdown_table()


@pytest.mark.ros
@pytest.mark.parametrize("name", camera_names())
def test_the_node_listens_to_the_cameras_topics(name):
    rclpy = pytest.importorskip("rclpy")
    from depth_completion_ros.node.completion_node import CompletionNode

    parser = argparse.ArgumentParser()
    configure(parser)
    arguments = ros_arguments(parser.parse_args(["--camera", name, "--ros-args", "-p", "engine:=classical"]))
    chosen = camera(name)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = CompletionNode(context=context, cli_args=arguments, use_global_arguments=False)
    try:
        listened = {subscription.topic_name for subscription in node.subscriptions}
        assert {chosen.topics[each] for each in ("rgb_topic", "rgb_info_topic", "depth_topic")} <= listened
        assert node.parameters["profile"] == chosen.profile
        assert all(node.parameters[parameter] == value for parameter, value in chosen.parameters.items())
        assert node.statistics.problems() == {}
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown(context=context)
