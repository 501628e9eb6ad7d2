"""Poses between frames from tf, where tf2_ros is installed (it comes with ROS; there are no wheels of it)."""

from __future__ import annotations

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from ..geometry import transform_from_pose

try:
    import tf2_ros
except ImportError:
    tf2_ros = None


# A pose is published some time after the image of its stamp; a frame waits this long for it.
_WAIT = Duration(seconds=0.05)


class TfTransforms:
    """The pose of one frame in another that tf has, at the time of a message.

    Listens in the thread that spins the node; ``lookup`` may be called from any: the buffer has a lock of its own.
    """

    def __init__(self, node: Node):
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> tuple[np.ndarray, bool] | None:
        """(4, 4) float64 transform of source into target and whether it is that of the stamp; None while tf has none.

        The newest is taken where tf does not have the one of the stamp.
        """
        for time, wait in ((Time(nanoseconds=stamp_ns), _WAIT), (Time(), Duration())):
            try:
                transform = self._buffer.lookup_transform(target_frame, source_frame, time, wait).transform
            except tf2_ros.TransformException:
                continue
            t, q = transform.translation, transform.rotation
            return transform_from_pose(np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w])), time.nanoseconds != 0
        return None

    def close(self) -> None:
        """Stop to listen. From the thread that spins the node, as all that creates or destroys subscriptions."""
        self._listener.unregister()


def transforms_of(node: Node) -> TfTransforms | None:
    """tf's transforms for a node; None where tf2_ros is not installed."""
    return TfTransforms(node) if tf2_ros is not None else None
