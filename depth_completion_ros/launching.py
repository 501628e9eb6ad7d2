"""Launch descriptions for the launch files. Only these import this module, which needs launch and launch_ros."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
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
from .holdout import LARGEST_SHARE
from .node.environment import DDS_PROFILE_VARIABLES, dds_profile_file, dds_profile_variable
from .profiles import profile_file, profile_names, read_parameters
from .resources import PACKAGE, share_directory

NODE_NAME = "depth_completion"
EVALUATOR = "evaluator"
_LAST_FRAMES_S = 5.0  # after the end of a recording, for frames that are still being completed and scored
_LEVELS = ("debug", "info", "warn", "error", "fatal")
# ros2 launch does not stop its children when it is terminated. Ours end with it by themselves; for programs of other
# packages the kernel sends the signal.
_WITH_LAUNCH = ["--exit-with", str(os.getpid())]
_END_WITH_LAUNCH = "setpriv --pdeathsig TERM" if shutil.which("setpriv") else None

# Name, default and description of the arguments of every launch file.
_ARGUMENTS = (
    ("namespace", "", "Namespace of all nodes, within the namespace that a parent launch file has pushed"),
    (
        "camera",
        "",
        "Camera driver that sets the default topics, frame and profile, one of "
        f"{', '.join(camera_names())}; empty = none",
    ),
    (
        "camera_name",
        "",
        "camera_name that the driver was started with, or a topic prefix that begins with /; empty = the driver's "
        "default name",
    ),
    (
        "engine",
        "",
        f"Engine that runs the model, one of {', '.join(ENGINES)}; empty = as in the parameter files, or auto if "
        "model:= is given",
    ),
    ("model", "", "Name of a method, or path of a network file; empty = as in the parameter files"),
    *(
        (name, "", f"Topic for the node's input {own}; empty = that of the camera, else {own}")
        for name, own in TOPICS.items()
    ),
    (
        "camera_frame",
        "",
        f"Frame of the colour image, for rviz2; empty = that of the bag or the camera, else {DEFAULT_FRAME}",
    ),
    ("params_file", "", "ROS parameter file with values that override those of the profile; empty = none"),
    (
        "use_sim_time",
        "",
        "Whether to use simulated time, true or false; empty = as set by SetParameter or params_file, else true if a "
        "bag is played",
    ),
    ("log_level", "info", f"Log level of the node: {', '.join(_LEVELS)}"),
    ("rviz", "false", "Whether to show images and point clouds in rviz2: true or false"),
)


_EVALUATION = (
    ("evaluate", "false", "Whether to score depth where measurements are hidden from the node: true or false"),
    ("holdout", "0.1", f"Share of the measurements that evaluate:=true hides, above 0 and up to {LARGEST_SHARE:g}"),
    ("report", "", "HTML file that evaluate:=true writes at the end; empty = none"),
)


def sensor_launch(profile: str) -> LaunchDescription:
    """The node for one kind of sensor, live or with a recording. The argument camera:= may change the profile."""
    bag = ("bag", "", "Recording (rosbag2) to play once; empty = live sensor")
    return _launch([*_ARGUMENTS, bag, *_EVALUATION], lambda context, values: _start(context, values, profile))


def replay_launch() -> LaunchDescription:
    """The node with a recording; by default a sample recording of the package."""

    def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
        values["bag"] = values["bag"] or str(share_directory() / "samples" / _profile(values, "kinect"))
        loop = _boolean("loop", values["loop"])
        return _start(context, values, "kinect", ["--rate", values["rate"], *(["--loop"] if loop else [])])

    own = [
        (
            "profile",
            "",
            f"Profile of the sensor that recorded the bag: {', '.join(profile_names())}; empty = that of the camera, "
            "else kinect",
        ),
        ("bag", "", "Recording (rosbag2) to play; empty = the sample recording of the profile"),
        ("rate", "1.0", "Playback speed; 2.0 = twice as fast"),
        ("loop", "true", "Whether to repeat the recording: true or false"),
    ]
    return _launch([*_ARGUMENTS, *own, *_EVALUATION], start)


def cameras_launch() -> LaunchDescription:
    """One node in its own namespace for each camera of a robot. The CPU cores are divided among the nodes."""

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
    config = ("config", "", f"YAML file that maps each namespace to settings of its node: {', '.join(ENTRY_KEYS)}")
    return _launch([*shared, config], start)


def _launch(
    arguments: list[tuple[str, str, str]], start: Callable[[LaunchContext, dict[str, str]], list[Action]]
) -> LaunchDescription:
    """Make a launch description.

    Args:
        arguments: Name, default and description of each launch argument.
        start: Returns the actions. It is called with the values of these arguments only, without other launch
            configurations of a parent file.
    """

    def called(context: LaunchContext) -> list[Action]:
        return start(context, {name: context.launch_configurations[name] for name, _, _ in arguments})

    # Without choices, because they would also be applied to arguments of the same name in a parent file.
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=called)])


def _start(
    context: LaunchContext, values: dict[str, str], default_profile: str, play_options: list[str] | None = None
) -> list[Action]:
    """Make all actions. Everything is checked before the first one, so that an error leaves nothing running."""
    bag = values.get("bag", "")
    if bag and not Path(bag).exists():
        raise ConfigurationError(f"bag:={bag}: this recording does not exist")
    if values["params_file"] and not Path(values["params_file"]).is_file():
        raise ConfigurationError(f"params_file:={values['params_file']}: this file does not exist")
    rviz = _boolean("rviz", values["rviz"])
    if rviz:
        _require("rviz2", *(["tf2_ros"] if bag else []))
    profile, chosen = _profile(values, default_profile), _camera(values)
    namespace = _namespace(context, values["namespace"])
    topics = resolved_topics(values, chosen)
    use_sim_time = values["use_sim_time"] and {"use_sim_time": _boolean("use_sim_time", values["use_sim_time"])}
    model, lines = _model(values)
    holdout, report = _evaluation(values)

    actions: list[Action] = [LogInfo(msg=line) for line in lines]
    actions += _dds_profile()
    if bag:
        options = play_options or []
        player = _player(bag, namespace, topics, options)
        actions.append(player)
        if holdout and "--loop" not in options:
            actions.append(_end_after(player))
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
                # Not in the last dictionary, so that a parameter file can override it.
                *_for_all_nodes({"use_sim_time": True} if bag and not _sim_time_is_set(context) else {}),
                *_parameter_files(bag, values["params_file"]),
                *([own] if (own := {**model, **_threads(values), **(use_sim_time or {}), **holdout}) else []),
            ],
            remappings=remappings(topics),
            ros_arguments=["--log-level", f"{logger}:={_level(values['log_level'])}"],
        )
    )
    if holdout:
        actions.append(_evaluator(namespace, topics, report))
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
                prefix=_END_WITH_LAUNCH,
                parameters=[use_sim_time or {"use_sim_time": bool(bag)}],
            )
        )
        if bag:
            extrinsic = _extrinsic(_parameter_files(bag, values["params_file"]))
            actions += _transforms(frame, frames.get("points", ""), extrinsic)
    return actions


def _boolean(name: str, value: str) -> bool:
    """Parse a value like the conditions of launch. Upper case is allowed: a Python launch file passes "True"."""
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
        raise ConfigurationError(f"threads {values['threads']!r} must be an integer") from None


def _camera(values: dict[str, str]) -> Camera | None:
    return camera(values["camera"], values["camera_name"]) if values["camera"] else None


def _profile(values: dict[str, str], default: str) -> str:
    chosen = _camera(values)
    return values.get("profile") or (chosen.profile if chosen is not None else default)


def _model(values: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The parameters engine and model, and a log line for each value that this package does not know.

    A parent launch file passes its own arguments on, and many robots have model:=robot.urdf. Such values are therefore
    ignored and are not an error.
    """
    engine, model = values["engine"], values["model"]
    lines = []
    if engine and engine not in ENGINES:
        lines.append(
            f"engine:={engine} is not an engine of {PACKAGE} and is ignored: choose one of {', '.join(ENGINES)}"
        )
        engine = ""
    if model:
        try:
            check_model(engine or "auto", model)
        except ConfigurationError as error:
            lines.append(f"model:={model} is not a model of {PACKAGE} and is ignored: {error}")
            model = ""
    if model:
        return {"engine": engine or "auto", "model": model}, lines
    return ({"engine": engine} if engine else {}), lines


def _evaluation(values: dict[str, str]) -> tuple[dict[str, float], str]:
    """The parameter holdout, if evaluate is true, and the full path of the report, "" = none."""
    if not _boolean("evaluate", values.get("evaluate", "false")):
        return {}, ""
    try:
        holdout = float(values["holdout"])
    except ValueError:
        holdout = 0.0
    if not 0 < holdout <= LARGEST_SHARE:
        raise ConfigurationError(
            f"holdout:={values['holdout']}: choose a share above 0 and up to {LARGEST_SHARE:g}, such as 0.1"
        )
    if not values["report"]:
        return {"holdout": holdout}, ""
    from .evaluation.html.page import check_report

    report = Path(values["report"]).absolute()
    check_report(report, "report:=")
    return {"holdout": holdout}, str(report)


def _evaluator(namespace: str, topics: dict[str, str], report: str) -> Node:
    """The node that scores. It has a minute to write the report after the signal to end."""
    return Node(
        package=PACKAGE,
        executable=EVALUATOR,
        name=EVALUATOR,
        namespace=namespace,
        output="screen",
        arguments=_WITH_LAUNCH,
        parameters=[{"report": report}],
        remappings=[rule for rule in remappings(topics) if rule[0].startswith("rgb/image")],
        sigterm_timeout="60",
    )


def _end_after(player: Node) -> RegisterEventHandler:
    """End the launch after a recording, so that the evaluator writes its report. The last frames are scored before."""
    end = [LogInfo(msg="the recording has been evaluated"), Shutdown()]
    later = TimerAction(period=_LAST_FRAMES_S, actions=end)
    return RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[later]))


def _namespace(context: LaunchContext, given: str) -> str:
    """The full namespace: the given one within the one that has been pushed.

    If a parent file pushes its argument ``namespace``, which is also passed on to this file, it is applied only once.
    """
    pushed = make_namespace_absolute(context.launch_configurations.get("ros_namespace") or "/")
    if f"{pushed}/".endswith(f"/{given.strip('/')}/"):
        return pushed
    return make_namespace_absolute(prefix_namespace(pushed, given))


def _for_all_nodes(parameters: dict[str, Any]) -> list[Parameter]:
    """Parameters for all nodes ("/**"), as in most parameter files. Among such values, later ones take precedence."""
    return [Parameter(name, value) for name, value in parameters.items()]


def _sim_time_is_set(context: LaunchContext) -> bool:
    """Whether a SetParameter action has set use_sim_time."""
    given = context.launch_configurations.get("global_params") or []
    return any(isinstance(each, tuple) and each[0] == "use_sim_time" for each in given)


def _parameter_files(bag: str, params_file: str) -> list[str]:
    """The parameter file of the recording (with the extrinsic of its LiDAR), then that of the user."""
    of_bag = Path(bag, "parameters.yaml")
    return [*([str(of_bag)] if bag and of_bag.is_file() else []), *([params_file] if params_file else [])]


def _player(bag: str, namespace: str, topics: dict[str, str], options: list[str]) -> Node:
    """The node that publishes the recording. Topics with relative names are published in the node's namespace.

    Images are decoded before publishing, so that the node receives the same messages as from a camera driver.
    """
    return Node(
        package=PACKAGE,
        executable="depth-completion",
        name="bag_player",
        namespace=namespace,
        output="screen",
        arguments=["bag", "play", bag, "--raw", *options, *_WITH_LAUNCH],
        parameters=[{"use_sim_time": False}],  # this node publishes /clock
        remappings=[(f"/{topic}", topic) for topic in topics.values() if not topic.startswith("/")],
    )


def _dds_profile() -> list[Action]:
    """Set the Fast DDS profile for all processes, unless the user has set one."""
    if any(os.environ.get(name) for name in DDS_PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(dds_profile_variable(), str(dds_profile_file()))]


def _require(*packages: str) -> None:
    for package in packages:
        try:
            get_package_prefix(package)
        except PackageNotFoundError:
            raise ConfigurationError(
                f"rviz:=true needs the package {package}, which is not installed: install "
                f"ros-{os.environ.get('ROS_DISTRO', 'DISTRO')}-{package.replace('_', '-')}, or omit rviz:=true"
            ) from None


def _frames_of(bag: str, topics: dict[str, str]) -> dict[str, str]:
    from .bag.frames import frames_of  # reading bags needs rosbags, which is not needed otherwise

    return frames_of(bag, topics)


def _extrinsic(parameter_files: list[str]) -> list[float]:
    """The extrinsic of the LiDAR in the last parameter file that sets it for all nodes; else empty."""
    extrinsic: list[float] = []
    for file in parameter_files:
        with suppress(ConfigurationError):  # the file has sections for certain nodes only
            extrinsic = read_parameters(Path(file)).get("extrinsic", extrinsic)
    return extrinsic


def _transforms(frame: str, points_frame: str, extrinsic: list[float]) -> list[Node]:
    """Publish on tf what a driver would: the camera frame, which rviz2 needs to show clouds, and the LiDAR frame."""
    upright = ["--roll", "-1.5707963", "--yaw", "-1.5707963", "--frame-id", "camera_link", "--child-frame-id", frame]
    arguments = [upright]
    if points_frame and len(extrinsic) == 7:
        names = ("--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw")
        pose = [text for name, value in zip(names, extrinsic, strict=True) for text in (name, str(value))]
        arguments.append([*pose, "--frame-id", frame, "--child-frame-id", points_frame])
    return [
        Node(
            package="tf2_ros",
            executable="static_transform_publisher",
            name=f"frame_{number}",
            arguments=each,
            prefix=_END_WITH_LAUNCH,
        )
        for number, each in enumerate(arguments)
    ]
