"""Frames of a bag are those that the node builds from the same messages, and the same faults have the same causes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depth_completion_ros import Intrinsics
from depth_completion_ros.bag.frames import pair_stamps, read_frames
from depth_completion_ros.bag.messages import IMAGE, TYPESTORE, camera_info, header, image, serialize
from depth_completion_ros.bag.reader import DEPTH_TOPIC, RGB_TOPIC, BagReader
from depth_completion_ros.bag.transforms import BagTransforms, read_transforms
from depth_completion_ros.bag.writer import BagWriter
from depth_completion_ros.errors import InputError, in_options
from depth_completion_ros.evaluation.samples import open_bag
from depth_completion_ros.frame_builder import FrameBuilder, FrameSettings, MessagePair
from depth_completion_ros.geometry import transform_from_pose

MS = 1_000_000
START_NS = 1_700_000_000 * 1000 * MS
WIDTH, HEIGHT = 64, 48
INTRINSICS = Intrinsics(60.0, 60.0, 31.5, 23.5, WIDTH, HEIGHT)
RGB_FRAME, DEPTH_FRAME = "camera_rgb_optical_frame", "camera_depth_optical_frame"
# The depth camera stands 5 cm to the right of the colour camera.
POSE = (0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
INFO = "sensor_msgs/msg/CameraInfo"


def colour(stamp_ns: int, number: int = 0) -> Any:
    pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    return image(header(stamp_ns, RGB_FRAME), "rgb8", pixels)


def depth(stamp_ns: int, millimetres: int = 2000, encoding: str = "16UC1", frame_id: str = DEPTH_FRAME) -> Any:
    pixels = np.full((HEIGHT, WIDTH), millimetres, np.uint16 if encoding == "16UC1" else np.float32)
    pixels[::3, ::2] = 0
    return image(header(stamp_ns, frame_id), encoding, pixels)


def tf(parent: str, child: str, stamp_ns: int, pose: tuple[float, ...]) -> Any:
    types = TYPESTORE.types
    vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
    transform = types["geometry_msgs/msg/Transform"](vector(*pose[:3]), quaternion(*pose[3:]))
    stamped = types["geometry_msgs/msg/TransformStamped"](header(stamp_ns, parent), child, transform)
    return types["tf2_msgs/msg/TFMessage"]([stamped])


def write(path: Path, *messages: tuple[str, str, int, Any]) -> Path:
    """A bag of (topic, type, time, message)."""
    with BagWriter(path) as bag:
        for topic, kind, log_ns, message in messages:
            bag.write(topic, kind, log_ns, serialize(message))
    return path


def pairs(count: int, **arguments: Any) -> list[tuple[str, str, int, Any]]:
    messages = []
    for number in range(count):
        stamp = START_NS + number * 33 * MS
        messages.append((RGB_TOPIC, IMAGE, stamp, colour(stamp, number)))
        messages.append((DEPTH_TOPIC, IMAGE, stamp, depth(stamp, 1000 + 100 * number, **arguments)))
    return messages


def calibrations() -> list[tuple[str, str, int, Any]]:
    topics = {"/rgb/camera_info": RGB_FRAME, "/depth_registered/camera_info": DEPTH_FRAME}
    return [
        (topic, INFO, START_NS, camera_info(header(START_NS, frame), INTRINSICS)) for topic, frame in topics.items()
    ]


def test_unregistered_depth_is_read_as_the_node_builds_it(tmp_path):
    static = ("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, tf(RGB_FRAME, DEPTH_FRAME, START_NS, POSE))
    bag = write(tmp_path / "bag", static, *calibrations(), *pairs(2))
    settings = FrameSettings(registered=False)
    frames = list(read_frames(bag, settings=settings))

    transforms = BagTransforms()
    transforms.add(RGB_FRAME, DEPTH_FRAME, 0, np.array(POSE), static=True)
    builder = FrameBuilder(settings, pytest.fail, transforms, {"rgb": RGB_TOPIC, "depth": DEPTH_TOPIC})
    infos = [message for *_, message in calibrations()]
    for number, frame in enumerate(frames):
        stamp = START_NS + number * 33 * MS
        pair = MessagePair(colour(stamp, number), depth(stamp, 1000 + 100 * number), *infos, stamp, stamp, 0.0)
        expected = builder.build(pair)
        np.testing.assert_array_equal(frame.rgb, expected.rgb)
        np.testing.assert_array_equal(frame.depth, expected.depth)
        np.testing.assert_allclose(frame.depth_to_rgb, transform_from_pose(np.array(POSE)))
        assert frame.depth_intrinsics == INTRINSICS and frame.stamp_ns == stamp
    assert len(frames) == 2

    # One metre is 0.05 · 60 = 3 pixels to the right.
    samples = open_bag(bag, 1, settings=settings)
    seen = np.isfinite(samples[0].frame.depth)
    assert not seen[:, :3].any() and seen[1, 4:].all()


def test_without_a_pose_the_option_and_the_topic_that_give_it_are_named(tmp_path):
    bag = write(tmp_path / "bag", *calibrations(), *pairs(1))
    lines: list[str] = []
    with pytest.raises(InputError) as caught:
        list(read_frames(bag, settings=FrameSettings(registered=False), warn=lines.append))
    assert caught.value.cause == "extrinsic"
    assert "give it with --extrinsic, or record /tf and /tf_static too" in in_options(lines[0], bags=True)
    (frame,) = read_frames(bag, settings=FrameSettings(registered=False, extrinsic=POSE))
    np.testing.assert_allclose(frame.depth_to_rgb[:3, 3], POSE[:3])


@pytest.mark.parametrize(
    ("cause", "message", "says"),
    [
        ("frame_id", depth(START_NS), "use --unregistered and provide both camera_infos"),
        ("unit", depth(START_NS, 3000, "32FC1", RGB_FRAME), "set --depth-unit to 0.001"),
        ("encoding", depth(START_NS, frame_id=RGB_FRAME), "encoding"),
    ],
)
def test_faults_have_the_causes_and_sentences_of_the_node(tmp_path, cause, message, says):
    if cause == "encoding":
        message.encoding = "8UC7"
    bag = write(
        tmp_path / "bag", (RGB_TOPIC, IMAGE, START_NS, colour(START_NS)), (DEPTH_TOPIC, IMAGE, START_NS, message)
    )
    lines: list[str] = []
    settings = FrameSettings(min_range=0.3, max_range=10.0)
    try:
        list(read_frames(bag, settings=settings, warn=lines.append))
        found = None
    except InputError as error:
        found = error.cause
    reports: list[tuple[str, str]] = []
    builder = FrameBuilder(settings, lambda *what: reports.append(what), None, {"rgb": RGB_TOPIC, "depth": DEPTH_TOPIC})
    try:
        builder.build(MessagePair(colour(START_NS), message, None, None, START_NS, START_NS, 0.0))
    except InputError as error:
        reports.append((error.cause, str(error)))
        assert found == error.cause
    assert reports[0][0] == cause
    assert len(lines) == 1 and says in in_options(lines[0], bags=True), lines
    assert lines == [f"{bag}: {reports[0][1]}"]


def test_only_the_wanted_frames_are_decoded(tmp_path):
    """The others are not even valid images."""
    messages = pairs(6, frame_id=RGB_FRAME)
    broken = [m for m in messages if m[2] not in (START_NS + 33 * MS, START_NS + 99 * MS)]
    for *_, message in broken:
        message.encoding = "nonsense"
    bag = write(tmp_path / "bag", *messages)
    stamps = pair_stamps(bag)
    assert stamps == [START_NS + number * 33 * MS for number in range(6)]
    lines: list[str] = []
    frames = list(read_frames(bag, stamps={stamps[1], stamps[3]}, warn=lines.append))
    assert [frame.stamp_ns for frame in frames] == [stamps[1], stamps[3]] and lines == []


def test_pairs_that_cannot_be_used_are_left_out_and_counted(tmp_path):
    messages = pairs(4, frame_id=RGB_FRAME)
    messages[3][3].encoding = "nonsense"
    lines: list[str] = []
    frames = list(read_frames(write(tmp_path / "bag", *messages), warn=lines.append))
    assert len(frames) == 3
    assert "nonsense" in lines[0] and lines[1].endswith("1 of 4 pairs cannot be used and are left out")


def test_an_evaluation_takes_evenly_spaced_frames(tmp_path):
    bag = write(tmp_path / "bag", *pairs(9, frame_id=RGB_FRAME))
    samples = open_bag(bag, 3)
    stamps = pair_stamps(bag)
    assert [samples[i].frame.stamp_ns for i in range(len(samples))] == [stamps[0], stamps[4], stamps[8]]


def turned(degrees: float, x: float) -> np.ndarray:
    half = np.radians(degrees) / 2
    return np.array([x, 0, 0, 0, 0, np.sin(half), np.cos(half)])


def test_poses_are_chained_inverted_and_interpolated():
    transforms = BagTransforms()
    transforms.add("/odom", "base", 0, turned(0, 0.0), static=False)
    transforms.add("odom", "base", 100, -turned(10, 1.0) * np.r_[-np.ones(3), np.ones(4)], static=False)  # -q is q
    transforms.add("base", "camera", 0, turned(90, 0.2), static=True)
    found, at_stamp = transforms.lookup("odom", "camera", 50)
    expected = transform_from_pose(turned(5, 0.5)) @ transform_from_pose(turned(90, 0.2))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert at_stamp
    back, _ = transforms.lookup("/camera", "odom", 50)
    np.testing.assert_allclose(back @ found, np.eye(4), atol=1e-12)
    for stamp, pose in ((-5, turned(0, 0.0)), (200, turned(10, 1.0))):
        found, at_stamp = transforms.lookup("odom", "base", stamp)
        np.testing.assert_allclose(found, transform_from_pose(pose), atol=1e-12)
        assert not at_stamp
    with pytest.raises(InputError, match="the pose of 'elsewhere' in 'odom' is unknown"):
        transforms.lookup("odom", "elsewhere", 0)
    np.testing.assert_array_equal(transforms.lookup("base", "base", 7)[0], np.eye(4))


def test_a_static_pose_that_is_published_again_replaces_the_first(tmp_path):
    poses = [tf("a", "b", START_NS, (x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)) for x in (1.0, 2.0)]
    bag = write(
        tmp_path / "bag", *(("/tf_static", "tf2_msgs/msg/TFMessage", START_NS + i, p) for i, p in enumerate(poses))
    )
    with BagReader(bag) as reader:
        found, at_stamp = read_transforms(reader).lookup("a", "b", START_NS)
    assert found[0, 3] == 2.0 and at_stamp
