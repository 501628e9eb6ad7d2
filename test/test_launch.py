"""The launch files start the right programs with the right parameters, topics and environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from depth_completion_ros.node.environment import DDS_PROFILE_VARIABLES, dds_profile_file
from depth_completion_ros.profiles import profile_file

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
SENSORS = ["kinect", "lidar", "tof"]
DISPLAYED = {"/depth_completion/depth", "/depth_completion/confidence", "/rgb/image_rect_color"}

# Started by the launch file in place of a program, it writes down how it was started.
STAND_IN = """#!{python}
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
files = [arguments[i + 1] for i, argument in enumerate(arguments) if argument == "--params-file"]
record = {{
    "arguments": arguments,
    "parameter_files": {{file: Path(file).read_text() for file in files}},
    "environment": {{name: os.environ.get(name) for name in {variables}}},
}}
Path({folder!r}, Path(sys.argv[0]).name + ".json").write_text(json.dumps(record))
"""

RUN_LAUNCH_FILE = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [argument.split(":=") for argument in sys.argv[2:]]
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=arguments))
sys.exit(service.run())
"""

PROGRAMS = {
    "depth_completion_ros": ("completion_node", "depth-completion"),
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
        """Those that launch wrote into a file of its own, the last one."""
        return next(iter(yaml.safe_load([*self.parameter_files.values()][-1]).values()))["ros__parameters"]


@pytest.fixture
def launch(tmp_path):
    """Runs a launch file for real, with stand-ins for the programs; returns what was started, by name."""
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

    def run(name: str, *arguments: str, **environment: str) -> dict[str, Started]:
        others = {key: value for key, value in os.environ.items() if key not in DDS_PROFILE_VARIABLES}
        others |= {
            "AMENT_PREFIX_PATH": os.pathsep.join([str(prefix), others.get("AMENT_PREFIX_PATH", sys.prefix)]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), others.get("PYTHONPATH")])),
            "ROS_LOG_DIR": str(tmp_path),
        }
        result = subprocess.run(
            [sys.executable, "-c", RUN_LAUNCH_FILE, str(ROOT / "launch" / f"{name}.launch.py"), *arguments],
            env=others | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return {path.stem: Started(json.loads(path.read_text())) for path in records.glob("*.json")}

    return run


@pytest.fixture
def bag(tmp_path) -> Path:
    folder = tmp_path / "recording"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_compile(path):
    compile(path.read_text(), str(path), "exec")


def test_there_is_a_launch_file_for_each_sensor_and_for_replays():
    assert [path.name.split(".")[0] for path in LAUNCH_FILES] == ["kinect", "lidar", "replay", "tof"]


@pytest.mark.parametrize("sensor", SENSORS)
def test_rviz_shows_what_the_node_publishes(sensor):
    config = yaml.safe_load((ROOT / "config" / "rviz" / f"{sensor}.rviz").read_text())["Visualization Manager"]
    assert config["Global Options"]["Fixed Frame"] == "camera_color_optical_frame"
    topics = [display["Topic"] for display in config["Displays"] if "Topic" in display]
    clouds = [display["Depth Map Topic"] for display in config["Displays"] if "Depth Map Topic" in display]
    assert {topic["Value"] for topic in topics} >= DISPLAYED
    assert {topic["Reliability Policy"] for topic in topics} == {"Best Effort"}
    assert "/depth_completion/depth" in clouds


@pytest.mark.parametrize(
    ("name", "holds"),
    [("fastdds.xml", 3 * 1280 * 720 * 16), ("fastdds_small.xml", 1280 * 720 * (3 + 4))],  # clouds, or a pair of images
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
def test_live_it_starts_the_node_alone_with_the_profile(launch, sensor):
    started = launch(sensor)
    assert set(started) == {"completion_node"}
    node = started["completion_node"]
    assert next(iter(node.parameter_files)) == str(profile_file(sensor))
    assert node.own_parameters == {"use_sim_time": False}
    assert node.remappings == {"__node": "depth_completion"}
    assert "depth_completion:=info" in node.arguments


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
    assert node.own_parameters == {"use_sim_time": False, "engine": "classical", "model": "nearest"}
    assert node.remappings == {
        "__node": "depth_completion",
        "rgb/image_rect_color": "/camera/color/image_raw",
        "rgb/camera_info": "/camera/color/camera_info",
        "depth_registered/image_rect": "/camera/depth/image_raw",
        "depth_registered/camera_info": "/camera/depth/camera_info",
        "points": "/velodyne_points",
    }
    assert "depth_completion:=debug" in node.arguments


@pytest.mark.ros
def test_a_bag_is_played_decoded_on_its_own_clock(launch, bag):
    started = launch("tof", f"bag:={bag}")
    assert set(started) == {"completion_node", "depth-completion"}
    assert started["depth-completion"].arguments == ["bag", "play", str(bag), "--raw"]
    assert started["completion_node"].own_parameters == {"use_sim_time": True}


@pytest.mark.ros
def test_a_replay_loops_at_the_given_rate(launch, bag):
    started = launch("replay", f"bag:={bag}", "profile:=lidar", "rate:=2.0")
    assert started["depth-completion"].arguments == ["bag", "play", str(bag), "--raw", "--rate", "2.0", "--loop"]
    assert str(profile_file("lidar")) in started["completion_node"].parameter_files


@pytest.mark.ros
def test_the_later_parameter_file_wins(launch, bag, tmp_path):
    """Profile, then what belongs to the recording (its extrinsic), then the user's own file."""
    of_bag, of_user = bag / "parameters.yaml", tmp_path / "mine.yaml"
    for path in (of_bag, of_user):
        path.write_text("/**:\n  ros__parameters:\n    fill_only: true\n")
    node = launch("lidar", f"bag:={bag}", f"params_file:={of_user}")["completion_node"]
    assert list(node.parameter_files)[:3] == [str(profile_file("lidar")), str(of_bag), str(of_user)]


@pytest.mark.ros
def test_rviz_gets_its_displays_the_topics_and_a_frame_to_show_them_in(launch, bag):
    started = launch("kinect", f"bag:={bag}", "rviz:=true", "rgb_topic:=/camera/color/image_raw")
    assert str(ROOT / "config" / "rviz" / "kinect.rviz") in started["rviz2"].arguments
    assert started["rviz2"].remappings["rgb/image_rect_color"] == "/camera/color/image_raw"
    assert started["rviz2"].own_parameters == {"use_sim_time": True}
    assert "camera_color_optical_frame" in started["static_transform_publisher"].arguments


@pytest.mark.ros
def test_all_that_is_started_gets_the_dds_profile(launch, bag):
    started = launch("kinect", f"bag:={bag}", "rviz:=true")
    for program in started.values():
        assert program.environment == dict.fromkeys(DDS_PROFILE_VARIABLES, str(dds_profile_file()))


@pytest.mark.ros
def test_the_users_own_dds_profile_stays(launch):
    first, second = DDS_PROFILE_VARIABLES
    node = launch("kinect", **{first: "/own.xml"})["completion_node"]
    assert node.environment == {first: "/own.xml", second: None}


@pytest.mark.ros
@pytest.mark.parametrize("argument", ["bag:=/no/such/bag", "params_file:=/no/such/file.yaml"])
def test_a_path_that_does_not_exist_is_named(launch, argument):
    with pytest.raises(AssertionError, match=argument):
        launch("kinect", argument)
