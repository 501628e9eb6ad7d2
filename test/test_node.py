"""The node over real DDS: what goes in comes out completed, whatever is asked of it while it runs."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

import cv2
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from ros_graph import (
    FRAME_ID,
    START_NS,
    RosGraph,
    camera_info,
    image_message,
    pixels_of,
    scene,
    stamped,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from depth_completion_ros import DepthCompleter, Intrinsics, RgbdFrame
from depth_completion_ros.conversion import encode_compressed_depth
from depth_completion_ros.engines import Engine, open_engine
from depth_completion_ros.geometry import back_project
from depth_completion_ros.preview import colour_range, panel

pytestmark = pytest.mark.ros
OUTPUTS = tuple((Image, f"/depth_completion/{topic}") for topic in ("depth", "confidence", "sigma"))


@pytest.fixture
def graph() -> Iterator[Callable[..., RosGraph]]:
    graphs: list[RosGraph] = []

    def make(*arguments: Any, **named: Any) -> RosGraph:
        graphs.append(RosGraph(*arguments, **named))
        return graphs[-1]

    yield make
    for one in graphs:
        one.close()


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for the last bit: OpenCV's filters round by where their buffers lie in memory."""
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def scene_frame() -> RgbdFrame:
    rgb, millimetres = scene()
    depth = millimetres * np.float32(0.001)
    depth[millimetres == 0] = np.nan
    return RgbdFrame(rgb, depth)


def test_outputs_are_those_of_the_completer(graph):
    """The node adds nothing of its own: its messages hold what DepthCompleter gives for the same frame."""
    ros = graph(listen=OUTPUTS)
    stamp = ros.send_pair()
    expected = DepthCompleter("kinect", "classical").complete(scene_frame())
    for topic in ("depth", "confidence", "sigma"):
        message = ros.output(stamp, f"/depth_completion/{topic}")
        assert message.encoding == "32FC1" and message.header.frame_id == FRAME_ID
        assert_same(pixels_of(message), getattr(expected, topic))


def test_frames_do_not_affect_each_other(graph):
    """Buffers are used again: the same frame after another one gives the same result."""
    ros = graph()
    first = pixels_of(ros.completed_pair()).copy()
    rgb, depth = scene(96, 64)
    other = ros.completed_pair(rgb=image_message(rgb, "rgb8", 0), depth=image_message(depth, "16UC1", 0))
    assert (other.height, other.width) == (64, 96)
    assert_same(pixels_of(ros.completed_pair()), first)


def test_depth_that_an_earlier_frame_measured_is_recalled(graph):
    ros = graph({"temporal.motion": "static"})
    rgb, millimetres = scene()
    whole = np.where(millimetres == 0, np.uint16(1700), millimetres)
    holey = whole.copy()
    holey[20:60, 100:140] = 0
    ros.completed_pair(rgb=image_message(rgb, "rgb8", 0), depth=image_message(whole, "16UC1", 0))
    depth = pixels_of(ros.completed_pair(rgb=image_message(rgb, "rgb8", 0), depth=image_message(holey, "16UC1", 0)))
    hole = holey == 0
    np.testing.assert_allclose(depth[hole], whole[hole] * 1e-3, rtol=0.02)
    assert ros.problems() == {}


def test_a_memory_that_cannot_work_is_reported_and_no_frame_is_lost(graph):
    ros = graph({"temporal.motion": "tf"})
    for _ in range(3):
        ros.completed_pair()
    assert ros.problems() == {"temporal": 3}
    assert ros.drops() == {}


def test_millimetre_output(graph):
    ros = graph({"output.encoding": "16UC1"})
    message = ros.completed_pair()
    expected = DepthCompleter("kinect", "classical").complete(scene_frame()).depth
    assert message.encoding == "16UC1" and message.step == 2 * message.width
    np.testing.assert_allclose(pixels_of(message), expected * 1000, atol=0.501)


def test_fill_only_and_min_confidence_can_be_changed_while_running(graph):
    ros = graph()
    dense = pixels_of(ros.completed_pair()).copy()
    assert np.isfinite(dense).all()
    confidence = DepthCompleter("kinect", "classical").complete(scene_frame()).confidence
    threshold = float(np.median(confidence[scene_frame().depth != scene_frame().depth]))
    ros.node.set_parameters([Parameter("fill_only", value=True), Parameter("min_confidence", value=threshold)])
    gated = pixels_of(ros.completed_pair())
    measured = np.isfinite(scene_frame().depth)
    clear = np.abs(confidence - threshold) > 1e-4
    np.testing.assert_array_equal(np.isnan(gated)[clear], (confidence < threshold)[clear])
    kept = measured & np.isfinite(gated)
    assert kept.any() and np.isnan(gated).any()
    np.testing.assert_array_equal(gated[kept], scene_frame().depth[kept])


def test_nothing_is_computed_without_subscribers(graph):
    ros = graph(listen=((CameraInfo, "/elsewhere"),))
    ros.send_pair()
    assert ros.spin(lambda: ros.drops().get("no_listener") == 1)
    assert ros.node.statistics.counts()["frames_out"] == 0


def test_compressed_transports(graph):
    """JPEG colour and compressedDepth on the transports' own topics, suffixed as image_transport does it."""
    ros = graph({"rgb.transport": "compressed", "depth.transport": "compressedDepth"})
    rgb, millimetres = scene()
    _, jpeg = cv2.imencode(".jpg", rgb[..., ::-1])
    depth_format, png = encode_compressed_depth(millimetres)
    stamp = START_NS + 7
    ros.publish(
        "rgb/image_rect_color/compressed",
        stamped(CompressedImage(format="rgb8; jpeg compressed bgr8", data=array("B", jpeg.tobytes())), stamp),
    )
    ros.publish(
        "depth_registered/image_rect/compressedDepth",
        stamped(CompressedImage(format=depth_format, data=array("B", png)), stamp),
    )
    decoded = cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    expected = DepthCompleter("kinect", "classical").complete(RgbdFrame(decoded, scene_frame().depth)).depth
    assert_same(pixels_of(ros.output(stamp)), expected)


def test_camera_info_and_points_go_with_the_depth(graph):
    """Each point lies where the depth of its pixel says, with the colour and the confidence of its pixel."""
    ros = graph(listen=((PointCloud2, "/depth_completion/points"), (CameraInfo, "/depth_completion/camera_info")))
    ros.publish("rgb/camera_info", camera_info(160, 120, 130.0))
    ros.spin(lambda: False, 0.2)
    stamp = ros.send_pair()
    cloud = ros.output(stamp, "/depth_completion/points")
    assert ros.output(stamp, "/depth_completion/camera_info").k[0] == 130.0
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "confidence"]
    values = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 5)
    expected = DepthCompleter("kinect", "classical").complete(scene_frame())
    points = back_project(expected.depth, Intrinsics(130.0, 130.0, 79.5, 59.5, 160, 120))
    np.testing.assert_allclose(values[..., :3].reshape(-1, 3), points, rtol=1e-5, atol=1e-5)
    assert_same(values[..., 4], expected.confidence)
    packed = np.frombuffer(cloud.data, np.uint32).reshape(cloud.height, cloud.width, 5)[..., 3]
    rgb = scene()[0].astype(np.uint32)
    np.testing.assert_array_equal(packed & 0xFFFFFF, rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])


def test_the_preview_shows_the_frame_and_comes_at_most_five_times_per_second(graph):
    preview = "/depth_completion/preview"
    ros = graph(listen=((Image, "/depth_completion/depth"), (Image, preview)))
    stamp = ros.send_pair()
    depth = pixels_of(ros.output(stamp))
    message = ros.output(stamp, preview)
    assert message.encoding == "rgb8" and message.header.frame_id == FRAME_ID
    picture = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    colours, millimetres = scene()
    limits = colour_range(depth)
    raw = millimetres.astype(np.float32) / 1000
    expected = panel(colours, raw, depth, np.ones_like(depth), limits, width=message.width)
    left = slice(0, message.width // 2)
    np.testing.assert_array_equal(picture[: message.height // 2], expected[: message.height // 2])  # colour and raw
    lower = slice(message.height // 2, message.height * 3 // 4)
    np.testing.assert_array_equal(picture[lower, left], expected[lower, left])  # completed depth
    started = time.monotonic()
    for _ in range(5):
        ros.output(ros.send_pair())
    elapsed = time.monotonic() - started
    assert len(ros.received[preview]) - 1 <= 1 + elapsed / 0.2
    assert ros.spin(lambda: len(ros.received[preview]) > 1 or ros.output(ros.send_pair()) is None)


def test_lidar_points_are_projected_by_the_extrinsic(graph):
    """Points in the LiDAR's frame land on the pixels that the extrinsic and camera_info say."""
    pose = [0.1, -0.2, 0.05, 0.5, -0.5, 0.5, 0.5]  # a LiDAR with x ahead and z up, beside the camera
    ros = graph({"profile": "lidar", "depth.source": "points", "extrinsic": pose, "fill_only": True})
    ros.publish("rgb/camera_info", camera_info(160, 120, 130.0))
    ros.spin(lambda: False, 0.2)
    rng = np.random.default_rng(3)
    depth = np.full((120, 160), np.nan, np.float32)
    rows, columns = rng.integers(0, 120, 400), rng.integers(0, 160, 400)
    depth[rows, columns] = 3 + columns / 100  # a wall: no point hides another one
    camera = back_project(depth, Intrinsics(130.0, 130.0, 79.5, 59.5, 160, 120)).astype(np.float64)
    # camera x = right = -lidar y, camera y = down = -lidar z, camera z = ahead = lidar x
    moved = camera - np.array(pose[:3])
    lidar = np.stack([moved[:, 2], -moved[:, 0], -moved[:, 1]], axis=1).astype(np.float32)
    cloud = PointCloud2(height=1, width=len(lidar), point_step=12, row_step=12 * len(lidar))
    cloud.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate("xyz")
    ]
    cloud.data = array("B", lidar.tobytes())
    rgb = image_message(scene()[0], "rgb8", 0)
    message = ros.completed_pair(rgb=rgb, depth=stamped(cloud, 0, "lidar"), depth_topic="points", offset_ns=5_000_000)
    completed, measured = pixels_of(message), np.isfinite(depth)
    np.testing.assert_allclose(completed[measured], depth[measured], rtol=1e-4)
    assert np.isfinite(completed).all()


def test_depth_of_another_camera_is_registered(graph):
    """depth.registered false: depth moves with the extrinsic, here one that shifts the image by ten pixels."""
    pose = [0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    ros = graph({"depth.registered": False, "extrinsic": pose, "fill_only": True})
    ros.publish("rgb/camera_info", camera_info(160, 120, 100.0))
    ros.publish("depth_registered/camera_info", camera_info(160, 120, 100.0))
    ros.spin(lambda: False, 0.2)
    depth = np.full((120, 160), 2000, np.uint16)
    depth[:, :40] = 0
    completed = pixels_of(ros.completed_pair(depth=image_message(depth, "16UC1", 0, "depth_frame")))
    np.testing.assert_allclose(completed, 2.0, rtol=1e-3)
    assert ros.drops() == {}


def test_model_changes_while_running_without_losing_a_frame(graph):
    ros = graph()
    ros.completed_pair()
    ros.node.set_parameters([Parameter("model", value="nearest")])
    for _ in range(5):
        ros.completed_pair()
    assert ros.spin(lambda: ros.diagnostics()[1]["model"] == "nearest")
    assert ros.drops() == {}


def test_the_current_model_keeps_serving_if_a_new_one_cannot_be_opened(graph):
    """engine and model are set one after the other: between them they may not fit."""
    ros = graph({"model": "nearest"})
    ros.completed_pair()
    ros.node.set_parameters([Parameter("engine", value="torch")])
    assert ros.spin(lambda: ros.problems().get("engine") == 1)
    ros.completed_pair()
    status, values = ros.diagnostics()
    assert "nearest" in values["engine.state"] and "nearest" in status.message


class FailingEngine(Engine):
    """An engine whose library breaks, as a driver reset makes one."""

    engine, model = "classical", "failing"

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        raise RuntimeError("device lost")


def test_the_classical_engine_takes_over_from_one_that_throws(graph):
    """The very frame it failed on is completed all the same, and the engine is opened again."""
    ros = graph()
    ros.completed_pair()
    ros.node._worker._engine = FailingEngine()
    message = ros.completed_pair()
    assert_same(pixels_of(message), DepthCompleter("kinect", "classical").complete(scene_frame()).depth)
    assert ros.problems() == {"engine": 1} and ros.drops() == {}


def test_pairs_are_completed_with_message_filters(graph):
    pytest.importorskip("message_filters", reason="message_filters comes with ROS; there is no wheel of it")
    ros = graph({"sync.method": "message_filters"})
    for _ in range(3):
        ros.completed_pair()
    assert ros.problems() == {}
    late_ns = 30_000_000
    ros.send_pair(offset_ns=late_ns)  # beyond the slop of 20 ms
    assert ros.spin(lambda: ros.node.statistics.counts()["depth"] == 4)
    ros.node.set_parameters([Parameter("sync.slop", value=0.032)])
    ros.completed_pair(offset_ns=late_ns)
    assert ros.node.statistics.counts()["pairs"] == 4


def test_the_log_has_one_line_at_the_start_and_at_each_change(graph, capfd):
    ros = graph(namespace="/front")
    ros.listen(Image, "/front/depth_completion/depth")
    log = capfd.readouterr().err
    assert "/front/rgb/image_rect_color" in log and "/front/depth_completion/depth" in log

    def complete(times: int) -> str:
        for _ in range(times):
            before = ros.node.statistics.counts()["frames_out"]
            stamp = ros.send_pair(prefix="/front/")
            ros.output(stamp, "/front/depth_completion/depth")
            assert ros.spin(lambda before=before: ros.node.statistics.counts()["frames_out"] > before)
        return capfd.readouterr().err

    assert complete(3).count("completing 160x120 pixels from depth of 160x120 with guided (engine classical)") == 1
    assert complete(2) == ""
    ros.node.set_parameters([Parameter("model", value="nearest")])
    assert ros.spin(lambda: ros.node._worker.loader.state == "ready")
    assert complete(3).count("with nearest (engine classical)") == 1


def test_the_end_of_a_recording_is_logged_once_and_is_no_error(graph, capfd):
    ros = graph({"use_sim_time": True, "watchdog.timeout": 0.2})
    clock = ros.peer.create_publisher(Clock, "/clock", 10)
    assert ros.spin(lambda: clock.get_subscription_count() > 0)
    clock.publish(Clock(clock=Time(sec=5)))
    assert ros.spin(lambda: ros.node.get_clock().now().nanoseconds > 0)
    ros.peer.destroy_publisher(clock)
    assert ros.spin(lambda: ros.node.count_publishers("/clock") == 0)
    before = ros.problems()
    for _ in range(3):
        status, _ = ros.diagnostics()
    assert capfd.readouterr().err.count("the recording or simulation has ended") == 1
    assert ros.problems() == before and status.level == DiagnosticStatus.OK


def test_all_lifecycle_transitions_work_repeatedly(graph):
    """autostart false: unconfigured until told; deactivated it is silent, activated again it works again."""
    ros = graph({"autostart": False})
    node = ros.node
    assert not node.get_subscriptions_info_by_topic("/rgb/image_rect_color")
    for _ in range(2):
        node.trigger_configure()
        node.trigger_activate()
        ros.completed_pair()
        node.trigger_deactivate()
        assert ros.diagnostics()[0].message == "not active"
        node.trigger_cleanup()
    node.trigger_shutdown()


def test_rounds_of_configure_and_cleanup_leave_nothing_behind(graph):
    """Three rounds hold what one does: publishers, subscriptions and what is managed with the lifecycle."""
    node = graph({"autostart": False}).node

    def held() -> tuple[int, ...]:
        return len(list(node.publishers)), len(list(node.subscriptions)), len(node._managed_entities)

    before, during = held(), set()
    for _ in range(3):
        node.trigger_configure()
        node.trigger_activate()
        during.add(held())
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert held() == before
    assert len(during) == 1


def test_a_failed_transition_is_logged_and_can_be_repeated(graph, capfd):
    ros = graph({"autostart": False})
    override = "qos_overrides./depth_completion/depth.publisher.reliability"
    ros.node.declare_parameter(override, "now_and_then")  # past the check at the start
    ros.node.trigger_configure()
    assert ros.problems() == {"lifecycle": 1} and "cannot configure" in capfd.readouterr().err
    ros.node.undeclare_parameter(override)
    ros.node.trigger_configure()
    ros.node.trigger_activate()
    ros.completed_pair()


def test_two_nodes_have_different_names_on_diagnostics(graph):
    names = set()
    for namespace in ("/front", "/rear"):
        status, values = graph(namespace=namespace).diagnostics()
        assert status.hardware_id == f"{namespace}/depth_completion" and values["profile"] == "kinect"
        names.add(status.name)
    assert names == {"/front/depth_completion: completion", "/rear/depth_completion: completion"}


def test_overload_drops_old_frames_and_keeps_the_newest(graph):
    """Pairs faster than the engine: all are counted, either completed or dropped, and the last one is completed."""

    class SlowEngine(Engine):
        engine, model = "classical", "slow"

        def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
            import time

            time.sleep(0.15)
            return np.where(depth > 0, depth, np.float32(scale)), np.full_like(depth, 0.1)

    ros = graph()
    ros.completed_pair()
    ros.node._worker._engine = SlowEngine()
    last = 0
    for _ in range(20):
        last = ros.send_pair()
        ros.spin(lambda: False, 0.02)
    ros.output(last)
    counts = ros.node.statistics.counts()
    assert ros.drops()["overload"] > 0
    assert counts["pairs"] == counts["frames_out"] + ros.drops()["overload"]


def test_completer_and_node_open_the_same_engine(graph):
    """What diagnostics call the engine is what open_engine gives for the same names."""
    ros = graph({"model": "push_pull"})
    ros.completed_pair()
    assert ros.spin(lambda: ros.diagnostics()[1]["model"] == "push_pull")
    profile = DepthCompleter("kinect").profile
    assert open_engine("classical", "push_pull", profile=profile).model == ros.diagnostics()[1]["model"]
