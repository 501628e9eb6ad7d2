"""The time of each point of a sweep: fields of drivers, and points that move to the time of the image."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from depth_completion_ros.frame_builder import FrameBuilder, FrameSettings, MessagePair
from depth_completion_ros.point_clouds import decode_points, decode_timed_points

STAMP_NS = 1_760_000_000_000_000_000  # of the cloud
IMAGE_NS = STAMP_NS + 80_000_000
FOCAL = 700.0
TO_CAMERA = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
SENSOR_IN_CAMERA = np.array([0.1, -0.3, -0.2])  # [m]
SENSOR = np.eye(4)
SENSOR[:3, 3] = SENSOR_IN_CAMERA
# name, datatype, value of a time [s] after the stamp
LAYOUTS = {
    "ouster": ("t", "u4", lambda s: np.rint(s * 1e9)),
    "velodyne": ("time", "f4", lambda s: s),
    "hesai": ("timestamp", "f8", lambda s: STAMP_NS * 1e-9 + s),
    "livox": ("timestamp", "f8", lambda s: STAMP_NS + s * 1e9),
    "microseconds": ("time_stamp", "f8", lambda s: STAMP_NS * 1e-3 + s * 1e6),
    "offsets": ("offset_time", "u4", lambda s: np.rint(s * 1e9)),
    "relative": ("timestamp", "f8", lambda s: s),
}
DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def stamp_of(ns):
    return SimpleNamespace(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def cloud(points, times=None, name="t", kind="u4", padding=0, order=("x", "y", "z", "time")):
    """A cloud with fields in any order, with gaps between them."""
    kinds = {"x": "f4", "y": "f4", "z": "f4", "time": kind}
    offsets, step = {}, 0
    for part in order:
        offsets[part] = step + padding
        step = offsets[part] + np.dtype(kinds[part]).itemsize
    used = [part for part in order if part != "time" or times is not None]
    layout = np.dtype(
        {
            "names": used,
            "formats": [kinds[part] for part in used],
            "offsets": [offsets[part] for part in used],
            "itemsize": step + padding,
        }
    )
    table = np.zeros(len(points), layout)
    table["x"], table["y"], table["z"] = np.asarray(points, np.float32).T.reshape(3, -1)
    if times is not None:
        table["time"] = times
    fields = [
        SimpleNamespace(
            name=name if part == "time" else part, offset=offsets[part], datatype=DATATYPES[kinds[part]], count=1
        )
        for part in used
    ]
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp_of(STAMP_NS), frame_id="lidar"),
        fields=fields,
        is_bigendian=False,
        width=len(points),
        height=1,
        point_step=layout.itemsize,
        row_step=layout.itemsize * len(points),
        data=table.tobytes(),
    )


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_times_of_the_layouts_of_drivers_are_seconds_after_the_stamp(layout):
    name, kind, value = LAYOUTS[layout]
    seconds = np.linspace(0, 0.0999, 500)
    points = np.random.default_rng(0).uniform(1, 9, (500, 3)).astype(np.float32)
    points[::7] = 0  # beams without an echo
    message = cloud(points, value(seconds), name, kind, padding=3, order=("time", "z", "x", "y"))
    found, times, why = decode_timed_points(message)
    kept = points.any(axis=1)
    assert why == ""
    np.testing.assert_array_equal(found, points[kept])
    np.testing.assert_array_equal(decode_points(message), points[kept])
    assert times.dtype == np.float32
    np.testing.assert_allclose(times, seconds[kept], atol=2e-6)


def test_times_before_the_stamp_are_negative():
    """velodyne_pointcloud can set the stamp to that of the last point."""
    points = np.ones((3, 3), np.float32)
    np.testing.assert_allclose(decode_timed_points(cloud(points, [-0.1, -0.05, 0], "time", "f4"))[1], [-0.1, -0.05, 0])
    np.testing.assert_allclose(decode_timed_points(cloud(points, [-(10**8), 0, 5], "t", "i4"))[1], [-0.1, 0, 5e-9])


@pytest.mark.parametrize(
    ("times", "name", "kind", "text"),
    [
        ([1, 2, 3], "t", "u1", "datatype 2: publish uint32 nanoseconds"),
        ([1, 2, 3], "time", "i2", "datatype 3: publish uint32 nanoseconds"),
        ([0.0, np.nan, 0.1], "time", "f4", "some are NaN"),
        ([0.0, np.inf, 0.1], "timestamp", "f8", "some are NaN"),
        ([0, 5e4, 1e5], "time", "f4", "lie between 0 and 1e[+]05 s after the stamp"),  # microseconds
        ([0, 2e9, 4e9], "t", "u4", "lie between 0 and 4 s"),
        ([100.0, 100.05, 100.1], "timestamp", "f8", "lie between 100 and 100.1 s"),  # since the sensor was switched on
        (
            [1.76e9, 1.76e9 + 0.05, 1.76e9 - 100],
            "timestamp",
            "f8",
            "lie between",
        ),  # the clock was set back in the sweep
        ([1.76e9, 1.76e9, 1.76e9], "timestamp", "f4", "float32 cannot hold times since 1970"),
        ([1.7e9, 1.7e9 + 0.05, 1.7e9 + 0.1], "timestamp", "f8", "check the unit of the field and the clock"),
    ],
)
def test_times_that_cannot_be_used_are_ignored_for_a_stated_reason(times, name, kind, text):
    points = np.ones((3, 3), np.float32)
    found, seconds, why = decode_timed_points(cloud(points, times, name, kind))
    np.testing.assert_array_equal(found, points)
    assert seconds is None
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(why)
    assert repr(name) in why


def test_a_cloud_without_times_or_points_has_no_times():
    assert decode_timed_points(cloud(np.ones((3, 3))))[1:] == (None, "")
    assert decode_timed_points(cloud(np.zeros((3, 3)), [1, 2, 3]))[1:] == (None, "")
    assert decode_timed_points(cloud(np.empty((0, 3)), []))[1:] == (None, "")


class Motion:
    """A camera that drives ahead at 10 m/s and turns left at 1 rad/s: what tf knows of it, for some time."""

    def __init__(self, known=(0.0, np.inf), speed=10.0, turning=1.0):
        self.known, self.speed, self.turning = known, speed, turning

    def camera(self, seconds):
        """The pose (4, 4) of the camera in the fixed frame so long after the stamp of the cloud."""
        body = np.eye(4)
        body[:3, :3] = Rotation.from_rotvec([0, 0, self.turning * seconds]).as_matrix()
        body[:3, 3] = self.speed * seconds, 0, 0
        camera = np.eye(4)
        camera[:3, :3] = TO_CAMERA.T
        return body @ camera

    def pose(self, fixed_frame, frame, stamp_ns):
        seconds = (stamp_ns - STAMP_NS) * 1e-9
        assert fixed_frame == "odom"
        if not self.known[0] <= seconds <= self.known[1]:
            return None
        return {"camera": self.camera(seconds), "lidar": self.camera(seconds) @ SENSOR, "odom": np.eye(4)}[frame]

    def lookup(self, target_frame, source_frame, stamp_ns):
        found = np.linalg.inv(self.pose("odom", target_frame, stamp_ns)) @ self.pose("odom", source_frame, stamp_ns)
        return found, True


def pole(motion, place, seconds):
    """A pole that stands in the fixed frame, as the LiDAR measures its points at these times: (N, 3)."""
    heights = np.linspace(-0.8, 0.8, len(seconds))
    points = []
    for height, time in zip(heights, seconds, strict=True):
        in_camera = np.linalg.inv(motion.camera(time)) @ [place[0], place[1], height, 1]
        points.append(in_camera[:3] - SENSOR_IN_CAMERA)
    return np.array(points)


def build(motion, message, said, width=1280, height=720, tf=False):
    image = SimpleNamespace(
        header=SimpleNamespace(stamp=stamp_of(IMAGE_NS), frame_id="camera"),
        encoding="mono8",
        width=width,
        height=height,
        step=width,
        is_bigendian=0,
        data=bytes(width * height),
    )
    k = [FOCAL, 0, width / 2 - 0.5, 0, FOCAL, height / 2 - 0.5, 0, 0, 1]
    info = SimpleNamespace(
        header=image.header, k=k, p=[0.0] * 12, d=[], r=[0.0] * 9, width=width, height=height, distortion_model=""
    )
    pose = () if tf else (*SENSOR_IN_CAMERA, 0, 0, 0, 1)
    settings = FrameSettings(points=True, extrinsic=pose, fixed_frame="odom")
    builder = FrameBuilder(
        settings, lambda cause, text: said.append((cause, text)), motion, {"rgb": "/rgb", "depth": "/points"}, motion
    )
    return builder.build(MessagePair(image, message, info, None, IMAGE_NS, STAMP_NS, 0.0))


@pytest.mark.parametrize("tf", [True, False])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_pole_stands_straight_although_the_sensor_drives_and_turns(layout, tf):
    """It is measured during the whole sweep of 0.1 s, at 10 m/s and 1 rad/s, and lands where the image shows it."""
    name, kind, value = LAYOUTS[layout]
    motion, said = Motion(), []
    for place in ((8.0, 1.0), (15.0, -3.0), (4.0, 0.5)):
        seconds = np.linspace(0, 0.0999, 300)
        frame = build(motion, cloud(pole(motion, place, seconds), value(seconds), name, kind), said, tf=tf)
        truth = np.linalg.inv(motion.camera(0.08)) @ [*place, 0, 1]
        rows, columns = np.nonzero(np.isfinite(frame.depth))
        assert len(rows) > 40
        assert abs(columns - (truth[0] / truth[2] * FOCAL + 639.5)).max() < 1
        np.testing.assert_allclose(frame.depth[rows, columns], truth[2], atol=0.01)
    assert said == []


def test_without_correction_the_pole_would_be_bent():
    """That is, the test above can fail."""
    motion, said = Motion(), []
    frame = build(None, cloud(pole(motion, (8.0, 1.0), np.linspace(0, 0.0999, 300))), said)
    columns = np.nonzero(np.isfinite(frame.depth))[1]
    assert np.ptp(columns) > 50


def test_a_cloud_without_times_moves_from_its_stamp_to_that_of_the_image():
    motion, said = Motion(), []
    frame = build(motion, cloud(pole(motion, (8.0, 1.0), np.zeros(300))), said)
    truth = np.linalg.inv(motion.camera(0.08)) @ [8.0, 1.0, 0, 1]
    columns = np.nonzero(np.isfinite(frame.depth))[1]
    assert abs(columns - (truth[0] / truth[2] * FOCAL + 639.5)).max() < 1 and said == []


def test_a_cloud_in_the_fixed_frame_does_not_move():
    """As LiDAR odometry publishes it: its points are already where they are."""
    motion, said, seconds = Motion(), [], np.linspace(0, 0.0999, 300)
    points = np.stack([np.full(300, 8.0), np.full(300, 1.0), np.linspace(-0.8, 0.8, 300)], axis=1)
    message = cloud(points, seconds, "time", "f4")
    message.header.frame_id = "odom"
    frame = build(motion, message, said, tf=True)
    truth = np.linalg.inv(motion.camera(0.08)) @ [8.0, 1.0, 0, 1]
    rows, columns = np.nonzero(np.isfinite(frame.depth))
    assert len(rows) > 40 and said == []
    assert abs(columns - (truth[0] / truth[2] * FOCAL + 639.5)).max() < 1


@pytest.mark.parametrize("known", [(0.0, 0.09), (0.02, 1.0), (0.0, 0.04)])
def test_a_sweep_during_which_the_pose_is_not_known_is_used_as_it_is_and_said_once(known):
    motion, said = Motion(known), []
    seconds = np.linspace(0, 0.0999, 300)
    points = pole(motion, (8.0, 1.0), seconds)
    frame = build(motion, cloud(points, seconds, "time", "f4"), said)
    np.testing.assert_array_equal(frame.depth, build(None, cloud(points), []).depth)
    causes = [cause for cause, _ in said]
    assert causes == (["motion"] if known[1] > 0.08 else [])  # without the pose at the image, nothing is known of tf
    assert all("the motion of 'lidar' in 'odom' is not known for the whole sweep" in text for _, text in said)


def test_times_of_a_wrong_type_cost_one_line_and_no_frame():
    motion, said = Motion(speed=0.0, turning=0.0), []
    points = pole(motion, (8.0, 1.0), np.zeros(300))
    frame = build(motion, cloud(points, np.zeros(300), "t", "u1"), said)
    assert np.isfinite(frame.depth).sum() > 40
    assert [cause for cause, _ in said] == ["point_times"]
    assert build(motion, cloud(points), said) and len(said) == 1
