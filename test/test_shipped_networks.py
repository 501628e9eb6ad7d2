"""The network files in ``models/`` run on a robot without PyTorch and without the libraries for export."""

from __future__ import annotations

import subprocess
import sys

import pytest

from depth_completion_ros.commands.models import best_for
from depth_completion_ros.contract import DEFAULT_NETWORK
from depth_completion_ros.engines import check_model
from depth_completion_ros.engines.tensorrt import TensorRtEngine
from depth_completion_ros.errors import ConfigurationError
from depth_completion_ros.model_file import find_model_file, find_weights_file, read_model_file
from depth_completion_ros.networks import names
from depth_completion_ros.resources import share_directory

MODELS = share_directory() / "models"
FILES = sorted(MODELS.glob("*.onnx"))
MAX_MEGABYTES = 10.5  # total of the files of all networks except the default one

# Makes imports fail as if the packages were not installed.
BLOCK_IMPORTS = """
import sys
for name in ("torch", "onnx", "onnxscript", "onnxruntime", "nncf", "safetensors"):
    sys.modules[name] = None
"""
COMPLETE = """
import numpy as np
from depth_completion_ros import DepthCompleter
from depth_completion_ros.bag.recordings import read_source
from depth_completion_ros.resources import share_directory
completer = DepthCompleter("kinect", "openvino", sys.argv[1], threads=1)
frame = next(iter(read_source(share_directory() / "samples" / "kinect")))
completed = completer.complete(frame)
assert completer.engine.trained
assert np.isfinite(completed.depth).all() and (completed.depth > 0).all() and (completed.sigma > 0).all()
errors = np.abs(completed.depth - frame.depth)[completed.measured]
assert np.median(errors) < 0.02, np.median(errors)
print(completer.engine.model)
"""


def run_without_pytorch(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", BLOCK_IMPORTS + code, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", names())
def test_a_network_selected_by_name_completes_a_frame_without_pytorch(name):
    pytest.importorskip("openvino", reason="the engine under test is OpenVINO")
    pytest.importorskip("rosbags", reason="the sample is a bag")
    assert run_without_pytorch(COMPLETE, name).startswith(f"{name}-small-")


@pytest.mark.parametrize("name", names())
def test_launch_arguments_select_the_shipped_file(name):
    """``model:=NAME`` works alone and with ``engine:=openvino`` or ``engine:=tensorrt``."""
    for engine in ("auto", "openvino", "tensorrt"):
        check_model(engine, name)
    assert find_model_file(name).path.parent == MODELS
    assert find_model_file(name, *TensorRtEngine.precisions).trained


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_are_compact_and_contain_the_shipped_weights(path):
    file = read_model_file(path)
    assert file.trained and file.height is None
    assert b"stack_trace" not in path.read_bytes(), "the file contains paths of the machine that exported it"
    pytest.importorskip("safetensors", reason="weights files need it")
    weights = pytest.importorskip("depth_completion_ros.networks.weights", reason="the weights need PyTorch")
    network = weights.load_weights(find_weights_file(f"{file.name}-{file.size}")).network
    assert file.weights == weights.weights_hash(network)


def test_the_files_of_the_published_networks_are_small():
    files = {part for path in FILES for part in read_model_file(path).paths if DEFAULT_NETWORK not in part.name}
    assert sum(path.stat().st_size for path in files) < MAX_MEGABYTES * 1e6


def test_each_file_of_weights_belongs_to_a_network_file():
    used = {part.name for path in FILES for part in read_model_file(path).weights_files}
    assert {path.name for path in MODELS.glob("*.weights")} == used


def test_each_network_has_a_file_and_a_model_card_with_a_best_for_line():
    assert {read_model_file(path).name for path in FILES} == set(names())
    for path in FILES:
        assert best_for(read_model_file(path)), f"the model card of {path.name} lacks a line 'Best for: ...'"


def test_the_list_of_models_needs_no_pytorch():
    code = "from depth_completion_ros.cli import main\nsys.exit(main(['models']))"
    listed = run_without_pytorch(code)
    for path in FILES:
        assert path.stem in listed and best_for(read_model_file(path)) in listed
    assert "Install PyTorch" in listed


@pytest.mark.parametrize("path", [path for path in FILES if "int8" not in path.name], ids=lambda path: path.stem)
def test_tensorrt_reads_the_file(path):
    """Building an engine for the file takes minutes on a CPU; ``test_tensorrt.py`` builds engines for small images."""
    from depth_completion_ros.engines.tensorrt_build import read_network
    from depth_completion_ros.engines.tensorrt_library import load_library, make_log

    try:
        trt = load_library()
    except ConfigurationError as missing:
        pytest.skip(str(missing))
    log = make_log(trt)
    builder = trt.Builder(log)
    network = read_network(trt, builder, read_model_file(path), log)
    inputs = [network.get_input(i).name for i in range(network.num_inputs)]
    assert inputs == ["image", "depth", "scale"] and network.num_outputs == 2


def test_a_file_without_the_weights_of_its_base_network_is_rejected_with_a_fix(tmp_path):
    shipped = find_model_file("nlspn")
    copy = tmp_path / shipped.path.name
    copy.write_bytes(shipped.path.read_bytes())
    with pytest.raises(ConfigurationError, match=rf"needs {shipped.weights_files[0].name}.*copy it there"):
        read_model_file(copy)
