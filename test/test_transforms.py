"""The pose from tf: points are projected by it, and until tf knows it the node says so."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

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

from depth_completion_ros import Intrinsics
from depth_completion_ros.geometry import back_project, transform_from_pose

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


def test_the_pose_at_the_stamp_is_taken_of_a_frame_that_moves(ros):
    """Away from the camera at 1 m/s; the newest pose is that of a second later."""
    broadcaster = TransformBroadcaster(ros.peer)
    ros.spin(lambda: broadcaster.pub_tf.get_subscription_count() > 0, 3.0)
    for second in (0, 1):
        pose = np.array([0.0, 0.0, second, 0.0, 0.0, 0.0, 1.0])
        broadcaster.sendTransform(stamped_transform(FRAME_ID, "lidar", pose, START_NS + second * 1_000_000_000))
    ros.spin(lambda: False, 0.5)
    cloud = PointCloud2(height=1, width=1, point_step=12, row_step=12)
    cloud.fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]
    cloud.data = array("B", np.array([0.0, 0.0, 2.0], np.float32).tobytes())
    rgb = image_message(scene()[0], "rgb8", 0)
    completed = pixels_of(ros.output(ros.send_pair(rgb, stamped(cloud, 0, "lidar"), "points")))
    np.testing.assert_allclose(completed, 2 + PERIOD_NS * 1e-9, atol=1e-3)
    assert ros.problems() == {}


def test_poses_of_a_recording_that_starts_again_are_known_at_once(ros):
    """tf ignores poses that are more than ten seconds older than its newest one."""
    broadcaster = TransformBroadcaster(ros.peer)
    ros.spin(lambda: broadcaster.pub_tf.get_subscription_count() > 0, 3.0)
    rgb, cloud = image_message(scene()[0], "rgb8", 0), lidar_cloud(sparse_depth())
    for start_ns in (START_NS + 60_000_000_000, START_NS):
        ros._stamp = start_ns
        for _ in range(2):  # the first image tells that time has gone back
            for second in (0, 1):
                stamp_ns = ros._stamp + second * 1_000_000_000
                broadcaster.sendTransform(stamped_transform(FRAME_ID, "lidar", POSE, stamp_ns))
            ros.spin(lambda: False, 0.2)
            stamp_ns = ros.send_pair(rgb, cloud, "points")
            ros.spin(lambda: False, 0.2)
        ros.output(stamp_ns)
    assert ros.problems().keys() <= {"time_jump", "tf_stamp"} and ros.problems()["time_jump"] == 1


def test_a_node_configured_again_listens_to_tf_once(ros):
    for _ in range(2):
        ros.node.trigger_deactivate()
        ros.node.trigger_cleanup()
        ros.node.trigger_configure()
        ros.node.trigger_activate()
    assert sum("/tf" in subscription.topic_name for subscription in ros.node.subscriptions) == 2
