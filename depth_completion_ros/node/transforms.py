"""Poses between frames from tf, if tf2_ros is installed. It is part of ROS; there is no wheel of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from ..errors import InputError
from ..geometry import transform_from_pose
from ..synchronizer import JUMP_BACK_NS

try:
    import tf2_ros
except ImportError:
    tf2_ros = None


# A pose may be published after the image with the same stamp; a frame waits this long for it.
_WAIT = Duration(seconds=0.05)


class TfTransforms:
    """Looks up the pose of one frame in another in tf, at the time of a message.

    Receives tf in the thread that spins the node. ``lookup`` can be called from any thread: the buffer has a lock.
    """

    def __init__(self, node: Node):
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(_Restarting(self._buffer), node)

    def pose(self, fixed_frame: str, frame: str, stamp_ns: int) -> np.ndarray | None:
        """See ``PoseSource``. Does not wait for a pose that is published late."""
        try:
            return _matrix(self._buffer.lookup_transform(fixed_frame, frame, Time(nanoseconds=stamp_ns), Duration()))
        except (tf2_ros.TransformException, InputError):
            return None

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> tuple[np.ndarray, bool]:
        """See ``TransformSource``. The transform is float64."""
        for frame, role in ((source_frame, "depth or points"), (target_frame, "rgb")):
            if not frame:
                raise InputError(
                    "extrinsic",
                    f"messages of {role} have no frame_id, so tf cannot tell the pose of the sensor: set frame_id "
                    "in the driver, or set the parameter extrinsic",
                )
        pose = f"pose of {source_frame!r} in {target_frame!r}"
        at_stamp = True
        try:
            found = self._buffer.lookup_transform(target_frame, source_frame, Time(nanoseconds=stamp_ns), _WAIT)
        except tf2_ros.TransformException:
            at_stamp = False
            try:
                found = self._buffer.lookup_transform(target_frame, source_frame, Time(), Duration())
            except tf2_ros.TransformException as error:
                raise InputError(
                    "extrinsic",
                    f"tf does not know the {pose} ({str(error).strip()}): publish it on tf, or set the parameter "
                    "extrinsic",
                ) from error
        try:
            return _matrix(found), at_stamp
        except InputError as error:
            raise InputError(
                "extrinsic",
                f"tf has an invalid {pose} ({error}): correct its publisher, or set the parameter extrinsic",
            ) from error

    def close(self) -> None:
        """Unsubscribe from tf. Call it from the thread that spins the node."""
        self._listener.unregister()


class _Restarting:
    """What a TransformListener writes to: a buffer that starts anew when the stamps of a frame go back in time.

    The buffer itself would mix the poses from before and after, and ignore those that are more than ten seconds old.
    """

    def __init__(self, buffer: Any):
        self._buffer = buffer
        self._newest_ns: dict[str, int] = {}  # by child frame

    def set_transform_static(self, transform: Any, authority: str) -> None:
        self._buffer.set_transform_static(transform, authority)

    def set_transform(self, transform: Any, authority: str) -> None:
        frame, stamp = transform.child_frame_id, transform.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        newest_ns = self._newest_ns.get(frame, stamp_ns)
        if stamp_ns < newest_ns - JUMP_BACK_NS:
            self._buffer.clear()  # static poses stay
            self._newest_ns.clear()
            newest_ns = stamp_ns
        self._newest_ns[frame] = max(newest_ns, stamp_ns)
        self._buffer.set_transform(transform, authority)


def _matrix(stamped: Any) -> np.ndarray:
    """The (4, 4) transform of a geometry_msgs/TransformStamped. Raises InputError if it is not valid."""
    t, q = stamped.transform.translation, stamped.transform.rotation
    return transform_from_pose(np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w]))


def transforms_of(node: Node) -> TfTransforms | None:
    """Access to tf for a node; None if tf2_ros is not installed."""
    return TfTransforms(node) if tf2_ros is not None else None
