"""Metrics against plain formulas, protocols that hide what they say, and the two commands on small folders."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from frame_sets import write_set

from depth_completion_ros.cli import main
from depth_completion_ros.data.folders import read_folder
from depth_completion_ros.errors import ConfigurationError
from depth_completion_ros.evaluation.metrics import Metric
from depth_completion_ros.evaluation.protocols import PROTOCOLS, make_trial
from depth_completion_ros.frame import CompletedDepth
from depth_completion_ros.geometry import depth_on_rgb_grid


def completed(seed: int) -> tuple[CompletedDepth, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (40, 50)
    truth = rng.uniform(0.5, 6, shape).astype(np.float32)
    depth = (truth + rng.laplace(0, 0.1, shape)).clip(0.1).astype(np.float32)
    truth[rng.random(shape) < 0.3] = np.nan
    depth[rng.random(shape) < 0.1] = np.nan
    measured = np.zeros(shape, bool)
    measured[20, 25] = True
    confidence = rng.random(shape).astype(np.float32)
    return CompletedDepth(depth, np.ones(shape, np.float32), confidence, measured), truth


def test_metrics_are_the_plain_formulas_over_all_frames():
    frames = [completed(seed) for seed in range(3)]
    metric = Metric()
    for result, truth in frames:
        metric.update(result, truth)
    scores = metric.compute()
    rows, columns = np.mgrid[:40, :50]
    distance = np.hypot(rows - 20, columns - 25)
    for name, where in (("all", distance >= 0), ("near", distance <= 8), ("far", distance > 8)):
        depth, truth, confidence = (
            np.concatenate([array[where & np.isfinite(t) & np.isfinite(r.depth)] for r, t, array in arrays])
            for arrays in (
                [(r, t, r.depth) for r, t in frames],
                [(r, t, t) for r, t in frames],
                [(r, t, r.confidence) for r, t in frames],
            )
        )
        error = depth.astype(float) - truth
        within = np.abs(error) < np.maximum(0.05, 0.02 * depth)
        deciles = np.floor(confidence * 10)
        expected = {
            "pixels": depth.size,
            "rmse": np.sqrt(np.mean(error**2)),
            "mae": np.mean(np.abs(error)),
            "rel": np.mean(np.abs(error) / truth),
            "delta1": np.mean(np.maximum(depth / truth, truth / depth) < 1.25),
            "within": np.mean(within),
            "confidence": np.mean(confidence),
            "ece": sum(abs(np.sum(confidence[deciles == d]) - np.sum(within[deciles == d])) for d in range(10))
            / depth.size,
        }
        for figure, value in expected.items():
            # the chamfer distance puts a few pixels of the rim at 8 px on the other side
            assert scores[name][figure] == pytest.approx(value, rel=1e-5 if name == "all" else 0.1), (name, figure)


def test_a_reset_metric_knows_nothing_and_says_nan():
    metric = Metric()
    metric.update(*completed(0))
    metric.reset()
    assert metric.compute()["all"]["pixels"] == 0
    assert np.isnan(metric.compute()["all"]["rmse"])


@pytest.fixture
def frames(tmp_path):
    write_set(tmp_path / "small")
    return read_folder(tmp_path / "small")


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "raw"])
def test_no_protocol_shows_what_it_scores_and_a_seed_gives_the_same_trial(frames, protocol):
    trial, again = make_trial(protocol, frames, 1), make_trial(protocol, frames, 1)
    shown, scored = np.isfinite(depth_on_rgb_grid(trial.frame)), np.isfinite(trial.truth)
    assert shown.any() and scored.any()
    assert not (shown & scored).any()
    np.testing.assert_array_equal(trial.truth, again.truth)
    np.testing.assert_array_equal(trial.frame.depth, again.frame.depth)


def test_random_pixels_change_with_seed_and_frame(frames):
    trials = [make_trial("sparse5", frames, index, seed) for index, seed in ((0, 0), (1, 0), (0, 1))]
    shown = [np.isfinite(trial.frame.depth) for trial in trials]
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[0], shown[2])
    assert all(pixels.sum() == round(0.05 * 24 * 32) for pixels in shown)


class TwoFrames(list):
    name = "two"


def test_raw_hides_the_other_frames_holes(frames):
    first, second = frames[0], frames[1]
    depth = np.full((24, 32), 2.0, np.float32)
    holed = depth.copy()
    holed[5:9, 4:20] = np.nan
    pair = TwoFrames(
        replace(sample, frame=replace(sample.frame, depth=values), ground_truth=None)
        for sample, values in ((first, depth), (second, holed))
    )
    trial = make_trial("raw", pair, 0)
    np.testing.assert_array_equal(np.isfinite(trial.truth), np.isnan(holed))
    np.testing.assert_array_equal(trial.frame.depth, holed)
    assert make_trial("raw", pair, 1) is None, "the other frame has no holes: nothing to score"


def test_lidar_rings_keeps_every_fourth_ring_and_low_resolution_one_pixel_a_block(frames):
    sample = frames[0]
    shown = np.isfinite(make_trial("lidar-rings", frames, 0).frame.depth)
    np.testing.assert_array_equal(shown, np.isin(sample.rings, np.arange(1, 65, 4)))
    shown = np.isfinite(make_trial("sr8", frames, 0).frame.depth)
    assert shown.sum() == 3 * 4
    assert shown.reshape(3, 8, 4, 8).any(axis=(1, 3)).all()


def test_given_needs_ground_truth_and_scores_only_the_sensors_holes(frames):
    sample = frames[0]
    trial = make_trial("given", frames, 0)
    np.testing.assert_array_equal(np.isfinite(trial.truth), np.isnan(sample.frame.depth))
    without = TwoFrames(replace(frame, ground_truth=None, rings=None) for frame in frames)
    assert make_trial("given", without, 0) is None
    assert make_trial("lidar-rings", without, 0) is None


def test_an_unknown_protocol_is_answered_with_the_choices(frames):
    with pytest.raises(ConfigurationError, match="sparse500"):
        make_trial("guess", frames, 0)


def test_evaluate_scores_all_models_on_the_same_pixels_and_writes_both_files(tmp_path, capsys):
    write_set(tmp_path / "small")
    arguments = ["evaluate", str(tmp_path / "small"), "--protocol", "rows,sr8", "--models", "guided,nearest"]
    assert main([*arguments, "--frames", "2", "--out", str(tmp_path / "out")]) == 0
    assert "guided" in capsys.readouterr().out
    with (tmp_path / "out" / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    pixels = {(row["protocol"], row["stratum"]): set() for row in rows}
    for row in rows:
        pixels[row["protocol"], row["stratum"]].add(row["pixels"])
    assert all(len(counts) == 1 for counts in pixels.values())
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())["scores"]
    assert [score["model"] for score in scores] == [row["model"] for row in rows]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "guess"], "no protocol guess"),
        (["--models", "telepathy"], "no engine runs model 'telepathy'"),
        (["--frames", "0"], "--frames 0"),
        (["--engine", "abacus"], "no engine 'abacus'"),
    ],
)
def test_evaluate_answers_wrong_settings_with_one_line(tmp_path, capsys, options, message):
    write_set(tmp_path / "small")
    assert main(["evaluate", str(tmp_path / "small"), *options]) == 1
    assert message in capsys.readouterr().err


def test_evaluate_says_when_no_frame_fits_the_protocol(tmp_path, capsys):
    arrays = write_set(tmp_path / "small", count=1)
    assert arrays["depth"].any()
    # with one frame the donor of holes is the frame itself, whose truth is all known
    assert main(["evaluate", str(tmp_path / "small"), "--protocol", "raw", "--models", "nearest"]) == 1
    assert "choose others with --protocol" in capsys.readouterr().err


def test_bench_engines_times_every_model_asked_for(tmp_path, capsys):
    write_set(tmp_path / "small")
    out = tmp_path / "bench.json"
    arguments = ["bench", "engines", "--frames", str(tmp_path / "small"), "--size", "64x48", "--rounds", "2"]
    assert main([*arguments, "--models", "guided,measured", "--out", str(out)]) == 0
    assert "p95" in capsys.readouterr().out
    timings = json.loads(out.read_text())["timings"]
    assert [timing["model"] for timing in timings] == ["guided", "measured"]
    assert all(len(values) == 2 and min(values) > 0 for timing in timings for values in timing["ms"].values())


def test_bench_engines_goes_on_after_a_model_that_cannot_be_timed(tmp_path, capsys):
    write_set(tmp_path / "small")
    arguments = ["bench", "engines", "--frames", str(tmp_path / "small"), "--size", "64x48", "--rounds", "2"]
    assert main([*arguments, "--models", "none_such,measured", "--out", str(tmp_path / "bench.json")]) == 0
    printed = capsys.readouterr().out
    assert "classical none_such: no classical model" in printed and "classical measured" in printed


def test_bench_engines_refuses_a_size_that_is_none(capsys):
    assert main(["bench", "engines", "--size", "large"]) == 1
    assert "--size must be like 640x480" in capsys.readouterr().err
