"""``depth-completion models`` lists every network with its numbers of parameters and operations."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from depth_completion_ros.cli import main  # noqa: E402
from depth_completion_ros.commands.models import cost  # noqa: E402
from depth_completion_ros.model_file import find_weights_file  # noqa: E402
from depth_completion_ros.networks import SIZES, create, method, names  # noqa: E402


def test_models_prints_one_line_for_every_network(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    heading, *lines = printed.partition("training and export:\n\n")[2].splitlines()
    assert "GFLOP at 640x480" in heading
    assert [tuple(line.split()[:2]) for line in lines] == [(name, size) for name in names() for size in SIZES]
    for line in lines:
        name, size = line.split()[:2]
        assert method(name).paper in line and method(name).inputs in line
        assert line.endswith("untrained") == (find_weights_file(f"{name}-{size}") is None)


def test_cost_equals_parameters_and_operations_of_the_network():
    parameters, flops = cost("lite", "small")
    network = create("lite")
    assert parameters == sum(parameter.numel() for parameter in network.parameters())
    # The first convolution alone: 112 to 32 channels, 3x3, on 160x120, two operations for a multiply-add.
    first = 2 * 112 * 32 * 9 * 160 * 120
    assert first < flops < 10 * first
