"""Frames that several threads complete at the same time leave in the order in which they came."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from depth_completion_ros.node.in_flight import InFlight


def test_frames_leave_in_the_order_in_which_they_entered():
    in_flight, left = InFlight(), []
    numbers = [in_flight.enter() for _ in range(50)]
    shuffled = random.Random(0).sample(numbers, 50)

    def complete(number: int) -> None:
        time.sleep(0.001 * (number % 3))
        in_flight.wait_for_turn(number)
        left.append(number)
        in_flight.leave(number)

    with ThreadPoolExecutor(50) as threads:
        list(threads.map(complete, shuffled))
    assert left == numbers == list(range(50))


def test_a_frame_waits_for_room():
    in_flight = InFlight()
    first, second = in_flight.enter(), in_flight.enter()
    entered = threading.Event()

    def wait() -> None:
        in_flight.wait_until_fewer_than(2)
        entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.05)
    in_flight.leave(first)
    assert entered.wait(10)
    thread.join()
    in_flight.leave(second)
    in_flight.wait_until_fewer_than(1)


pytest.importorskip("rclpy", reason="the node needs rclpy: install the extra `ros` or source a ROS installation")

from ros_graph import RosGraph, pixels_of, scene, stamp_of  # noqa: E402

from depth_completion_ros import DepthCompleter, RgbdFrame  # noqa: E402
from depth_completion_ros.engines import Engine  # noqa: E402


@pytest.fixture
def ros() -> Iterator[RosGraph]:
    graph = RosGraph({"concurrent_frames": 2})
    graph.completed_pair()
    yield graph
    graph.close()


class TwoAtATime(Engine):
    """Completes no frame before a second one has arrived; the first of the two takes longer."""

    engine, model, concurrency = "classical", "two", 2

    def __init__(self, result: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]):
        self._arrived = threading.Barrier(2, timeout=20)
        self._lock = threading.Lock()
        self._calls = 0
        self._result = result
        self.closed = False

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            first = self._calls % 2 == 0
            self._calls += 1
        self._arrived.wait()
        if first:
            time.sleep(0.1)
        return self._result(depth)

    def close(self) -> None:
        self.closed = True


def send_two(ros: RosGraph) -> list[int]:
    """Send two pairs, the second when the node has taken the first."""
    mailbox = ros.node._worker.mailbox
    before = ros.node.statistics.counts()["pairs"]
    stamps = []
    for number in (1, 2):
        stamps.append(ros.send_pair())
        assert ros.spin(lambda: ros.node.statistics.counts()["pairs"] == before + number and mailbox._item is None)  # noqa: B023
    return stamps


@pytest.mark.ros
def test_two_frames_are_completed_at_once_and_published_in_order(ros):
    ros.node._worker._engine = TwoAtATime(lambda depth: (np.maximum(depth, 1), np.full_like(depth, 0.1)))
    sent: list[int] = []
    for _ in range(5):
        sent += send_two(ros)
        ros.output(sent[-1])
    assert [stamp_of(message) for message in ros.received["/depth_completion/depth"]][-10:] == sent
    assert ros.drops() == {} and ros.problems() == {}


@pytest.mark.ros
def test_both_frames_are_completed_when_their_engine_fails(ros):
    """The failure is reported once, and the engine is closed when no frame uses it any more."""

    def fail(depth: np.ndarray) -> Any:
        raise RuntimeError("device lost")

    failing = ros.node._worker._engine = TwoAtATime(fail)
    rgb, millimetres = scene()
    depth = np.where(millimetres > 0, millimetres * np.float32(0.001), np.float32(np.nan))
    expected = DepthCompleter("kinect", "classical").complete(RgbdFrame(rgb, depth)).depth
    for stamp in send_two(ros):
        np.testing.assert_allclose(pixels_of(ros.output(stamp)), expected, rtol=1e-5, atol=1e-6)
    assert ros.problems() == {"engine": 1} and ros.drops() == {}
    ros.completed_pair()
    assert failing.closed
