"""Poses between coordinate frames from the tf messages of a bag, as tf2 gives them to a running node."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from itertools import pairwise

import numpy as np

from ..errors import InputError
from ..geometry import transform_from_pose
from .reader import BagReader

TF_TOPIC, _TF_STATIC = "/tf", "/tf_static"


class BagTransforms:
    """Finds the transform between two frames, interpolated at a stamp, in the poses that a bag holds."""

    def __init__(self) -> None:
        # By child and parent frame: stamps [ns] and poses x y z qx qy qz qw in order of time. Stamp None = static.
        self._poses: dict[tuple[str, str], list[tuple[int, np.ndarray]]] = defaultdict(list)
        self._static: set[tuple[str, str]] = set()
        self._neighbours: dict[str, set[str]] = defaultdict(set)

    def add(self, parent: str, child: str, stamp_ns: int, pose: np.ndarray, static: bool) -> None:
        """Add the pose (7,) of ``child`` in ``parent``: x y z [m] qx qy qz qw."""
        parent, child = parent.lstrip("/"), child.lstrip("/")
        poses = self._poses[child, parent]
        if static:
            poses.clear()
            self._static.add((child, parent))
        poses.insert(bisect_left(poses, stamp_ns, key=lambda one: one[0]), (stamp_ns, pose))
        self._neighbours[parent].add(child)
        self._neighbours[child].add(parent)

    def pose(self, fixed_frame: str, frame: str, stamp_ns: int) -> np.ndarray | None:
        """See ``PoseSource``."""
        try:
            transform, at_stamp = self.lookup(fixed_frame, frame, stamp_ns)
        except InputError:
            return None
        return transform if at_stamp else None

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> tuple[np.ndarray, bool]:
        """See ``TransformSource``."""
        target, source = target_frame.lstrip("/"), source_frame.lstrip("/")
        path = self._path(source, target)
        if path is None:
            raise InputError(
                "extrinsic",
                f"the pose of {source!r} in {target!r} is unknown: set the parameter extrinsic, or publish it on tf",
            )
        transform, at_stamp = np.eye(4), True
        for child, parent in pairwise(path):
            forward = (child, parent) in self._poses
            pose, known = self._pose_at((child, parent) if forward else (parent, child), stamp_ns)
            step = transform_from_pose(pose)
            transform = (step if forward else np.linalg.inv(step)) @ transform
            at_stamp &= known
        return transform, at_stamp

    def _path(self, source: str, target: str) -> list[str] | None:
        """The frames from ``source`` to ``target``, each a neighbour of the next."""
        came_from: dict[str, str] = {source: source}
        waiting = deque([source])
        while waiting and target not in came_from:
            frame = waiting.popleft()
            for neighbour in sorted(self._neighbours[frame] - came_from.keys()):
                came_from[neighbour] = frame
                waiting.append(neighbour)
        if target not in came_from:
            return None
        path = [target]
        while path[-1] != source:
            path.append(came_from[path[-1]])
        return path[::-1]

    def _pose_at(self, edge: tuple[str, str], stamp_ns: int) -> tuple[np.ndarray, bool]:
        """The pose at a stamp, and whether the bag has it; outside the recorded time, the nearest one."""
        poses = self._poses[edge]
        if edge in self._static:
            return poses[-1][1], True
        after = bisect_left(poses, stamp_ns, key=lambda one: one[0])
        if after == len(poses):
            return poses[-1][1], False
        later_ns, later = poses[after]
        if later_ns == stamp_ns or after == 0:
            return later, later_ns == stamp_ns
        earlier_ns, earlier = poses[after - 1]
        weight = (stamp_ns - earlier_ns) / (later_ns - earlier_ns)
        # Between two poses of a tf topic the angle is small, so interpolating the quaternion linearly is accurate.
        nearest = later * np.r_[np.ones(3), np.full(4, np.sign(earlier[3:] @ later[3:]) or 1.0)]
        pose = (1 - weight) * earlier + weight * nearest
        pose[3:] /= np.linalg.norm(pose[3:])
        return pose, True


def read_transforms(bag: BagReader) -> BagTransforms:
    """Read all poses on /tf and /tf_static of a bag. Raises InputError with the cause "bag" for a damaged message."""
    transforms = BagTransforms()
    for message in bag.messages({TF_TOPIC, _TF_STATIC} & bag.topics.keys()):
        for stamped in bag.deserialize(message).transforms:
            t, q = stamped.transform.translation, stamped.transform.rotation
            pose = np.array([t.x, t.y, t.z, q.x, q.y, q.z, q.w])
            stamp, parent = stamped.header.stamp, stamped.header.frame_id
            stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
            transforms.add(parent, stamped.child_frame_id, stamp_ns, pose, static=message.topic == _TF_STATIC)
    return transforms
