"""Adaptation: which frames it uses, what it refuses, that it can be resumed, and which files it writes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("safetensors", reason="weights files need it")

from frame_sets import edit_meta, write_meta  # noqa: E402

from depth_completion_ros import DepthCompleter, RgbdFrame  # noqa: E402
from depth_completion_ros.bag.folders import read_folder  # noqa: E402
from depth_completion_ros.cli import main  # noqa: E402
from depth_completion_ros.errors import ConfigurationError, InputError  # noqa: E402
from depth_completion_ros.evaluation.summary import Comparison, Estimate  # noqa: E402
from depth_completion_ros.model_file import find_model_file, find_weights_file  # noqa: E402
from depth_completion_ros.networks.weights import load_weights  # noqa: E402
from depth_completion_ros.node.parameters import PARAMETERS  # noqa: E402
from depth_completion_ros.profiles import load_profile, read_parameters  # noqa: E402
from depth_completion_ros.training import adapt, adapted_model, held_out_scenes, recording  # noqa: E402
from depth_completion_ros.training.adapt import Result  # noqa: E402
from depth_completion_ros.training.adapted_model import place_of  # noqa: E402
from depth_completion_ros.training.checkpoint import load_checkpoint  # noqa: E402
from depth_completion_ros.training.loop import CHECKPOINT  # noqa: E402
from depth_completion_ros.training.recording import Reading, blurred, prepare_recording, sharpness  # noqa: E402
from depth_completion_ros.training.sensor_estimate import estimate_sensor  # noqa: E402

torch.set_num_threads(1)
HEIGHT, WIDTH = 96, 128
READING = Reading(load_profile("kinect"))


def write_room(folder: Path, count: int = 40, scale: float = 0.002) -> Path:
    """Write frames of a wall with boxes that moves to the right, with a hole in each frame."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (HEIGHT, WIDTH + 2 * count, 3), np.uint8)
    wall = np.full((HEIGHT, WIDTH + 2 * count), 1000, np.uint16)
    for _ in range(30):
        top, left = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH + 2 * count - 20)
        wall[top : top + 20, left : left + 20] = rng.integers(500, 1500)
    (folder / "rgb").mkdir(parents=True)
    (folder / "depth").mkdir()
    for index in range(count):
        shown = slice(2 * index, 2 * index + WIDTH)
        depth = wall[:, shown].copy()
        depth[30:50, 40 + index % 20 : 70 + index % 20] = 0
        cv2.imwrite(str(folder / f"rgb/{index}.png"), texture[:, shown])
        cv2.imwrite(str(folder / f"depth/{index}.png"), depth)
    frames = [
        {"id": str(i), "rgb": f"rgb/{i}.png", "depth": f"depth/{i}.png", "t_rgb": 100 + i / 10, "t_depth": 100 + i / 10}
        for i in range(count)
    ]
    write_meta(folder, {"name": "room", "depth": {"scale_to_m": scale}, "frames": frames})
    return folder


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return write_room(tmp_path_factory.mktemp("recordings") / "room")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(monkeypatch, cache):
    """Small scenes and no export, which take most of the time; returns a function that runs the command."""
    monkeypatch.setattr(held_out_scenes, "HEIGHT", HEIGHT)
    monkeypatch.setattr(held_out_scenes, "WIDTH", WIDTH)
    monkeypatch.setattr(adapt, "KINDS", ("room",))
    monkeypatch.setattr(adapted_model, "_PRECISIONS", ())
    settings = ("crop=64", "batch=2", "zoom=[1.0, 1.5]", "scenes={count: 4, height: 96, width: 128}")
    options = [part for setting in settings for part in ("--set", setting)]
    options += ["--frames", "2", "--test-scenes", "1", "--cache", str(cache), "--profile", "kinect"]

    def run(folder: Path, out: Path, *more: str) -> int:
        return main(["adapt", str(folder), "--out", str(out), *options, *more])

    return run


def changed(rmse: float, mae: float, width: float = 0.01) -> list[Comparison]:
    changes = {"rmse": Estimate(rmse, rmse - width, rmse + width), "mae": Estimate(mae, mae - width, mae + width)}
    return [Comparison("a", "blocks", "after", 3, {}, changes, {})]


def test_frames_for_training_come_first_and_those_for_the_test_after_a_gap(room, tmp_path):
    found = prepare_recording(str(room), READING, tmp_path / "work")
    train, test = (read_folder(tmp_path / "work" / part) for part in ("train", "test"))
    first = [train[i].frame.stamp_ns for i in range(len(train))]
    last = [test[i].frame.stamp_ns for i in range(len(test))]
    assert (found.train, found.gap, found.test) == (len(first), 4, len(last)) == (28, 4, 8)
    assert max(first) + 5e8 == pytest.approx(min(last)) and found.gap_s == pytest.approx(0.5)
    own, copied = read_folder(room)[39].frame, test[7].frame
    np.testing.assert_array_equal(copied.rgb, own.rgb)
    np.testing.assert_allclose(copied.depth, own.depth, atol=1e-6)
    assert recording.open_recording(str(room), READING, tmp_path / "work", resume=True) == found


def test_blurred_frames_and_those_with_distant_stamps_are_left_out_and_counted(tmp_path):
    folder = write_room(tmp_path / "room", 44)
    for index in (5, 20):
        path = str(folder / f"rgb/{index}.png")
        cv2.imwrite(path, cv2.blur(cv2.imread(path), (15, 1)))
    edit_meta(folder, lambda meta: meta["frames"][30].update(t_depth=103.05))
    cv2.imwrite(str(folder / "depth/35.png"), np.zeros((HEIGHT, WIDTH), np.uint16))
    (folder / "rgb/2.png").write_bytes(b"no image")
    found = prepare_recording(str(folder), READING, tmp_path / "work")
    assert found.left_out == {
        recording.APART: 1, recording.UNREADABLE: 1, recording.BLURRED: 2, recording.NO_DEPTH: 1,
    }  # fmt: skip
    assert found.train + found.gap + found.test == 44 - 5
    assert "2 because of motion blur" in found.lines()[0]


def test_a_still_camera_and_a_change_of_the_scene_are_no_blur():
    assert blurred([5.0] * 40) == [False] * 40
    assert blurred([100.0] * 20 + [10.0] * 20).count(True) <= 2
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    assert sharpness(cv2.blur(image, (9, 1))) < 0.5 * sharpness(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: edit_meta(folder, lambda meta: meta.update(frames=meta["frames"][:29])),
            "29 usable frames.*30",
        ),
        (lambda folder: edit_meta(folder, lambda meta: [f.pop("rgb") for f in meta["frames"]]), "no colour image"),
        (
            lambda folder: [
                cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH), np.uint16)) for path in folder.glob("d*/*")
            ],
            "no usable frames.*40 because of no depth",
        ),
        (
            lambda folder: [
                cv2.imwrite(str(folder / kind / "3.png"), np.ones((48, 64), np.uint16)) for kind in ("rgb", "depth")
            ],
            r"mixes resolutions, 128x96 \(39 frames\) and 64x48 \(1 frames\)",
        ),
    ],
    ids=["few", "no colour", "no depth", "mixed"],
)
def test_recordings_that_cannot_be_used_are_refused_with_one_line_and_leave_nothing(change, message, tmp_path, capfd):
    folder = write_room(tmp_path / "room")
    change(folder)
    assert main(["adapt", str(folder), "--out", str(tmp_path / "site"), "--steps", "1"]) == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("depth-completion adapt:")]
    with pytest.raises(InputError, match=message):
        raise InputError("", line)
    assert not list((tmp_path / "site").glob("*"))


def test_without_pytorch_one_line_says_how_to_install_it(monkeypatch, room, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["adapt", str(room), "--out", str(tmp_path / "site")]) == 1
    assert "training needs PyTorch" in capsys.readouterr().err


def test_what_the_recording_says_about_the_sensor():
    """Depth of 0.5 to 2.5 m in steps of 2 mm; a hole of a tenth of the image and single pixels."""
    depth = np.linspace(0.5, 2.5, 1001, dtype=np.float32)[np.arange(100 * 101) % 1001].reshape(100, 101)
    depth[:10] = np.nan
    depth[20::20, 20::20] = np.nan
    found = estimate_sensor([depth] * 3, [4_000_000, 5_000_000, 6_000_000])
    assert found.range_m == pytest.approx((0.5, 2.5), abs=0.01)
    assert found.unit_m == pytest.approx(0.002, abs=1e-5) and found.step_m == pytest.approx(0.002, abs=2e-5)
    assert found.holes == pytest.approx(0.1, abs=0.01) and 0.9 < found.large_holes < 1
    assert found.offset_s == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("frames", "scenes", "reason"),
    [
        (changed(-0.05, -0.1), changed(0.019, 0.01), None),
        (changed(-0.05, 0.001), changed(0, 0), "worse on the frames for the test .MAE"),
        (changed(-0.005, -0.003), changed(0, 0), "chance"),
        (changed(-0.05, -0.1), changed(0.0, 0.021), "forgotten other scenes .MAE"),
    ],
)
def test_a_model_is_used_only_if_it_is_better_beyond_chance_and_has_forgotten_nothing(frames, scenes, reason):
    reasons = Result(1.0, Path("weights"), frames, scenes, {}).reasons()
    assert bool(reasons) == bool(reason)
    if reason:
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError("; ".join(reasons))


@pytest.mark.parametrize("out", ["lite", "auto", "my-site", "my site", "a/b.c"])
def test_names_that_engines_would_not_find_are_refused(out):
    with pytest.raises(ConfigurationError, match="--out"):
        place_of(out)


def test_an_interrupted_adaptation_resumes_and_ends_like_an_uninterrupted_one(small, room, tmp_path, monkeypatch):
    assert small(room, tmp_path / "whole", "--steps", "4") in (0, 3)
    original = adapt.Trainer.train_step

    def interrupted(self, progress):
        if self.step == 2 and not (tmp_path / "parts" / "once").exists():
            (tmp_path / "parts" / "once").touch()
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, progress)

    monkeypatch.setattr(adapt.Trainer, "train_step", interrupted)
    assert small(room, tmp_path / "parts", "--steps", "4") == 130
    assert small(room, tmp_path / "parts", "--steps", "4") == 1, "it must not begin again without being asked"
    assert small(room, tmp_path / "parts", "--steps", "4", "--resume") in (0, 3)
    states = [
        load_checkpoint(tmp_path / name / f"{name}_adaptation" / CHECKPOINT, torch.device("cpu"))
        for name in ("whole", "parts")
    ]
    assert states[0]["step"] == states[1]["step"] == 4
    for name, tensor in states[0]["ema"].items():
        assert torch.equal(tensor, states[1]["ema"][name]), name


def test_a_model_that_is_not_better_is_not_written(small, room, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapt, "summarise", lambda *arguments: (changed(0.1, 0.1), changed(0.1, 0.1)))
    assert small(room, tmp_path / "site", "--steps", "1") == 3
    assert "is not used: it is worse on the frames for the test" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["site_adaptation"]
    work = tmp_path / "site" / "site_adaptation"
    before, whole, half = (
        load_weights(path).network.state_dict()
        for path in (find_weights_file("lite"), work / "adapted-1.safetensors", work / "adapted-0.5.safetensors")
    )
    name = "refinement.of_image.weight"
    name = next(key for key in before if key.endswith(name))
    assert not torch.equal(before[name], whole[name])
    torch.testing.assert_close(half[name], (before[name] + whole[name]) / 2, rtol=2e-3, atol=1e-5)


def test_the_written_model_is_found_by_its_name_and_completes(small, room, tmp_path, monkeypatch, capsys):
    def better(metrics, *arguments):
        totals = changed(0.0, 0.0) if next(iter(metrics)).protocol == "given" else changed(-0.2, -0.2)
        return totals, totals

    monkeypatch.setattr(adapt, "summarise", better)
    monkeypatch.setenv("DEPTH_COMPLETION_MODELS", str(tmp_path / "models"))
    assert small(room, "here", "--steps", "1") == 0
    command = capsys.readouterr().out.strip().splitlines()[-1].split()
    given = dict(part.split(":=") for part in command if ":=" in part)
    assert command[:4] == ["ros2", "launch", "depth_completion_ros", "kinect.launch.py"]
    weights = find_weights_file(given["model"])
    assert weights == tmp_path / "models" / "here-small.safetensors"
    frame = read_folder(room)[0].frame
    completed = DepthCompleter("kinect", given["engine"], given["model"]).complete(RgbdFrame(frame.rgb, frame.depth))
    assert np.isfinite(completed.depth).all() and abs(np.median(completed.depth) - 2) < 0.5
    parameters = read_parameters(Path(given["params_file"]))
    assert parameters.keys() <= PARAMETERS.keys()
    assert parameters["depth.max_range"] == load_profile("kinect").max_range
    assert yaml.safe_load(Path(given["params_file"]).read_text())["/**"]["ros__parameters"]["profile"] == "kinect"
    card = (tmp_path / "models" / "here-small.md").read_text()
    assert "40 images of 128x96" in card and "began with" in card
    assert small(room, "here", "--steps", "1") == 1, "an existing model must not be overwritten"
    assert "here-small.safetensors exists" in capsys.readouterr().err


def test_auto_does_not_choose_a_network_with_a_name_of_its_own(tmp_path, monkeypatch):
    shipped = find_model_file("lite", "int8")
    monkeypatch.setenv("DEPTH_COMPLETION_MODELS", str(tmp_path))
    shutil.copy(shipped.path, tmp_path / "here-small-int8-dynamic.onnx")
    for file in shipped.weights_files:
        shutil.copy(file, tmp_path)
    assert find_model_file("auto").path == shipped.path
    assert find_model_file("here").path == tmp_path / "here-small-int8-dynamic.onnx"
