"""Everything that can be wrong with what the node gets: one clear line, a counter, and it goes on completing."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")

from rclpy.parameter import Parameter
from ros_graph import PERIOD_NS, START_NS, RosGraph, camera_info, image_message, pixels_of, scene, stamp_of, stamped
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros


@pytest.fixture
def graph() -> Iterator[Callable[..., RosGraph]]:
    graphs: list[RosGraph] = []

    def make(**parameters: Any) -> RosGraph:
        graphs.append(RosGraph({name.replace("__", "."): value for name, value in parameters.items()}))
        return graphs[-1]

    yield make
    for one in graphs:
        one.close()


def rgb_image() -> Image:
    return image_message(scene()[0], "rgb8", 0)


def depth_image(pixels: np.ndarray | None = None, encoding: str = "16UC1") -> Image:
    return image_message(scene()[1] if pixels is None else pixels, encoding, 0)


def changed(message: Image, **fields: Any) -> Image:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


BAD_PAIRS = {
    "unknown rgb encoding": (lambda: changed(rgb_image(), encoding="rgb9"), depth_image, "encoding", "rgb9"),
    "unknown depth encoding": (rgb_image, lambda: changed(depth_image(), encoding="16SC9"), "encoding", "16SC9"),
    "depth on the rgb topic": (depth_image, depth_image, "encoding", "the same image"),
    "both topics swapped": (depth_image, rgb_image, "encoding", "swapped"),
    "rgb on the depth topic": (rgb_image, rgb_image, "encoding", "the same image"),
    "rgb cut short": (
        lambda: changed(rgb_image(), data=array("B", bytes(1000))),
        depth_image,
        "truncated",
        "1000 bytes",
    ),
    "depth cut short": (rgb_image, lambda: changed(depth_image(), data=array("B", bytes(99))), "truncated", "99 bytes"),
    "no data at all": (lambda: changed(rgb_image(), data=array("B")), depth_image, "truncated", "0 bytes"),
    "step too small": (rgb_image, lambda: changed(depth_image(), step=10), "truncated", "step 10"),
    "zero size": (rgb_image, lambda: changed(depth_image(), height=0, width=0), "size", "0x0"),
    "another field of view": (
        rgb_image,
        lambda: depth_image(np.full((120, 100), 1000, np.uint16)),
        "size",
        "100x120",
    ),
    "depth all missing": (
        rgb_image,
        lambda: depth_image(np.zeros((120, 160), np.uint16)),
        "empty_depth",
        "no pixel is measured",
    ),
    "depth of another unit": (
        rgb_image,
        lambda: depth_image(np.full((120, 160), 65000, np.uint16)),
        "empty_depth",
        "lie between 65 and 65 m. If these distances are wrong, set depth.unit",
    ),
    "float depth in millimetres": (
        rgb_image,
        lambda: depth_image(np.full((120, 160), 543.1, np.float32), "32FC1"),
        "unit",
        "farther than 543.1 m, so its values are probably in millimetres: set depth.unit to 0.001",
    ),
    "depth all NaN": (
        rgb_image,
        lambda: depth_image(np.full((120, 160), np.nan, np.float32), "32FC1"),
        "empty_depth",
        "no depth between",
    ),
    "depth all infinite": (
        rgb_image,
        lambda: depth_image(np.full((120, 160), np.inf, np.float32), "32FC1"),
        "empty_depth",
        "no depth between",
    ),
    "depth all negative": (
        rgb_image,
        lambda: depth_image(np.full((120, 160), -1, np.float32), "32FC1"),
        "empty_depth",
        "no depth between",
    ),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_a_bad_pair_is_reported_and_counted_and_the_next_is_completed(graph, capfd, name):
    make_rgb, make_depth, cause, words = BAD_PAIRS[name]
    ros = graph()
    ros.completed_pair()
    ros.send_pair(rgb=make_rgb(), depth=make_depth())
    assert ros.spin(lambda: ros.drops() == {cause: 1}), ros.drops()
    ros.completed_pair()
    lines = [line for line in capfd.readouterr().err.splitlines() if words in line]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    _, values = ros.diagnostics()
    assert values[f"dropped.{cause}"] == "1" and values["frames_out.count"] == "2"


def test_many_bad_frames_do_not_flood_the_log(graph, capfd):
    ros = graph()
    ros.completed_pair()
    for _ in range(30):
        ros.send_pair(rgb=changed(rgb_image(), encoding="rgb9"))
        ros.spin(lambda: False, 0.01)
    assert ros.spin(lambda: ros.drops().get("encoding", 0) + ros.drops().get("overload", 0) == 30), ros.drops()
    assert sum("rgb9" in line for line in capfd.readouterr().err.splitlines()) == 1


def test_float_depth_in_millimetres_is_completed_with_the_unit_that_the_line_names(graph):
    """Also while the node runs; and a depth beyond the range is not taken for millimetres where the unit is given."""
    ros = graph()
    millimetres = depth_image(np.full((120, 160), 543.1, np.float32), "32FC1")
    ros.node.set_parameters([Parameter("depth.unit", value=0.001)])
    np.testing.assert_allclose(pixels_of(ros.completed_pair(depth=millimetres)), 0.5431, rtol=1e-4)
    ros.node.set_parameters([Parameter("depth.unit", value=1.0)])
    ros.send_pair(depth=millimetres)
    assert ros.spin(lambda: ros.drops() == {"empty_depth": 1})


def test_nan_negative_and_infinite_pixels_are_taken_as_missing(graph):
    ros = graph()
    depth = np.full((120, 160), 2.0, np.float32)
    depth[10:20, 10:20], depth[40:50, 40:50], depth[70:80, 70:80] = np.nan, -3.0, np.inf
    completed = pixels_of(ros.completed_pair(depth=depth_image(depth, "32FC1")))
    np.testing.assert_allclose(completed, 2.0, rtol=1e-4)


@pytest.mark.parametrize("stops", ["rgb", "depth"])
def test_the_watchdog_reports_the_input_that_stopped(graph, stops):
    ros = graph(watchdog__timeout=0.3)
    ros.completed_pair()
    topics = {"rgb": "rgb/image_rect_color", "depth": "depth_registered/image_rect"}
    goes_on = next(name for name in topics if name != stops)
    make = {"rgb": rgb_image, "depth": depth_image}[goes_on]

    def named() -> bool:
        ros._stamp += PERIOD_NS
        ros.publish(topics[goes_on], stamped(make(), ros._stamp))
        said = ros.said()
        return f"no {stops} on /{topics[stops]}" in said and f"no {goes_on}" not in said

    assert ros.spin(named, 8.0)
    ros.completed_pair()


def test_messages_without_stamps_are_paired_as_they_arrive(graph):
    ros = graph(sync__slop=0.5)
    for _ in range(3):
        ros.publish("rgb/image_rect_color", stamped(rgb_image(), 0))
        ros.publish("depth_registered/image_rect", stamped(depth_image(), 0))
        ros.spin(lambda: False, 0.1)
    assert ros.spin(lambda: ros.received["/depth_completion/depth"])
    assert ros.problems()["zero_stamp"] >= 2


@pytest.mark.parametrize("unstamped", ["rgb", "depth"])
def test_one_stream_without_stamps_is_paired_with_the_other_by_arrival(graph, unstamped):
    """The other one has stamps of 2023. What comes out has the stamp of the colour image."""
    ros = graph(sync__slop=5.0)
    for number in range(3):
        rgb_ns, depth_ns = (START_NS + number * PERIOD_NS if name != unstamped else 0 for name in ("rgb", "depth"))
        ros.publish("rgb/image_rect_color", stamped(rgb_image(), rgb_ns))
        ros.publish("depth_registered/image_rect", stamped(depth_image(), depth_ns))
        ros.spin(lambda: False, 0.1)
    assert ros.spin(lambda: ros.received["/depth_completion/depth"])
    completed = stamp_of(ros.received["/depth_completion/depth"][0])
    assert completed == 0 if unstamped == "rgb" else completed >= START_NS
    assert ros.problems().keys() == {"zero_stamp"} and ros.drops().keys() <= {"zero_stamp", "overload"}
    ros.send_pair()
    ros.completed_pair()  # as soon as both have stamps, they are paired by them


@pytest.mark.parametrize("hold", ["exact", "latest"])
def test_the_clock_of_depth_can_be_corrected_while_the_node_runs(graph, capfd, hold):
    """That is no jump in time, although depth then has older stamps than before."""
    ros = graph(depth__hold=hold)
    ahead = 5_000_000_000
    ros.send_pair(offset_ns=ahead)
    assert ros.spin(lambda: ros.node.statistics.counts()["depth"] == 1)
    ros.node.set_parameters([Parameter("sync.depth_offset", value=-5.0)])
    for _ in range(2):  # with depth.hold latest, the first image may arrive before depth
        stamp = ros.send_pair(offset_ns=ahead)
        ros.spin(lambda: ros.node.statistics.counts()["depth"] > 1)
    ros.output(stamp)
    assert ros.problems().keys() <= {"motion"} and "went back" not in capfd.readouterr().err


def test_simulated_time_that_starts_at_zero_is_no_jump(graph, capfd):
    ros = graph(sync__slop=0.5)
    ros._stamp = -PERIOD_NS
    for _ in range(4):
        ros.send_pair()
        ros.spin(lambda: False, 0.05)
    ros.output(3 * PERIOD_NS)
    assert ros.problems() == {"zero_stamp": 2} and "went back" not in capfd.readouterr().err


def test_stamps_that_do_not_advance_are_explained(graph):
    ros = graph(watchdog__timeout=0.3)

    def explained() -> bool:
        ros._stamp = START_NS
        ros.send_pair()
        return "all rgb messages have the same stamp" in ros.said()

    assert ros.spin(explained, 8.0)


@pytest.mark.parametrize("offset_ns", [10_000_000, 0, -1_000_000_000])
def test_two_drivers_on_one_topic_are_reported(graph, capfd, offset_ns):
    """Their images would be mixed without a word if their stamps were between each other."""
    ros = graph(watchdog__timeout=1.0)
    other = ros.peer.create_publisher(Image, "rgb/image_rect_color", 10)
    ros.spin(lambda: other.get_subscription_count() > 0)

    def reported() -> bool:
        stamp = ros.send_pair()
        other.publish(stamped(rgb_image(), stamp + offset_ns))
        ros.spin(lambda: False, 0.05)
        return "publishers" in ros.problems()

    assert ros.spin(reported, 8.0), ros.problems()
    line = "messages of several publishers are mixed on /rgb/image_rect_color (/peer, /peer): stop all but one"
    assert ros.spin(lambda: "publishers" in ros.said(), 3.0)
    assert line in capfd.readouterr().err


def test_a_driver_that_was_restarted_is_not_taken_for_two(graph):
    ros = graph()
    ros.completed_pair()
    for key in list(ros._publishers):
        ros.peer.destroy_publisher(ros._publishers.pop(key))
    for _ in range(5):
        ros.completed_pair()
    ros.diagnostics()
    assert ros.problems() == {}


def test_another_problem_of_the_same_cause_is_logged_at_once(graph, capfd):
    """Throttling is for lines that repeat: both of these are found within five seconds."""
    ros = graph()
    for rgb, depth in [
        (changed(rgb_image(), encoding="rgb9"), depth_image()),
        (rgb_image(), changed(depth_image(), encoding="16SC9")),
    ]:
        for _ in range(3):
            before = ros.drops().get("encoding", 0)
            ros.send_pair(rgb, depth)
            assert ros.spin(lambda before=before: ros.drops().get("encoding", 0) > before), ros.drops()
    said = capfd.readouterr().err
    assert said.count("has encoding 'rgb9'") == said.count("has encoding '16SC9'") == 1
    assert "more times" not in said


def test_messages_replaced_by_newer_ones_are_counted_as_overrun(graph, capfd):
    """Seven images while the node does nothing: its queue holds two."""
    ros = graph()
    ros.completed_pair()
    for _ in range(7):
        ros._stamp += PERIOD_NS
        ros.publish("rgb/image_rect_color", stamped(rgb_image(), ros._stamp))
    assert ros.spin(lambda: ros.node.statistics.counts()["rgb"] == 3)
    assert ros.spin(lambda: ros.drops().get("overrun") == 5), ros.drops()
    assert "5 messages on /rgb/image_rect_color were replaced by newer ones" in capfd.readouterr().err


def test_equal_stamps_are_dropped_and_reported(graph, capfd):
    ros = graph()
    stamp = ros.send_pair()
    ros.output(stamp)
    ros.publish("rgb/image_rect_color", stamped(rgb_image(), stamp))
    assert ros.spin(lambda: ros.drops() == {"duplicate_stamp": 1})
    assert "same stamp" in capfd.readouterr().err
    ros.completed_pair()


def test_pairing_starts_over_when_time_goes_back(graph, capfd):
    """A recording played again from its beginning: completion goes on with its first pair."""
    ros = graph()
    for _ in range(2):
        ros._stamp = START_NS
        ros.received["/depth_completion/depth"].clear()
        for _ in range(12):
            ros.completed_pair()
    assert "rgb stamps went back by 0.367 s" in capfd.readouterr().err
    assert ros.problems() == {"time_jump": 1} and ros.drops() == {}


def test_stamps_hours_apart_are_explained(graph):
    ros = graph(watchdog__timeout=0.3)

    def explained() -> bool:
        ros.send_pair(offset_ns=2 * 3600 * 1_000_000_000)
        return "7200" in ros.said()

    assert ros.spin(explained, 8.0)


def test_invalid_camera_info_only_prevents_the_point_cloud(graph):
    ros = graph()
    ros.publish("rgb/camera_info", camera_info(160, 120, 0.0))
    ros.spin(lambda: False, 0.2)
    ros.completed_pair()
    assert ros.problems() == {"camera_info": 1}


def test_absent_camera_info_is_reported_where_it_is_needed(graph):
    ros = graph(depth__registered=False, watchdog__timeout=0.2)
    ros.send_pair()
    assert ros.spin(lambda: ros.drops() == {"camera_info": 1})
    assert ros.spin(lambda: "no rgb_info on /rgb/camera_info" in ros.diagnostics()[0].message)


def test_an_unknown_extrinsic_is_reported_where_it_is_needed(graph):
    ros = graph(depth__registered=False)
    for topic in ("rgb/camera_info", "depth_registered/camera_info"):
        ros.publish(topic, camera_info(160, 120, 130.0))
    ros.spin(lambda: False, 0.2)
    ros.send_pair(depth=image_message(scene()[1], "16UC1", 0, "another_camera"))
    assert ros.spin(lambda: ros.drops() == {"extrinsic": 1})


def test_frames_over_max_age_are_dropped(graph):
    ros = graph()
    ros.completed_pair()
    ros.node.set_parameters([Parameter("max_age", value=0.5)])
    ros.send_pair()
    assert ros.spin(lambda: ros.drops() == {"too_old": 1})


def test_parameters_out_of_range_at_start_are_replaced_by_the_default(graph, capfd):
    ros = graph(sync__slop=99.0, threads="many", min_confidence=0.5, slopp=1)
    assert ros.node.parameters["sync.slop"] == 0.02 and ros.node.parameters["threads"] == 0
    assert ros.node.parameters["min_confidence"] == 0.5
    assert ros.problems() == {"parameter": 3}
    ros.completed_pair()
    assert "sync.slop is 99.0" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("min_confidence", 1.5, "0 to 1"),
        ("min_confidence", "high", "double"),
        ("output.encoding", "32FC3", "16UC1"),
        ("depth.min_range", 50.0, "smaller than"),
        ("extrinsic", [1.0, 2.0], "7 numbers"),
        ("extrinsic", [0.0] * 7, "the quaternion of the extrinsic has length 0.000: it must be 1"),
    ],
)
def test_parameters_out_of_range_while_running_are_rejected(graph, name, value, words):
    ros = graph()
    before = ros.node.parameters.as_dict()
    (result,) = ros.node.set_parameters([Parameter(name, value=value)])
    assert not result.successful and name in result.reason and words in result.reason
    assert ros.node.parameters.as_dict() == before and ros.problems() == {"parameter": 1}
    ros.completed_pair()


def test_absent_message_filters_leave_our_own_synchroniser(graph):
    if find_spec("message_filters") is not None:
        pytest.skip("message_filters is installed here")
    ros = graph(sync__method="message_filters")
    assert ros.problems() == {"sync_method": 1}
    ros.completed_pair()


def test_integers_are_accepted_for_doubles(graph):
    ros = graph(depth__max_range=8)
    assert ros.node.parameters["depth.max_range"] == 8.0 and ros.problems() == {}
