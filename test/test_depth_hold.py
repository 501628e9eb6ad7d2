"""depth.hold latest: each image is completed with the closest depth, moved with the camera."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.depth_hold import DepthHold, why_no_depth
from depth_completion_ros.frame import Intrinsics, RgbdFrame
from depth_completion_ros.frame_builder import FrameBuilder, FrameSettings, MessagePair
from depth_completion_ros.geometry import depth_on_rgb_grid

MS = 1_000_000
START = 1_700_000_000_000 * MS
WIDTH, HEIGHT, FOCAL = 160, 120, 100.0


def pairs_of(hold, *messages):
    """The stamps (rgb, depth) [ms] of all pairs; messages are a stream and a stamp [ms] each."""
    found = [pair for stream, stamp in messages for pair in hold.add(stream, START + stamp * MS, stamp)]
    return [(pair.rgb, pair.depth) for pair in found]


def test_each_image_gets_the_closest_depth_so_far():
    hold = DepthHold(1000 * MS)
    messages = [("depth", 0), ("rgb", 10), ("rgb", 43), ("rgb", 76), ("depth", 100), ("rgb", 109), ("rgb", 142)]
    assert pairs_of(hold, *messages) == [(10, 0), (43, 0), (76, 0), (109, 100), (142, 100)]
    assert not hold.dropped.total() and hold.jumps == 0


def test_depth_that_arrives_after_later_images_is_used_for_the_next_one():
    hold = DepthHold(1000 * MS)
    assert pairs_of(hold, ("depth", 0), ("rgb", 33), ("rgb", 166), ("depth", 100), ("rgb", 200)) == [
        (33, 0),
        (166, 0),
        (200, 100),
    ]


def test_an_image_that_arrives_late_gets_depth_of_its_own_time():
    hold = DepthHold(1000 * MS)
    assert pairs_of(hold, ("depth", 0), ("depth", 100), ("depth", 200), ("rgb", 90), ("rgb", 190)) == [
        (90, 100),
        (190, 200),
    ]
    assert +hold.dropped == {"unpaired": 1}  # depth of 0


def test_messages_that_are_not_used_are_counted_by_cause():
    hold = DepthHold(1000 * MS)
    messages = [("rgb", 0), ("depth", 10), ("depth", 10), ("depth", 5), ("rgb", 1500), ("rgb", 1500), ("rgb", 1490)]
    assert pairs_of(hold, *messages) == []
    assert +hold.dropped == {"unpaired": 2, "duplicate_stamp": 2, "late": 2}


@pytest.mark.parametrize("stream", ["rgb", "depth"])
def test_depth_from_before_a_jump_back_in_time_is_not_used(stream):
    hold = DepthHold(10_000 * MS)
    assert pairs_of(hold, ("depth", 5000), ("rgb", 5000), ("depth", 5100)) == [(5000, 5000)]
    assert pairs_of(hold, (stream, 1000)) == [] and hold.jumps == 1
    assert +hold.dropped == {"time_jump": 1, **({"unpaired": 1} if stream == "rgb" else {})}
    assert pairs_of(hold, ("depth", 1050), ("rgb", 1060)) == [(1060, 1050)]


def test_the_memory_of_the_hold_does_not_grow():
    hold = DepthHold(1000 * MS)
    for number in range(500):
        hold.add("depth", START + number * 100 * MS, None)
    assert len(hold._depth) <= 11 and +hold.dropped == {"unpaired": 489}


def test_clocks_that_differ_are_named_with_an_offset_that_makes_them_pair():
    line = why_no_depth([START, START + 5000 * MS], [START, START + 2000 * MS], 1.0)
    assert "3.000 s apart, rgb ahead" in line and "sync.depth_offset to 3.000" in line
    assert "sync.depth_offset" not in why_no_depth([START], [0], 1.0)


class Drive:
    """tf of a camera that drives ahead at a speed [m/s]."""

    def __init__(self, speed=3.0):
        self.speed = speed

    def pose(self, fixed_frame, frame, stamp_ns):
        pose = np.eye(4)
        pose[2, 3] = self.speed * (stamp_ns - START) * 1e-9
        return pose


def header(stamp_ns):
    stamp = SimpleNamespace(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    return SimpleNamespace(stamp=stamp, frame_id="camera")


def image(pixels, encoding, stamp_ns):
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        header=header(stamp_ns),
        encoding=encoding,
        height=height,
        width=width,
        step=pixels.strides[0],
        is_bigendian=0,
        data=pixels.tobytes(),
    )


def build(age_ms, poses, info=True, scale=1, said=None, stamps=True, **settings):
    """A frame with depth that is ``age_ms`` older than the image: a wall at 4.05 m, and a box at 2 m before it.

    Without ``stamps``, the messages have none, and their times are those of arrival.
    """
    depth = np.full((HEIGHT // scale, WIDTH // scale), 4050, np.uint16)
    depth[40 // scale : 80 // scale, 60 // scale : 100 // scale] = 2000
    stamp = START + 200 * MS
    depth_ns = stamp - age_ms * MS
    rgb = image(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "rgb8", stamp if stamps else 0)
    k = [FOCAL, 0, (WIDTH - 1) / 2, 0, FOCAL, (HEIGHT - 1) / 2, 0, 0, 1]
    calibration = SimpleNamespace(
        header=rgb.header, k=k, p=[0.0] * 12, d=[], r=[0.0] * 9, width=WIDTH, height=HEIGHT, distortion_model=""
    )
    builder = FrameBuilder(
        FrameSettings(fixed_frame="odom" if poses else "", slop=0.02, **settings),
        lambda cause, line: (said if said is not None else []).append((cause, line)),
        None,
        {"rgb": "/rgb", "depth": "/depth"},
        poses,
    )
    message = image(depth, "16UC1", depth_ns if stamps else 0)
    return builder.build(MessagePair(rgb, message, calibration if info else None, None, stamp, depth_ns, 0.0))


@pytest.mark.parametrize(("scale", "stamps"), [(1, True), (2, True), (1, False)])
def test_held_depth_is_where_the_image_shows_it(scale, stamps):
    """After 0.1 s at 3 m/s everything is 0.3 m closer, and the box is larger."""
    frame = build(100, Drive(), scale=scale, stamps=stamps)
    depth = depth_on_rgb_grid(frame)
    assert frame.depth_age == pytest.approx(0.1)
    box = np.abs(depth - 1.7) < 1e-3
    assert (box | (np.abs(depth - 3.75) < 1e-3) | np.isnan(depth)).all() and np.isnan(depth).mean() < 0.1
    columns = np.nonzero(box.any(axis=0))[0]
    assert np.ptp(columns) + 1 == pytest.approx(40 * 2 / 1.7, abs=2 * scale)
    assert columns.mean() == pytest.approx((WIDTH - 1) / 2, abs=scale)


@pytest.mark.parametrize("age", [0, 19])
def test_depth_that_pairs_within_the_slop_is_used_as_it_is(age):
    frame = build(age, Drive())
    assert frame.depth_age == 0 and frame.depth_to_rgb is None
    np.testing.assert_allclose(np.unique(frame.depth), [2.0, 4.05], rtol=1e-6)


def test_depth_stays_where_it_is_while_the_camera_stands_still():
    frame = build(100, Drive(speed=0.0))
    assert frame.depth_age == pytest.approx(0.1) and frame.depth_to_rgb is None


@pytest.mark.parametrize(("poses", "info"), [(None, True), (Drive(), False)])
def test_an_unknown_motion_is_said(poses, info):
    said = []
    frame = build(100, poses, info, said=said)
    assert frame.depth_to_rgb is None and frame.depth_age == pytest.approx(0.1)
    assert [cause for cause, _ in said] == ["motion"] and "temporal.motion to static" in said[0][1]
    said.clear()
    build(100, None, said=said, static=True)
    assert said == []


def test_confidence_falls_with_the_age_of_depth():
    rgb, depth = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.full((HEIGHT, WIDTH), 4.0, np.float32)
    depth[:, ::3] = np.nan
    camera = Intrinsics(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT)
    completer = DepthCompleter("lidar", "classical", "guided")
    ages = (0.0, 0.05, 0.2, 1.0)
    found = [completer.complete(RgbdFrame(rgb, depth, camera, depth_age=age)) for age in ages]
    for fresher, older in itertools.pairwise(found):
        assert (fresher.confidence > older.confidence).all() and (fresher.sigma < older.sigma).all()
    np.testing.assert_array_equal(found[0].depth, found[-1].depth)


@pytest.mark.ros
def test_every_image_of_a_faster_camera_is_completed_with_the_latest_points():
    pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
    from ros_graph import PERIOD_NS, START_NS, RosGraph, camera_info, image_message, pixels_of, scene, stamped
    from sensor_msgs.msg import PointCloud2, PointField

    rows, columns = np.mgrid[:HEIGHT:4, :WIDTH]
    ray = np.stack(
        [(columns - (WIDTH - 1) / 2) / FOCAL, (rows - (HEIGHT - 1) / 2) / FOCAL, np.ones(rows.shape)], axis=-1
    )
    fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]

    def sweep(distance):
        points = (distance * ray).reshape(-1, 3).astype(np.float32)
        return PointCloud2(
            height=1, width=len(points), fields=fields, point_step=12, row_step=12 * len(points), data=points.tobytes()
        )

    ros = RosGraph(
        {
            "depth.source": "points",
            "depth.hold": "latest",
            "extrinsic": [0.0] * 6 + [1.0],
            "temporal.motion": "static",
            "temporal.smoothing": "off",
        }
    )
    try:
        ros.publish("rgb/camera_info", camera_info(WIDTH, HEIGHT, FOCAL))
        for number in range(9):
            stamp = START_NS + number * PERIOD_NS
            distance = 2.0 + 0.01 * (number // 3)
            if number % 3 == 0:
                ros.publish("points", stamped(sweep(distance), stamp - 20 * MS, "lidar"))
                assert ros.spin(lambda n=number: ros.node.statistics.counts()["depth"] == n // 3 + 1)
            ros.publish("rgb/image_rect_color", image_message(scene()[0], "rgb8", stamp))
            completed = pixels_of(ros.output(stamp))
            np.testing.assert_allclose(completed, distance, rtol=0.002)
        assert ros.drops() == {} and ros.problems() == {}
        assert ros.node.statistics.counts()["frames_out"] == 9
    finally:
        ros.close()


@pytest.mark.ros
@pytest.mark.parametrize("rgb_has_stamps", [True, False])
def test_held_depth_without_stamps_has_the_age_of_its_arrival(rgb_has_stamps):
    pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
    from ros_graph import START_NS, RosGraph, image_message, pixels_of, scene

    ros = RosGraph({"depth.hold": "latest", "temporal.motion": "off", "temporal.max_age": 60.0})
    try:
        stamp = START_NS if rgb_has_stamps else 0
        ros.publish("depth_registered/image_rect", image_message(scene()[1], "16UC1", 0))
        ros.spin(lambda: False, 0.3)
        ros.publish("rgb/image_rect_color", image_message(scene()[0], "rgb8", stamp))
        completed = pixels_of(ros.output(stamp))
        assert np.isfinite(completed).any()
        assert "motion" in ros.problems()  # the node says that the depth is older than the image
    finally:
        ros.close()
