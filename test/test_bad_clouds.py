"""Everything that can be wrong with a point cloud: one true line, a counter, and the node completes the next frame."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

from ros_graph import RosGraph, camera_info, image_message, pixels_of, scene
from sensor_msgs.msg import PointCloud2, PointField

pytestmark = pytest.mark.ros
EXTRINSIC = [0.0, 0.0, 0.001, 0.0, 0.0, 0.0, 1.0]
FLOAT32, FLOAT64, UINT8 = PointField.FLOAT32, PointField.FLOAT64, PointField.UINT8
NUMPY = {FLOAT32: "f4", FLOAT64: "f8", UINT8: "u1"}


@pytest.fixture
def graph() -> Iterator[Callable[..., RosGraph]]:
    graphs: list[RosGraph] = []

    def make(**parameters: Any) -> RosGraph:
        defaults = {"profile": "lidar", "depth.source": "points", "extrinsic": EXTRINSIC, "fill_only": True}
        ros = RosGraph(defaults | {name.replace("__", "."): value for name, value in parameters.items()})
        graphs.append(ros)
        ros.publish("rgb/camera_info", camera_info(160, 120, 130.0))
        ros.spin(lambda: False, 0.2)
        return ros

    yield make
    for one in graphs:
        one.close()


def wall(z: float = 3.0, count: int = 400) -> np.ndarray:
    """Points (N, 3) of a wall that fills the image."""
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(-0.5, 0.5, count) * z, rng.uniform(-0.4, 0.4, count) * z, np.full(count, z)], axis=1)


def cloud(points: np.ndarray, fields: str = "xyz", kind: int = FLOAT32, gap: int = 0, extra: int = 0) -> PointCloud2:
    """A cloud with fields in this order, with gaps before them; ``extra`` is the datatype of a field "t"."""
    offsets, step = [], 0
    for _ in fields:
        step += gap
        offsets.append(step)
        step += np.dtype(NUMPY[kind]).itemsize
    message = PointCloud2(height=1, width=len(points), point_step=step + gap + 1)
    message.fields = [
        PointField(name=name, offset=at, datatype=kind, count=1) for name, at in zip(fields, offsets, strict=True)
    ]
    if extra:
        message.fields = [*message.fields, PointField(name="t", offset=step + gap, datatype=extra, count=1)]
    message.row_step = message.point_step * len(points)
    table = np.zeros((len(points), message.point_step), np.uint8)
    for name, at in zip(fields, offsets, strict=True):
        values = np.ascontiguousarray(points[:, "xyz".find(name)], NUMPY[kind])
        table[:, at : at + values.itemsize] = values.view(np.uint8).reshape(len(points), values.itemsize)
    message.data = array("B", table.tobytes())
    return message


def send(ros: RosGraph, message: PointCloud2) -> int:
    message.header.frame_id = message.header.frame_id or "lidar"
    return ros.send_pair(rgb=image_message(scene()[0], "rgb8", 0), depth=message, depth_topic="points")


BAD = {
    "without z": (lambda: cloud(wall(), "xyi"), "points", "has fields ['i', 'x', 'y'], but 'z' is missing"),
    "without fields": (lambda: cloud(wall(), ""), "points", "has fields [], but 'x' is missing"),
    "without points": (lambda: cloud(wall()[:0]), "empty_depth", "the point cloud holds no points"),
    "without echoes": (lambda: cloud(wall() * 0), "empty_depth", "the point cloud holds no points"),
    "all NaN": (lambda: cloud(wall() * np.nan), "empty_depth", "none of 400 points is finite"),
    "all infinite": (lambda: cloud(wall() * np.inf), "empty_depth", "none of 400 points is finite"),
    "all behind": (lambda: cloud(-wall()), "outside", "100% of them lie behind the camera"),
    "all beside": (lambda: cloud(wall() + np.array([50, 0, 0])), "outside", "0% of them lie behind the camera"),
    "cut short": (lambda: truncated(), "truncated", "bytes for 1 rows of 400 points"),
}


def truncated() -> PointCloud2:
    message = cloud(wall())
    message.data = message.data[:100]
    return message


@pytest.mark.parametrize("name", BAD)
def test_a_bad_cloud_costs_one_line_and_the_next_frame_is_completed(graph, capfd, name):
    make, cause, words = BAD[name]
    ros = graph()
    ros.output(send(ros, cloud(wall())))
    send(ros, make())
    assert ros.spin(lambda: ros.drops() == {cause: 1}), ros.drops()
    completed = pixels_of(ros.output(send(ros, cloud(wall()))))
    np.testing.assert_allclose(completed, 3.001, rtol=1e-3)
    lines = [line for line in capfd.readouterr().err.splitlines() if words in line]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    assert ros.problems() == {cause: 1}


def test_a_cloud_in_an_unknown_frame_costs_one_line(graph, capfd):
    ros = graph(extrinsic=[])
    camera_frame = image_message(scene()[0], "rgb8", 0).header.frame_id
    message = cloud(wall())
    message.header.frame_id = camera_frame
    ros.output(send(ros, message))
    message.header.frame_id = "mystery"
    send(ros, message)
    assert ros.spin(lambda: ros.drops() == {"extrinsic": 1}), ros.drops()
    lines = [line for line in capfd.readouterr().err.splitlines() if "'mystery'" in line]
    assert len(lines) == 1 and "set the parameter extrinsic" in lines[0]
    message = cloud(wall())
    message.header.frame_id = camera_frame
    np.testing.assert_allclose(pixels_of(ros.output(send(ros, message))), 3.0, rtol=1e-3)


GOOD = {
    "float64": {"kind": FLOAT64},
    "padded": {"gap": 5},
    "another order": {"fields": "zxy"},
    "all of these": {"kind": FLOAT64, "gap": 3, "fields": "iyzx"},
}


@pytest.mark.parametrize("name", GOOD)
def test_an_unusual_layout_is_read_without_a_word(graph, name):
    ros = graph()
    completed = pixels_of(ros.output(send(ros, cloud(wall(), **GOOD[name]))))
    np.testing.assert_allclose(completed, 3.001, rtol=1e-3)
    assert ros.drops() == {} and ros.problems() == {}


def test_points_that_are_not_finite_are_left_out(graph):
    ros = graph()
    points = wall()
    points[::3, 0], points[1::9, 1], points[2::9, 2] = np.nan, np.inf, -np.inf
    np.testing.assert_allclose(pixels_of(ros.output(send(ros, cloud(points)))), 3.001, rtol=1e-3)
    assert ros.drops() == {} and ros.problems() == {}


def test_times_of_a_wrong_type_cost_one_line_and_no_frame(graph, capfd):
    ros = graph()
    for _ in range(3):
        completed = pixels_of(ros.output(send(ros, cloud(wall(), extra=UINT8))))
        np.testing.assert_allclose(completed, 3.001, rtol=1e-3)
    assert ros.drops() == {} and ros.problems()["point_times"] == 3
    lines = [line for line in capfd.readouterr().err.splitlines() if "times of the points" in line]
    assert len(lines) == 1 and "datatype 2" in lines[0]
