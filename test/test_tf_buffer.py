"""What the node asks of tf2_ros, with a stand-in: the tests with the real one need a ROS installation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

from depth_completion_ros.node import transforms


class Buffer:
    """Knows that the sensor is 1 m ahead of the camera, and nothing about other frames."""

    def lookup_transform(self, target, source, stamp, timeout):
        if source != "sensor":
            raise LookupError(f'"{source}" does not exist')
        one, none = SimpleNamespace(x=0.0, y=0.0, z=1.0), SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
        return SimpleNamespace(transform=SimpleNamespace(translation=one, rotation=none))


@pytest.fixture
def listeners(monkeypatch):
    """The arguments of each listener."""
    made = []
    stand_in = SimpleNamespace(
        Buffer=Buffer, TransformListener=lambda *arguments: made.append(arguments), TransformException=LookupError
    )
    monkeypatch.setattr(transforms, "tf2_ros", stand_in)
    return made


def test_poses_are_looked_up_in_a_buffer_that_can_only_be_read(listeners):
    tf = transforms.transforms_of(None)
    assert len(listeners) == 1
    found, at_stamp = tf.lookup("camera", "sensor", 5)
    assert at_stamp and np.array_equal(found[:3, 3], [0, 0, 1])
    assert tf.pose("odom", "elsewhere", 5) is None


def test_poses_before_a_jump_back_in_time_are_forgotten_and_static_ones_are_kept(listeners):
    transforms.transforms_of(None)
    ((written, _),) = listeners
    calls = []
    written._buffer = SimpleNamespace(
        clear=lambda: calls.append("clear"),
        set_transform=lambda transform, authority: calls.append(transform.header.stamp.sec),
        set_transform_static=lambda transform, authority: calls.append("static"),
    )

    def pose(seconds):
        stamp = SimpleNamespace(sec=seconds, nanosec=0)
        return SimpleNamespace(child_frame_id="camera", header=SimpleNamespace(stamp=stamp))

    written.set_transform_static(pose(0), "")
    for seconds in (10, 11, 3, 4):
        written.set_transform(pose(seconds), "")
    assert calls == ["static", 10, 11, "clear", 3, 4]
