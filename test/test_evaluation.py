"""``depth-completion evaluate`` from sources to files, and ``bench engines``."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

import yaml
from frame_sets import edit_meta, write_set

from depth_completion_ros.bag.folders import read_folder
from depth_completion_ros.bag.make import BagOptions, make_bag
from depth_completion_ros.cli import main
from depth_completion_ros.commands import evaluate as evaluate_command
from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.engines import Engine
from depth_completion_ros.evaluation.evaluate import Key, evaluate
from depth_completion_ros.evaluation.models import BASELINES, default_models, open_model
from depth_completion_ros.evaluation.protocols import make_trial
from depth_completion_ros.evaluation.samples import OVERLAP, Sample, open_folder
from depth_completion_ros.evaluation.strata import STRATA
from depth_completion_ros.model_file import DIRECTORY_VARIABLE
from depth_completion_ros.profiles import load_profile, read_parameters
from depth_completion_ros.resources import share_directory


@pytest.fixture
def two_sets(tmp_path):
    """Two folders of 3 frames, under names of their own."""
    for name in ("one", "two"):
        write_set(tmp_path / name, name=name)
    return [str(tmp_path / name) for name in ("one", "two")]


def test_a_bag_of_points_is_scored_by_its_rings_if_the_extrinsic_is_given(tmp_path, capsys):
    bag = str(share_directory() / "samples" / "lidar")
    arguments = ["evaluate", bag, "--depth-topic", "/points", "--protocol", "lidar-rings", "--models", "nearest"]
    assert main([*arguments, "--frames", "1"]) == 1
    assert "--extrinsic" in capsys.readouterr().err
    pose = read_parameters(Path(bag) / "parameters.yaml")["extrinsic"]
    options = ["--extrinsic", *map(str, pose), "--frames", "1", "--out", str(tmp_path)]
    assert main([*arguments, *options]) == 0
    (row,) = [row for row in read_csv(tmp_path / "evaluation.csv") if row["stratum"] == "all"]
    assert row["protocol"] == "lidar-rings" and 0 < float(row["rmse"]) < 50
    assert main([*arguments, "--extrinsic", *"0000000"]) == 1
    assert "quaternion" in capsys.readouterr().err


def test_a_bag_whose_depth_is_out_of_range_is_reported_with_the_options_that_help(capsys):
    bag = str(share_directory() / "samples" / "kinect")
    arguments = ["evaluate", bag, "--protocol", "sparse5", "--models", "nearest", "--frames", "1", "--depth-unit"]
    assert main([*arguments, "1"]) == 1
    said = capsys.readouterr().err
    assert "no depth between 0.3 and 10 m: set --depth-unit" in said and "--max-range" in said
    assert main([*arguments, "0.001"]) == 0


@pytest.mark.parametrize("unit", [None, 0.0001])
def test_a_bag_is_scored_in_the_unit_of_its_depth(tmp_path, capsys, unit):
    """Counts of 0.1 mm, as a RealSense D405 gives them, show a wall 0.2 m away; taken for millimetres, 2 m."""
    folder = tmp_path / "near"
    write_set(folder, depth={"scale_to_m": 0.001})
    counts = np.full((24, 32), 2000, np.uint16)
    counts[::3, ::3] = 2400
    edit_meta(folder, lambda meta: [entry.pop("points") for entry in meta["frames"]])
    for index in range(3):
        cv2.imwrite(str(folder / f"depth/{index}.png"), counts)
    make_bag(read_folder(folder), tmp_path / "bag", [0, 1, 2], BagOptions())
    options = ["--protocol", "sparse5", "--models", "nearest", "--out", str(tmp_path / "out")]
    if unit is not None:
        options += ["--depth-unit", str(unit), "--min-range", "0.1", "--max-range", "1"]
    assert main(["evaluate", str(tmp_path / "bag"), *options]) == 0
    assert ("--depth-unit" in capsys.readouterr().err) == (unit is None)
    (row,) = [row for row in read_csv(tmp_path / "out" / "evaluation.csv") if row["stratum"] == "all"]
    # what is wrong is wrong by the whole step of 400 counts
    errors = float(row["rmse"]) ** 2 / float(row["mae"])
    assert errors == pytest.approx(400 * (unit or 0.001), rel=0.01)


def test_errors_of_evaluate_mention_its_options(tmp_path, capsys):
    write_set(tmp_path / "set")
    edit_meta(tmp_path / "set", lambda meta: [entry.pop("points") for entry in meta["frames"]])
    make_bag(read_folder(tmp_path / "set"), tmp_path / "bag", [0], BagOptions())
    assert main(["evaluate", str(tmp_path / "bag"), "--depth-topic", "/elsewhere"]) == 1
    assert "with --rgb-topic and --depth-topic" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "bag"), "--min-range", "20"]) == 1
    assert "--min-range 20.0 m must be smaller than --max-range 10.0 m" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "bag"), "--depth-unit", "0"]) == 1
    assert "--depth-unit 0.0 must be a number above zero" in capsys.readouterr().err


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_evaluate_writes_the_same_figures_to_csv_json_and_markdown(two_sets, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["evaluate", *two_sets, "--protocol", "rows,sr8", "--models", "guided,nearest"]
    assert main([*arguments, "--frames", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}, {protocol}, 2 frames" in printed for name in ("one", "two") for protocol in ("rows", "sr8"))
    rows, content = read_csv(out / "evaluation.csv"), json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert content["complete"] and content["engines"]["guided"] == "classical guided"
    assert [row["stratum"] for row in rows] == [score["stratum"] for score in content["scores"]]
    for row, score in zip(rows, content["scores"], strict=True):
        assert row["stratum"] in STRATA
        for figure in ("pixels", "rmse", "mae", "ause", "nll"):
            assert float(row[figure] or "nan") == pytest.approx(float(score[figure] or "nan"), nan_ok=True)
    pixels = {(row["set"], row["protocol"], row["stratum"]): set() for row in rows}
    for row in rows:
        pixels[row["set"], row["protocol"], row["stratum"]].add(row["pixels"])
    assert all(len(counts) == 1 for counts in pixels.values()), "all models are scored on the same pixels"

    lines = (out / "evaluation.md").read_text(encoding="utf-8").splitlines()
    whole = {(row["set"], row["protocol"], row["model"]): row for row in rows if row["stratum"] == "all"}
    for (name, protocol, model), row in whole.items():
        line = next(line for line in lines if line.startswith(f"| {name}, {protocol}, 2 frames |"))
        cell = line.replace("*", "").split(" | ")[1 if model == "guided" else 2].rstrip(" |")
        assert [float(number) / 1e3 for number in cell.split(" / ")] == [
            pytest.approx(float(row[error]), abs=0.0005) for error in ("rmse", "mae")
        ]
    totals = read_csv(out / "totals.csv")
    assert [(row["protocol"], row["model"]) for row in totals] == [
        (protocol, model) for protocol in ("rows", "sr8", "all protocols") for model in ("guided", "nearest")
    ]
    mean = np.mean([float(whole[name, "rows", "guided"]["rmse"]) for name in ("one", "two")])
    assert float(totals[0]["rmse"]) == pytest.approx(mean)


def test_evaluate_reads_bags_and_folders_side_by_side(two_sets, tmp_path, capsys):
    edit_meta(tmp_path / "two", lambda meta: [entry.pop("points") for entry in meta["frames"]])
    make_bag(read_folder(tmp_path / "two"), tmp_path / "bag", [0, 1, 2], BagOptions())
    arguments = ["evaluate", two_sets[0], str(tmp_path / "bag"), "--protocol", "rows", "--models", "nearest"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    rows = read_csv(tmp_path / "out" / "evaluation.csv")
    assert {row["set"]: row["frames"] for row in rows} == {"one": "3", "bag": "3"}


def test_sets_with_the_same_name_are_distinguished_and_unusable_sources_reported(two_sets, tmp_path, capsys):
    more = [tmp_path / "more" / "one", tmp_path / "a" / "b" / "one", tmp_path / "c" / "b" / "one"]
    for folder in more:
        write_set(folder, name="one")
    sources = [two_sets[0], *map(str, more), str(tmp_path / "absent")]
    out = tmp_path / "out"
    assert main(["evaluate", *sources, "--protocol", "rows", "--models", "nearest", "--out", str(out)]) == 1
    assert "absent" in capsys.readouterr().err
    names = {row["set"] for row in read_csv(out / "evaluation.csv")}
    assert names == {f"{tmp_path.name}/one", "more/one", "a/b/one", "c/b/one"}


def test_spaces_and_repetitions_in_lists_make_no_difference(two_sets, tmp_path):
    for number, (protocols, models) in enumerate([("rows", "nearest,guided"), ("rows, rows,", "nearest, guided,")]):
        options = ["--protocol", protocols, "--models", models, "--out", str(tmp_path / str(number))]
        assert main(["evaluate", two_sets[0], *options]) == 0
    assert read_csv(tmp_path / "0" / "evaluation.csv") == read_csv(tmp_path / "1" / "evaluation.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "guess"], "no protocol guess"),
        (["--models", "telepathy"], "no engine runs model 'telepathy'"),
        (["--frames", "0"], "--frames 0"),
        (["--models", "abacus:lite"], "no engine 'abacus'"),
        (["--profile", "sonar"], "no profile 'sonar'"),
        (["--depth-unit", "inf"], "--depth-unit inf must be a number above zero"),
        (["--out", "/dev/null/results"], "--out /dev/null/results cannot be written to"),
    ],
)
def test_evaluate_rejects_wrong_settings_with_one_line(two_sets, capsys, options, message):
    assert main(["evaluate", two_sets[0], *options]) == 1
    assert message in capsys.readouterr().err


def test_evaluate_reports_that_no_frame_can_be_used_with_the_protocol(tmp_path, capsys):
    write_set(tmp_path / "small", count=1)
    # with one frame the donor of holes is the frame itself, whose holes hide nothing
    assert main(["evaluate", str(tmp_path / "small"), "--protocol", "raw", "--models", "nearest"]) == 1
    assert "choose others with --protocol" in capsys.readouterr().err


def test_a_set_that_no_protocol_can_use_is_reported(two_sets, tmp_path, capsys):
    """Without rings, nothing is left for lidar-rings."""
    edit_meta(tmp_path / "two", lambda meta: [frame.pop("ring") for frame in meta["frames"]])
    arguments = ["evaluate", *two_sets, "--protocol", "lidar-rings", "--models", "nearest", "--profile", "kinect"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert "two: no frame can be used with --protocol lidar-rings" in printed.err and "one, lidar-rings" in printed.out


def test_a_frame_that_cannot_be_read_is_skipped_and_reported(two_sets, tmp_path, capsys):
    (tmp_path / "one" / "rgb" / "1.png").write_bytes(b"no image")
    out = tmp_path / "out"
    assert main(["evaluate", two_sets[0], "--protocol", "rows", "--models", "nearest", "--out", str(out)]) == 0
    assert "rgb/1.png" in capsys.readouterr().out
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert "frame 1" in content["failures"][0]
    assert content["scores"][0]["frames"] == 2


class FailingOnce(Engine):
    """Fails on its second frame."""

    engine, model = "classical", "failing"

    def __init__(self) -> None:
        self.frames = 0

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        self.frames += 1
        return np.full_like(depth, np.nan if self.frames == 2 else scale), np.ones_like(depth)


def test_a_model_that_fails_on_a_set_is_skipped_there_and_reported(two_sets, tmp_path, monkeypatch):
    def with_failing(name, profile):
        return DepthCompleter(profile, FailingOnce()) if name == "failing" else open_model(name, profile)

    monkeypatch.setattr("depth_completion_ros.evaluation.evaluate.open_model", with_failing)
    out = tmp_path / "out"
    arguments = ["evaluate", *two_sets, "--protocol", "rows", "--models", "failing,nearest", "--out", str(out)]
    assert main(arguments) == 0
    whole = {(row["set"], row["model"], row["frames"]) for row in read_csv(out / "evaluation.csv")}
    assert whole == {("one", "nearest", "3"), ("two", "nearest", "3"), ("two", "failing", "3")}
    table = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "one, failing: skipped" in table and "not finite" in table
    assert next(line for line in table.splitlines() if line.startswith("| failing |")).endswith("(1 set) |")
    assert next(line for line in table.splitlines() if line.startswith("| one, rows")).split(" | ")[1] == "-"


def test_each_set_has_its_own_profile(tmp_path):
    for name, sensor in (("far", "Velodyne"), ("near", "Kinect")):
        write_set(tmp_path / name, name=name, sensor=sensor, depth={"scale_to_m": 0.001})  # up to 65 m
    evaluation = evaluate([open_folder(tmp_path / name) for name in ("far", "near")], ["sparse5"], ["nearest"], 1)
    far, near = (evaluation.metrics[Key(name, "sparse5", "nearest")].compute() for name in ("far", "near"))
    assert far["over 32 m"]["pixels"] > 0
    assert near["8-16 m"]["pixels"] > 0
    assert near["16-32 m"]["pixels"] == near["over 32 m"]["pixels"] == 0


def test_a_bag_whose_clocks_differ_is_reported_with_the_offset_that_helps(tmp_path, capsys):
    """Depth lies 1.01 s behind colour, on a topic of its own."""
    write_set(tmp_path / "set", depth={"scale_to_m": 0.0001})
    edit_meta(tmp_path / "set", lambda meta: [entry.pop("points") for entry in meta["frames"]])
    edit_meta(tmp_path / "set", lambda meta: [entry.update(t_depth=entry["t_rgb"] - 1.01) for entry in meta["frames"]])
    assert main(["bag", "make", str(tmp_path / "set"), str(tmp_path / "bag")]) == 0
    evaluate_bag = ["evaluate", str(tmp_path / "bag"), "--protocol", "sparse5", "--models", "nearest"]
    assert main(evaluate_bag) == 1
    said = capsys.readouterr().err
    assert "the profile kinect is used" in said and "sync." not in said
    options = re.search(r"(--depth-offset) to (\S+)", said)
    assert options is not None and options[2] == "1.010"
    assert main([*evaluate_bag, options[1], options[2]]) == 0
    assert main([*evaluate_bag, "--slop", "1.1"]) == 0


def test_an_area_at_the_largest_count_of_a_sensor_is_missing_with_one_line_for_the_set(tmp_path, capsys):
    depth = np.random.default_rng(0).normal(1300, 100, (24, 32)).astype(np.uint16)
    depth[8:16, 8:20] = 4095
    write_set(tmp_path, depth={"scale_to_m": 0.001})
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"depth/{index}.png"), depth)
    samples = open_folder(tmp_path, "kinect")
    for sample in samples:
        assert np.isnan(sample.frame.depth[8:16, 8:20]).all() and np.isfinite(sample.frame.depth).sum() == 24 * 32 - 96
    assert capsys.readouterr().err.count("exactly 4.095 m") == 1


def test_an_interrupted_run_prints_and_writes_its_partial_results(two_sets, tmp_path, monkeypatch, capsys):
    def interrupted(folder, profile, limits):
        samples = open_folder(folder, profile, limits)

        def read(index: int) -> Sample:
            if index == 2:
                raise KeyboardInterrupt  # what Python makes of Ctrl-C
            return samples.read(index)

        return replace(samples, read=read)

    monkeypatch.setattr(evaluate_command, "open_folder", interrupted)
    out = tmp_path / "out"
    arguments = ["evaluate", *two_sets, "--protocol", "rows,sr8", "--models", "nearest,guided", "--out", str(out)]
    assert main(arguments) == 130
    assert "interrupted" in capsys.readouterr().out
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert not content["complete"]
    assert {(score["set"], score["frames"]) for score in content["scores"]} == {("one", 2)}


def test_a_set_whose_rooms_are_trained_on_is_marked_in_every_table(two_sets, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        evaluate_command, "open_folder", lambda *_: replace(open_folder(Path(two_sets[0])), note=OVERLAP)
    )
    out = tmp_path / "out"
    assert main(["evaluate", two_sets[0], "--protocol", "rows", "--models", "nearest", "--out", str(out)]) == 0
    assert OVERLAP in capsys.readouterr().out
    marked = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "| one \\*, rows, 3 frames |" in marked and f"\\* {OVERLAP}" in marked
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["notes"] == {"one": OVERLAP}


def test_sets_that_the_training_splits_name_carry_the_note(tmp_path):
    splits = share_directory() / "config" / "training" / "splits.yaml"
    if not splits.is_file():
        pytest.skip("no training splits")
    trained = yaml.safe_load(splits.read_text(encoding="utf-8"))["train"][0]
    for name in (trained, "elsewhere"):
        write_set(tmp_path / name, name=name)
    assert open_folder(tmp_path / trained).note == OVERLAP
    assert open_folder(tmp_path / "elsewhere").note == ""


def test_prefill_is_what_an_untrained_network_returns(two_sets):
    pytest.importorskip("torch")
    frame = make_trial("sparse5", open_folder(Path(two_sets[0])), 0).frame
    kinect = load_profile("kinect")
    for prefill, network in (("prefill", "torch:unet-full"), ("prefill-depth", "torch:fast_interpolation-full")):
        start, untrained = open_model(prefill, kinect).complete(frame), open_model(network, kinect).complete(frame)
        np.testing.assert_allclose(start.depth, untrained.depth, rtol=1e-5)


def test_random_weights_are_marked_in_every_table(two_sets):
    pytest.importorskip("torch")
    evaluation = evaluate([open_folder(Path(two_sets[0]))], ["sparse5"], ["torch:lite-full", "nearest"], 1)
    assert [key.model for key in evaluation.metrics] == ["torch:lite-full (untrained)", "nearest"]


def test_trained_weights_run_by_default_and_by_name_untrained_ones_only_when_asked_for(two_sets, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    weights = pytest.importorskip("depth_completion_ros.networks.weights")
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    kinect = load_profile("kinect")
    before = default_models()
    assert set(BASELINES) - {"linear"} <= set(before)
    assert not open_model("torch:srgan-full", kinect).engine.trained
    trained = replace(weights.untrained("srgan"), profile="kinect")
    weights.save_weights(trained, tmp_path / "srgan-small-desk.safetensors")
    assert [name for name in default_models() if name not in before] == ["torch:srgan-small-desk"]
    for name in ("torch:srgan-small-desk", "srgan-small-desk", str(tmp_path / "srgan-small-desk.safetensors")):
        completer = open_model(name, kinect)
        assert (completer.engine.engine, completer.engine.trained) == ("torch", True)


def test_bench_engines_times_every_model_asked_for(tmp_path, capsys):
    write_set(tmp_path / "small")
    out = tmp_path / "bench.json"
    arguments = ["bench", "engines", "--frames", str(tmp_path / "small"), "--size", "64x48", "--rounds", "2"]
    assert main([*arguments, "--models", "guided,measured", "--out", str(out)]) == 0
    assert "p95" in capsys.readouterr().out
    timings = json.loads(out.read_text(encoding="utf-8"))["timings"]
    assert [timing["model"] for timing in timings] == ["guided", "measured"]
    assert all(len(values) == 2 and min(values) > 0 for timing in timings for values in timing["ms"].values())


def test_bench_engines_continues_after_a_model_that_cannot_be_timed(tmp_path, capsys):
    write_set(tmp_path / "small")
    arguments = ["bench", "engines", "--frames", str(tmp_path / "small"), "--size", "64x48", "--rounds", "2"]
    assert main([*arguments, "--models", "none_such,measured", "--out", str(tmp_path / "bench.json")]) == 0
    printed = capsys.readouterr().out
    assert "classical none_such: engine classical has no model" in printed and "classical measured" in printed


def test_bench_engines_rejects_an_invalid_size(capsys):
    assert main(["bench", "engines", "--size", "large"]) == 1
    assert "--size must have the form 640x480" in capsys.readouterr().err
