"""The pose from tf: points are projected by it, and until tf knows it the node says so."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import moving_scene
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS installation; there is no wheel of it")

from geometry_msgs.msg import TransformStamped
from ros_graph import (
    FRAME_ID,
    PERIOD_NS,
    START_NS,
    RosGraph,
    camera_info,
    image_message,
    pixels_of,
    scene,
    stamped,
)
from sensor_msgs.msg import PointCloud2, PointField
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from depth_completion_ros import DepthCompleter, Intrinsics, RgbdFrame
from depth_completion_ros.geometry import back_project, transform_from_pose
from depth_completion_ros.temporal import TemporalMemory, TemporalSettings

pytestmark = pytest.mark.ros
POSE = np.array([0.1, -0.2, 0.05, 0.5, -0.5, 0.5, 0.5])  # a LiDAR with x ahead and z up, beside the camera


def static_transform(parent: str, child: str, pose: np.ndarray) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z, q.x, q.y, q.z, q.w = map(float, pose)
    return message


def stamped_transform(parent: str, child: str, pose: np.ndarray, stamp_ns: int) -> TransformStamped:
    message = static_transform(parent, child, pose)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message


def sparse_depth() -> np.ndarray:
    rng = np.random.default_rng(3)
    depth = np.full((120, 160), np.nan, np.float32)
    rows, columns = rng.integers(0, 120, 400), rng.integers(0, 160, 400)
    depth[rows, columns] = 3 + columns / 100  # a wall: no point hides another one
    return depth


def lidar_cloud(depth: np.ndarray) -> PointCloud2:
    """The points of a depth image as the LiDAR of POSE sees them."""
    camera = back_project(depth, Intrinsics(130.0, 130.0, 79.5, 59.5, 160, 120)).astype(np.float64)
    lidar_from_camera = np.linalg.inv(transform_from_pose(POSE))
    lidar = (camera @ lidar_from_camera[:3, :3].T + lidar_from_camera[:3, 3]).astype(np.float32)
    cloud = PointCloud2(height=1, width=len(lidar), point_step=12, row_step=12 * len(lidar))
    cloud.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate("xyz")
    ]
    cloud.data = array("B", lidar.tobytes())
    return stamped(cloud, 0, "lidar")


@pytest.fixture
def ros() -> Iterator[RosGraph]:
    graph = RosGraph({"profile": "lidar", "depth.source": "points", "fill_only": True})
    graph.publish("rgb/camera_info", camera_info(160, 120, 130.0))
    graph.spin(lambda: False, 0.2)
    yield graph
    graph.close()


def test_points_are_projected_by_tf_once_it_knows_the_pose(ros):
    """Before, one frame is dropped with one message. The pose comes by way of a third frame, as robots have it."""
    depth = sparse_depth()
    rgb = image_message(scene()[0], "rgb8", 0)
    ros.send_pair(rgb, lidar_cloud(depth), "points")
    assert ros.spin(ros.drops)
    assert ros.drops() == ros.problems() == {"extrinsic": 1}

    broadcaster = StaticTransformBroadcaster(ros.peer)
    up = np.array([0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 1.0])  # not turned, so that poses add up
    lidar_in_base = np.concatenate([up[:3] + POSE[:3], POSE[3:]])
    broadcaster.sendTransform(
        [static_transform("base", FRAME_ID, up), static_transform("base", "lidar", lidar_in_base)]
    )
    ros.spin(lambda: False, 0.5)
    completed = pixels_of(ros.output(ros.send_pair(rgb, lidar_cloud(depth), "points")))
    measured = np.isfinite(depth)
    np.testing.assert_allclose(completed[measured], depth[measured], rtol=1e-4)
    assert np.isfinite(completed).all() and ros.drops() == {"extrinsic": 1}


def point_ahead(distance: float) -> PointCloud2:
    """One point on the z axis of the LiDAR."""
    cloud = PointCloud2(height=1, width=1, point_step=12, row_step=12)
    cloud.fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]
    cloud.data = array("B", np.array([0.0, 0.0, distance], np.float32).tobytes())
    return stamped(cloud, 0, "lidar")


def ahead(distance: float, stamp_ns: int) -> TransformStamped:
    """The pose of a LiDAR at this distance ahead of the camera, not turned."""
    return stamped_transform(FRAME_ID, "lidar", np.array([0.0, 0.0, distance, 0.0, 0.0, 0.0, 1.0]), stamp_ns)


def distance_of(ros: RosGraph, frame: str, stamp_ns: int) -> float | None:
    """How far ahead of the camera the node knows a frame to be at a stamp [m]."""
    pose = ros.node._transforms.pose(FRAME_ID, frame, stamp_ns)
    return None if pose is None else pose[2, 3]


def test_the_pose_at_the_stamp_is_taken_of_a_frame_that_moves(ros):
    """Away from the camera at 1 m/s; the newest pose is that of a second later."""
    broadcaster = TransformBroadcaster(ros.peer)
    ros.spin(lambda: broadcaster.pub_tf.get_subscription_count() > 0, 3.0)
    for second in (0, 1):
        broadcaster.sendTransform(ahead(second, START_NS + second * 1_000_000_000))
    ros.spin(lambda: False, 0.5)
    rgb = image_message(scene()[0], "rgb8", 0)
    completed = pixels_of(ros.output(ros.send_pair(rgb, point_ahead(2.0), "points")))
    np.testing.assert_allclose(completed, 2 + PERIOD_NS * 1e-9, atol=1e-3)
    assert ros.problems() == {}


@pytest.mark.parametrize("seconds", [3, 60], ids="{} s back".format)
def test_poses_from_before_a_jump_back_in_time_are_forgotten(ros, seconds):
    """tf would ignore poses that are more than ten seconds older than its newest one, and mix others with it.

    The first frame after the jump is completed too: tf knows the new poses before an image tells of the jump.
    """
    broadcaster = TransformBroadcaster(ros.peer)
    static = StaticTransformBroadcaster(ros.peer)
    ros.spin(lambda: broadcaster.pub_tf.get_subscription_count() > 0, 3.0)
    static.sendTransform(static_transform("lidar", "lidar_points", np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0])))
    rgb, cloud = image_message(scene()[0], "rgb8", 0), point_ahead(2.0)
    cloud.header.frame_id = "lidar_points"
    for distance, start_ns in ((1.0, START_NS + seconds * 1_000_000_000), (0.0, START_NS)):
        ros._stamp = start_ns
        broadcaster.sendTransform(ahead(distance, start_ns))
        assert ros.spin(lambda t=start_ns, z=0.5 + distance: distance_of(ros, "lidar_points", t) == z)
        completed = pixels_of(ros.output(ros.send_pair(rgb, cloud, "points")))
        np.testing.assert_allclose(completed, 2.5 + distance, atol=1e-3)
    assert sum(ros.drops().values()) == 0
    assert ros.problems() == {"time_jump": 1, "tf_stamp": 2}


class MovingCamera:
    """A camera with a depth sensor that moves through a room, on tf in two steps, and a node that remembers."""

    def __init__(self, ros: RosGraph):
        self.ros = ros
        self._tf = TransformBroadcaster(ros.peer)
        self._static = StaticTransformBroadcaster(ros.peer)
        self._static.sendTransform(static_transform("base", FRAME_ID, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])))
        i = moving_scene.INTRINSICS
        ros.publish("rgb/camera_info", camera_info(i.width, i.height, i.fx))
        ros.spin(lambda: self._tf.pub_tf.get_subscription_count() > 0)

    def send(self, number: int, known: bool = True) -> tuple[np.ndarray, RgbdFrame]:
        """The node's depth of a frame, and this frame; whether its pose is published before it."""
        x, yaw = 0.01 * number, 0.004 * number
        camera = moving_scene.pose(x, yaw)
        rgb, depth, _ = moving_scene.view(camera)
        depth[moving_scene.holes(number)] = np.nan
        stamp_ns = START_NS + number * PERIOD_NS
        if known:
            turned = np.array([x, 0.0, 0.0, 0.0, np.sin(yaw / 2), 0.0, np.cos(yaw / 2)])
            self._tf.sendTransform(stamped_transform("odom", "base", turned, stamp_ns))
            poses = self.ros.node._transforms
            assert self.ros.spin(lambda: poses.pose("odom", FRAME_ID, stamp_ns) is not None)
        self.ros._stamp = stamp_ns - PERIOD_NS
        messages = image_message(rgb, "rgb8", 0), image_message(depth, "32FC1", 0)
        completed = pixels_of(self.ros.output(self.ros.send_pair(*messages)))
        frame = RgbdFrame(
            rgb, depth, moving_scene.INTRINSICS, stamp_ns, FRAME_ID, camera_pose=camera if known else None
        )
        return completed, frame


@pytest.fixture
def moving_camera() -> Iterator[MovingCamera]:
    graph = RosGraph({"temporal.motion": "tf", "temporal.smoothing": "off"})
    yield MovingCamera(graph)
    graph.close()


def test_the_node_recalls_by_tf_what_the_memory_recalls_by_the_true_poses(moving_camera):
    completer, memory = DepthCompleter("kinect", "classical"), TemporalMemory(TemporalSettings("tf"), pytest.fail)
    for number in range(6):
        depth, frame = moving_camera.send(number)
        expected = completer.complete(memory.recall(frame, completer.profile))
        if number:  # tf turns the quaternion into a matrix in its own way, which may move a pixel to the next cell
            recalled, alone = expected.recalled, completer.complete(frame).depth
            assert np.isclose(depth, expected.depth, atol=1e-4)[recalled].mean() > 0.99
            assert recalled.sum() > 1000 and not np.isclose(alone, expected.depth, atol=1e-4)[recalled].all()
    moving_camera.ros.spin(lambda: False, 0.1)
    _, values = moving_camera.ros.diagnostics()
    assert values["recalled.count"] == "5" and moving_camera.ros.problems() == {}


def test_a_frame_whose_pose_is_late_is_completed_alone_and_the_memory_goes_on(moving_camera):
    completer = DepthCompleter("kinect", "classical")
    for number, known in enumerate([True, True, False, False, True]):
        depth, frame = moving_camera.send(number, known)
        alone = completer.complete(frame).depth
        assert np.isclose(depth, alone, atol=1e-4).all() == (number in (0, 2, 3))
    assert moving_camera.ros.problems() == {"temporal": 2} and moving_camera.ros.drops() == {}


def test_a_node_configured_again_listens_to_tf_once(ros):
    for _ in range(2):
        ros.node.trigger_deactivate()
        ros.node.trigger_cleanup()
        ros.node.trigger_configure()
        ros.node.trigger_activate()
    assert sum("/tf" in subscription.topic_name for subscription in ros.node.subscriptions) == 2
