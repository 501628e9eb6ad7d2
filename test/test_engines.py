"""Every engine gives PyTorch's result for every network and every frame, and rejects files that it cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is PyTorch")
onnx = pytest.importorskip("onnx", reason="the export needs onnx")
pytest.importorskip("onnxscript", reason="the export needs onnxscript")
openvino = pytest.importorskip("openvino", reason="the engine under test is OpenVINO")

from network_files import (  # noqa: E402
    HEIGHT,
    WIDTH,
    feed_of,
    file_for_any_size,
    network_file,
    plain_file,
    random_frame,
    real_frames,
    relabelled,
)
from test_networks import stirred  # noqa: E402

from depth_completion_ros import DepthCompleter, RgbdFrame, model_file  # noqa: E402
from depth_completion_ros.commands.export import relative_difference  # noqa: E402
from depth_completion_ros.contract import DEFAULT_NETWORK  # noqa: E402
from depth_completion_ros.engines import Engine, open_engine  # noqa: E402
from depth_completion_ros.engines import openvino as openvino_module  # noqa: E402
from depth_completion_ros.engines.openvino import _with_vectorised_logarithms  # noqa: E402
from depth_completion_ros.errors import ConfigurationError, EngineError  # noqa: E402
from depth_completion_ros.model_file import find_model_file, find_weights_file, read_model_file  # noqa: E402
from depth_completion_ros.networks import method, names  # noqa: E402
from depth_completion_ros.networks.weights import WeightedNetwork, load_weights, save_weights  # noqa: E402
from depth_completion_ros.profiles import load_profile  # noqa: E402
from depth_completion_ros.resources import PACKAGE  # noqa: E402

PROFILE = load_profile("kinect")
# Relative RMSE of depth compared with PyTorch in float32, for networks with random weights. Limits are several times
# the rounding error of each format, because kernels for other processors round at other places. OpenVINO runs fp16
# files in bfloat16, which has 8 bits of precision instead of 11, if the processor supports it, else in float32.
TOLERANCES = {"fp32": 100 * 2**-23, "fp16": 5 * 2**-8, "w8a16": 5 * 2**-8, "int8": 6 / 127}
# sigma contains an exponential, which magnifies rounding errors
SIGMA_TOLERANCES = {"fp32": 1000 * 2**-23, "fp16": 10 * 2**-8, "w8a16": 20 * 2**-8, "int8": 0.5}
FRAMES = {"random": random_frame(), "real": real_frames()[1]}


def relative_rmse(answer: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(answer - truth)) / np.mean(np.square(truth))))


def reference(name: str, frame: tuple[np.ndarray, np.ndarray, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return depth and sigma of PyTorch in float32."""
    return pytorch_result(stirred(name), frame)


def pytorch_result(
    network: torch.nn.Module, frame: tuple[np.ndarray, np.ndarray, float]
) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        depth, sigma = network(*(torch.from_numpy(value) for value in feed_of(frame).values()))
    return depth[0, 0].numpy(), sigma[0, 0].numpy()


def openvino_engine(model: Path, threads: int = 1) -> Engine:
    return open_engine("openvino", str(model), profile=PROFILE, threads=threads)


COMBINATIONS = [(name, precision) for precision in ("fp32", "fp16") for name in names()]
COMBINATIONS += [("lite", "int8"), ("magaconv", "int8"), ("lite", "w8a16"), ("s2ml", "w8a16")]


@pytest.mark.parametrize(("name", "precision"), COMBINATIONS)
def test_openvino_gives_the_result_of_pytorch(name, precision):
    engine = openvino_engine(network_file(name, precision))
    for frame in FRAMES.values():
        depth, sigma = engine.run(*frame)
        expected_depth, expected_sigma = reference(name, frame)
        assert depth.shape == sigma.shape == (HEIGHT, WIDTH)
        assert relative_rmse(depth, expected_depth) < TOLERANCES[precision]
        assert relative_rmse(sigma, expected_sigma) < SIGMA_TOLERANCES[precision]
    engine.close()


def test_torch_engine_loads_installed_weights_by_name_and_else_uses_random_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_COMPLETION_MODELS", str(tmp_path))
    random = open_engine("torch", "lite-full", profile=PROFILE)
    save_weights(WeightedNetwork(stirred("lite"), PROFILE.name), tmp_path / f"lite-small-{PROFILE.name}.safetensors")
    engine = open_engine("torch", "lite", profile=PROFILE)
    assert (random.trained, random.model, engine.trained) == (False, "lite-full (untrained)", True)
    for frame in FRAMES.values():
        assert relative_rmse(engine.run(*frame)[0], reference("lite", frame)[0]) < 1e-2


@pytest.mark.parametrize("name", names())
def test_float16_graphs_are_within_one_percent(name):
    """ONNX Runtime rounds each operator's result to the type in the file, so it does not compute in bfloat16."""
    pytest.importorskip("onnxruntime", reason="it computes the float16 graph")
    for frame in FRAMES.values():
        assert relative_difference(network_file(name, "fp16"), network_file(name), [feed_of(frame)]) < 0.01


def test_torch_engine_gives_the_result_of_the_network(tmp_path):
    """The engine loads a weights file and runs on the GPU if there is one."""
    path = tmp_path / "lite.pt"
    save_weights(WeightedNetwork(stirred("lite"), "kinect"), path)
    engine = open_engine("torch", str(path), profile=PROFILE)
    assert engine.trained and engine.model == "lite-small"
    for frame in FRAMES.values():
        for answer, expected in zip(engine.run(*frame), reference("lite", frame), strict=True):
            assert relative_rmse(answer, expected) < (
                1e-2 if torch.cuda.is_available() else 1e-3
            )  # the file contains float16
    engine.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
@pytest.mark.parametrize("name", names())
def test_torch_engine_on_a_gpu_replays_its_graph(name, tmp_path):
    path = tmp_path / f"{name}.pt"
    save_weights(WeightedNetwork(stirred(name), "kinect"), path)
    engine = open_engine("torch", str(path), profile=PROFILE)
    for frame in (FRAMES["random"], FRAMES["real"], FRAMES["random"]):
        assert relative_rmse(engine.run(*frame)[0], reference(name, frame)[0]) < 1e-2
    engine.close()


def test_replaced_logarithms_give_the_same_values():
    from openvino import opset13 as ops

    x = ops.parameter([1, 1000], np.float32)
    network = _with_vectorised_logarithms(openvino.Model([ops.multiply(ops.log(x), np.float32(3))], [x], "logarithm"))
    assert "Log" not in [node.get_type_name() for node in network.get_ops()]
    values = np.logspace(-4, 4, 1000, dtype=np.float32)[None]
    result = openvino.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([values])[0]
    np.testing.assert_allclose(result, 3 * np.log(values.astype(np.float64)), atol=2e-5)


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_buffers_do_not_carry_over_between_frames(kind):
    """After frames A, B, A, both results of A are bit-identical, and that of B is the same as with a new engine."""
    a, b = FRAMES.values()

    def fresh() -> Engine:
        return openvino_engine(network_file("lite")) if kind == "openvino" else open_engine("torch", profile=PROFILE)

    engine = fresh()
    first = [array.copy() for array in engine.run(*a)]
    between = [array.copy() for array in engine.run(*b)]
    again = engine.run(*a)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(between, fresh().run(*b), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], between[0])


def test_two_threads_get_the_same_results_as_one():
    engine = openvino_engine(network_file("lite"), threads=2)
    engine.allow_concurrency(2)
    expected = [[array.copy() for array in engine.run(*frame)] for frame in FRAMES.values()]
    assert engine.concurrency == 2
    together = threading.Barrier(2, timeout=60)

    def run_often(frame: tuple[np.ndarray, np.ndarray, float]) -> list[tuple[np.ndarray, np.ndarray]]:
        together.wait()
        return [engine.run(*frame) for _ in range(20)]

    with ThreadPoolExecutor(2) as threads:
        for results, answer in zip(threads.map(run_often, FRAMES.values()), expected, strict=True):
            for result in results:
                np.testing.assert_array_equal(result, answer)


def test_inputs_are_only_read_and_may_be_views():
    engine = openvino_engine(network_file("lite"))
    image, depth, scale = FRAMES["real"]
    expected = engine.run(image, depth, scale)[0].copy()
    wide = np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8), np.zeros((HEIGHT, 2 * WIDTH), np.float32)
    views = wide[0][:, ::2], wide[1][:, ::2]
    np.copyto(views[0], image)
    np.copyto(views[1], depth)
    np.testing.assert_array_equal(engine.run(*views, scale)[0], expected)
    np.testing.assert_array_equal(views[1], depth)
    np.testing.assert_array_equal(views[0], image)


CTRL_C_AFTER_ENGINES = """
import faulthandler, os, signal, sys
from depth_completion_ros.engines import open_engine
from depth_completion_ros.profiles import load_profile

faulthandler.enable()  # as in pytest: signal handlers get their own stack
engines = [open_engine("openvino", sys.argv[1], profile=load_profile("kinect")) for _ in range(3)]
while engines:
    engines.pop(0).close()
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_signals_arrive_after_engines_were_closed():
    run = subprocess.run(
        [sys.executable, "-c", CTRL_C_AFTER_ENGINES, str(plain_file())],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr


def test_cache_on_disk_keeps_the_most_recently_used_compiled_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(openvino_module, "_MAX_CACHED_FILES", 2)
    directory = tmp_path / PACKAGE / "openvino"
    directory.mkdir(parents=True)
    for number in range(3):
        (directory / f"{number}.blob").write_bytes(b"")
        os.utime(directory / f"{number}.blob", (1e9 + number, 1e9 - number))
    openvino_engine(plain_file())
    kept = {path.name for path in directory.iterdir()}
    assert len(kept) == 2 and "2.blob" in kept


def test_another_size_is_rejected_with_the_command_that_fixes_it():
    engine = openvino_engine(network_file("lite"))
    with pytest.raises(
        ConfigurationError, match=r"takes images of 96x64 pixels, not 160x96.*export lite --size 96x160"
    ):
        engine.run(*random_frame(96, 160))


def test_completer_pads_and_reports_an_engine_that_rejects_the_size():
    frame = random_frame(60, 89)
    completer = DepthCompleter(PROFILE, openvino_engine(network_file("lite")))
    completed = completer.complete(RgbdFrame(frame[0], frame[1]))
    assert completed.depth.shape == (60, 89) and np.isfinite(completed.depth).all()
    with pytest.raises(EngineError, match="export lite --size 128x160"):
        larger = random_frame(120, 160)
        completer.complete(RgbdFrame(larger[0], larger[1]))


def test_dynamic_file_takes_any_size():
    engine = openvino_engine(file_for_any_size())
    network = load_weights(find_weights_file(DEFAULT_NETWORK)).network.eval()
    for height, width in ((96, 128), (64, 160), (96, 128)):
        frame = random_frame(height, width)
        assert relative_rmse(engine.run(*frame)[0], pytorch_result(network, frame)[0]) < TOLERANCES["fp16"]


def test_only_the_last_few_sizes_stay_compiled():
    """An evaluation of images with many sizes must not fill the memory."""
    engine = openvino_engine(plain_file(any_size=True))
    frames = [random_frame(64, width) for width in (64, 96, 128, 160, 192)]
    first = [engine.run(*frame)[0].copy() for frame in frames]
    assert len(engine._idle) == 4
    for frame, answer in zip(frames, first, strict=True):
        np.testing.assert_array_equal(engine.run(*frame)[0], answer)


@pytest.mark.parametrize("name", [name for name in names() if method(name).no_int8])
def test_int8_is_rejected_for_networks_that_are_inaccurate_in_int8(name):
    with pytest.raises(ConfigurationError, match=r"does not support int8.*choose w8a16, fp16 or fp32"):
        network_file(name, "int8")


def damaged(path: Path, how: str) -> bytes:
    content = path.read_bytes()
    if how == "cut short":
        return content[: len(content) // 2]
    if how == "empty":
        return b""
    if how == "text":
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    model = onnx.load(path)
    if how == "foreign":
        del model.metadata_props[:]
    elif how == "other contract":
        next(entry for entry in model.metadata_props if entry.key == "contract").value = "999"
    else:
        del model.graph.node[:]  # "no operators"
    return model.SerializeToString()


@pytest.mark.parametrize("how", ["cut short", "empty", "text", "foreign", "other contract", "no operators"])
def test_unusable_file_is_rejected_with_a_fix(how, tmp_path):
    path = tmp_path / "lite.onnx"
    path.write_bytes(damaged(network_file("lite"), how))
    with pytest.raises(ConfigurationError, match=r"(?s)lite\.onnx.*depth-completion export"):
        openvino_engine(path)


def test_a_file_of_an_older_contract_is_rejected_with_the_command_that_exports_it_again(tmp_path):
    path = relabelled(network_file("lite"), tmp_path / "old.onnx", contract="1")
    with pytest.raises(ConfigurationError, match=r"version 1 .* export lite --precision fp32$"):
        read_model_file(path)


def test_a_file_in_another_precision_is_rejected_with_the_command_that_fixes_it(tmp_path):
    path = relabelled(network_file("lite"), tmp_path / "lite.onnx", precision="int8")
    with pytest.raises(ConfigurationError, match=r"in int8, but fp16 or w8a16 or fp32 is needed.* --precision fp16"):
        open_engine("tensorrt", str(path), profile=PROFILE)


def test_missing_and_foreign_weights_are_rejected(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        openvino_engine(tmp_path / "none.onnx")
    (tmp_path / "weights.pt").write_bytes(b"no weights")
    with pytest.raises(ConfigurationError, match="use a file that was written by training"):
        load_weights(tmp_path / "weights.pt")


def test_metadata_of_a_network_file_is_read_without_onnx():
    """A robot needs neither onnx nor protobuf to read the metadata of a file."""
    path = network_file("nlspn", "fp16", profile="tof")
    file = read_model_file(path)
    assert (file.name, file.size, file.precision) == ("nlspn", "small", "fp16")
    assert (file.height, file.width, file.profile, file.trained) == (HEIGHT, WIDTH, "tof", True)
    assert len(file.weights) == 16
    code = f"""
import sys
from pathlib import Path
from depth_completion_ros.model_file import read_model_file
assert read_model_file(Path({str(path)!r})).name == "nlspn"
assert not {{"onnx", "torch", "google.protobuf", "openvino"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """Return an empty directory that is the only one in which the package searches networks."""
    monkeypatch.setenv("DEPTH_COMPLETION_MODELS", str(tmp_path))
    monkeypatch.setattr(model_file, "share_directory", lambda: tmp_path / "no package")
    return tmp_path


def test_files_are_found_by_name_size_and_precision(models):
    for path in (network_file("lite"), network_file("lite", "fp16")):
        shutil.copy(path, models)
    relabelled(network_file("lite"), models / "lite-small-fp32-dynamic.onnx", height="0", width="0")
    assert find_model_file("lite", "fp16", "fp32").path.name == "lite-small-fp16-64x96.onnx"
    assert find_model_file("lite-small-fp32").path.name == "lite-small-fp32-dynamic.onnx"
    assert find_model_file("lite-small-fp32-64x96").path.name == "lite-small-fp32-64x96.onnx"
    for name, precision in (("lit", "fp32"), ("lite", "int8"), ("auto", "fp32")):  # none is trained, as "auto" requires
        with pytest.raises(ConfigurationError, match="depth-completion export"):
            find_model_file(name, precision)


def test_the_shipped_network_is_used_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_COMPLETION_MODELS", str(tmp_path))
    completer = DepthCompleter("kinect")
    assert completer.engine.engine in ("openvino", "tensorrt") and completer.engine.trained
    completer.close()


def test_auto_selects_a_trained_network_and_else_the_classical_engine(models):
    shutil.copy(network_file("lite"), models)
    assert open_engine("auto", profile=PROFILE).engine == "classical"
    assert open_engine("auto", "push_pull", profile=PROFILE).engine == "classical"
    named = open_engine("auto", "lite", profile=PROFILE)
    assert not named.trained and named.model.endswith("(untrained)")
    shutil.copy(network_file("lite", profile="kinect"), models)
    best = open_engine("auto", profile=PROFILE)
    assert best.trained and best.engine in ("openvino", "tensorrt")
    with pytest.raises(ConfigurationError, match="no network file 'nlspn'"):
        open_engine("auto", "nlspn", profile=PROFILE)


@pytest.mark.parametrize("how", ["cut short", "no operators"])
def test_auto_warns_if_it_uses_the_classical_engine_because_a_network_is_damaged(how, models):
    """The warning is one line with the file and the fix. There is no warning if no network is installed."""
    warnings: list[str] = []
    assert open_engine("auto", profile=PROFILE, warn=warnings.append).engine == "classical"
    assert warnings == []
    (models / "lite.onnx").write_bytes(damaged(network_file("lite", profile="kinect"), how))
    assert open_engine("auto", profile=PROFILE, warn=warnings.append).engine == "classical"
    (line,) = warnings
    assert str(models / "lite.onnx") in line and "depth-completion export" in line


def test_commands_warn_about_a_damaged_network_that_is_skipped(models):
    """The warning is written to stderr, even if another network is used instead."""
    shutil.copy(network_file("lite", profile="kinect"), models)
    (models / "lite-best.onnx").write_bytes(damaged(network_file("lite"), "cut short"))
    code = "from depth_completion_ros import DepthCompleter; print(DepthCompleter().engine.trained)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    (line,) = done.stderr.splitlines()
    assert "lite-best.onnx" in line and "depth-completion export" in line
    assert done.stdout == "True\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_applied(threads):
    engine = openvino_engine(network_file("lite"), threads=threads)
    compiled = engine._idle_requests(HEIGHT, WIDTH).get().get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
