"""The single declaration of all node parameters, from which the node declares, checks and documents them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..depth_hold import HOLDS
from ..engines import ENGINES, check_model
from ..errors import ConfigurationError
from ..geometry import transform_from_pose
from ..holdout import LARGEST_SHARE
from ..smoothing import SMOOTHINGS
from ..synchronizer import LARGEST_OFFSET_S
from ..temporal import MOTIONS

Value = Any  # str, bool, int, float or list[float], as declared


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: Flat name, for example "depth.max_range".
        default: Default value; its type is the type of the parameter.
        description: What the parameter does, for the table and for tools such as rqt_reconfigure.
        unit: Unit as printed; empty if there is none.
        limits: Smallest and largest allowed value.
        choices: Allowed values of a string.
        lengths: Allowed lengths of a list.
        check: Further check of a valid list that is not empty; raises ValueError.
        dynamic: Whether the parameter can be changed while the node runs.
    """

    name: str
    default: Value
    description: str
    unit: str = ""
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] | None = None
    lengths: tuple[int, ...] | None = None
    check: Callable[[list[float]], object] | None = None
    dynamic: bool = False

    @property
    def type_name(self) -> str:
        return {bool: "bool", int: "integer", float: "double", str: "string", list: "double[]"}[type(self.default)]

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        unit = f" {self.unit}" if self.unit else ""
        if self.choices is not None:
            return ", ".join(self.choices)
        if self.lengths is not None:
            return " or ".join(f"{length} numbers" if length else "empty" for length in self.lengths)
        if self.limits is not None:
            return f"{self.limits[0]:g} to {self.limits[1]:g}{unit}"
        return "true, false" if isinstance(self.default, bool) else "any"

    def checked(self, value: Any) -> Value:
        """The value in its declared type; an integer is accepted for a double.

        Raises:
            ValueError: If the value is not allowed. The message says which values are.
        """
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        fits = type(value) is type(self.default)
        if fits and isinstance(value, list):
            fits = (self.lengths is None or len(value) in self.lengths) and all(map(_is_finite_number, value))
        elif fits and self.choices is not None:
            fits = value in self.choices
        elif fits and self.limits is not None:
            fits = self.limits[0] <= value <= self.limits[1]
        if not fits:
            raise ValueError(
                f"parameter {self.name} is {value!r}, but must be of type {self.type_name}, allowed: {self.allowed}"
            )
        if not isinstance(value, list):
            return value
        numbers = [float(item) for item in value]
        if numbers and self.check is not None:
            try:
                self.check(numbers)
            except ValueError as error:
                raise ValueError(f"parameter {self.name} is {value!r}, but {error}") from error
        return numbers


def _is_finite_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("profile", "kinect", "Name of the sensor profile, shown in diagnostics"),
        Parameter(
            "engine",
            "auto",
            "Engine that runs the model; auto = the best one on this machine",
            choices=ENGINES,
            dynamic=True,
        ),
        Parameter("model", "auto", "Name of a method, or path of a network file; auto = the best one", dynamic=True),
        Parameter(
            "allow_untrained", False, "Whether networks with random weights may be used, for tests", dynamic=True
        ),
        Parameter("threads", 0, "Number of CPU threads of the engine; 0 = library default", limits=(0, 256)),
        Parameter(
            "concurrent_frames",
            0,
            "Number of frames that engine openvino completes at the same time. More of them complete more frames per "
            "second, but each frame takes longer. 0 = 2 if a frame takes longer than 20 ms on this machine, else 1",
            limits=(0, 4),
        ),
        Parameter(
            "working_pixels",
            0,
            "Images with more pixels are completed at a half, a third, … of their size and then enlarged with the "
            "measured depth. 0 = 400000 with engine openvino, no limit with the others",
            limits=(0, 100_000_000),
            dynamic=True,
        ),
        Parameter("rgb.transport", "raw", "Transport of the RGB image", choices=("raw", "compressed")),
        Parameter(
            "rectify",
            "auto",
            "How to treat distorted images. auto: use the distortion in camera_info and return depth for the image as "
            "it is; on: rectify the image first; off: treat the image as rectified, whatever camera_info says",
            choices=("auto", "on", "off"),
            dynamic=True,
        ),
        Parameter(
            "depth.transport",
            "raw",
            "Transport of the depth image",
            choices=("raw", "compressedDepth", "compressed"),
        ),
        Parameter(
            "depth.source",
            "image",
            "Source of depth: a depth image, or a point cloud that is projected into the RGB image",
            choices=("image", "points"),
        ),
        Parameter(
            "depth.registered",
            True,
            "Whether the depth image shows the same view as RGB. false: the depth image is reprojected into the RGB "
            "image, using both camera_infos and the extrinsic",
        ),
        Parameter(
            "depth.hold",
            "exact",
            "Which depth an image is completed with. exact: depth with the same stamp, up to sync.slop; images without "
            "such depth are dropped. latest: the closest depth so far, for sensors with a lower rate than the camera. "
            "It is moved with the camera if the pose of the camera in temporal.fixed_frame is known",
            choices=HOLDS,
        ),
        Parameter(
            "depth.min_range",
            0.3,
            "Smallest measured depth; pixels at this depth or nearer count as missing",
            "m",
            (0.0, 1000.0),
            dynamic=True,
        ),
        Parameter(
            "depth.max_range",
            10.0,
            "Largest measured depth; pixels at this depth or farther count as missing",
            "m",
            (0.01, 1000.0),
            dynamic=True,
        ),
        Parameter(
            "depth.unit",
            0.0,
            "Length of one count of the depth image or the points; 0 = 0.001 for 16-bit images, 1 for 32FC1 and points",
            "m",
            (0.0, 1.0),
            dynamic=True,
        ),
        Parameter(
            "extrinsic",
            [],
            "Pose of the depth camera or LiDAR in the RGB optical frame: x y z [m] qx qy qz qw; empty = from tf",
            lengths=(0, 7),
            check=lambda pose: transform_from_pose(np.array(pose)),
            dynamic=True,
        ),
        Parameter("noise.constant", 0.0012, "Standard deviation of the sensor: constant part", "m", (0.0, 1.0)),
        Parameter(
            "noise.linear", 0.0, "Standard deviation of the sensor: part proportional to depth", "m/m", (0.0, 1.0)
        ),
        Parameter(
            "noise.quadratic",
            0.001425,
            "Standard deviation of the sensor: part proportional to depth²",
            "m/m²",
            (0.0, 1.0),
        ),
        Parameter(
            "sync.method",
            "nearest",
            "Synchroniser: nearest is built in; message_filters needs the ROS package of that name",
            choices=("nearest", "message_filters"),
        ),
        Parameter(
            "sync.slop",
            0.02,
            "Largest difference between the stamps of RGB and depth in a pair",
            "s",
            (0.0, 10.0),
            dynamic=True,
        ),
        Parameter(
            "sync.depth_offset",
            0.0,
            "Time added to the stamps of depth, for clocks that differ by a known time",
            "s",
            (-LARGEST_OFFSET_S, LARGEST_OFFSET_S),
            dynamic=True,
        ),
        Parameter(
            "sync.queue_size",
            0,
            "Number of messages of each stream that wait for a partner; 0 = all messages of the last second",
            limits=(0, 1000),
        ),
        Parameter(
            "temporal.motion",
            "auto",
            "Source of the motion of the camera, which is needed to recall what earlier frames measured. static: it "
            "does not move; tf: its pose in temporal.fixed_frame; odometry: estimated from the frames; auto: tf if the "
            "pose is known, else odometry if the machine has at least four cores; off: nothing is recalled",
            choices=MOTIONS,
        ),
        Parameter("temporal.fixed_frame", "odom", "Frame that does not move, in which tf knows the pose of the camera"),
        Parameter(
            "temporal.max_age",
            1.0,
            "Time after which a measurement is forgotten, also by depth.hold latest",
            "s",
            (0.0, 60.0),
            dynamic=True,
        ),
        Parameter(
            "temporal.smoothing",
            "filled",
            "Which pixels are averaged over time where colour and depth stay the same. filled: those that are not "
            "measured; all: measured ones too, unless fill_only is set; off: none. Needs a known motion of the camera",
            choices=SMOOTHINGS,
            dynamic=True,
        ),
        Parameter("fill_only", False, "Whether measured pixels keep their measured depth", dynamic=True),
        Parameter(
            "min_confidence",
            0.0,
            "Pixels with a lower confidence are published as missing",
            "",
            (0.0, 1.0),
            dynamic=True,
        ),
        Parameter(
            "max_age",
            0.0,
            "Frames whose stamp is older than this are dropped; 0 = no limit",
            "s",
            (0.0, 3600.0),
            dynamic=True,
        ),
        Parameter(
            "output.encoding",
            "32FC1",
            "Encoding of the published depth: 32FC1 = metres, NaN where missing; 16UC1 = millimetres, 0 where missing",
            choices=("32FC1", "16UC1"),
            dynamic=True,
        ),
        Parameter(
            "holdout",
            0.0,
            "Share of the measured pixels that is hidden from completion, in blocks, and published on ~/holdout, so "
            "that the evaluator can score the depth there; 0 = off. Depth is worse with it",
            limits=(0.0, LARGEST_SHARE),
            dynamic=True,
        ),
        Parameter(
            "watchdog.timeout",
            2.0,
            "Time without messages after which an input is reported as silent",
            "s",
            (0.1, 3600.0),
            dynamic=True,
        ),
        Parameter(
            "autostart",
            True,
            "Whether the node configures and activates itself at start; false: it waits for a lifecycle manager",
        ),
    )
}
# The engine is opened again when one of these changes.
ENGINE_PARAMETERS = frozenset({"engine", "model", "allow_untrained"})
# Parameters that rclpy itself declares. An override of the wrong type would end the node.
_FOREIGN = {"use_sim_time": False, "start_type_description_service": True}
_QOS_PREFIX = "qos_overrides."
_QOS_POLICIES = {
    "reliability": ("reliable", "best_effort"),
    "durability": ("volatile", "transient_local"),
    "history": ("keep_last", "keep_all"),
}


def untyped_as_dynamic(parameters: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Tuples for ``declare_parameters`` in which overrides without a type (empty lists) get dynamic typing.

    Without it, rclpy raises an exception for such an override, which ends the node.
    """
    from rcl_interfaces.msg import ParameterDescriptor

    return [
        (*parameter[:2], ParameterDescriptor(dynamic_typing=True)) if parameter[1:2] == (None,) else parameter
        for parameter in parameters
    ]


class NodeParameters:
    """The checked parameters of a running node by flat name, for example ``parameters["sync.slop"]``."""

    def __init__(
        self,
        node: Any,
        refused: Callable[[str], None],
        declared: dict[str, Parameter] = PARAMETERS,
    ):
        """Declare all parameters on ``node``, which must have declared its overrides automatically.

        Invalid overrides are rejected and the default is used; unknown parameters are rejected.

        Args:
            node: The rclpy node.
            refused: Called with a message for each rejected value.
            declared: The parameters by name; those of the completion node by default.
        """
        self._refused = refused
        self._declared = declared
        self._values: dict[str, Value] = {}
        self._take_overrides(node)
        self._declare(node)
        self._check_foreign(node)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def as_dict(self) -> dict[str, Value]:
        return dict(self._values)

    def typed(self, parameters: Iterable[Any]) -> list[Any]:
        """The rclpy parameters converted to their declared types: 1 is accepted for 1.0, and empty lists get a type.

        Raises:
            ValueError: If a value is not allowed. The message says which values are.
        """
        try:
            return [
                _ros_parameter(each.name, self._declared[each.name].checked(_plain(each.value)))
                if each.name in self._declared
                else each
                for each in parameters
            ]
        except ValueError as error:
            self._refused(str(error))
            raise

    def change(self, parameters: Iterable[Any]) -> str | None:
        """Check and apply new values of rclpy parameters, all or none.

        Returns:
            None if they were applied. Otherwise the error message; the previous values are kept.
        """
        changed = dict(self._values)
        given = {each.name: _plain(each.value) for each in parameters if each.name in self._declared}
        try:
            for name, value in given.items():
                changed[name] = self._declared[name].checked(value)
            _check_together(changed)
            if "model" in given:
                check_model(changed["engine"], changed["model"])
        except (ValueError, ConfigurationError) as error:
            self._refused(str(error))
            return str(error)
        self._values = changed
        return None

    def _take_overrides(self, node: Any) -> None:
        for name, parameter in self._declared.items():
            self._values[name] = parameter.default
            if node.has_parameter(name):
                value = _plain(node.get_parameter(name).value)
                try:
                    # rclpy returns an empty list, which has no type, as None.
                    self._values[name] = parameter.checked([] if value is None and parameter.lengths else value)
                except ValueError as error:
                    self._refused(f"{error}; using the default {parameter.default!r}")
        try:
            _check_together(self._values)
        except ValueError as error:
            self._values |= {name: self._declared[name].default for name in _CHECKED_TOGETHER}
            self._refused(f"{error}; using the defaults of {', '.join(_CHECKED_TOGETHER)}")

    def _declare(self, node: Any) -> None:
        for name, parameter in self._declared.items():
            if node.has_parameter(name):
                node.undeclare_parameter(name)  # it has the type of the override
            _declare(node, name, self._values[name], _descriptor(parameter))
        for name in node.get_parameters_by_prefix(""):
            if name not in self._declared and name not in _FOREIGN and not name.startswith(_QOS_PREFIX):
                close = difflib.get_close_matches(name, self._declared, 1)
                self._refused(f"unknown parameter {name}" + (f": did you mean {close[0]}?" if close else " is ignored"))
                node.undeclare_parameter(name)

    def _check_foreign(self, node: Any) -> None:
        """Check the parameters that rclpy declares and reads itself; a wrong one would prevent making a publisher."""
        for name, parameter in node.get_parameters_by_prefix("").items():
            wrong = _foreign_problem(name, parameter.value)
            if wrong is not None:
                allowed, default = wrong
                self._refused(f"parameter {name} is {parameter.value!r}, but must be {allowed}; using {default!r}")
                node.undeclare_parameter(name)
                _declare(node, name, default)


def _foreign_problem(name: str, value: Any) -> tuple[str, Value] | None:
    """The allowed values in words and the default of rclpy's own parameter; None if its value is valid."""
    if name in _FOREIGN:
        return None if isinstance(value, bool) else ("a bool (true or false)", _FOREIGN[name])
    if not name.startswith(_QOS_PREFIX):
        return None
    policy = name.rpartition(".")[2]
    if policy == "depth":
        return None if type(value) is int and value > 0 else ("an integer above 0", 2)
    choices = _QOS_POLICIES.get(policy)
    if choices is None or value in choices:
        return None
    of_input = policy == "reliability" and ".subscription" in name
    return " or ".join(choices), "best_effort" if of_input else choices[0]


def _declare(node: Any, name: str, value: Value, descriptor: Any = None) -> None:
    """Declare a parameter with the type of ``value`` instead of the type of its override."""
    if isinstance(value, list):
        from rclpy.node import Node
        from rclpy.parameter import Parameter as RosParameter

        # As a default value, rclpy would take an empty list for a byte array.
        node.declare_parameter(name, RosParameter.Type.DOUBLE_ARRAY, descriptor, ignore_override=True)
        Node.set_parameters_atomically(node, [_ros_parameter(name, value)])
    else:
        node.declare_parameter(name, value, descriptor, ignore_override=True)


def _descriptor(parameter: Parameter) -> Any:
    """The rclpy descriptor, for tools such as rqt_reconfigure, which shows the range as a slider."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        description=f"{parameter.description} [{parameter.unit}]" if parameter.unit else parameter.description,
        additional_constraints=parameter.allowed,
        read_only=not parameter.dynamic,
    )
    if parameter.limits is not None and isinstance(parameter.default, float):
        low, high = parameter.limits
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    elif parameter.limits is not None:
        low, high = parameter.limits
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def _ros_parameter(name: str, value: Value) -> Any:
    from rclpy.parameter import Parameter as RosParameter

    if isinstance(value, list):
        return RosParameter(name, RosParameter.Type.DOUBLE_ARRAY, value)
    return RosParameter(name, value=value)


_CHECKED_TOGETHER = ("depth.min_range", "depth.max_range", "noise.constant", "noise.linear", "noise.quadratic")


def _check_together(values: dict[str, Value]) -> None:
    if not values.keys() >= set(_CHECKED_TOGETHER):
        return  # parameters of another node
    if values["depth.min_range"] >= values["depth.max_range"]:
        raise ValueError(
            f"depth.min_range {values['depth.min_range']:g} m must be smaller than "
            f"depth.max_range {values['depth.max_range']:g} m"
        )
    if values["noise.constant"] + values["noise.linear"] + values["noise.quadratic"] <= 0:
        raise ValueError("noise.constant, noise.linear and noise.quadratic are all 0: set at least one above 0")


def _plain(value: Any) -> Any:
    """The value, with arrays (array.array in rclpy) and tuples as lists."""
    return list(value) if hasattr(value, "typecode") or isinstance(value, tuple) else value


def markdown_table() -> str:
    """The parameters as a Markdown table, for docs/parameters.md."""
    rows = [("parameter", "type", "default", "allowed", "can change while running", "description"), ("---",) * 6]
    for p in PARAMETERS.values():
        default = str(p.default).lower() if isinstance(p.default, bool) else str(p.default)
        default = f"{default} {p.unit}".rstrip()
        rows.append((f"`{p.name}`", p.type_name, default, p.allowed, "yes" if p.dynamic else "no", p.description))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
