"""What the launch files start. Only they import this: it needs ROS's launch and launch_ros."""

from __future__ import annotations

import os
from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from .errors import ConfigurationError
from .node.environment import DDS_PROFILE_VARIABLES, dds_profile_file
from .profiles import profile_file, profile_names
from .resources import PACKAGE, share_directory

# Launch argument: the node's own name of the topic, and the argument's default.
TOPICS = {
    "rgb_topic": "rgb/image_rect_color",
    "rgb_info_topic": "rgb/camera_info",
    "depth_topic": "depth_registered/image_rect",
    "depth_info_topic": "depth_registered/camera_info",
    "points_topic": "points",
}


def sensor_launch(profile: str) -> LaunchDescription:
    """The node for one kind of sensor, live or fed from a recording."""
    return LaunchDescription(
        [
            *_common_arguments(),
            _argument("bag", "", "Recording (rosbag2) to play once instead of a live sensor"),
            OpaqueFunction(function=lambda context: _start(context, profile, context.launch_configurations["bag"])),
        ]
    )


def replay_launch() -> LaunchDescription:
    """The node fed from a recording: the sample that comes with the package, if no other is given."""
    return LaunchDescription(
        [
            *_common_arguments(),
            _argument("profile", "kinect", "Sensor that recorded the bag", profile_names()),
            _argument("bag", "", "Recording (rosbag2) to play; empty: the sample of the profile"),
            _argument("rate", "1.0", "Speed of the replay, 2.0 = twice as fast"),
            _argument("loop", "true", "Begin again at the end", ["true", "false"]),
            OpaqueFunction(function=_start_replay),
        ]
    )


def _common_arguments() -> list[Action]:
    return [
        _argument("engine", "", "What runs the model; empty: as the parameter files say, auto for a model:="),
        _argument("model", "", "Which completion method; empty: as the parameter files say"),
        *(_argument(name, topic, f"Topic that the node takes as {topic}") for name, topic in TOPICS.items()),
        _argument("params_file", "", "ROS parameter file that overrides the profile's"),
        _argument("log_level", "info", "Of the node", ["debug", "info", "warn", "error", "fatal"]),
        _argument("rviz", "false", "Show images and clouds in rviz2", ["true", "false"]),
    ]


def _argument(name: str, default: str, description: str, choices: list[str] | None = None) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)


def _start_replay(context: LaunchContext) -> list[Action]:
    values = context.launch_configurations
    bag = values["bag"] or str(share_directory() / "samples" / values["profile"])
    options = ["--rate", values["rate"], *(["--loop"] if values["loop"] == "true" else [])]
    return _start(context, values["profile"], bag, options)


def _start(context: LaunchContext, profile: str, bag: str, play_options: list[str] | None = None) -> list[Action]:
    values = context.launch_configurations
    if bag and not Path(bag).exists():
        raise ConfigurationError(f"bag:={bag}: there is no such recording")
    sim_time = {"use_sim_time": bool(bag)}
    remappings = [(topic, values[name]) for name, topic in TOPICS.items() if values[name] != topic]

    actions = _dds_profile()
    if bag:
        # Decoded before they are published: the node then gets what it gets from a camera driver.
        play = ["bag", "play", bag, "--raw", *(play_options or [])]
        actions.append(ExecuteProcess(cmd=[ExecutableInPackage("depth-completion", PACKAGE), *play], output="screen"))
    actions.append(
        Node(
            package=PACKAGE,
            executable="completion_node",
            name="depth_completion",
            output="screen",
            parameters=[*_parameter_files(profile, bag, values["params_file"]), sim_time | _chosen(values)],
            remappings=remappings,
            ros_arguments=["--log-level", f"depth_completion:={values['log_level']}"],
        )
    )
    if values["rviz"] == "true":
        actions.append(_rviz(profile, sim_time, remappings))
        if bag:
            actions.append(_camera_frame())
    return actions


def _parameter_files(profile: str, bag: str, params_file: str) -> list[str]:
    """The profile's, then what belongs to the recording (the extrinsic of its LiDAR), then the user's own."""
    files = [str(profile_file(profile))]
    of_bag = Path(bag, "parameters.yaml")
    if bag and of_bag.is_file():
        files.append(str(of_bag))
    if params_file:
        if not Path(params_file).is_file():
            raise ConfigurationError(f"params_file:={params_file}: there is no such file")
        files.append(params_file)
    return files


def _chosen(values: dict[str, str]) -> dict[str, str]:
    if values["model"]:
        return {"engine": values["engine"] or "auto", "model": values["model"]}
    return {"engine": values["engine"]} if values["engine"] else {}


def _dds_profile() -> list[Action]:
    """The Fast DDS profile for all that is started, unless the user has chosen one."""
    if any(os.environ.get(name) for name in DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, str(dds_profile_file())) for name in DDS_PROFILE_VARIABLES]


def _rviz(profile: str, sim_time: dict[str, bool], remappings: list[tuple[str, str]]) -> Node:
    """rviz2 with the profile's displays; it takes the same remappings, as it shows the node's inputs too."""
    config = share_directory() / "config" / "rviz" / f"{profile}.rviz"
    arguments = ["-d", str(config)]
    return Node(package="rviz2", executable="rviz2", arguments=arguments, parameters=[sim_time], remappings=remappings)


def _camera_frame() -> Node:
    """The camera's frames, which a driver would publish: without tf rviz2 shows no cloud."""
    return Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        arguments=[
            *("--roll", "-1.5707963", "--yaw", "-1.5707963"),
            *("--frame-id", "camera_link", "--child-frame-id", "camera_color_optical_frame"),
        ],
    )
