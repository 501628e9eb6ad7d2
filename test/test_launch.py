"""The launch files start the right programs with the right parameters, topics and environment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from depth_completion_ros.cameras import DEFAULT_FRAME, TOPICS, camera, resolved_topics
from depth_completion_ros.displays import displays
from depth_completion_ros.node.environment import (
    DDS_PROFILE_VARIABLES,
    dds_profile_file,
    dds_profile_variable,
    has_ended,
)
from depth_completion_ros.profiles import profile_file

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
SENSORS = ["kinect", "lidar", "tof"]
DISPLAYED = {"/depth_completion/depth", "/depth_completion/confidence", "/rgb/image_rect_color"}

# Started by the launch file in place of a program, it writes down how it was started.
STAND_IN = """#!{python}
import json, os, sys, time
from pathlib import Path
arguments = sys.argv[1:]
files = [arguments[i + 1] for i, argument in enumerate(arguments) if argument == "--params-file"]
record = {{
    "arguments": arguments,
    "parameter_files": {{file: Path(file).read_text(encoding="utf-8") for file in files}},
    "environment": {{name: os.environ.get(name) for name in {variables}}},
}}
Path({folder!r}, f"{{Path(sys.argv[0]).name}}-{{os.getpid()}}.json").write_text(json.dumps(record))
player = arguments[:2] == ["bag", "play"]
time.sleep(float(os.environ.get("PLAYER_SECONDS" if player else "STAND_IN_SECONDS", 0)))
"""

# Its first argument is the launch file, its second is what a parent file does before it includes that one.
RUN_LAUNCH_FILE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter
arguments = [argument.split(":=") for argument in sys.argv[3:]]
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
include = IncludeLaunchDescription(source, launch_arguments=arguments)
service.include_launch_description(LaunchDescription([*eval(sys.argv[2]), include]))
sys.exit(service.run())
"""

PROGRAMS = {
    "depth_completion_ros": ("completion_node", "depth-completion", "evaluator"),
    "rviz2": ("rviz2",),
    "tf2_ros": ("static_transform_publisher",),
}


class Started:
    """One program as a launch file started it."""

    def __init__(self, record: dict):
        self.arguments: list[str] = record["arguments"]
        self.environment: dict[str, str | None] = record["environment"]
        self.parameter_files: dict[str, str] = record["parameter_files"]

    @property
    def remappings(self) -> dict[str, str]:
        rules = [rule for flag, rule in zip(self.arguments, self.arguments[1:], strict=False) if flag == "-r"]
        return dict(rule.split(":=") for rule in rules)

    @property
    def own_parameters(self) -> dict:
        """Those that launch wrote into a file of its own, the last one, where it did."""
        ((name, section),) = yaml.safe_load([*self.parameter_files.values()][-1]).items()
        return section["ros__parameters"] if name != "/**" else {}

    def resolved(self, name: str) -> object:
        """What rclpy makes of all the parameters that this program was given."""
        rclpy = pytest.importorskip("rclpy")
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node(
            "completion",
            context=context,
            cli_args=self.arguments,
            use_global_arguments=False,
            automatically_declare_parameters_from_overrides=True,
        )
        try:
            return node.get_parameter_or(name, rclpy.Parameter(name, value=None)).value
        finally:
            node.destroy_node()
            rclpy.shutdown(context=context)

    @property
    def full_name(self) -> str:
        return f"{self.remappings.get('__ns', '/').rstrip('/')}/{self.remappings['__node']}"


def all_started(tmp_path: Path) -> list[Started]:
    return [Started(json.loads(path.read_text(encoding="utf-8"))) for path in (tmp_path / "records").iterdir()]


@pytest.fixture
def start(tmp_path):
    """Starts a launch file for real, with stand-ins for the programs."""
    pytest.importorskip("launch_ros.actions", reason="ROS's launch is not installed (it comes with ROS, not with pip)")
    prefix, records = tmp_path / "prefix", tmp_path / "records"
    records.mkdir()
    stand_in = STAND_IN.format(python=sys.executable, variables=DDS_PROFILE_VARIABLES, folder=str(records))
    for package, programs in PROGRAMS.items():
        index = prefix / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        for program in programs:
            path = prefix / "lib" / package / program
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(stand_in)
            path.chmod(0o755)

    def start(name: str, *arguments: str, parent: str = "[]", **environment: str) -> subprocess.Popen:
        others = {key: value for key, value in os.environ.items() if key not in DDS_PROFILE_VARIABLES}
        others |= {
            "AMENT_PREFIX_PATH": os.pathsep.join([str(prefix), others.get("AMENT_PREFIX_PATH", sys.prefix)]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), others.get("PYTHONPATH")])),
            "ROS_LOG_DIR": str(tmp_path),
        }
        return subprocess.Popen(
            [sys.executable, "-c", RUN_LAUNCH_FILE, str(ROOT / "launch" / f"{name}.launch.py"), parent, *arguments],
            env=others | environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    return start


@pytest.fixture
def launch(start, tmp_path):
    """Runs a launch file until all programs have ended; returns what was started, by name."""

    def run(*arguments: str, **options: str) -> dict[str, Started]:
        with start(*arguments, **options) as process:
            try:
                said, _ = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 0, said
        records = (tmp_path / "records").glob("*.json")
        return {path.stem.rpartition("-")[0]: Started(json.loads(path.read_text(encoding="utf-8"))) for path in records}

    return run


@pytest.fixture
def bag(tmp_path) -> Path:
    folder = tmp_path / "recording"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_compile(path):
    compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_there_is_a_launch_file_for_each_sensor_and_for_replays():
    assert [path.name.split(".")[0] for path in LAUNCH_FILES] == ["cameras", "kinect", "lidar", "replay", "tof"]


@pytest.mark.parametrize("sensor", SENSORS)
def test_displays_follow_the_camera_and_the_namespace(sensor):
    topics = resolved_topics({"points_topic": "/velodyne_points"}, camera("realsense"))
    config = yaml.safe_load(displays(sensor, "/robot/front", topics, "camera_color_frame"))["Visualization Manager"]
    assert config["Global Options"]["Fixed Frame"] == "camera_color_frame"
    shown = {display["Topic"]["Value"] for display in config["Displays"] if "Topic" in display}
    for display in config["Displays"]:
        shown |= {display[key] for key in ("Depth Map Topic", "Color Image Topic") if key in display}
    ours = {"/robot/front/depth_completion/" + name for name in ("depth", "confidence", "points")}
    assert ours <= shown
    assert shown - ours <= {*topics.values()}
    assert topics["rgb_topic"] in shown


@pytest.mark.parametrize("sensor", SENSORS)
def test_displays_are_unchanged_with_default_topics(sensor):
    text = (ROOT / "config" / "rviz" / f"{sensor}.rviz").read_text(encoding="utf-8")
    assert displays(sensor, "/", TOPICS, DEFAULT_FRAME) == text


@pytest.mark.parametrize("sensor", SENSORS)
def test_rviz_shows_what_the_node_publishes(sensor):
    config = yaml.safe_load((ROOT / "config" / "rviz" / f"{sensor}.rviz").read_text(encoding="utf-8"))[
        "Visualization Manager"
    ]
    assert config["Global Options"]["Fixed Frame"] == "camera_color_optical_frame"
    topics = [display["Topic"] for display in config["Displays"] if "Topic" in display]
    clouds = [display["Depth Map Topic"] for display in config["Displays"] if "Depth Map Topic" in display]
    assert {topic["Value"] for topic in topics} >= DISPLAYED
    assert {topic["Reliability Policy"] for topic in topics} == {"Best Effort"}
    assert "/depth_completion/depth" in clouds


@pytest.mark.parametrize(
    ("name", "holds"),
    [("fastdds.xml", 3 * 1280 * 720 * 20), ("fastdds_small.xml", 1280 * 720 * (3 + 4))],  # clouds, or a pair of images
)
def test_the_dds_profile_replaces_the_small_shared_memory_segment(name, holds):
    """Fast DDS ignores what it does not know, so a misspelt element would go unseen."""
    namespace = {"dds": "http://www.eprosima.com"}
    root = ET.parse(dds_profile_file().with_name(name)).getroot()
    transports = {
        descriptor.findtext("dds:transport_id", namespaces=namespace): descriptor
        for descriptor in root.iterfind(".//dds:transport_descriptor", namespace)
    }
    used = [element.text for element in root.iterfind(".//dds:userTransports/dds:transport_id", namespace)]
    assert {transports[name].findtext("dds:type", namespaces=namespace) for name in used} == {"SHM", "UDPv4"}
    segments = [int(element.text) for element in root.iterfind(".//dds:segment_size", namespace)]
    assert min(segments) > holds
    participant = root.find(".//dds:participant", namespace)
    assert participant.get("is_default_profile") == "true"
    assert participant.findtext("dds:rtps/dds:useBuiltinTransports", namespaces=namespace) == "false"


@pytest.mark.ros
@pytest.mark.parametrize("sensor", SENSORS)
def test_without_a_bag_only_the_node_starts_with_the_profile(launch, sensor):
    started = launch(sensor)
    assert set(started) == {"completion_node"}
    node = started["completion_node"]
    assert next(iter(node.parameter_files)) == str(profile_file(sensor))
    assert node.own_parameters == {}
    assert node.remappings == {"__node": "depth_completion", "__ns": "/"}
    assert "depth_completion:=info" in node.arguments and "--exit-with" in node.arguments
    assert node.resolved("use_sim_time") is False


@pytest.mark.ros
def test_arguments_reach_the_node(launch):
    node = launch(
        "kinect",
        "engine:=classical",
        "model:=nearest",
        "rgb_topic:=/camera/color/image_raw",
        "rgb_info_topic:=/camera/color/camera_info",
        "depth_topic:=/camera/depth/image_raw",
        "depth_info_topic:=/camera/depth/camera_info",
        "points_topic:=/velodyne_points",
        "log_level:=debug",
    )["completion_node"]
    assert node.own_parameters == {"engine": "classical", "model": "nearest"}
    assert node.remappings == {
        "__node": "depth_completion",
        "__ns": "/",
        "rgb/image_rect_color": "/camera/color/image_raw",
        "rgb/camera_info": "/camera/color/camera_info",
        "depth_registered/image_rect": "/camera/depth/image_raw",
        "depth_registered/camera_info": "/camera/depth/camera_info",
        "points": "/velodyne_points",
    }
    assert "depth_completion:=debug" in node.arguments


@pytest.mark.ros
@pytest.mark.parametrize("engine", ["", "openvino", "tensorrt"])
def test_a_published_network_is_selected_by_its_name(launch, engine):
    node = launch("kinect", "model:=nlspn", *([f"engine:={engine}"] if engine else []))["completion_node"]
    assert node.own_parameters == {"engine": engine or "auto", "model": "nlspn"}


@pytest.mark.ros
def test_a_bag_is_played_decoded_on_its_own_clock(launch, bag):
    started = launch("tof", f"bag:={bag}")
    assert set(started) == {"completion_node", "depth-completion"}
    player = started["depth-completion"]
    assert player.arguments[:5] == ["bag", "play", str(bag), "--raw", "--exit-with"]
    assert started["completion_node"].resolved("use_sim_time") is True
    assert player.resolved("use_sim_time") is False


@pytest.mark.ros
def test_a_replay_loops_at_the_given_rate(launch, bag):
    started = launch("replay", f"bag:={bag}", "profile:=lidar", "rate:=2.0")
    arguments = ["bag", "play", str(bag), "--raw", "--rate", "2.0", "--loop"]
    assert started["depth-completion"].arguments[: len(arguments)] == arguments
    assert str(profile_file("lidar")) in started["completion_node"].parameter_files


@pytest.mark.ros
@pytest.mark.parametrize(
    ("with_bag", "parent", "in_file", "argument", "expected"),
    [
        (False, None, None, None, False),
        (False, True, None, None, True),
        (False, None, True, None, True),
        (False, None, None, "true", True),
        (False, True, None, "False", False),
        (True, None, None, None, True),
        (True, False, None, None, False),
        (True, None, False, None, False),
        (True, None, True, "false", False),
    ],
)
def test_simulated_time_follows_what_is_set(launch, bag, tmp_path, with_bag, parent, in_file, argument, expected):
    """SetParameter, then the parameter file, then the argument; only a recording brings it by itself."""
    arguments = [f"bag:={bag}"] if with_bag else []
    if in_file is not None:
        path = tmp_path / "mine.yaml"
        path.write_text(f"/**:\n  ros__parameters:\n    use_sim_time: {str(in_file).lower()}\n")
        arguments.append(f"params_file:={path}")
    if argument is not None:
        arguments.append(f"use_sim_time:={argument}")
    before = "[]" if parent is None else f"[SetParameter('use_sim_time', {parent})]"
    started = launch("kinect", *arguments, parent=before)
    assert started["completion_node"].resolved("use_sim_time") is expected


@pytest.mark.ros
@pytest.mark.parametrize(
    ("parent", "argument", "namespace"),
    [
        ("[PushRosNamespace('front')]", None, "/front"),
        ("[]", "front", "/front"),
        ("[PushRosNamespace('robot')]", "front", "/robot/front"),
        ("[PushRosNamespace('robot')]", "/front", "/front"),
        # As nav2's launch files have it: what is pushed is handed down as an argument too.
        ("[DeclareLaunchArgument('namespace', default_value='front'), PushRosNamespace('front')]", None, "/front"),
    ],
)
def test_all_nodes_are_in_the_namespace(launch, bag, parent, argument, namespace):
    arguments = [f"namespace:={argument}"] if argument else []
    started = launch("replay", f"bag:={bag}", "log_level:=DEBUG", *arguments, parent=parent)
    node, player = started["completion_node"], started["depth-completion"]
    assert node.full_name == f"{namespace}/depth_completion"
    assert player.full_name == f"{namespace}/bag_player"
    assert f"{namespace.strip('/').replace('/', '.')}.depth_completion:=debug" in node.arguments
    # The recording's topics move to where the node looks for them.
    assert player.remappings["/rgb/image_rect_color"] == "rgb/image_rect_color"


@pytest.mark.ros
def test_topics_with_a_full_name_are_not_moved_into_the_namespace(launch, bag):
    started = launch("replay", f"bag:={bag}", "namespace:=front", "rgb_topic:=/camera/color/image_raw")
    assert "/camera/color/image_raw" not in started["depth-completion"].remappings
    remappings = started["completion_node"].remappings
    assert remappings["rgb/image_rect_color"] == "/camera/color/image_raw"
    assert remappings["rgb/camera_info"] == "/camera/color/camera_info"


@pytest.mark.ros
@pytest.mark.parametrize("name", ["kinect", "replay"])
def test_unrelated_arguments_of_a_parent_file_are_ignored(launch, name):
    """Their values come down to every file that it includes."""
    others = {"model": "robot.urdf", "engine": "ogre2", "robot": "r2d2", "headless": "maybe"}
    declared = ", ".join(f"DeclareLaunchArgument({key!r}, default_value={value!r})" for key, value in others.items())
    node = launch(name, parent=f"[{declared}]")["completion_node"]
    assert not node.own_parameters


@pytest.mark.ros
@pytest.mark.parametrize("name", ["realsense", "azure_kinect", "zed"])
def test_a_camera_sets_topics_and_profile(launch, name):
    node = launch("kinect", f"camera:={name}", "camera_name:=left", "depth_topic:=/other/depth")["completion_node"]
    expected = camera(name, "left")
    assert next(iter(node.parameter_files)) == str(profile_file(expected.profile))
    assert node.remappings["rgb/image_rect_color"] == expected.topics["rgb_topic"]
    assert node.remappings["rgb/camera_info"] == expected.topics["rgb_info_topic"]
    assert node.remappings["depth_registered/image_rect"] == "/other/depth"
    for parameter, value in expected.parameters.items():
        assert node.resolved(parameter) == value


@pytest.mark.ros
def test_each_camera_of_a_robot_gets_a_node_and_its_share_of_the_cores(launch, tmp_path):
    config = tmp_path / "my_cameras.yaml"
    config.write_text(
        "front: {camera: realsense, camera_name: front}\n"
        "rear: {camera: azure_kinect, camera_name: /rear, engine: classical, threads: 3}\n"
    )
    launch("cameras", f"config:={config}", "namespace:=robot")
    nodes = {node.full_name: node for node in all_started(tmp_path)}
    front, rear = nodes["/robot/front/depth_completion"], nodes["/robot/rear/depth_completion"]
    assert front.remappings["rgb/image_rect_color"] == "/camera/front/color/image_raw"
    assert rear.remappings["rgb/image_rect_color"] == "/rear/rgb/image_raw"
    assert rear.own_parameters == {"engine": "classical", "threads": 3}
    assert front.own_parameters == {"threads": max(1, len(os.sched_getaffinity(0)) // 2)}
    assert str(profile_file("tof")) in rear.parameter_files and str(profile_file("kinect")) in front.parameter_files


@pytest.mark.ros
def test_the_later_parameter_file_wins(launch, bag, tmp_path):
    """Profile, then what belongs to the recording (its extrinsic), then the user's own file."""
    of_bag, of_user = bag / "parameters.yaml", tmp_path / "mine.yaml"
    for path in (of_bag, of_user):
        path.write_text("/**:\n  ros__parameters:\n    fill_only: true\n")
    node = launch("lidar", f"bag:={bag}", f"params_file:={of_user}")["completion_node"]
    assert list(node.parameter_files)[:3] == [str(profile_file("lidar")), str(of_bag), str(of_user)]


@pytest.mark.ros
def test_rviz_gets_displays_for_its_topics_and_a_frame_to_show_them_in(launch, tmp_path):
    """Of the recording: where its LiDAR sits comes from its parameters, the frames' names from its messages."""
    started = launch("replay", "profile:=lidar", "rviz:=True", "namespace:=front")
    assert started["rviz2"].resolved("use_sim_time") is True
    config = Path(started["rviz2"].arguments[started["rviz2"].arguments.index("-d") + 1])
    assert "/front/depth_completion/depth" in config.read_text(
        encoding="utf-8"
    ) and " /front/points" in config.read_text(encoding="utf-8")
    config.unlink()
    content = yaml.safe_load((ROOT / "samples" / "lidar" / "parameters.yaml").read_text(encoding="utf-8"))
    x, y, z, *_ = content["/**"]["ros__parameters"]["extrinsic"]
    programs = [each for each in all_started(tmp_path) if "--child-frame-id" in each.arguments]
    transforms = [" ".join(program.arguments) for program in programs]
    assert len(transforms) == 2
    assert any(f"--frame-id camera_link --child-frame-id {DEFAULT_FRAME}" in transform for transform in transforms)
    assert any(f"--x {x} --y {y} --z {z} --qx" in transform for transform in transforms)


@pytest.mark.ros
def test_all_processes_get_the_dds_profile(launch):
    started = launch("replay", "rviz:=true")
    assert set(started) == {"completion_node", "depth-completion", "rviz2", "static_transform_publisher"}
    for program in started.values():
        profile = {dds_profile_variable(): str(dds_profile_file())}  # Kilted warns if the other one is set too
        assert program.environment == dict.fromkeys(DDS_PROFILE_VARIABLES) | profile


@pytest.mark.ros
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv, a part of util-linux, is not installed")
def test_programs_of_other_packages_end_when_launch_is_terminated(start, tmp_path):
    """Although launch itself does not stop its children then."""
    running: dict[int, str] = {}
    with start("replay", "rviz:=true", STAND_IN_SECONDS="60", PLAYER_SECONDS="60") as process:
        end = time.monotonic() + 60
        while len(running) < 4 and time.monotonic() < end:
            names = (path.stem.rpartition("-") for path in (tmp_path / "records").glob("*.json"))
            running = {int(number): name for name, _, number in names}
            time.sleep(0.1)
        process.terminate()
        try:
            others = [number for number, name in running.items() if name not in PROGRAMS["depth_completion_ros"]]
            assert len(others) == 2
            while not all(map(has_ended, others)):
                assert time.monotonic() < end
                time.sleep(0.1)
        finally:
            for number in running:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


@pytest.mark.ros
def test_a_dds_profile_of_the_user_is_kept(launch):
    first, second = DDS_PROFILE_VARIABLES
    node = launch("kinect", **{first: "/own.xml"})["completion_node"]
    assert node.environment == {first: "/own.xml", second: None}


@pytest.mark.ros
@pytest.mark.parametrize(
    "argument",
    [
        *("bag:=/no/such/bag", "params_file:=/no/such/file.yaml", "camera:=webcam", "log_level:=loud"),
        *("rviz:=perhaps", "evaluate:=perhaps"),
    ],
)
def test_impossible_arguments_are_reported_before_anything_starts(launch, tmp_path, argument):
    with pytest.raises(AssertionError, match=argument.rpartition(":=")[2]):
        launch("kinect", argument)
    assert not list((tmp_path / "records").iterdir())


@pytest.mark.ros
@pytest.mark.parametrize("argument", ["holdout:=0", "holdout:=0.7", "holdout:=a tenth", "report:=/proc/no/report.html"])
def test_impossible_arguments_of_an_evaluation_are_reported_before_anything_starts(launch, tmp_path, argument):
    pytest.importorskip("jinja2", reason="needs the extra report: pip install -e '.[report]'")
    with pytest.raises(AssertionError, match=argument.rpartition(":=")[2]):
        launch("kinect", "evaluate:=true", argument)
    assert not list((tmp_path / "records").iterdir())


@pytest.mark.ros
def test_evaluate_starts_the_evaluator_and_hides_measurements_from_the_node(launch, bag, tmp_path):
    pytest.importorskip("jinja2", reason="needs the extra report: pip install -e '.[report]'")
    arguments = ["evaluate:=true", "report:=out/report.html", "rgb_topic:=/camera/color", "namespace:=front"]
    started = launch("replay", f"bag:={bag}", *arguments)
    assert set(started) == {"completion_node", "depth-completion", "evaluator"}
    assert started["completion_node"].own_parameters == {"holdout": 0.1}
    evaluator = started["evaluator"]
    assert evaluator.full_name == "/front/evaluator"
    assert evaluator.own_parameters == {"report": str(tmp_path / "out" / "report.html")}
    assert evaluator.remappings["rgb/image_rect_color"] == "/camera/color" and "--exit-with" in evaluator.arguments


@pytest.mark.ros
def test_a_camera_is_evaluated_without_a_recording_and_other_arguments_matter_only_then(launch):
    started = launch("kinect", "evaluate:=true", "holdout:=0.3")
    assert set(started) == {"completion_node", "evaluator"}
    assert started["completion_node"].own_parameters == {"holdout": 0.3}


@pytest.mark.ros
def test_without_evaluate_nothing_is_hidden(launch):
    """A parent file may have arguments with these names."""
    started = launch("kinect", "holdout:=all", "report:=/proc/no/report.html")
    assert set(started) == {"completion_node"} and started["completion_node"].own_parameters == {}


@pytest.mark.ros
def test_the_launch_ends_after_a_recording_that_is_evaluated_once(start, bag):
    options = {"STAND_IN_SECONDS": "300", "PLAYER_SECONDS": "0"}
    with start("replay", f"bag:={bag}", "evaluate:=true", "loop:=false", **options) as process:
        try:
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert "the recording has been evaluated" in said


@pytest.mark.ros
def test_rviz_that_is_not_installed_is_reported_before_anything_starts(launch, tmp_path):
    (tmp_path / "prefix" / "share" / "ament_index" / "resource_index" / "packages" / "rviz2").unlink()
    with pytest.raises(AssertionError, match="rviz2, which is not installed"):
        launch("replay", "rviz:=true")
    assert not list((tmp_path / "records").iterdir())
