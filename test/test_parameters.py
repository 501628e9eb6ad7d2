"""The one declaration of parameters: what it takes, what it refuses, and that documents and profiles agree with it."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
import yaml

from depth_completion_ros.node.parameters import PARAMETERS, NodeParameters, markdown_table

ROOT = Path(__file__).resolve().parent.parent
NAN, INF = float("nan"), float("inf")
POSE = [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_default_passes_its_own_check_and_is_described(name):
    parameter = PARAMETERS[name]
    assert parameter.name == name
    assert parameter.checked(parameter.default) == parameter.default
    assert parameter.description
    assert parameter.allowed


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("depth.max_range", 5, 5.0),
        ("depth.max_range", 0.01, 0.01),
        ("depth.max_range", 1000.0, 1000.0),
        ("min_confidence", 0, 0.0),
        ("min_confidence", 1, 1.0),
        ("threads", 256, 256),
        ("sync.queue_size", 1, 1),
        ("fill_only", True, True),
        ("output.encoding", "16UC1", "16UC1"),
        ("model", "anything", "anything"),
        ("extrinsic", [], []),
        ("extrinsic", POSE, POSE),
        ("extrinsic", [0, 0, 0, 0, 0, 0, 1], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    ],
)
def test_values_that_fit_are_taken_in_the_declared_type(name, given, taken):
    value = PARAMETERS[name].checked(given)
    assert value == taken
    assert type(value) is type(PARAMETERS[name].default)
    if isinstance(value, list):
        assert all(type(item) is float for item in value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("depth.max_range", 0.0),
        ("depth.max_range", 1000.1),
        ("depth.max_range", -INF),
        ("depth.max_range", INF),
        ("depth.max_range", NAN),
        ("depth.max_range", "10"),
        ("depth.max_range", True),
        ("depth.max_range", None),
        ("depth.max_range", [1.0]),
        ("min_confidence", -0.001),
        ("min_confidence", 1.001),
        ("threads", -1),
        ("threads", 257),
        ("threads", 1.0),
        ("threads", True),
        ("fill_only", 1),
        ("fill_only", "true"),
        ("output.encoding", "rgb8"),
        ("output.encoding", 16),
        ("engine", "warp"),
        ("model", 3),
        ("extrinsic", POSE[:6]),
        ("extrinsic", [*POSE, 0.0]),
        ("extrinsic", [NAN, *POSE[1:]]),
        ("extrinsic", [INF, *POSE[1:]]),
        ("extrinsic", ["0.1"] * 7),
        ("extrinsic", [True] * 7),
        ("extrinsic", "0123456"),
        ("extrinsic", 7),
        ("extrinsic", None),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name_and_with_the_mend(name, given):
    with pytest.raises(ValueError) as caught:
        PARAMETERS[name].checked(given)
    assert f"parameter {name} is {given!r}" in str(caught.value)
    assert PARAMETERS[name].allowed in str(caught.value)
    assert PARAMETERS[name].type_name in str(caught.value)


def test_every_limit_holds_the_value_at_it_and_nothing_beyond():
    for parameter in PARAMETERS.values():
        if parameter.limits is not None:
            low, high = (type(parameter.default)(limit) for limit in parameter.limits)
            step = 1 if isinstance(parameter.default, int) else 1e-9
            assert (parameter.checked(low), parameter.checked(high)) == (low, high)
            for beyond in (low - step, high + max(step, step * high)):
                with pytest.raises(ValueError):
                    parameter.checked(beyond)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_profiles_set_only_what_is_declared_and_fits(path):
    """Read with the YAML library alone: what ROS would hand to the node."""

    def flat(tree, prefix=""):
        for name, value in tree.items():
            yield from flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]

    parameters = dict(flat(yaml.safe_load(path.read_text())["/**"]["ros__parameters"]))
    assert parameters
    for name, value in parameters.items():
        assert PARAMETERS[name].checked(value) == value


def test_the_table_has_one_whole_row_for_each_parameter():
    header, rule, *rows = markdown_table().splitlines()
    assert header.count("|") == rule.count("|") == 7
    for parameter, row in zip(PARAMETERS.values(), rows, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 6, "a bar within a cell breaks the table"
        assert all(cells)
        assert cells[0] == f"`{parameter.name}`"
        assert cells[1] == parameter.type_name
        assert cells[4] == ("yes" if parameter.dynamic else "no")


# A real node, as the declaration is for one


@pytest.fixture
def declared():
    """Makes a node with overrides; returns it, its NodeParameters and what was refused."""
    rclpy = pytest.importorskip("rclpy")
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def declare(**overrides):
        given = [rclpy.Parameter(name, value=value) for name, value in overrides.items()]
        node = rclpy.create_node(
            "parameters",
            context=context,
            parameter_overrides=given,
            automatically_declare_parameters_from_overrides=True,
            start_parameter_services=False,
        )
        nodes.append(node)
        refused = []
        return node, NodeParameters(node, refused.append), refused

    yield declare
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def agree(node, parameters):
    """What ``ros2 param get`` shows is what the node works by."""
    for name, value in parameters.as_dict().items():
        shown = node.get_parameter(name).value
        assert (list(shown) if isinstance(shown, array) else shown) == value, name


@pytest.mark.ros
def test_without_overrides_all_are_declared_with_their_defaults(declared):
    node, parameters, refused = declared()
    assert parameters.as_dict() == {name: parameter.default for name, parameter in PARAMETERS.items()}
    assert refused == []
    agree(node, parameters)


@pytest.mark.ros
def test_overrides_that_do_not_fit_are_refused_one_by_one_and_the_defaults_taken(declared):
    node, parameters, refused = declared(
        **{"depth.max_range": 5, "threads": -1, "extrinsic": ["a"] * 7, "sync.slop": "much", "min_confidnce": 0.5}
    )
    assert parameters["depth.max_range"] == 5.0
    assert parameters["threads"] == 0
    assert parameters["extrinsic"] == []
    assert parameters["sync.slop"] == PARAMETERS["sync.slop"].default
    assert len(refused) == 4
    assert any("min_confidnce: did you mean min_confidence?" in message for message in refused)
    agree(node, parameters)


@pytest.mark.ros
@pytest.mark.parametrize(
    "overrides",
    [
        {"depth.min_range": 5.0, "depth.max_range": 2.0},
        {"noise.constant": 0.0, "noise.linear": 0.0, "noise.quadratic": 0.0},
    ],
    ids=["range", "noise"],
)
def test_overrides_that_contradict_each_other_are_refused_and_the_defaults_taken(declared, overrides):
    node, parameters, refused = declared(**overrides)
    assert {name: parameters[name] for name in overrides} == {name: PARAMETERS[name].default for name in overrides}
    assert len(refused) == 1
    agree(node, parameters)


@pytest.mark.ros
def test_a_change_is_taken_as_a_whole_or_not_at_all(declared):
    from rclpy.parameter import Parameter

    _, parameters, refused = declared()
    before = parameters.as_dict()
    good, bad = Parameter("fill_only", value=True), Parameter("min_confidence", value=2.0)
    assert "min_confidence" in parameters.change([good, bad])
    assert "depth.min_range" in parameters.change([good, Parameter("depth.min_range", value=50.0)])
    assert parameters.as_dict() == before
    assert len(refused) == 2
    assert parameters.change([good, Parameter("extrinsic", value=POSE)]) is None
    assert parameters["fill_only"] is True
    assert parameters["extrinsic"] == POSE


def test_the_readme_shows_the_table():
    assert markdown_table() in (ROOT / "README.md").read_text()
