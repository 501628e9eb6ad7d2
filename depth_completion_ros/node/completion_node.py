"""The completion node: combines inputs, worker, outputs and diagnostics in a lifecycle node."""

from __future__ import annotations

import functools
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from ..frame_builder import FrameBuilder, FrameSettings, MessagePair
from .diagnostics import Diagnostics
from .inputs import Inputs
from .outputs import Outputs
from .parameters import ENGINE_PARAMETERS, NodeParameters, untyped_as_dynamic
from .shared_memory import no_room_for_this_process
from .statistics import Statistics
from .transforms import TfTransforms, transforms_of
from .worker import Worker


class CompletionNode(LifecycleNode):
    """Subscribes to RGB and depth, and publishes dense depth with confidence. docs/ describes topics and parameters.

    In the inactive state it has publishers and an engine; in the active state it also subscribes. With ``autostart``
    it configures and activates itself.
    """

    def __init__(self, **node_arguments: Any):
        super().__init__("depth_completion", automatically_declare_parameters_from_overrides=True, **node_arguments)
        self.statistics = Statistics(lambda text: self.get_logger().warning(text))
        self.parameters = NodeParameters(self, functools.partial(self.statistics.report, "parameter", throttled=False))
        self.add_on_set_parameters_callback(self._on_parameters)
        self._diagnostics = Diagnostics(self, self.statistics, self.parameters["profile"])
        self._worker: Worker | None = None
        self._outputs: Outputs | None = None
        self._transforms: TfTransforms | None = None
        self._inputs: Inputs | None = None
        self._ended = False
        if no_room := no_room_for_this_process():
            self.statistics.report("shared_memory", no_room)
        # A steady clock: diagnostics continue while simulated time is paused.
        self._timer = self.create_timer(1.0, self._each_second, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self.parameters["autostart"]:
            try:
                if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                    self.trigger_activate()
            except Exception:
                self.close()  # running threads would keep the process alive
                raise

    def declare_parameters(self, namespace: str, parameters: Any, ignore_override: bool = False) -> Any:
        """As in rclpy, but also declares overrides without a type (empty lists), which are checked later."""
        return super().declare_parameters(namespace, untyped_as_dynamic(parameters), ignore_override)

    def set_parameters(self, parameter_list: list[Any]) -> list[SetParametersResult]:
        """Set parameters one by one, as in rclpy."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Any]) -> SetParametersResult:
        """As in rclpy, whose parameter services call this; converts values to their declared types first."""
        try:
            return super().set_parameters_atomically(self.parameters.typed(parameter_list))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create publishers and worker. The classical engine serves until the requested one is ready."""
        try:
            self._outputs = Outputs(self)
            if self._needs_tf():
                self._transforms = transforms_of(self)
            topics = {"rgb": "rgb/image_rect_color", "depth": "depth_registered/image_rect"}
            resolved = {role: self.resolve_topic_name(topic) for role, topic in topics.items()}
            settings = FrameSettings.from_parameters(self.parameters.as_dict())
            builder = FrameBuilder(settings, self.statistics.report, self._transforms, resolved, self._transforms)
            clock = self.get_clock()
            self._worker = Worker(
                self.parameters,
                self.statistics,
                builder,
                self._outputs,
                lambda: clock.now().nanoseconds,
                self.get_logger().info,
            )
        except Exception as error:  # rclpy would not log it
            return self._failed("configure", error)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the inputs."""
        try:
            self._inputs = Inputs(self, self.parameters, self.statistics, self._deliver)
        except Exception as error:
            return self._failed("activate", error)
        topics = ", ".join(self._inputs.topics())
        self.get_logger().info(
            f"subscribed to {topics}; publishing {self.get_fully_qualified_name()}/depth and other outputs"
        )
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe from the inputs."""
        self._stop_listening()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the engine and the publishers."""
        self._stop_working()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Join all threads and release everything. Can be called in any state and more than once."""
        self._stop_listening()
        self._stop_working()

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        """Report a failed transition. The node stays in its previous state, and the transition can be repeated."""
        self.statistics.report("lifecycle", f"the node cannot {transition}: {error!r}", throttled=False)
        if transition == "configure":
            self._stop_working()
        return TransitionCallbackReturn.FAILURE

    def _stop_listening(self) -> None:
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None

    def _stop_working(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None

    def _needs_tf(self) -> bool:
        two_frames = self.parameters["depth.source"] == "points" or not self.parameters["depth.registered"]
        return two_frames or self.parameters["temporal.motion"] in ("tf", "auto")

    def _deliver(self, pair: MessagePair) -> None:
        if self._worker is not None and self._worker.mailbox.put(pair):
            self.statistics.drop("overload")

    def _on_parameters(self, parameters: list[Any]) -> SetParametersResult:
        problem = self.parameters.change(parameters)
        if problem is None and self._worker is not None and {p.name for p in parameters} & ENGINE_PARAMETERS:
            self._worker.request_engine()
        return SetParametersResult(successful=problem is None, reason=problem or "")

    def _recording_has_ended(self) -> bool:
        """Whether simulated time was used and /clock has no publisher any more; silence is then no error."""
        simulated = self.get_parameter("use_sim_time").value and self.get_clock().now().nanoseconds > 0
        ended = bool(simulated) and self.count_publishers("/clock") == 0
        if ended and not self._ended:
            self.get_logger().info(
                "/clock has no publisher any more: the recording or simulation has ended; waiting for the next one"
            )
        self._ended = ended
        return ended

    def _each_second(self) -> None:
        silent = self._inputs.check() if self._inputs is not None else {}
        if silent and self._recording_has_ended():
            silent = {}
        for cause, line in silent.items():
            self.statistics.report(cause, line)
        worker = self._worker if self._inputs is not None else None
        self._diagnostics.publish(
            worker.engine if worker is not None else None,
            worker.loader.state if worker is not None else "none",
            list(silent.values()),
            self.parameters["holdout"],
        )
