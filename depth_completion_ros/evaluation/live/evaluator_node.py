"""The evaluator: a node that scores completed depth against measurements that were hidden, or another depth sensor."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from ...errors import ConfigurationError, InputError
from ...node.hints import Wanted, why_silent
from ...node.mailbox import Mailbox
from ...node.parameters import NodeParameters, Parameter, untyped_as_dynamic
from ...node.statistics import Statistics
from ...profiles import load_profile
from ..html.page import check_report, write_report_and_files
from ..report import print_tables
from .accumulation import Scores, results_of
from .frames import decode_frame
from .pairing import COLOUR, REFERENCE, FramePairing

PARTS = ("depth", "sigma", "confidence", "measured")
PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("reference", "", "Topic of reference depth; empty = ~/holdout of the completion node"),
        Parameter("report", "", "HTML file that is written at the end; empty = none"),
        Parameter("rate", 5.0, "Most frames that are scored in a second; 0 = all of them", "Hz", (0.0, 1000.0)),
        Parameter("slop", 0.02, "Largest difference of the stamps of depth and of that topic", "s", (0.0, 1.0)),
        Parameter("unit", 0.0, "Length of one count of the reference; 0 = by encoding", "m", (0.0, 1.0)),
        Parameter("same_view", False, "Whether the reference shows the view of the depth, whatever its frame_id says"),
    )
}
# What ``~/metrics`` contains; the report has everything.
_FIGURES = (
    *("pixels", "rmse", "mae", "rel", "within", "confidence", "ece", "coverage50", "coverage80", "coverage"),
    *("coverage95", "nll", "ause", "ause_distance", "spearman"),
)
_STRATA = ("all", "near", "far", "edges", "flat")

_TIMEOUT_S = 5.0
_STATUS_WITHIN_S = 3.0  # a completion node has published its status so long after its first depth
_UNKNOWN = "depth"  # name of the model if no completion node publishes the depth
_FROM = {part: f"depth_completion/{part}" for part in (*PARTS, "holdout")}
_RGB = "rgb/image_rect_color"
_NAMES = {  # in messages
    "depth": "completed depth",
    "sigma": "sigma of depth",
    "confidence": "confidence of depth",
    "measured": "measured depth",
    REFERENCE: "reference depth",
    COLOUR: "rgb",
}


class EvaluatorNode(Node):
    """Subscribes to the outputs of a completion node and to reference depth, and publishes running metrics.

    Frames are scored in a thread of their own, at most ``rate`` of them in a second; the others are skipped. Each model
    has figures of its own: which one runs is known from the status of the completion node, which is published once a
    second, so up to a second of frames may count for the model before.

    Args:
        command: The command that runs, for the report.
        **node_arguments: Arguments of rclpy's Node.

    Raises:
        ConfigurationError: If the report cannot be written.
    """

    def __init__(self, command: str = "", **node_arguments: Any):
        super().__init__("evaluator", automatically_declare_parameters_from_overrides=True, **node_arguments)
        self.statistics = Statistics(lambda text: self.get_logger().warning(text))
        refused = functools.partial(self.statistics.report, "parameter", throttled=False)
        self.parameters = NodeParameters(self, refused, PARAMETERS)
        if self.parameters["report"]:
            check_report(Path(self.parameters["report"]).absolute(), "the parameter report:")
        self._command = command
        self._scores: dict[str, Scores] = {}  # by model; belongs to the thread while it runs
        self._figures: dict[str, Any] = {}  # of the model that was scored last; replaced as a whole by the thread
        self._engines: dict[str, str] = {}
        self._status: dict[str, str] | None = None  # of the completion node
        self._first_depth: float | None = None
        self._last_pair = time.monotonic()
        self._next_at = 0.0  # when the next frame may be scored
        self._silent: dict[str, str] = {}
        hidden = not self.parameters["reference"]
        slop = 0.0 if hidden else self.parameters["slop"]
        self._pairing = FramePairing(PARTS, round(slop * 1e9))
        self._wanted: dict[str, Wanted] = {}
        self._received: dict[str, float] = {}
        for part in PARTS:
            self._listen(part, Image, _FROM[part])
        self._listen(REFERENCE, Image, self.parameters["reference"] or _FROM["holdout"])
        colours = self.resolve_topic_name(_RGB)
        self._listen(COLOUR, CompressedImage if colours.endswith("/compressed") else Image, _RGB)
        self._node = ""  # full name of the completion node
        self.create_subscription(DiagnosticArray, "/diagnostics", self._take_status, 10)
        self._metrics = self.create_publisher(String, "~/metrics", 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._mailbox: Mailbox[tuple[str, dict[str, Any]]] = Mailbox()
        self._thread = threading.Thread(target=self._run, name="evaluator")
        self._thread.start()
        self._timer = self.create_timer(1.0, self._each_second, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(
            f"scoring {self._wanted['depth'].topic} against {self._wanted[REFERENCE].topic}; publishing "
            f"{self.get_fully_qualified_name()}/metrics"
        )

    def declare_parameters(self, namespace: str, parameters: Any, ignore_override: bool = False) -> Any:
        """As in rclpy, but also declares overrides without a type (empty lists), which are checked later."""
        return super().declare_parameters(namespace, untyped_as_dynamic(parameters), ignore_override)

    def close(self) -> None:
        """Stop scoring, print the summary, and write the report. Can be called more than once."""
        if self._mailbox.closed:
            return
        self._mailbox.close()
        self._thread.join()
        scored = {model: scores for model, scores in self._scores.items() if scores.metric.frames}
        if not scored:
            print(f"no frame was scored, so there is no report: {self._why_nothing()}")
            return
        about = {"sensor": "live", "source": f"{self._wanted['depth'].topic} against {self._wanted[REFERENCE].topic}"}
        results = results_of(scored, self._wanted["depth"].topic, self._protocol(), about, self._engines, self._command)
        print_tables(results.evaluation, results.scores, results.by_set, [])
        if drops := self._causes():
            print(f"not scored: {drops}")
        if not self.parameters["report"]:
            return
        report = Path(self.parameters["report"]).absolute()
        try:
            write_report_and_files(results, report, report.parent)
            print(f"report: {report}")
        except (OSError, ConfigurationError) as error:
            print(f"the report {report} cannot be written ({error}): choose another folder")

    def figures(self) -> dict[str, Any]:
        """The content of ``~/metrics``; figures that are not known are None."""
        model, scored = self._model(), self._figures
        if scored.get("model") != model:
            scored = {"frames": 0, "pixels": 0, "missing": 0.0, "figures": {}}
        topics = {name: self._wanted[name].topic for name in ("depth", REFERENCE)}
        return {**topics, "model": model, **scored, "dropped": dict(self._drops())}

    def _listen(self, name: str, message_type: type, own_topic: str) -> None:
        # Best effort, which fits every publisher. Several images of a frame arrive at once.
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

        def receive(message: Any) -> None:
            self._received[name] = time.monotonic()
            self._take_in(name, message)

        subscription = self.create_subscription(message_type, own_topic, receive, qos)
        type_name = f"sensor_msgs/msg/{message_type.__name__}"
        self._wanted[name] = Wanted(_NAMES[name], own_topic, subscription.topic_name, type_name, qos)
        self._received[name] = time.monotonic()

    def _take_in(self, name: str, message: Any) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if stamp == 0 and name != COLOUR:
            self.statistics.drop(
                "zero_stamp",
                f"messages of {_NAMES[name]} have no stamp, so nothing can be paired with them: fix the driver of the "
                "camera or of the reference sensor to set stamps",
            )
            return
        if name == "depth" and self._first_depth is None:
            self._first_depth = time.monotonic()
        for frame in self._pairing.add(name, stamp, message):
            self._last_pair = time.monotonic()
            if self._is_loading():
                self.statistics.drop("engine_loading")
            elif self._last_pair < self._next_at:
                self.statistics.drop("skipped")
            else:
                self._next_at = self._last_pair + (1 / self.parameters["rate"] if self.parameters["rate"] else 0.0)
                if self._mailbox.put((self._model(), frame)):
                    self.statistics.drop("skipped")

    def _take_status(self, message: DiagnosticArray) -> None:
        """Learn which model runs, from the status of the node that publishes the depth."""
        for status in message.status:
            if not status.name.endswith(": completion") or status.hardware_id != self._publisher_of("depth"):
                continue
            self._node = status.hardware_id
            self._status = {value.key: value.value for value in status.values}
            self._engines[self._model()] = f"{self._status.get('engine', '')} {self._model()}"

    def _publisher_of(self, name: str) -> str:
        """The full name of the node that publishes a topic; "" if there is none."""
        for info in self.get_publishers_info_by_topic(self._wanted[name].topic):
            return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
        return ""

    def _model(self) -> str:
        return _UNKNOWN if self._status is None else self._status.get("model", _UNKNOWN)

    def _is_loading(self) -> bool:
        """Whether the completion node will soon change to another engine, or may still say which one it is."""
        if self._status is None:
            return self._first_depth is None or time.monotonic() - self._first_depth < _STATUS_WITHIN_S
        state = self._status.get("engine.state", "ready")
        return state != "ready" and not state.startswith("failed")

    def _protocol(self) -> str:
        return "holdout" if not self.parameters["reference"] else f"reference {self.parameters['reference']}"

    def _scores_of(self, model: str) -> Scores:
        if model not in self._scores:
            name = (self._status or {}).get("profile", "kinect")
            try:
                profile = load_profile(name)
            except ConfigurationError:  # a profile of the user, in a file of its own
                profile = load_profile("kinect")
            self._scores[model] = Scores(profile)
        return self._scores[model]

    def _run(self) -> None:
        while not self._mailbox.closed:
            taken = self._mailbox.take()
            if taken is None:
                continue
            model, messages = taken
            started = time.monotonic()
            try:
                frame, reference, completed = decode_frame(
                    messages, self.parameters["unit"], self.parameters["same_view"]
                )
                scores = self._scores_of(model)
                scores.add(frame, reference, completed)
                self._figures = _figures(model, scores)
            except InputError as error:
                self.statistics.drop(error.cause, str(error))
                continue
            except Exception as error:
                self.statistics.drop("internal", f"an internal error of this node dropped a frame: {error!r}")
                continue
            self.statistics.count("frames")
            self.statistics.time("scoring", (time.monotonic() - started) * 1e3)

    def _each_second(self) -> None:
        silent = self._look()
        for cause, line in silent.items():
            if cause not in self._silent:  # once for each silence
                self.statistics.report(cause, line, throttled=False)
        self._silent = silent
        figures = self.figures()
        self._metrics.publish(String(data=json.dumps(figures)))
        self._publish_status(figures)

    def _look(self) -> dict[str, str]:
        """What prevents frames from being scored: for each cause one line with the fix."""
        now = time.monotonic()
        seconds = {name: now - received for name, received in self._received.items()}
        for name in PARTS:
            if seconds[name] > _TIMEOUT_S:
                return {f"silent_{name}": self._no(name, self._why_silent(name, seconds))}
        if seconds[REFERENCE] > _TIMEOUT_S:
            if not self.parameters["reference"] and self._status and float(self._status.get("holdout", "0")) == 0:
                why = f"{self._node} hides no measurements: run ros2 param set {self._node} holdout 0.1"
            else:
                why = self._why_silent(REFERENCE, seconds)
            return {"silent_reference": self._no(REFERENCE, why)}
        if now - self._last_pair > _TIMEOUT_S and (why := self._pairing.why_unpaired()):
            return {"no_pairs": f"depth and reference arrive, but they do not pair: {why}"}
        return {}

    def _why_nothing(self) -> str:
        drops = self._drops()
        if self._silent:
            return "; ".join(self._silent.values())
        if drops.keys() == {"engine_loading"}:
            return (
                "the completion node was still loading its engine: let it run longer, or play the recording in a loop"
            )
        return f"not scored: {self._causes()}" if drops else "nothing has arrived"

    def _causes(self) -> str:
        return ", ".join(f"{number} {cause}" for cause, number in sorted(self._drops().items()))

    def _no(self, name: str, why: str) -> str:
        return f"no {_NAMES[name]} on {self._wanted[name].topic}: {why}"

    def _why_silent(self, name: str, seconds: dict[str, float]) -> str:
        why = why_silent(self, self._wanted[name], seconds[name])
        return why.replace("check the driver", "its own log and /diagnostics say why, or the recording has ended")

    def _drops(self) -> Counter[str]:
        return self.statistics.drops() + self._pairing.dropped

    def _publish_status(self, figures: dict[str, Any]) -> None:
        values = {name: str(figures[name]) for name in ("depth", "reference", "model", "frames", "pixels")}
        values["missing"] = f"{figures['missing']:.4f}"
        for name, value in figures["figures"].get("all", {}).items():
            if name != "pixels":
                values[name] = "nan" if value is None else f"{value:.6g}"
        values |= {f"dropped.{cause}": str(number) for cause, number in sorted(figures["dropped"].items())}
        values |= {f"problem.{cause}": str(number) for cause, number in sorted(self.statistics.problems().items())}
        for stage, (p50, p95) in self.statistics.percentiles().items():
            values |= {f"{stage}.p50_ms": f"{p50:.2f}", f"{stage}.p95_ms": f"{p95:.2f}"}
        level, text = DiagnosticStatus.OK, "no frames yet"
        if self._silent:
            level, text = DiagnosticStatus.WARN, "; ".join(self._silent.values())
        elif figures["frames"]:
            every = figures["figures"]["all"]
            text = f"{figures['frames']} frames, RMSE {every['rmse']:.4f} m, MAE {every['mae']:.4f} m"
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        status = DiagnosticStatus(level=level, name=f"{name}: evaluation", message=text, hardware_id=name)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message.status = [status]
        self._diagnostics.publish(message)


def _figures(model: str, scores: Scores) -> dict[str, Any]:
    """The figures of a model for ``~/metrics``; JSON has no NaN."""
    strata = scores.metric.compute()
    return {
        "model": model,
        "frames": scores.metric.frames,
        "pixels": strata["all"]["pixels"],
        "missing": scores.missing,
        "figures": {
            stratum: {name: strata[stratum][name] if isfinite(strata[stratum][name]) else None for name in _FIGURES}
            for stratum in _STRATA
        },
    }
