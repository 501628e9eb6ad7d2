"""The evaluator: what it scores in a running graph is what an offline evaluation of the same pixels gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: install the extra `ros` or source a ROS installation")
pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from rclpy.parameter import Parameter
from ros_graph import PERIOD_NS, RosGraph, image_message, pixels_of, scene, stamp_of
from sensor_msgs.msg import Image
from std_msgs.msg import String

from depth_completion_ros import DepthCompleter, RgbdFrame
from depth_completion_ros.errors import ConfigurationError, InputError
from depth_completion_ros.evaluation import metrics
from depth_completion_ros.evaluation.html.page import write_report
from depth_completion_ros.evaluation.live import accumulation, evaluator_node
from depth_completion_ros.evaluation.live.accumulation import Scores, results_of
from depth_completion_ros.evaluation.live.evaluator_node import EvaluatorNode
from depth_completion_ros.evaluation.live.pairing import FramePairing
from depth_completion_ros.evaluation.metrics import FIGURES, Metric
from depth_completion_ros.evaluation.strata import ScoredPixels
from depth_completion_ros.frame import CompletedDepth
from depth_completion_ros.holdout import PERIOD_NS as BLOCKS_NS
from depth_completion_ros.holdout import without_hidden
from depth_completion_ros.profiles import load_profile

PROFILE = load_profile("kinect")
OUTPUTS = tuple((Image, f"/depth_completion/{topic}") for topic in ("depth", "measured", "holdout", "sigma"))


class Evaluated(RosGraph):
    """A completion node, an evaluator and a peer that publishes pairs and reference depth."""

    def __init__(self, node: dict[str, Any] | None = None, evaluator: dict[str, Any] | None = None):
        super().__init__(node, listen=((String, "/evaluator/metrics"), *OUTPUTS))
        overrides = [Parameter(name, value=value) for name, value in ({"rate": 0.0} | (evaluator or {})).items()]
        self.evaluator = EvaluatorNode("command", context=self.context, parameter_overrides=overrides)
        self.executor.add_node(self.evaluator)
        assert self.spin(lambda: self.evaluator.figures()["model"] == "guided"), "no status of the node"

    @property
    def scored(self) -> int:
        return self.evaluator.statistics.counts()["frames"]

    def score_pair(self, **images: Image) -> int:
        """Send a pair, and wait until it has been scored; returns its stamp."""
        before = self.scored
        stamp = self.send_pair(**images)
        assert self.spin(lambda: self.scored > before), self.evaluator.figures()["dropped"]
        return stamp

    def send_reference(self, pixels: np.ndarray, stamp_ns: int, encoding: str = "32FC1", **changes: Any) -> None:
        message = image_message(pixels, encoding, stamp_ns)
        message.header.frame_id = changes.pop("frame_id", message.header.frame_id)
        for name, value in changes.items():
            setattr(message, name, value)
        self.publish("/reference", message)

    def close(self) -> None:
        self.evaluator.close()
        self.evaluator.destroy_node()
        super().close()


@pytest.fixture
def graph() -> Iterator[Callable[..., Evaluated]]:
    graphs: list[Evaluated] = []

    def make(*arguments: Any) -> Evaluated:
        graphs.append(Evaluated(*arguments))
        return graphs[-1]

    yield make
    for one in graphs:
        one.close()


def view(number: int) -> tuple[np.ndarray, np.ndarray]:
    """rgb and depth [mm] of a scene that changes from frame to frame."""
    rgb, millimetres = scene()
    return np.roll(rgb, 9 * number, axis=1), np.roll(millimetres, 9 * number, axis=1)


def images(number: int) -> dict[str, Image]:
    rgb, millimetres = view(number)
    return {"rgb": image_message(rgb, "rgb8", 0), "depth": image_message(millimetres, "16UC1", 0)}


def metres(millimetres: np.ndarray) -> np.ndarray:
    return np.where(millimetres > 0, millimetres * np.float32(0.001), np.float32(np.nan))


def completed_offline(number: int, stamp_ns: int, share: float) -> tuple[RgbdFrame, np.ndarray, CompletedDepth]:
    rgb, millimetres = view(number)
    frame, held = without_hidden(RgbdFrame(rgb, metres(millimetres), stamp_ns=stamp_ns), PROFILE, share)
    return frame, held, DepthCompleter("kinect", "classical").complete(frame)


@pytest.mark.ros
def test_the_figures_are_those_of_an_offline_evaluation_of_the_same_pixels(graph, tmp_path, capsys):
    pytest.importorskip("jinja2", reason="needs the extra report: pip install -e '.[report]'")
    pytest.importorskip("vl_convert", reason="needs the extra report: pip install -e '.[report]'")
    report = tmp_path / "out" / "report.html"
    ros = graph({"holdout": 0.2}, {"report": str(report)})
    expected = Metric()
    for number in range(5):
        stamp = ros.score_pair(**images(number))
        frame, held, completed = completed_offline(number, stamp, 0.2)
        expected.update(completed, ScoredPixels(frame.depth, held, completed.measured))
    figures = expected.compute()
    before = len(ros.received["/evaluator/metrics"])
    assert ros.spin(lambda: len(ros.received["/evaluator/metrics"]) > before + 1)
    metrics = json.loads(ros.received["/evaluator/metrics"][-1].data)
    assert (metrics["model"], metrics["frames"], metrics["missing"]) == ("guided", 5, 0)
    assert metrics["pixels"] == figures["all"]["pixels"] > 0
    assert metrics["dropped"].keys() <= {"engine_loading"}
    for stratum, values in metrics["figures"].items():
        for name, value in values.items():
            value = np.nan if value is None else value
            assert value == pytest.approx(figures[stratum][name], rel=1e-4, abs=1e-4, nan_ok=True), (stratum, name)

    statuses = [message.status[0] for message in ros.received["/diagnostics"]]
    status = next(each for each in reversed(statuses) if each.name == "/evaluator: evaluation")
    values = {value.key: value.value for value in status.values}
    assert values["frames"] == "5" and status.message.startswith("5 frames, RMSE 0.")
    assert float(values["rmse"]) == pytest.approx(figures["all"]["rmse"], rel=1e-3)

    capsys.readouterr()
    ros.evaluator.close()
    summary = capsys.readouterr().out
    assert "/depth_completion/depth, holdout, 5 frames" in summary and f"report: {report}" in summary
    (row,) = [
        row for row in json.loads((report.parent / "evaluation.json").read_text())["scores"] if row["stratum"] == "all"
    ]
    for name in FIGURES:
        assert row[name] == pytest.approx(figures["all"][name], rel=1e-4, abs=1e-4), name
    text = report.read_text(encoding="utf-8")
    assert "<strong>guided</strong> has an RMSE of" in text and text.count("data:image/webp") >= 15


@pytest.mark.ros
def test_the_node_publishes_what_it_hides_and_does_not_know_it(graph, capfd):
    ros = graph({"holdout": 0.3, "fill_only": True, "output.encoding": "16UC1"}, {"rate": 0.001})
    stamp = ros.send_pair(**images(0))
    messages = {topic: ros.output(stamp, f"/depth_completion/{topic}") for topic in ("depth", "measured", "holdout")}
    assert {message.encoding for message in messages.values()} == {"16UC1"}
    depth, measured, held = (pixels_of(message) for message in messages.values())
    _, millimetres = view(0)
    frame, expected, _ = completed_offline(0, stamp, 0.3)
    np.testing.assert_array_equal(metres(held), expected)
    np.testing.assert_array_equal(metres(measured), frame.depth)
    np.testing.assert_array_equal(depth[measured > 0], millimetres[measured > 0])
    assert (depth[held > 0] != millimetres[held > 0]).mean() > 0.5
    ros.send_pair(**images(1))
    assert ros.spin(lambda: ros.evaluator.statistics.drops()["skipped"] == 1 and ros.scored == 1)
    assert capfd.readouterr().err.count("holdout is 0.3") == 1 and ros.problems() == {"holdout": 1}

    ros.node.set_parameters([Parameter("holdout", value=0.0)])
    stamp = ros.send_pair(**images(2))
    np.testing.assert_array_equal(
        metres(pixels_of(ros.output(stamp, "/depth_completion/measured"))), metres(view(2)[1])
    )
    ros.spin(lambda: False, 0.3)
    assert stamp not in map(stamp_of, ros.received["/depth_completion/holdout"])


@pytest.mark.ros
def test_the_memory_does_not_know_what_is_hidden_where_the_blocks_move(graph):
    """A static scene: without a new start, it would have been measured a moment before."""
    ros = graph({"holdout": 0.3, "temporal.motion": "static"})
    ros._stamp = 340_000_000 * BLOCKS_NS - 2 * PERIOD_NS
    for number in range(2):  # the last frame of a period, and the first of the next one
        stamp = ros.send_pair(**images(0))
        _, _, completed = completed_offline(0, stamp, 0.3)
        depth = pixels_of(ros.output(stamp, "/depth_completion/depth"))
        np.testing.assert_allclose(depth, completed.depth, rtol=1e-4, err_msg=f"frame {number}")
    assert stamp % BLOCKS_NS == 0 and ros.drops() == {}


BAD_REFERENCES = {
    "another size": (np.full((120, 120), 1.5, np.float32), {}, "size", "use the topic that the driver aligns"),
    "another encoding": (np.full((120, 160), 1, np.uint16), {"encoding": "16SC9"}, "encoding", "16SC9"),
    "cut short": (np.full((60, 160), 1.5, np.float32), {"height": 120}, "truncated", "bytes"),
    "another frame": (np.full((120, 160), 1.5, np.float32), {"frame_id": "lidar"}, "frame_id", "same_view set to true"),
    "millimetres": (np.full((120, 160), 1500, np.float32), {}, "unit", "set unit to"),
    "nothing measured": (np.full((120, 160), np.nan, np.float32), {}, "nothing_to_score", "holds no measurement"),
    "the input": (metres(scene()[1]), {}, "nothing_to_score", "set holdout of the completion node"),
}


@pytest.mark.ros
def test_each_bad_reference_is_reported_once_and_the_next_good_one_is_scored(graph, capfd, monkeypatch):
    ros = graph({}, {"reference": "/reference"})
    capfd.readouterr()
    for case, (pixels, changes, cause, line) in BAD_REFERENCES.items():
        before = ros.evaluator.statistics.drops()[cause]
        stamp = ros.send_pair()
        ros.send_reference(pixels, stamp, **changes)
        assert ros.spin(lambda b=before, c=cause: ros.evaluator.statistics.drops()[c] > b), case
        assert line in capfd.readouterr().err, case
    ros.send_reference(np.full((120, 160), 1.5, np.float32), 0)
    assert ros.spin(lambda: ros.evaluator.statistics.drops()["zero_stamp"] == 1)
    assert "have no stamp" in capfd.readouterr().err and ros.scored == 0
    stamp = ros.send_pair()
    ros.send_reference(np.full((60, 80), 1.5, np.float32), stamp + 1_000_000)  # within the slop, at half the size
    assert ros.spin(lambda: ros.scored == 1)
    assert ros.evaluator.figures()["pixels"] == 60 * 80

    monkeypatch.setattr(evaluator_node, "_TIMEOUT_S", 1.0)

    def unpaired() -> bool:
        ros.send_reference(np.full((120, 160), 1.5, np.float32), ros.send_pair() + 3600 * 10**9)
        ros.spin(lambda: False, 0.2)
        return ros.evaluator.statistics.problems()["no_pairs"] == 1

    ros._stamp += 10_000_000_000
    assert ros.spin(unpaired, 30)
    assert "s apart, but slop is 0.02 s: use one clock for both sensors" in capfd.readouterr().err
    assert ros.scored == 1


@pytest.mark.ros
def test_a_missing_reference_is_reported_with_a_fix_that_works(graph, capfd, monkeypatch):
    monkeypatch.setattr(evaluator_node, "_TIMEOUT_S", 2.0)
    ros = graph()

    def logged(line: str) -> bool:
        ros.completed_pair()
        return line in capfd.readouterr().err

    assert ros.spin(lambda: logged("no reference depth on /depth_completion/holdout: /depth_completion hides no"), 30)
    assert ros.evaluator.statistics.problems()["silent_reference"] == 1
    ros.node.set_parameters([Parameter("holdout", value=0.1)])  # as ros2 param set does
    ros.score_pair()
    assert ros.spin(lambda: not logged("") or ros.evaluator._silent == {})


@pytest.mark.ros
def test_figures_of_two_models_are_kept_apart(graph, capsys):
    ros = graph({"holdout": 0.1})
    ros.score_pair()
    ros.node.set_parameters([Parameter("model", value="nearest")])
    assert ros.spin(lambda: (ros.completed_pair(), ros.evaluator.figures()["model"] == "nearest")[1], 30)
    before = ros.scored
    assert ros.evaluator.figures()["frames"] < before  # none of the frames of the other model
    # Frames that were sent before the change may still be scored, for the other model.
    assert ros.spin(lambda: (ros.score_pair(), ros.evaluator.figures()["frames"] >= 2)[1], 30)
    assert ros.evaluator.figures()["model"] == "nearest" and ros.scored > before
    ros.evaluator.close()
    assert "other frames were completed by" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.ros
def test_a_report_that_cannot_be_written_is_rejected_at_the_start(tmp_path):
    ros = RosGraph()
    try:
        override = Parameter("report", value=str(tmp_path))
        with pytest.raises(ConfigurationError, match="is a folder"):
            EvaluatorNode(context=ros.context, parameter_overrides=[override])
    finally:
        ros.close()


def test_all_parameters_are_documented():
    page = (Path(__file__).resolve().parent.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name, parameter in evaluator_node.PARAMETERS.items():
        default = str(parameter.default).lower() or "empty"
        assert f"| `{name}` | {f'{default} {parameter.unit}'.strip()} |" in page, name


def frame_to_score(number: int, missing: float = 0.0) -> tuple[RgbdFrame, np.ndarray, CompletedDepth]:
    rng = np.random.default_rng(number)
    truth = rng.uniform(1, 2, (24, 32)).astype(np.float32)
    depth = (truth + rng.laplace(0, 0.01 * (1 + number % 7), truth.shape)).astype(np.float32)
    depth[rng.random(depth.shape) < missing] = np.nan
    measured = np.zeros(truth.shape, bool)
    measured[:8] = True
    shown = np.where(measured, truth, np.float32(np.nan))
    held = np.where(measured, np.float32(np.nan), truth)
    result = CompletedDepth(depth, np.full_like(depth, 0.03), np.full_like(depth, 0.9), measured)
    return RgbdFrame(np.zeros((24, 32, 3), np.uint8), shown), held, result


def test_pixels_without_completed_depth_are_counted_and_not_scored():
    scores, expected = Scores(PROFILE), Metric()
    known = missing = 0
    for number in range(3):
        frame, held, completed = frame_to_score(number, 0.2)
        scores.add(frame, held, completed)
        lost = np.isfinite(held) & np.isnan(completed.depth)
        known, missing = known + np.isfinite(held).sum(), missing + lost.sum()
        finite = replace(completed, depth=np.nan_to_num(completed.depth))
        expected.update(finite, ScoredPixels(frame.depth, np.where(lost, np.nan, held), completed.measured))
    assert scores.missing == pytest.approx(missing / known) and 0.1 < scores.missing < 0.3
    for name, value in expected.compute()["all"].items():
        assert scores.metric.compute()["all"][name] == pytest.approx(value, nan_ok=True), name
    frame, held, completed = frame_to_score(4, 1.0)
    with pytest.raises(InputError, match="set min_confidence"):
        scores.add(frame, held, completed)


def test_memory_is_bounded_and_the_worst_and_the_best_frame_are_kept(monkeypatch, tmp_path):
    pytest.importorskip("jinja2", reason="needs the extra report: pip install -e '.[report]'")
    pytest.importorskip("vl_convert", reason="needs the extra report: pip install -e '.[report]'")
    monkeypatch.setattr(metrics, "MOST_GROUPS", 8)
    monkeypatch.setattr(accumulation, "KEPT", 3)
    scores, errors = Scores(PROFILE), []
    for number in range(60):
        frame, held, completed = frame_to_score(number)
        scores.add(frame, held, completed)
        errors.append(np.sqrt(np.nanmean((completed.depth - held).astype(np.float64) ** 2)))
        assert len(scores.kept.frames()) <= 5 and scores.metric.groups <= 8
    kept = {frame.index: frame for frame in scores.kept.frames()}
    assert {int(np.argmax(errors)), int(np.argmin(errors))} <= kept.keys()
    assert scores.metric.frames == 60 and scores.details.frames == []
    other = Scores(PROFILE)
    other.add(*frame_to_score(0))
    results = results_of({"a": other, "b": scores}, "/depth", "holdout", {"source": "here"}, {}, "command")
    write_report(results, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"RMSE of {len(kept)} of 60 frames" in text and "1 other frames were completed by a" in text


PARTS = ("depth", "sigma")


def send(pairing: FramePairing, stamp_ns: int, *names: str) -> list[dict[str, Any]]:
    return [frame for name in names for frame in pairing.add(name, stamp_ns, (name, stamp_ns))]


def test_messages_of_a_frame_are_collected_in_any_order():
    for order in (("depth", "sigma", "reference"), ("reference", "sigma", "depth"), ("sigma", "reference", "depth")):
        pairing = FramePairing(PARTS, 0)
        (frame,) = send(pairing, 10, *order)
        assert frame == {name: (name, 10) for name in order} | {"rgb": None}
    pairing = FramePairing(PARTS, 0)
    (frame,) = send(pairing, 10, "rgb", "depth", "sigma", "reference")
    assert frame["rgb"] == ("rgb", 10)


def test_a_reference_with_other_stamps_is_paired_with_the_nearest_frame_within_the_slop():
    pairing = FramePairing(PARTS, 20_000_000)
    found = []
    for number in range(5):
        found += send(pairing, number * PERIOD_NS, "depth", "sigma")
        found += send(pairing, number * PERIOD_NS + 12_000_000, "reference")
    assert [(frame["depth"][1], frame["reference"][1] - frame["depth"][1]) for frame in found] == [
        (number * PERIOD_NS, 12_000_000) for number in range(5)
    ]
    strict = FramePairing(PARTS, 5_000_000)
    for number in range(5):
        assert send(strict, number * PERIOD_NS, "depth", "sigma") == []
        assert send(strict, number * PERIOD_NS + 12_000_000, "reference") == []
    assert strict.dropped["unpaired"] == 5
    assert "set slop to 0.015" in strict.why_unpaired()


def test_frames_that_wait_are_bounded_and_a_jump_in_time_starts_anew():
    pairing = FramePairing(PARTS, 0)
    for number in range(100):
        send(pairing, number * PERIOD_NS, "depth", *(["sigma"] if number % 2 else []))
    assert pairing.dropped == {"incomplete": 50 - 7, "unpaired": 50 - 8}
    assert send(pairing, 0, "depth", "sigma") == []
    assert pairing.dropped["time_jump"] == 7 + 8
    assert len(send(pairing, 0, "reference")) == 1
