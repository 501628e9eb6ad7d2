"""What messages say about themselves, from messages to frames: frames, calibrations, time, the ends of ranges."""

from __future__ import annotations

from array import array
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import FRAME_ID, RosGraph, camera_info, image_message, pixels_of, scene, stamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from depth_completion_ros.errors import InputError
from depth_completion_ros.frame_builder import FrameBuilder, FrameSettings, MessagePair
from depth_completion_ros.geometry import clipped_at
from depth_completion_ros.node.parameters import PARAMETERS
from depth_completion_ros.node.statistics import Statistics

pytestmark = pytest.mark.ros
WIDTH, HEIGHT, FOCAL = 160, 120, 100.0
NO_TURN = [0.0] * 6 + [1.0]
LENS = (-0.3, 0.09, 0.0, 0.0, 0.0)


class Tf:
    """Poses as tf would know them: at one stamp, and a newest."""

    def __init__(self, at_stamp: dict[int, np.ndarray], newest: np.ndarray):
        self.at_stamp, self.newest = at_stamp, newest
        self.asked: list[tuple[str, str, int]] = []

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> tuple[np.ndarray, bool]:
        self.asked.append((target_frame, source_frame, stamp_ns))
        if stamp_ns in self.at_stamp:
            return self.at_stamp[stamp_ns], True
        return self.newest, False


class Builder:
    """A FrameBuilder with the node's defaults but for some parameters, and what it said."""

    def __init__(self, topic: str = "/cam/image_raw", tf: Tf | None = None, **parameters: Any):
        self.said: list[str] = []
        self.statistics = Statistics(self.said.append)
        values: Any = {name: parameter.default for name, parameter in PARAMETERS.items()}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        topics = {"rgb": topic, "depth": "/cam/depth/image_raw"}
        self.builder = FrameBuilder(FrameSettings.from_parameters(values), self.statistics.report, tf, topics)

    def build(self, depth: Any, info: CameraInfo | None = None, depth_info: CameraInfo | None = None, rgb: Any = None):
        self.pair = MessagePair(rgb or colour(), depth, info, depth_info, 1_000, 1_000, 0.0)
        return self.builder.build(self.pair)


def colour(frame_id: str = FRAME_ID, width: int = WIDTH, height: int = HEIGHT):
    return image_message(np.full((height, width, 3), 100, np.uint8), "rgb8", 1_000, frame_id)


def counts(value: int = 2000, frame_id: str = FRAME_ID):
    return image_message(np.full((HEIGHT, WIDTH), value, np.uint16), "16UC1", 1_000, frame_id)


def cloud(points: Any, frame_id: str = FRAME_ID) -> PointCloud2:
    points = np.asarray(points, np.float32)
    fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate("xyz")]
    message = PointCloud2(height=1, width=len(points), fields=fields, point_step=12, row_step=12 * len(points))
    message.data = array("B", points.tobytes())
    return stamped(message, 1_000, frame_id)


def distorted_info(d=LENS, model: str = "plumb_bob", p_focal: float = FOCAL) -> CameraInfo:
    info = camera_info(WIDTH, HEIGHT, FOCAL)
    info.d, info.distortion_model = list(map(float, d)), model
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p[0] = info.p[5] = p_focal
    return info


def landed(depth: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) of each pixel that holds depth."""
    return [(row, column) for row, column in np.argwhere(np.isfinite(depth)).tolist()]


def test_depth_in_another_frame_than_colour_causes_a_warning_and_is_completed():
    builder = Builder()
    builder.build(counts(frame_id="camera_depth_optical_frame"))
    assert "'camera_depth_optical_frame'" in builder.said[0] and f"'{FRAME_ID}'" in builder.said[0]
    assert builder.statistics.problems() == {"frame_id": 1} and not builder.statistics.drops()


@pytest.mark.parametrize("frame_id", [FRAME_ID, ""])
def test_depth_in_the_frame_of_colour_or_in_none_causes_no_warning(frame_id):
    builder = Builder()
    builder.build(counts(frame_id=frame_id))
    assert builder.said == []


OTHER = "camera_depth_optical_frame"


@pytest.mark.parametrize(
    ("registered", "info", "depth_info", "doubted"),
    [
        (True, OTHER, "", ["rgb"]),
        (False, OTHER, OTHER, ["rgb"]),
        (False, FRAME_ID, FRAME_ID, ["depth"]),
        (False, OTHER, FRAME_ID, ["rgb", "depth"]),
        (True, FRAME_ID, FRAME_ID, []),  # camera_info of depth is not used
        (False, FRAME_ID, OTHER, []),
        (False, "", "", []),
        (False, f"/{FRAME_ID}", f"/{OTHER}", []),
    ],
)
def test_a_camera_info_in_another_frame_than_its_image_causes_a_warning(registered, info, depth_info, doubted):
    infos = [stamped(camera_info(WIDTH, HEIGHT, FOCAL), 1_000, frame_id) for frame_id in (info, depth_info)]
    builder = Builder(depth__registered=registered, extrinsic=NO_TURN)
    builder.build(counts(frame_id=FRAME_ID if registered else OTHER), *infos)
    assert [line.split(" is in the frame")[0] for line in builder.said] == doubted
    assert builder.statistics.problems() == ({"camera_info": len(doubted)} if doubted else {})
    frames = {"rgb": (FRAME_ID, info), "depth": (OTHER, depth_info)}
    for role, line in zip(doubted, builder.said, strict=True):
        assert all(repr(frame) in line for frame in frames[role])


POINT = np.array([[0.9, 0.1, 2.0]])


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", LENS),
        ("rational_polynomial", (0.5, -0.5, 0.001, -0.001, 0.1, 0.8, -0.4, 0.1)),
        ("equidistant", (-0.02, 0.004, 0.0, 0.0)),
    ],
)
def test_points_land_where_a_raw_image_shows_them(model, d):
    frame = Builder(depth__source="points", extrinsic=NO_TURN).build(cloud(POINT), distorted_info(d, model))
    matrix = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    column, row = project(POINT[None], np.zeros(3), np.zeros(3), matrix, np.array(d))[0].ravel()
    assert landed(frame.depth) == [(round(row), round(column))]
    straight = Builder(depth__source="points", extrinsic=NO_TURN, rectify="off").build(
        cloud(POINT), distorted_info(d, model)
    )
    assert landed(straight.depth) == [(round(59.5 + 5), round(79.5 + 45 - 1e-6))]
    assert abs(column - 124.5) > 2.5


@pytest.mark.parametrize(("rectify", "focal"), [("auto", FOCAL), ("off", 80.0), ("on", 80.0)])
def test_k_is_that_of_a_raw_image_without_distortion_even_if_p_differs(rectify, focal):
    """With rectify on, the image shrinks to the focal length of P: a dot of it moves towards the centre."""
    rgb = np.full((HEIGHT, WIDTH, 3), 50, np.uint8)
    rgb[50:70, 110:130] = 250
    builder = Builder(depth__source="points", extrinsic=NO_TURN, rectify=rectify)
    info = distorted_info(d=(0.0,) * 5, p_focal=80.0)
    frame = builder.build(cloud([[0.504, 0.0, 2.0]]), info, rgb=image_message(rgb, "rgb8", 1_000))
    assert (frame.intrinsics.fx, frame.intrinsics.distortion) == (focal, None)
    assert landed(frame.depth) == [(60, round(79.5 + focal * 0.252))]
    bright = np.nonzero(frame.rgb[60, :, 0] > 200)[0]
    assert abs(bright.mean() - (79.5 + 40 * (0.8 if rectify == "on" else 1))) < 1


def test_an_image_that_its_topic_calls_rectified_keeps_its_distortion_in_camera_info():
    """image_proc passes the calibration on as it is: P differs from K by then."""
    builder = Builder("/cam/image_rect", depth__source="points", extrinsic=NO_TURN)
    frame = builder.build(cloud([[0.5, 0.0, 2.0]]), distorted_info(p_focal=80.0))
    assert frame.intrinsics.distortion is None and frame.intrinsics.fx == 80.0
    assert landed(frame.depth) == [(60, round(79.5 + 20 + 1e-6))] and builder.said == []


def test_a_calibration_of_a_raw_image_beside_a_rectified_name_causes_a_warning():
    for rectify, doubts in [("auto", ["rectification"]), ("on", []), ("off", [])]:
        builder = Builder("/rgb/image_rect_color", rectify=rectify)
        builder.build(counts(), distorted_info())
        assert list(builder.statistics.problems()) == doubts


def test_rectifying_makes_image_depth_and_calibration_those_of_a_pinhole_camera():
    """A dot at a pixel of the raw image: colour and depth of it move together, to where the pinhole camera has it."""
    builder = Builder(rectify="on")
    info = distorted_info(p_focal=110.0)
    rgb, depth = np.full((HEIGHT, WIDTH, 3), 50, np.uint8), np.full((HEIGHT, WIDTH), 2000, np.uint16)
    rgb[39:42, 119:122], depth[39:42, 119:122] = 250, 1000
    frame = builder.build(image_message(depth, "16UC1", 1_000), info, rgb=image_message(rgb, "rgb8", 1_000))
    matrix = np.array(info.k).reshape(3, 3)
    target = np.array([[110.0, 0, 79.5], [0, 110.0, 59.5], [0, 0, 1]])
    column, row = cv2.undistortPoints(np.array([[[120.0, 40.0]]]), matrix, np.array(LENS), None, None, target).ravel()
    place = (round(row), round(column))
    assert frame.rgb[place][0] > 200 and frame.depth[place] == 1.0
    assert abs(place[1] - 120) > 5 and frame.rgb[40, 120][0] < 100
    assert (frame.intrinsics.fx, frame.intrinsics.distortion) == (110.0, None)
    out = builder.pair.rgb_info
    assert not any(out.d) and out.k[0] == out.p[0] == 110.0 and out.header == info.header
    assert info.k[0] == FOCAL and list(info.d) == list(LENS)  # the one that came is left alone


def test_raw_depth_of_another_camera_is_unprojected_through_its_own_distortion():
    """One pixel of a distorted depth camera, seen by a pinhole camera in the same place."""
    builder = Builder(depth__registered=False, extrinsic=NO_TURN)
    depth = np.zeros((HEIGHT, WIDTH), np.uint16)
    depth[40, 120] = 2000
    message = image_message(depth, "16UC1", 1_000, "depth_frame")
    frame = builder.build(message, camera_info(WIDTH, HEIGHT, FOCAL), distorted_info())
    assert frame.depth_intrinsics.distortion.coefficients == LENS
    from depth_completion_ros.geometry import depth_on_rgb_grid

    matrix = np.array([[FOCAL, 0, 79.5], [0, FOCAL, 59.5], [0, 0, 1]])
    column, row = cv2.undistortPoints(np.array([[[120.0, 40.0]]]), matrix, np.array(LENS), None, None, matrix).ravel()
    found = landed(depth_on_rgb_grid(frame))  # a measurement covers a little more than its pixel
    assert (round(row), round(column)) in found and len(found) <= 4
    assert np.abs(np.array(found) - (row, column)).max() < 0.75


@pytest.mark.parametrize("registered", [True, False])
def test_an_unknown_distortion_model_drops_frames_only_if_it_is_needed(registered):
    builder = Builder(depth__registered=registered, extrinsic=NO_TURN)
    info = distorted_info((0.1, 0.2), "double_sphere")
    if registered:
        assert builder.build(counts(), info).intrinsics is None
        assert "double_sphere" in builder.said[0] and builder.statistics.problems() == {"camera_info": 1}
    else:
        with pytest.raises(InputError, match="double_sphere"):
            builder.build(counts(), info, camera_info(WIDTH, HEIGHT, FOCAL))


@pytest.mark.parametrize(("size", "kept"), [((WIDTH, HEIGHT), True), ((2 * WIDTH, 2 * HEIGHT), False)])
def test_a_calibration_for_another_image_size_is_not_passed_on(size, kept):
    builder = Builder()
    frame = builder.build(counts(), camera_info(*size, FOCAL))
    assert (frame.intrinsics is not None) == (builder.pair.rgb_info is not None) == kept
    assert builder.statistics.problems() == ({} if kept else {"camera_info": 1})


def test_a_binned_window_of_the_sensor_is_projected_onto():
    info = camera_info(4 * WIDTH, 4 * HEIGHT, 400.0)
    info.binning_x = info.binning_y = 2
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 2 * WIDTH, 2 * HEIGHT
    frame = Builder(depth__source="points", extrinsic=NO_TURN).build(cloud([[-0.4, -0.3, 2.0]]), info)
    column, row = (-0.2 * 400 + 319.5 - 100) / 2, (-0.15 * 400 + 239.5 - 40) / 2
    assert landed(frame.depth) == [(round(row), round(column))]


@pytest.mark.parametrize(("unit", "scale"), [(0.0, 1), (1.0, 1), (0.001, 1000)])
def test_points_are_in_metres_or_in_the_unit_that_is_given(unit, scale):
    frame = Builder(depth__source="points", extrinsic=[0.1, *NO_TURN[1:]], depth__unit=unit).build(
        cloud(np.array([[0.3, 0.1, 2.0]]) * scale), camera_info(WIDTH, HEIGHT, FOCAL)
    )
    assert landed(frame.depth) == [(round(59.5 + 5), round(79.5 + 20 + 1e-6))]
    np.testing.assert_allclose(np.nanmax(frame.depth), 2.0, rtol=1e-6)


def test_points_of_which_none_is_finite_are_no_matter_of_the_pose():
    with pytest.raises(InputError, match="none of 5 points is finite") as caught:
        Builder(depth__source="points", extrinsic=NO_TURN).build(
            cloud(np.full((5, 3), np.nan)), camera_info(WIDTH, HEIGHT, FOCAL)
        )
    assert caught.value.cause == "empty_depth"


def turned(yaw: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 0] = pose[2, 2] = np.cos(yaw)
    pose[0, 2] = np.sin(yaw)
    pose[2, 0] = -pose[0, 2]
    return pose


def test_the_pose_at_the_stamp_of_the_image_is_taken():
    tf = Tf({1_000: turned(0.1)}, turned(0.3))
    builder = Builder(tf=tf, depth__source="points")
    frame = builder.build(cloud([[0.0, 0.0, 2.0]], "odom"), camera_info(WIDTH, HEIGHT, FOCAL))
    assert landed(frame.depth) == [(60, round(79.5 + FOCAL * np.tan(0.1)))]
    assert tf.asked == [(FRAME_ID, "odom", 1_000)] and builder.said == []


def test_the_newest_pose_is_used_with_a_warning_if_that_of_the_stamp_is_unknown():
    builder = Builder(tf=Tf({}, turned(0.3)), depth__source="points")
    frame = builder.build(cloud([[0.0, 0.0, 2.0]], "odom"), camera_info(WIDTH, HEIGHT, FOCAL))
    assert landed(frame.depth) == [(60, round(79.5 + FOCAL * np.tan(0.3)))]
    assert builder.statistics.problems() == {"tf_stamp": 1} and "'odom'" in builder.said[0]


def test_messages_without_frames_are_taken_to_be_in_one_frame_with_a_warning():
    builder = Builder(depth__source="points")
    builder.build(cloud([[0.0, 0.0, 2.0]], ""), camera_info(WIDTH, HEIGHT, FOCAL), rgb=colour(""))
    assert (
        builder.statistics.problems() == {"extrinsic": 1} and "neither rgb nor depth has a frame_id" in builder.said[0]
    )


@pytest.mark.parametrize(("encoding", "nothing"), [("16UC1", 65535), ("32FC1", np.inf)])
def test_the_largest_value_of_an_encoding_is_missing(encoding, nothing):
    depth = np.full((HEIGHT, WIDTH), 2, np.float32 if encoding == "32FC1" else np.uint16)
    depth[40:60, 40:80] = nothing
    frame = Builder(depth__unit=1.0).build(image_message(depth, encoding, 1_000))
    valid = np.isfinite(frame.depth)
    assert not valid[40:60, 40:80].any() and valid.sum() == valid.size - 800


def noisy_depth(limit: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2, 0.2, (HEIGHT, WIDTH)).clip(0.5, limit).astype(np.float32)


@pytest.mark.parametrize("clipped", [np.s_[40:80, 40:100], np.s_[:60], np.s_[:100], np.s_[:118]])
def test_depth_that_seems_to_be_clipped_below_the_range_causes_a_warning(clipped):
    depth = noisy_depth(10)
    depth[clipped] = 5.0
    builder = Builder()
    builder.build(image_message(depth, "32FC1", 1_000))
    assert builder.statistics.problems() == {"clipped": 1} and "depth.max_range to 5" in builder.said[0]
    builder = Builder(depth__max_range=5.0)
    builder.build(image_message(depth, "32FC1", 1_000))
    assert builder.said == []


@pytest.mark.parametrize(("count", "unit"), [(4095, 0.0), (8191, 0.0), (32767, 0.0001)])
def test_an_area_at_the_largest_count_of_a_sensor_is_not_measured(count, unit):
    nearer = np.random.default_rng(0).normal(count / 3, count / 30, (HEIGHT, WIDTH)).astype(np.uint16)
    nearer[40:80, 40:100] = count
    builder = Builder(depth__unit=unit)
    frame = builder.build(image_message(nearer, "16UC1", 1_000))
    assert np.isnan(frame.depth[40:80, 40:100]).all() and np.isfinite(frame.depth).sum() == nearer.size - 40 * 60
    assert builder.statistics.problems() == {"clipped": 1} and "it is ignored" in builder.said[0]


@pytest.mark.parametrize("rows", [60, 100, 120])
def test_most_of_an_image_at_the_largest_count_is_not_measured_either(rows):
    """As with the sky, or with nothing in range."""
    depth = np.random.default_rng(0).normal(1300, 100, (HEIGHT, WIDTH)).astype(np.uint16)
    depth[:rows] = 4095
    builder = Builder()
    frame = builder.build(image_message(depth, "16UC1", 1_000))
    assert np.isnan(frame.depth[:rows]).all() and np.isfinite(frame.depth[rows:]).all()
    assert builder.statistics.problems() == {"clipped": 1}


def test_a_far_wall_that_is_not_at_the_largest_count_stays():
    nearer = np.random.default_rng(0).normal(1300, 100, (HEIGHT, WIDTH)).astype(np.uint16)
    nearer[40:80, 40:100] = 4094
    builder = Builder()
    assert np.isfinite(builder.build(image_message(nearer, "16UC1", 1_000)).depth).all() and builder.said == []


@pytest.mark.parametrize(
    ("encoding", "value", "min_range", "refused"),
    [
        ("16UC1", 15_000, 0.0, False),  # outdoors: half of the image is farther than the range, which is no other unit
        ("32FC1", 15.0, 0.0, False),
        ("32FC1", 80.0, 0.0, False),
        ("32FC1", 2_000.0, 0.0, True),
        ("32FC1", 200.0, 0.1, True),
        ("32FC1", 200.0, 0.3, False),
    ],
)
def test_only_depth_beyond_all_cameras_is_taken_for_float_millimetres(encoding, value, min_range, refused):
    depth = np.full((HEIGHT, WIDTH), value, np.uint16 if encoding == "16UC1" else np.float32)
    depth[:, :40] = value / 4
    builder = Builder(depth__min_range=min_range)
    if not refused:
        assert np.nanmax(builder.build(image_message(depth, encoding, 1_000)).depth) > 10
        return
    with pytest.raises(InputError, match=r"set depth\.unit to 0\.001") as caught:
        builder.build(image_message(depth, encoding, 1_000))
    assert caught.value.cause == "unit"


@pytest.mark.parametrize("field", ["k", "p", "d", "r"])
def test_a_calibration_with_nan_is_refused(field):
    info = distorted_info()
    setattr(info, field, [float("nan")] * len(getattr(info, field)))
    with pytest.raises(InputError, match=f"^{field} of camera_info has values that are NaN") as caught:
        Builder(depth__source="points", extrinsic=NO_TURN).build(cloud(POINT), info)
    assert caught.value.cause == "camera_info"


@pytest.mark.parametrize(
    ("model", "d", "padded"),
    [
        ("plumb_bob", (-0.3, 0.09, 0.0, 0.0), (-0.3, 0.09)),
        ("plumb_bob", (-0.3, 0.09, 0.0, 0.0), (-0.3, 0.09, 0.0, 0.0, 0.0, 0.0)),
        ("equidistant", (-0.02, 0.004, 0.0, 0.0), (-0.02, 0.004, 0.0, 0.0, 0.0)),
    ],
)
def test_zeros_at_the_end_of_the_distortion_may_be_added_or_left_out(model, d, padded):
    of_each = [
        Builder(depth__source="points", extrinsic=NO_TURN).build(cloud(POINT), distorted_info(values, model)).depth
        for values in (d, padded)
    ]
    np.testing.assert_array_equal(*of_each)
    assert landed(of_each[0])


def test_the_camera_info_of_a_second_stereo_camera_causes_a_warning():
    info = camera_info(WIDTH, HEIGHT, FOCAL)
    info.p[3] = -0.12 * FOCAL
    builder = Builder(depth__source="points", extrinsic=NO_TURN)
    builder.build(cloud(POINT), info)
    assert builder.statistics.problems() == {"stereo": 1} and "0.12 m beside the first" in builder.said[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda depth: None,
        lambda depth: depth.__setitem__(np.s_[40:80, 40:100], 4.273),  # a wall, no round number
        lambda depth: depth.__setitem__(np.s_[40:80, 40:100], 2.9),  # not far beyond the rest
        lambda depth: depth.__setitem__(np.s_[:], 5.0),
        lambda depth: depth.__setitem__(np.s_[:], np.nan),
    ],
)
def test_depth_of_a_scene_does_not_seem_to_be_clipped(change):
    depth = noisy_depth(2.5 if change is None else 2.87)
    change(depth)
    assert clipped_at(depth) is None


def test_a_calibration_that_was_published_once_keeps_its_frame_while_it_is_passed_on():
    ros = RosGraph(
        {"fill_only": True}, ((Image, "/depth_completion/depth"), (CameraInfo, "/depth_completion/camera_info"))
    )
    try:
        ros.publish("rgb/camera_info", stamped(camera_info(WIDTH, HEIGHT, FOCAL), 1_000, OTHER))
        for _ in range(20):  # until the calibration has arrived
            ros.completed_pair()
            if ros.problems():
                break
        for number in (1, 2):
            before = ros.problems().get("camera_info", 0)
            stamp = ros.send_pair()
            assert ros.output(stamp, "/depth_completion/camera_info").header.frame_id == FRAME_ID
            assert ros.problems()["camera_info"] == before + 1, f"frame {number}"
    finally:
        ros.close()


def test_node_applies_depth_offset_strips_slashes_and_warns_about_other_frames():
    """Depth as a 16-bit PNG on .../compressed, 40 ms behind, in a frame of its own with a slash, as ROS 1 had it."""
    ros = RosGraph({"sync.depth_offset": 0.04, "depth.transport": "compressed", "fill_only": True})
    try:
        colours, millimetres = scene()
        depth = CompressedImage(format="16UC1; png compressed ")
        depth.data = array("B", cv2.imencode(".png", millimetres)[1].tobytes())
        depth.header.frame_id = "/depth_frame"
        rgb = image_message(colours, "rgb8", 0, f"/{FRAME_ID}")
        stamp = ros.send_pair(rgb, depth, "depth_registered/image_rect/compressed", offset_ns=-40_000_000)
        completed = ros.output(stamp)
        assert completed.header.frame_id == FRAME_ID
        measured = (millimetres >= 300) & (millimetres < 10_000)
        np.testing.assert_allclose(pixels_of(completed)[measured], millimetres[measured] * 0.001, rtol=1e-6)
        assert ros.problems() == {"frame_id": 1} and ros.drops() == {}
        assert ros.spin(lambda: "frame_id" in ros.said(), 3.0)
        assert ros.received["/diagnostics"][-1].status[0].level == DiagnosticStatus.WARN
    finally:
        ros.close()
