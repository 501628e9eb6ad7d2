"""Networks in the node: it serves all the while, and publishes the depth of no untrained one unless told to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
pytest.importorskip("openvino", reason="the node runs networks through OpenVINO here")
for library in ("torch", "onnx", "onnxscript"):
    pytest.importorskip(library, reason="the network file is made here")

from network_files import file_for_any_size, relabelled  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_graph import PERIOD_NS, RosGraph, pixels_of, scene, stamp_of  # noqa: E402

from depth_completion_ros import DepthCompleter, RgbdFrame  # noqa: E402

pytestmark = pytest.mark.ros
DEPTH = "/depth_completion/depth"


@pytest.fixture
def ros(tmp_path, monkeypatch) -> Iterator[RosGraph]:
    """A node beside a trained and an untrained network for images of any size."""
    monkeypatch.setenv("DEPTH_COMPLETION_MODELS", str(tmp_path))
    relabelled(file_for_any_size(), tmp_path / "lite-trained.onnx")
    relabelled(file_for_any_size(), tmp_path / "lite-random.onnx", trained="false")
    # Results differ by rounding if two frames are completed at once, which a slow machine would choose.
    graph = RosGraph({"concurrent_frames": 1})
    yield graph
    graph.close()


def ask(ros: RosGraph, **parameters: object) -> None:
    results = ros.node.set_parameters([Parameter(name, value=value) for name, value in parameters.items()])
    assert all(result.successful for result in results)


def expected(engine: str, model: str) -> np.ndarray:
    rgb, millimetres = scene()
    depth = millimetres * np.float32(0.001)
    depth[millimetres == 0] = np.nan
    completer = DepthCompleter("kinect", engine, model)
    completed = completer.complete(RgbdFrame(rgb, depth)).depth
    completer.close()
    return completed


def test_engine_is_switched_while_running_without_losing_a_frame(ros):
    """Classical to a network and back: each pair sent comes out, completed by the one engine or the other."""
    answers = {"classical": expected("classical", "auto"), "openvino": expected("openvino", "lite-trained")}
    assert not np.allclose(*answers.values())
    stamps = []

    def send_until(engine: str) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            stamps.append(ros.send_pair())
            depth = pixels_of(ros.output(stamps[-1]))
            if np.allclose(depth, answers[engine], rtol=1e-4):
                return
            assert any(np.allclose(depth, answer, rtol=1e-4) for answer in answers.values())
        pytest.fail(f"{engine} never served: {ros.diagnostics()[1]['engine.state']}")

    send_until("classical")
    ask(ros, engine="openvino", model="lite-trained")
    send_until("openvino")
    values = ros.diagnostics()[1]
    assert (values["engine"], values["model"]) == ("openvino", "lite-trained")
    ask(ros, engine="classical", model="auto")
    send_until("classical")
    assert stamps == list(range(stamps[0], stamps[0] + len(stamps) * PERIOD_NS, PERIOD_NS))
    assert sorted({stamp_of(message) for message in ros.received[DEPTH]}) == stamps
    assert ros.drops() == {} and ros.problems() == {}


def test_no_frame_waits_until_the_network_is_compiled_for_its_size(ros):
    """Of which nothing is known before the first one: the classical engine completes until then."""
    ask(ros, engine="openvino", model="lite-trained")
    assert ros.spin(lambda: "waiting for the first frame" in ros.node._worker.loader.state, 60.0)
    answers = [expected("classical", "auto"), expected("openvino", "lite-trained")]
    depths = []
    while not depths or not np.allclose(depths[-1], answers[1], rtol=1e-4):
        depths.append(pixels_of(ros.completed_pair()).copy())
        assert len(depths) < 1000
    np.testing.assert_allclose(depths[0], answers[0], rtol=1e-4)
    assert ros.drops() == {}


def test_untrained_network_serves_only_where_allowed(ros):
    classical = pixels_of(ros.completed_pair()).copy()
    ask(ros, engine="openvino", model="lite-random")
    assert ros.spin(lambda: ros.problems().get("engine") == 1, 60.0)
    # OpenCV's filters round by where their buffers are in memory, so the last bit may differ.
    np.testing.assert_allclose(pixels_of(ros.completed_pair()), classical, rtol=1e-5)
    status, values = ros.diagnostics()
    assert values["engine"] == "classical"
    assert "lite-random (untrained)" in values["engine.state"] and "allow_untrained" in status.message
    ask(ros, allow_untrained=True)
    assert ros.spin(lambda: ros.node._worker.loader.state == "ready", 60.0)
    assert not np.allclose(pixels_of(ros.completed_pair()), classical)
    assert ros.diagnostics()[1]["model"] == "lite-random (untrained)"
