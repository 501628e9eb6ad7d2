"""The one declaration of parameters: what it takes, what it refuses, and that documents and profiles agree with it."""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import pytest
import yaml

from depth_completion_ros.cameras import FILE_NAME as CAMERAS
from depth_completion_ros.contract import DEFAULT_NETWORK
from depth_completion_ros.node.parameter_files import unused_files
from depth_completion_ros.node.parameters import PARAMETERS, NodeParameters, markdown_table

ROOT = Path(__file__).resolve().parent.parent
PROFILES = [path for path in sorted((ROOT / "config").glob("*.yaml")) if path.name != CAMERAS]
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
def test_invalid_values_are_rejected_with_name_type_and_allowed_values(name, given):
    with pytest.raises(ValueError) as caught:
        PARAMETERS[name].checked(given)
    assert f"parameter {name} is {given!r}" in str(caught.value)
    assert PARAMETERS[name].allowed in str(caught.value)
    assert PARAMETERS[name].type_name in str(caught.value)


def test_limits_include_their_end_points_and_nothing_beyond():
    for parameter in PARAMETERS.values():
        if parameter.limits is not None:
            low, high = (type(parameter.default)(limit) for limit in parameter.limits)
            step = 1 if isinstance(parameter.default, int) else 1e-9
            assert (parameter.checked(low), parameter.checked(high)) == (low, high)
            for beyond in (low - step, high + max(step, step * high)):
                with pytest.raises(ValueError):
                    parameter.checked(beyond)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_the_shipped_profiles_set_only_what_is_declared_and_fits(path):
    """Read with the YAML library alone: what ROS would hand to the node."""

    def flat(tree, prefix=""):
        for name, value in tree.items():
            yield from flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]

    parameters = dict(flat(yaml.safe_load(path.read_text(encoding="utf-8"))["/**"]["ros__parameters"]))
    assert parameters
    for name, value in parameters.items():
        assert PARAMETERS[name].checked(value) == value


def test_the_table_has_one_complete_row_for_each_parameter():
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
def test_overrides_that_do_not_fit_are_rejected_one_by_one_and_the_defaults_taken(declared):
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
def test_overrides_that_contradict_each_other_are_rejected_and_the_defaults_taken(declared, overrides):
    node, parameters, refused = declared(**overrides)
    assert {name: parameters[name] for name in overrides} == {name: PARAMETERS[name].default for name in overrides}
    assert len(refused) == 1
    agree(node, parameters)


@pytest.mark.ros
def test_a_change_is_applied_completely_or_not_at_all(declared):
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


@pytest.fixture
def started():
    """Makes a completion node from ROS arguments, as its process does, and not yet configured."""
    rclpy = pytest.importorskip("rclpy")
    from depth_completion_ros.node.completion_node import CompletionNode

    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def start(*arguments):
        given = ["--ros-args", "-p", "autostart:=false", *arguments]
        nodes.append(CompletionNode(context=context, cli_args=given, use_global_arguments=False))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()
        node.destroy_node()
    rclpy.shutdown(context=context)


def dumped(node) -> str:
    """The text that ``ros2 param dump`` writes."""
    tree: dict = {}
    for name, parameter in node.get_parameters_by_prefix("").items():
        *groups, last = name.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[last] = list(parameter.value) if isinstance(parameter.value, array) else parameter.value
    return yaml.safe_dump({node.get_fully_qualified_name(): {"ros__parameters": tree}})


@pytest.mark.ros
@pytest.mark.parametrize(("name", "problems"), [("extrinsic", 0), ("fill_only", 1), ("sync.slop", 1), ("no_such", 1)])
def test_an_empty_list_does_not_end_the_node(started, name, problems):
    """It has no type: the extrinsic takes it as its default, of the others it is refused."""
    node = started("-p", f"{name}:=[]")
    assert node.statistics.problems()["parameter"] == problems
    assert node.parameters.as_dict() == {each: PARAMETERS[each].default for each in PARAMETERS} | {"autostart": False}
    assert node.has_parameter(name) == (name in PARAMETERS)
    agree(node, node.parameters)


@pytest.mark.ros
@pytest.mark.parametrize("extrinsic", [[], POSE])
def test_output_of_ros2_param_dump_is_accepted_as_a_parameter_file(started, tmp_path, extrinsic):
    first = started("-p", "sync.slop:=0.03", *(["-p", f"extrinsic:={extrinsic}"] if extrinsic else []))
    first.trigger_configure()  # declares the QoS of the outputs
    path = tmp_path / "dump.yaml"
    path.write_text(dumped(first))
    assert f"extrinsic: {[]}" in path.read_text(encoding="utf-8") or extrinsic
    second = started("--params-file", str(path))
    second.trigger_configure()
    assert second.statistics.problems() == {}
    assert second.parameters.as_dict() == first.parameters.as_dict()
    assert second.parameters["extrinsic"] == extrinsic
    assert dumped(second) == path.read_text(encoding="utf-8")


@pytest.mark.ros
def test_every_parameter_has_its_type_and_its_range(started):
    """Tools show them: rqt_reconfigure makes sliders of ranges."""
    from rclpy.parameter import Parameter

    types = {bool: "BOOL", int: "INTEGER", float: "DOUBLE", str: "STRING", list: "DOUBLE_ARRAY"}
    node = started()
    for name, parameter in PARAMETERS.items():
        descriptor = node.describe_parameter(name)
        assert Parameter.Type(descriptor.type).name == types[type(parameter.default)], name
        assert not descriptor.dynamic_typing
        assert descriptor.read_only != parameter.dynamic
        ranges = [(each.from_value, each.to_value) for each in descriptor.integer_range]
        ranges += [(each.from_value, each.to_value) for each in descriptor.floating_point_range]
        assert ranges == ([] if parameter.limits is None else [parameter.limits])


@pytest.mark.ros
@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("use_sim_time", "1", False),
        ("start_type_description_service", "perhaps", True),
        ("qos_overrides./depth_completion/depth.publisher.reliability", "now_and_then", "reliable"),
        ("qos_overrides./depth_completion/depth.publisher.depth", "0", 2),
        ("qos_overrides./depth_completion/sigma.publisher.history", "3", "keep_last"),
        ("qos_overrides./rgb/image_rect_color.subscription.reliability", "x", "best_effort"),
        ("qos_overrides./rgb/camera_info.subscription.depth", "many", 2),
    ],
)
def test_a_wrong_value_of_what_rclpy_declares_is_rejected_and_the_node_starts(started, name, value, taken):
    node = started("-p", f"{name}:={value}")
    assert node.statistics.problems() == {"parameter": 1}
    assert node.get_parameter(name).value == taken
    node.trigger_configure()
    node.trigger_activate()
    assert node.get_subscriptions_info_by_topic("/rgb/image_rect_color")
    assert node.get_publishers_info_by_topic("/depth_completion/depth")


@pytest.mark.ros
@pytest.mark.parametrize("value", [[], [0, 0, 0, 0, 0, 0, 1]])
def test_a_list_is_accepted_with_any_type_that_tools_give_it(started, value):
    """``ros2 param set`` sends [] as booleans and whole numbers as integers."""
    from rclpy.parameter import Parameter

    node = started("-p", f"extrinsic:={POSE}")
    kind = Parameter.Type.INTEGER_ARRAY if value else Parameter.Type.BOOL_ARRAY
    assert node.set_parameters([Parameter("extrinsic", kind, value)])[0].successful
    assert node.parameters["extrinsic"] == [float(number) for number in value]
    assert node.get_parameter("extrinsic").type_ == Parameter.Type.DOUBLE_ARRAY


@pytest.mark.ros
@pytest.mark.parametrize(
    ("engine", "model", "listed"),
    [
        ("classical", "no_such_model", ["guided", "nearest"]),
        ("auto", "no_such_model", ["guided", f"{DEFAULT_NETWORK}-small-int8-dynamic"]),
        ("openvino", "guided", [f"{DEFAULT_NETWORK}-small-int8-dynamic"]),
        ("torch", "lite-enormous", ["lite", "nlspn"]),
    ],
)
def test_a_model_that_does_not_exist_is_rejected_with_the_list(started, engine, model, listed):
    from rclpy.parameter import Parameter

    node = started("-p", f"engine:={engine}")
    (result,) = node.set_parameters([Parameter("model", value=model)])
    assert not result.successful
    assert all(word in result.reason for word in [repr(model), "auto", *listed])
    assert node.parameters["model"] == node.get_parameter("model").value == "auto"
    assert node.statistics.problems() == {"parameter": 1}


@pytest.mark.ros
@pytest.mark.parametrize(
    ("engine", "model"),
    [
        ("classical", "nearest"),
        ("auto", DEFAULT_NETWORK),
        ("openvino", f"{DEFAULT_NETWORK}-small-int8"),
        ("torch", "nlspn-small"),
    ],
)
def test_existing_models_are_accepted(started, engine, model):
    from rclpy.parameter import Parameter

    node = started()
    both = [Parameter("engine", value=engine), Parameter("model", value=model)]
    assert node.set_parameters_atomically(both).successful
    assert (node.parameters["engine"], node.parameters["model"]) == (engine, model)


def test_the_documentation_shows_the_generated_table():
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert markdown_table() in page, "put the output of `depth-completion parameters` into docs/parameters.md"


def test_the_readme_shows_ten_parameters_with_their_defaults():
    defaults = {name: default for name, _, default, *_ in table_rows(markdown_table())}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Parameters\n")[2].partition("\n## ")[0]
    shown = {name: default for name, default, _ in table_rows(section)}
    assert len(shown) == 10
    assert shown.items() <= defaults.items()


def table_rows(text: str) -> list[list[str]]:
    """The cells of the rows of a Markdown table that begin with a name in backticks."""
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(
    ("text", "node", "used"),
    [
        ("/**: {ros__parameters: {fill_only: true}}", "/camera/depth_completion", True),
        ("/**/depth_completion: {ros__parameters: {}}", "/a/b/depth_completion", True),
        ("/*: {ros__parameters: {}}", "/depth_completion", True),
        ("/*: {ros__parameters: {}}", "/camera/depth_completion", False),
        ("depth_completion: {ros__parameters: {}}", "/depth_completion", True),
        ("depth_completion: {ros__parameters: {}}", "/camera/depth_completion", False),
        ("camera: {depth_completion: {ros__parameters: {}}}", "/camera/depth_completion", True),
        ("{/other: {ros__parameters: {}}, /depth_completion: {ros__parameters: {}}}", "/depth_completion", True),
        ("/other: {ros__parameters: {}}", "/depth_completion", False),
        ("", "/depth_completion", True),
    ],
)
def test_a_parameter_file_for_other_nodes_only_causes_a_warning(tmp_path, text, node, used):
    file = tmp_path / "p.yaml"
    file.write_text(text)
    lines = unused_files(["--ros-args", "-p", "a:=1", "--params-file", str(file), "--params-file", str(file)], node)
    if used:
        assert lines == []
        return
    (line,) = lines
    assert str(file) in line and f"this node is called {node}" in line
    file.write_text(re.sub(r"^[^:]+:", re.search(r"begin the file with '([^']+)'", line)[1], text))
    assert unused_files(["--params-file", str(file)], node) == []
