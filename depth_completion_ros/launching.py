"""What the launch files start. Only they import this: it needs ROS's launch and launch_ros."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import Parameter
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from .cameras import (
    DEFAULT_FRAME,
    ENTRY_KEYS,
    TOPICS,
    Camera,
    camera,
    camera_names,
    read_entries,
    remappings,
    resolved_topics,
)
from .displays import write_displays
from .engines import ENGINES, check_model
from .errors import ConfigurationError
from .node.environment import DDS_PROFILE_VARIABLES, dds_profile_file
from .profiles import profile_file, profile_names, read_parameters
from .resources import PACKAGE, share_directory

NODE_NAME = "depth_completion"
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_WITH_LAUNCH = ["--exit-with", str(os.getpid())]

# Name, default and description of what every launch file takes.
_ARGUMENTS = (
    ("namespace", "", "Namespace of all that is started, within the one that a parent launch file has pushed"),
    ("camera", "", f"Driver whose topics, frame and profile are taken: {', '.join(camera_names())}; empty: none"),
    ("camera_name", "", "Name that the driver was started with; one that begins with / is the prefix of its topics"),
    ("engine", "", "What runs the model; empty: as the parameter files say, auto for a model:="),
    ("model", "", "Which completion method; empty: as the parameter files say"),
    *((name, "", f"Topic that the node takes as {own}; empty: the camera's, or that") for name, own in TOPICS.items()),
    ("camera_frame", "", f"Frame of the colour image, for rviz2; empty: the camera's or bag's, or {DEFAULT_FRAME}"),
    ("params_file", "", "ROS parameter file that overrides the profile's"),
    ("use_sim_time", "", "true or false; empty: as SetParameter or params_file say, true with a bag:="),
    ("log_level", "info", f"Of the node: {', '.join(_LEVELS)}"),
    ("rviz", "false", "Show images and clouds in rviz2: true, false"),
)


def sensor_launch(profile: str) -> LaunchDescription:
    """The node for one kind of sensor, live or fed from a recording. A camera:= brings a profile of its own."""
    bag = ("bag", "", "Recording (rosbag2) to play once instead of a live sensor")
    return _launch([*_ARGUMENTS, bag], lambda context, values: _start(context, values, profile))


def replay_launch() -> LaunchDescription:
    """The node fed from a recording: the sample that comes with the package, if no other is given."""

    def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
        values["bag"] = values["bag"] or str(share_directory() / "samples" / _profile(values, "kinect"))
        options = ["--rate", values["rate"], *(["--loop"] if _boolean("loop", values["loop"]) else [])]
        return _start(context, values, "kinect", options)

    own = [
        ("profile", "", f"Sensor that recorded the bag: {', '.join(profile_names())}; empty: the camera's, or kinect"),
        ("bag", "", "Recording (rosbag2) to play; empty: the sample of the profile"),
        ("rate", "1.0", "Speed of the replay, 2.0 = twice as fast"),
        ("loop", "true", "Begin again at the end: true, false"),
    ]
    return _launch([*_ARGUMENTS, *own], start)


def cameras_launch() -> LaunchDescription:
    """One node in a namespace of its own for each camera of a robot, the processor's cores shared out among them."""

    def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
        entries = read_entries(values["config"])
        threads = str(max(1, len(os.sched_getaffinity(0)) // len(entries)))
        defaults = {name: default for name, default, _ in _ARGUMENTS} | values
        actions: list[Action] = []
        for name, entry in entries.items():
            namespace = prefix_namespace(values["namespace"] or None, name)
            actions += _start(context, defaults | {"threads": threads} | entry | {"namespace": namespace}, "kinect")
        return actions

    shared = [argument for argument in _ARGUMENTS if argument[0] in ("namespace", "use_sim_time", "log_level")]
    config = ("config", "", f"YAML file: for each namespace any of {', '.join(ENTRY_KEYS)}")
    return _launch([*shared, config], start)


def _launch(
    arguments: list[tuple[str, str, str]], start: Callable[[LaunchContext, dict[str, str]], list[Action]]
) -> LaunchDescription:
    """start: called with the values of the arguments, and only those: a parent file's others are none of ours."""

    def called(context: LaunchContext) -> list[Action]:
        return start(context, {name: context.launch_configurations[name] for name, _, _ in arguments})

    # Without choices: those would be held against what a parent file calls by the same name, too.
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=called)])


def _start(
    context: LaunchContext, values: dict[str, str], default_profile: str, play_options: list[str] | None = None
) -> list[Action]:
    """Everything is checked before the first action, so that a failure leaves nothing running."""
    bag = values.get("bag", "")
    if bag and not Path(bag).exists():
        raise ConfigurationError(f"bag:={bag}: there is no such recording")
    if values["params_file"] and not Path(values["params_file"]).is_file():
        raise ConfigurationError(f"params_file:={values['params_file']}: there is no such file")
    rviz = _boolean("rviz", values["rviz"])
    if rviz:
        _require("rviz2", *(["tf2_ros"] if bag else []))
    profile, chosen = _profile(values, default_profile), _camera(values)
    namespace = _namespace(context, values["namespace"])
    topics = resolved_topics(values, chosen)
    use_sim_time = values["use_sim_time"] and {"use_sim_time": _boolean("use_sim_time", values["use_sim_time"])}
    model, lines = _model(values)

    actions: list[Action] = [LogInfo(msg=line) for line in lines]
    actions += _dds_profile()
    if bag:
        actions.append(_player(bag, namespace, topics, play_options or []))
    logger = f"{namespace}/{NODE_NAME}".strip("/").replace("/", ".")
    actions.append(
        Node(
            package=PACKAGE,
            executable="completion_node",
            name=NODE_NAME,
            namespace=namespace,
            output="screen",
            arguments=_WITH_LAUNCH,
            parameters=[
                str(profile_file(profile)),
                *_for_all_nodes(chosen.parameters if chosen is not None else {}),
                # Not in the last dictionary: a file may say otherwise.
                *_for_all_nodes({"use_sim_time": True} if bag and not _sim_time_is_set(context) else {}),
                *_parameter_files(bag, values["params_file"]),
                *([own] if (own := {**model, **_threads(values), **(use_sim_time or {})}) else []),
            ],
            remappings=remappings(topics),
            ros_arguments=["--log-level", f"{logger}:={_level(values['log_level'])}"],
        )
    )
    if rviz:
        frames = _frames_of(bag, topics) if bag else {}
        frame = values["camera_frame"] or frames.get("rgb", "") or (chosen.frame if chosen is not None else "")
        frame = frame or DEFAULT_FRAME
        displays = write_displays(profile, namespace, topics, frame)
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=namespace,
                arguments=["-d", str(displays)],
                parameters=[use_sim_time or {"use_sim_time": bool(bag)}],
            )
        )
        if bag:
            extrinsic = _extrinsic(_parameter_files(bag, values["params_file"]))
            actions += _transforms(frame, frames.get("points", ""), extrinsic)
    return actions


def _boolean(name: str, value: str) -> bool:
    """As launch's own conditions take it, whatever the case: a parent file in Python passes on "True"."""
    if value.lower() not in ("true", "false", "1", "0"):
        raise ConfigurationError(f"{name}:={value}: choose true or false")
    return value.lower() in ("true", "1")


def _level(value: str) -> str:
    if value.lower() not in _LEVELS:
        raise ConfigurationError(f"log_level:={value}: choose one of {', '.join(_LEVELS)}")
    return value.lower()


def _threads(values: dict[str, str]) -> dict[str, int]:
    try:
        return {"threads": int(values["threads"])} if values.get("threads") else {}
    except ValueError:
        raise ConfigurationError(f"threads {values['threads']!r} must be a whole number") from None


def _camera(values: dict[str, str]) -> Camera | None:
    return camera(values["camera"], values["camera_name"]) if values["camera"] else None


def _profile(values: dict[str, str], default: str) -> str:
    chosen = _camera(values)
    return values.get("profile") or (chosen.profile if chosen is not None else default)


def _model(values: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """engine and model as parameters, and a line for each that names none of ours.

    A parent launch file hands its own arguments down, and many robots have a model:=robot.urdf: so it is left out
    rather than an error.
    """
    engine, model = values["engine"], values["model"]
    lines = []
    if engine and engine not in ENGINES:
        lines.append(
            f"engine:={engine} names no engine of {PACKAGE} and is left out: choose one of {', '.join(ENGINES)}"
        )
        engine = ""
    if model:
        try:
            check_model(engine or "auto", model)
        except ConfigurationError as error:
            lines.append(f"model:={model} names no model of {PACKAGE} and is left out: {error}")
            model = ""
    if model:
        return {"engine": engine or "auto", "model": model}, lines
    return ({"engine": engine} if engine else {}), lines


def _namespace(context: LaunchContext, given: str) -> str:
    """The full name of the namespace: the one given, within the one that has been pushed.

    Where a parent file pushes its argument ``namespace`` and so hands it down as well, it is meant once.
    """
    pushed = make_namespace_absolute(context.launch_configurations.get("ros_namespace") or "/")
    if f"{pushed}/".endswith(f"/{given.strip('/')}/"):
        return pushed
    return make_namespace_absolute(prefix_namespace(pushed, given))


def _for_all_nodes(parameters: dict[str, Any]) -> list[Parameter]:
    """For any node name ("/**"), as parameter files mostly are: of those, the later one wins."""
    return [Parameter(name, value) for name, value in parameters.items()]


def _sim_time_is_set(context: LaunchContext) -> bool:
    """Whether SetParameter has said what use_sim_time is to be."""
    given = context.launch_configurations.get("global_params") or []
    return any(isinstance(each, tuple) and each[0] == "use_sim_time" for each in given)


def _parameter_files(bag: str, params_file: str) -> list[str]:
    """What belongs to the recording (the extrinsic of its LiDAR), then the user's own."""
    of_bag = Path(bag, "parameters.yaml")
    return [*([str(of_bag)] if bag and of_bag.is_file() else []), *([params_file] if params_file else [])]


def _player(bag: str, namespace: str, topics: dict[str, str], options: list[str]) -> Node:
    """Publishes the recording: topics that the node takes from its namespace, into that.

    Images are decoded before: the node then gets what it gets from a camera driver.
    """
    return Node(
        package=PACKAGE,
        executable="depth-completion",
        name="bag_player",
        namespace=namespace,
        output="screen",
        arguments=["bag", "play", bag, "--raw", *options, *_WITH_LAUNCH],
        parameters=[{"use_sim_time": False}],  # it is the clock
        remappings=[(f"/{topic}", topic) for topic in topics.values() if not topic.startswith("/")],
    )


def _dds_profile() -> list[Action]:
    """The Fast DDS profile for all that is started, unless the user has chosen one."""
    if any(os.environ.get(name) for name in DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, str(dds_profile_file())) for name in DDS_PROFILE_VARIABLES]


def _require(*packages: str) -> None:
    for package in packages:
        try:
            get_package_prefix(package)
        except PackageNotFoundError:
            raise ConfigurationError(
                f"rviz:=true needs the package {package}, which is not installed: install "
                f"ros-{os.environ.get('ROS_DISTRO', 'DISTRO')}-{package.replace('_', '-')}, or leave rviz:=true out"
            ) from None


def _frames_of(bag: str, topics: dict[str, str]) -> dict[str, str]:
    from .data.bags import frames_of  # only whoever plays a bag needs what reads bags

    return frames_of(bag, topics)


def _extrinsic(parameter_files: list[str]) -> list[float]:
    """Of the LiDAR, as the last file that has one for any node says; else empty."""
    extrinsic: list[float] = []
    for file in parameter_files:
        with suppress(ConfigurationError):  # a file for certain nodes only
            extrinsic = read_parameters(Path(file)).get("extrinsic", extrinsic)
    return extrinsic


def _transforms(frame: str, points_frame: str, extrinsic: list[float]) -> list[Node]:
    """What a driver would publish on tf: the camera's frame, without which rviz2 shows no cloud, and the LiDAR's."""
    upright = ["--roll", "-1.5707963", "--yaw", "-1.5707963", "--frame-id", "camera_link", "--child-frame-id", frame]
    arguments = [upright]
    if points_frame and len(extrinsic) == 7:
        names = ("--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw")
        pose = [text for name, value in zip(names, extrinsic, strict=True) for text in (name, str(value))]
        arguments.append([*pose, "--frame-id", frame, "--child-frame-id", points_frame])
    return [
        Node(package="tf2_ros", executable="static_transform_publisher", name=f"frame_{number}", arguments=each)
        for number, each in enumerate(arguments)
    ]
