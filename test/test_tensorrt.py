"""Every network builds with TensorRT-RTX, which can build without a GPU, and errors are reported with a fix.

An engine can only be loaded with a GPU. Inputs, outputs, types and layers are therefore checked on the network
definition. TensorRT keeps its types in the engine, because the definition is strongly typed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks that engines are built from need PyTorch")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")

from network_files import (  # noqa: E402
    HEIGHT,
    WIDTH,
    feed_of,
    file_for_any_size,
    network_file,
    plain_file,
    random_frame,
    relabelled,
)
from test_networks import stirred  # noqa: E402

from depth_completion_ros import cli  # noqa: E402
from depth_completion_ros.contract import INPUTS, OUTPUTS  # noqa: E402
from depth_completion_ros.engines import Progress  # noqa: E402
from depth_completion_ros.engines.classical import ClassicalEngine  # noqa: E402
from depth_completion_ros.engines.cuda import Gpu  # noqa: E402
from depth_completion_ros.engines.tensorrt import TensorRtEngine  # noqa: E402
from depth_completion_ros.engines.tensorrt_build import (  # noqa: E402
    DIRECTORY_VARIABLE,
    Sizes,
    build_engine,
    ensure_engine,
    read_network,
    target_of,
)
from depth_completion_ros.engines.tensorrt_library import load_library, make_log  # noqa: E402
from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.model_file import ModelFile, read_model_file  # noqa: E402
from depth_completion_ros.networks import names  # noqa: E402
from depth_completion_ros.node.engine_loader import EngineLoader  # noqa: E402
from depth_completion_ros.profiles import load_profile  # noqa: E402

try:
    trt = load_library()
    TARGET = target_of(trt)  # needs a GPU with TensorRT, but not with TensorRT-RTX
except ConfigurationError as missing:
    pytest.skip(str(missing), allow_module_level=True)
try:
    Gpu()
    NO_GPU = ""
except ConfigurationError as missing:
    NO_GPU = str(missing)


def network(name: str, precision: str = "fp16") -> ModelFile:
    return read_model_file(network_file(name, precision))


def definition(file: ModelFile):
    """Return TensorRT's network definition of a file, and the objects that it needs to stay alive."""
    log = make_log(trt)
    builder = trt.Builder(log)
    return read_network(trt, builder, file, log), builder, log


def layers(graph, *kinds):
    return [layer for i in range(graph.num_layers) if (layer := graph.get_layer(i)).type in kinds]


def tensors(graph):
    """Return shape and type of inputs and outputs by name, in order."""
    inputs = [graph.get_input(i) for i in range(graph.num_inputs)]
    outputs = [graph.get_output(i) for i in range(graph.num_outputs)]
    return {tensor.name: (tuple(tensor.shape), tensor.dtype) for tensor in inputs + outputs}


@pytest.mark.parametrize("name", names())
def test_every_network_builds_in_half_precision(name):
    assert len(build_engine(trt, network(name), TARGET)) > 1_000_000


@pytest.mark.parametrize("name", names())
def test_every_network_follows_the_contract_and_computes_convolutions_in_half_precision(name):
    graph, *_ = definition(network(name))
    shape = (1, 1, HEIGHT, WIDTH)
    assert tensors(graph) == {
        "image": ((1, 3, HEIGHT, WIDTH), trt.float32),
        "depth": (shape, trt.float32),
        "scale": ((1, 1, 1, 1), trt.float32),
        "completed": (shape, trt.float32),
        "sigma": (shape, trt.float32),
    }
    assert tuple(tensors(graph)) == INPUTS + OUTPUTS
    convolutions = layers(graph, trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
    half = [layer for layer in convolutions if layer.get_output(0).dtype == trt.float16]
    assert len(half) > 0.7 * len(convolutions)  # those of the prefill stay in float32
    assert graph.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_propagation_samples_at_float32_coordinates():
    """In float16, coordinates in a wide image would be off by whole pixels."""
    graph, *_ = definition(network("nlspn"))
    samplers = layers(graph, trt.LayerType.GRID_SAMPLE)
    assert len(samplers) >= 18
    assert {layer.get_input(1).dtype for layer in samplers} == {trt.float32}


def test_full_precision_builds_and_contains_no_half_precision():
    file = network("lite", "fp32")
    graph, *_ = definition(file)
    assert trt.float16 not in {
        layer.get_output(0).dtype for layer in layers(graph, *trt.LayerType.__members__.values())
    }
    assert len(build_engine(trt, file, TARGET)) > 1_000_000


def test_network_for_any_size_builds_with_a_profile_of_sizes():
    file = read_model_file(file_for_any_size())
    graph, *_ = definition(file)
    assert tensors(graph)["depth"] == ((1, 1, -1, -1), trt.float32)
    plan = build_engine(trt, file, TARGET, Sizes((64, 64), (96, 128), (128, 160)))
    assert len(plan) > 1_000_000
    with pytest.raises(ConfigurationError, match=r"cannot build it"):
        build_engine(trt, file, TARGET, Sizes((128, 160), (96, 128), (64, 64)))


@pytest.mark.skipif(not hasattr(trt, "ComputeCapability"), reason="TensorRT builds for the GPU it runs on only")
def test_unsupported_gpus_are_reported_before_building():
    """TensorRT-RTX has no float32 matrix products for Turing, and the networks' prefill needs them."""
    with pytest.raises(ConfigurationError, match=r"Turing.*not supported"):
        build_engine(trt, network("lite", "fp32"), "Turing")


def test_progress_never_decreases_and_ends_at_one():
    reports = []
    build_engine(trt, network("srgan"), TARGET, progress=lambda *report: reports.append(report))
    phases, done = zip(*reports, strict=True)
    assert len(set(phases)) > 3
    assert len(set(done)) > 10
    assert list(done) == sorted(done)
    assert done[0] == 0
    assert done[-1] == 1


def test_an_exception_from_progress_aborts_the_build(tmp_path):
    stop = threading.Event()
    calls = []

    def progress(phase: str, done: float) -> None:
        calls.append(done)
        if len(calls) == 5:
            stop.set()
        if stop.is_set():
            raise InterruptedError("the node is shutting down")

    with pytest.raises(InterruptedError, match="shutting down"):
        ensure_engine(trt, network("lite"), directory=tmp_path, progress=progress)
    assert max(calls) < 0.5
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def loader(tmp_path) -> Iterator[tuple[EngineLoader, list[float]]]:
    """Return the node's loader and the progress of the build at each report.

    "tensorrt" builds ``model`` and opens the classical engine instead, because opening a built engine needs a GPU.
    """
    done_parts: list[float] = []

    def open_engine(engine: str, model: str, progress: Progress) -> ClassicalEngine:
        def report(phase: str, done: float) -> None:
            progress(phase, done)
            assert f"loading tensorrt {model}… {100 * done:.0f} %, {phase}" == loader.state
            if not done_parts:
                time.sleep(0.5)  # lets the main thread run
            done_parts.append(done)

        if engine == "tensorrt":
            ensure_engine(trt, network(model), directory=tmp_path, progress=report)
        return ClassicalEngine(profile=load_profile("kinect"))

    loader = EngineLoader(open_engine, failed=pytest.fail)
    yield loader, done_parts
    loader.close()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_loader_state_shows_the_progress_of_a_build(loader, tmp_path):
    loader, done_parts = loader
    loader.request("tensorrt", "srgan")
    wait_until(lambda: loader.state == "ready")
    assert len(set(done_parts)) > 10 and done_parts[-1] == 1
    assert len(list(tmp_path.iterdir())) == 1
    assert loader.take() is not None


def test_another_request_ends_a_build(loader, tmp_path):
    loader, done_parts = loader
    loader.request("tensorrt", "lite")
    wait_until(lambda: "%" in loader.state)
    loader.request("classical", "auto")
    wait_until(lambda: loader.state == "ready")
    assert max(done_parts) < 0.5
    assert loader.take() is not None
    assert list(tmp_path.iterdir()) == []


def test_closing_the_loader_ends_a_build(loader, tmp_path):
    loader, done_parts = loader
    loader.request("tensorrt", "lite")
    wait_until(lambda: "%" in loader.state)
    loader.close()
    assert max(done_parts) < 0.5
    assert loader.take() is None
    assert list(tmp_path.iterdir()) == []


# Sends itself SIGINT when a tenth of the engine is built, and prints the progress at that time.
INTERRUPTED_BUILD = """
import os, signal, sys, time
from depth_completion_ros import cli
from depth_completion_ros.commands import build_engine as command

build, furthest = command.ensure_engine, 0.0

def interrupting(*arguments, progress, **options):
    def report(phase, done):
        global furthest
        if furthest <= 0.1 < done:
            furthest = done
            os.kill(os.getpid(), signal.SIGINT)
            end = time.monotonic() + 60
            while time.monotonic() < end:  # until the main thread has noticed it
                progress(phase, done)
                time.sleep(0.01)
        progress(phase, done)

    return build(*arguments, progress=report, **options)

command.ensure_engine = interrupting
status = cli.main(sys.argv[1:])
print(furthest)
sys.exit(status)
"""


def test_ctrl_c_ends_the_command(tmp_path):
    """TensorRT ignores exceptions that Python raises inside its calls."""
    command = ["build-engine", str(network("lite").path), "--out", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_BUILD, *command], capture_output=True, encoding="utf-8", timeout=300
    )
    assert run.returncode == 130, run.stderr
    assert 0.1 < float(run.stdout) < 1
    assert list(tmp_path.iterdir()) == []


def test_engine_is_built_once_and_kept(tmp_path):
    first = ensure_engine(trt, read_model_file(plain_file()), directory=tmp_path)

    def progress(phase: str, done: float) -> None:
        raise AssertionError("built again")

    assert ensure_engine(trt, read_model_file(plain_file()), directory=tmp_path, progress=progress) == first
    assert list(tmp_path.iterdir()) == [first]


def test_another_network_gets_another_engine(tmp_path):
    """The engine depends on the file's content, not on its name."""
    (tmp_path / "other").mkdir()
    other = relabelled(plain_file(), tmp_path / "other" / plain_file().name, weights=16 * "1")
    first = ensure_engine(trt, read_model_file(plain_file()), directory=tmp_path)
    second = ensure_engine(trt, read_model_file(other), directory=tmp_path)
    assert first != second
    assert first.is_file() and second.is_file()


def test_given_sizes_build_the_engine_again(tmp_path):
    file = read_model_file(plain_file(any_size=True))
    sizes = Sizes((64, 64), (96, 128), (128, 160))
    first = ensure_engine(trt, file, directory=tmp_path, sizes=sizes)
    written = first.stat().st_mtime_ns
    assert ensure_engine(trt, file, directory=tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert ensure_engine(trt, file, directory=tmp_path, sizes=sizes) == first
    assert first.stat().st_mtime_ns > written


def test_graph_cut_short_is_rejected_with_a_fix(tmp_path):
    """The metadata of such a file can be read, but TensorRT cannot read its graph."""
    import onnx

    file = network("lite", "fp32")
    model = onnx.load(file.path)
    del model.graph.node[10:]
    path = tmp_path / "cut.onnx"
    onnx.save(model, path)
    with pytest.raises(ConfigurationError, match=r"cut\.onnx, cannot read it .*export the file again with"):
        build_engine(trt, read_model_file(path), TARGET)


def test_command_builds_the_engine_and_prints_its_path(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "engines"))
    command = ["build-engine", str(plain_file())]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out.strip()
    assert [printed] == [str(path) for path in (tmp_path / "engines").iterdir()]
    assert cli.main([*command, "--out", str(tmp_path / "other")]) == 0
    assert [capsys.readouterr().out.strip()] == [str(path) for path in (tmp_path / "other").iterdir()]


def test_command_rejects_sizes_for_a_network_of_one_size(tmp_path, capsys):
    sizes = ["--profile-sizes", "64x64", "96x128", "128x160"]
    assert cli.main(["build-engine", str(plain_file()), "--out", str(tmp_path), *sizes]) == 1
    assert f"takes images of {WIDTH}x{HEIGHT} pixels only" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["480", "480x", "100x128", "0x32"])
def test_command_rejects_invalid_sizes(size, capsys):
    with pytest.raises(SystemExit):
        cli.main(["build-engine", "lite", "--profile-sizes", size, "96x128", "128x160"])
    assert "multiples of 32" in capsys.readouterr().err


def test_an_engine_directory_that_cannot_be_written_is_reported_with_a_fix(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=DIRECTORY_VARIABLE):
        ensure_engine(trt, read_model_file(plain_file()), directory=tmp_path / "file" / "engines")


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_without_pycuda_driver_or_gpu_the_engine_says_what_is_missing():
    with pytest.raises(ConfigurationError, match=r"(?i)(pycuda|driver|gpu).*or choose another engine"):
        TensorRtEngine(str(network("lite").path), profile=load_profile("kinect"))


def gpu(test):
    return pytest.mark.gpu(pytest.mark.skipif(bool(NO_GPU), reason=NO_GPU)(test))


@pytest.fixture
def open_engine(tmp_path, monkeypatch):
    """Return a function that opens engines, which are built in an empty folder and closed after the test."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    opened = []

    def opener(file: ModelFile) -> TensorRtEngine:
        opened.append(TensorRtEngine(str(file.path), profile=load_profile("kinect")))
        return opened[-1]

    yield opener
    for engine in opened:
        engine.close()


def relative_rmse(answer, truth):
    return np.sqrt(np.mean((answer - truth) ** 2) / np.mean(truth**2))


@gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-3), ("fp16", 1e-2)])
@pytest.mark.parametrize("name", names())
def test_result_equals_pytorch(open_engine, name, precision, tolerance):
    answer, sigma = open_engine(network(name, precision)).run(*random_frame())
    inputs = (torch.from_numpy(array) for array in feed_of(random_frame()).values())
    with torch.no_grad():
        truth, true_sigma = (tensor[0, 0].numpy() for tensor in stirred(name)(*inputs))
    assert relative_rmse(answer, truth) < tolerance
    assert relative_rmse(sigma, true_sigma) < 3 * tolerance


@gpu
def test_frames_do_not_affect_later_frames(open_engine):
    engine = open_engine(network("lite"))
    first = [array.copy() for array in engine.run(*random_frame())]
    assert not np.array_equal(engine.run(*random_frame(seed=1))[0], first[0])
    for again, before in zip(engine.run(*random_frame()), first, strict=True):
        np.testing.assert_array_equal(again, before)


@gpu
def test_engine_can_be_opened_in_one_thread_and_run_and_closed_in_another(open_engine):
    """In the node, the loader's thread opens an engine and the worker's thread runs it."""
    engine = open_engine(network("lite"))
    answers = []
    worker = threading.Thread(target=lambda: answers.append(engine.run(*random_frame())[0].copy()))
    worker.start()
    worker.join()
    np.testing.assert_array_equal(answers[0], engine.run(*random_frame())[0])


@gpu
def test_network_for_any_size_accepts_the_sizes_of_its_profile_and_rejects_others(open_engine, tmp_path):
    file = read_model_file(file_for_any_size())
    ensure_engine(trt, file, directory=tmp_path, sizes=Sizes((64, 64), (96, 128), (128, 160)))
    engine = open_engine(file)
    first = engine.run(*random_frame())[0].copy()
    assert engine.run(*random_frame(128, 160))[0].shape == (128, 160)
    np.testing.assert_array_equal(engine.run(*random_frame())[0], first)
    with pytest.raises(ConfigurationError, match="--profile-sizes"):
        engine.run(*random_frame(160, 160))


@gpu
def test_damaged_engine_is_built_again(open_engine, tmp_path):
    path = ensure_engine(trt, network("lite"), directory=tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    depth, sigma = open_engine(network("lite")).run(*random_frame())
    assert np.isfinite(depth).all()
    assert np.isfinite(sigma).all()
    assert path.stat().st_size > 1000


@gpu
def test_memory_on_the_gpu_is_reported(open_engine):
    file = network("lite")
    assert open_engine(file).device_memory_bytes() > file.path.stat().st_size / 2
