"""Protocols of papers and benchmarks: their sizes, crops and masks, and their means over frames."""

from __future__ import annotations

import csv

import dataset_files as files
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from depth_completion_ros.cli import main
from depth_completion_ros.errors import InputError
from depth_completion_ros.evaluation.evaluate import evaluate
from depth_completion_ros.evaluation.metrics import FIGURES, Metric
from depth_completion_ros.evaluation.protocols import PUBLISHED, make_trial
from depth_completion_ros.evaluation.published import at_half_size
from depth_completion_ros.evaluation.samples import Sample, SampleSet, open_published
from depth_completion_ros.evaluation.strata import STRATA, ScoredPixels
from depth_completion_ros.frame import CompletedDepth, Intrinsics, RgbdFrame
from depth_completion_ros.profiles import load_profile

NAN = np.float32(np.nan)
ROW, COLUMN = np.mgrid[:480, :640]


def nyu_sample(raw_hole: bool = False) -> Sample:
    """Depth and green grow by a known amount with column and row."""
    depth = (1 + COLUMN / 1000 + ROW / 100).astype(np.float32)
    image = np.stack([0 * ROW, (COLUMN // 4) % 256, ROW // 2], axis=-1).astype(np.uint8)
    measured = depth.copy()
    if raw_hole:
        measured[100:200, 300:400] = NAN
    frame = RgbdFrame(image, measured, Intrinsics(500.0, 502.0, 320.5, 240.5, 640, 480))
    return Sample(frame, depth)


def set_of(*samples: Sample) -> SampleSet:
    return SampleSet("made up", load_profile("kinect"), "", len(samples), samples.__getitem__)


def test_half_size_is_the_mean_of_four_pixels_in_each_direction_with_weights_1_3_3_1():
    sample = at_half_size(nyu_sample(), 304, 228)
    assert sample.frame.rgb.shape == (228, 304, 3) and sample.frame.depth.shape == (228, 304)
    # The first pixel of the crop is pixel (6, 8) of 320x240, at row 12.5 and column 16.5 of 640x480.
    np.testing.assert_allclose(sample.ground_truth[0, 0], 1 + 0.0165 + 0.125, rtol=1e-6)
    np.testing.assert_allclose(sample.ground_truth[227, 303], 1 + (2 * 311 + 0.5) / 1000 + (2 * 233 + 0.5) / 100)
    step = nyu_sample().frame.rgb
    step[:] = 0
    step[:, 17:] = 80  # pixel 8 of the half size is (columns 15, 16 | 17, 18): (3 + 1) / 8 of 80
    narrow = at_half_size(Sample(RgbdFrame(step, nyu_sample().frame.depth)), 304, 228)
    assert narrow.frame.rgb[0, :3, 0].tolist() == [40, 80, 80]


def test_half_size_keeps_rays():
    """The optical axis stays where it is in the image: 320.5 is between the pixels 160 and 160 + 1/2, less the crop."""
    i = at_half_size(nyu_sample(), 304, 228).frame.intrinsics
    assert (i.fx, i.fy, i.cx, i.cy, i.width, i.height) == (250, 251, 160 - 8, 120 - 6, 304, 228)


def test_holes_do_not_mix_with_depth():
    sample = at_half_size(nyu_sample(raw_hole=True), 288, 192)
    hole = np.isnan(sample.frame.depth)
    assert sample.frame.depth.shape == (192, 288)
    # rows 100 to 199 touch the pixels 49 to 100 of 240, less a crop of 24; columns 149 to 200 of 320, less 16
    rows, columns = np.nonzero(hole)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 76, 133, 184)
    np.testing.assert_array_equal(sample.frame.depth[~hole], sample.ground_truth[~hole])


def test_nyu500_scores_all_pixels_at_304x228_and_shows_500():
    samples = set_of(nyu_sample(), nyu_sample())
    trial = make_trial("nyu500", samples, 0)
    assert trial.truth.shape == (228, 304) and np.isfinite(trial.truth).all()
    shown = np.isfinite(trial.frame.depth)
    assert shown.sum() == 500
    np.testing.assert_array_equal(trial.frame.depth[shown], trial.truth[shown])
    np.testing.assert_array_equal(make_trial("nyu500", samples, 0).frame.depth, trial.frame.depth)
    for other in (make_trial("nyu500", samples, 1), make_trial("nyu500", samples, 0, seed=1)):
        assert (np.isfinite(other.frame.depth) != shown).any()


def test_nyu_raw_scores_the_reconstructed_depth():
    trial = make_trial("nyu-raw", set_of(nyu_sample(raw_hole=True)), 0)
    assert trial.truth.shape == (192, 288) and np.isfinite(trial.truth).all()
    assert 0 < np.isnan(trial.frame.depth).sum() < trial.truth.size
    assert make_trial("nyu-raw", set_of(nyu_sample()), 0) is None, "nothing was measured apart from the truth"


@pytest.mark.parametrize("protocol", ["nyu500", "nyu-raw"])
def test_nyu_protocols_refuse_other_sizes(protocol, tmp_path):
    samples = open_published(f"kitti:{files.kitti_selection(tmp_path)}")
    with pytest.raises(InputError, match="defined for images of 640x480 pixels, not 8x6"):
        make_trial(protocol, samples, 0)


def test_kitti_scores_all_ground_truth_also_where_the_input_has_it(tmp_path):
    trial = make_trial("kitti", open_published(f"kitti:{files.kitti_selection(tmp_path)}"), 0)
    assert trial.frame.depth[1, :2].tolist() == [10.0, 3001 / 256]
    assert np.isfinite(trial.truth).sum() == 3 and trial.truth[1, :3].tolist() == [10.0, 11.0, 100.0]
    test_images = open_published(f"kitti:{files.kitti_selection(tmp_path / 'test', truth=False)}")
    assert make_trial("kitti", test_images, 0) is None


def completion(depth: list[float]) -> CompletedDepth:
    values = np.array([depth], np.float32)
    ones = np.ones_like(values)
    return CompletedDepth(values, ones, ones, np.zeros(values.shape, bool))


def test_published_metrics_are_means_over_frames_whatever_their_number_of_pixels():
    """A frame with one pixel and an error of 2 m at 10 m, and one with three pixels and errors of 1 m at 5 m."""
    frames = [([12.0], [10.0]), ([6.0, 4.0, 6.0], [5.0, 5.0, 5.0])]
    metrics = {per_frame: Metric(per_frame) for per_frame in (False, True)}
    for metric in metrics.values():
        for depth, truth in frames:
            known = np.array([truth], np.float32)
            metric.update(completion(depth), ScoredPixels(np.full_like(known, NAN), known, np.zeros(known.shape, bool)))
    mean = metrics[True].compute()["all"]
    inverse = [1 / 10 - 1 / 12], [1 / 5 - 1 / 6, 1 / 4 - 1 / 5, 1 / 5 - 1 / 6]
    expected = {
        "pixels": 4,
        "rmse": 1.5,
        "mae": 1.5,
        "rel": 0.2,
        "irmse": 1000 * np.mean([np.sqrt(np.mean(np.square(each))) for each in inverse]),
        "imae": 1000 * np.mean([np.mean(each) for each in inverse]),
        "delta125": np.mean([1, 2 / 3]),  # 5 / 4 is not below 1.25
        "delta125_2": 1.0,
    }
    np.testing.assert_allclose([mean[name] for name in expected], list(expected.values()), rtol=1e-6)
    assert mean.keys() == FIGURES.keys()
    pooled = metrics[False].compute()["all"]
    np.testing.assert_allclose(pooled["rmse"], np.sqrt((4 + 3) / 4), rtol=1e-6)
    bands = metrics[True].compute()
    assert bands["8-16 m"]["rmse"] == pytest.approx(2) and bands["4-8 m"]["rmse"] == pytest.approx(1)
    assert np.isnan(bands["over 32 m"]["rmse"]) and bands["over 32 m"]["pixels"] == 0 and set(bands) == set(STRATA)
    # each frame drawn once, the first twice, the second twice
    draws = metrics[True].resampled(np.array([[1, 1], [2, 0], [0, 2]]))
    np.testing.assert_allclose(draws, [[1.5, 2, 1], [1.5, 2, 1]])


def test_only_published_protocols_average_over_frames():
    samples = set_of(nyu_sample(raw_hole=True), nyu_sample(raw_hole=True))
    evaluation = evaluate([samples], ["given", "nyu-raw"], ["nearest"], 2)
    scores = {key.protocol: metric for key, metric in evaluation.metrics.items()}
    assert {protocol: metric._per_frame for protocol, metric in scores.items()} == {"given": False, "nyu-raw": True}
    assert set(PUBLISHED) == {"nyu500", "nyu-raw", "kitti"}
    assert scores["nyu-raw"].compute()["all"]["pixels"] == 2 * 192 * 288


def test_one_command_scores_a_data_set(tmp_path, capsys):
    root = files.kitti_selection(tmp_path)
    images = {
        "image": files.rgb(),
        "velodyne_raw": files.counts(2560, 3001),
        "groundtruth_depth": files.counts(2560, 3001 + 256),
    }
    for name, pixels in images.items():
        path = root / name / f"2011_09_26_drive_0002_sync_{name}_0000000005_image_02.png"
        files.write_image(path, np.tile(pixels, (8, 8, 1)[: pixels.ndim]))
    out = tmp_path / "results"
    options = ["--protocol", "kitti", "--models", "nearest", "--frames", "1000", "--out", str(out)]
    assert main(["evaluate", f"kitti:{tmp_path}", *options]) == 0
    assert "kitti-val_selection_cropped, kitti" in capsys.readouterr().out
    with open(out / "evaluation.csv", encoding="utf-8", newline="") as table:
        row = next(row for row in csv.DictReader(table) if row["stratum"] == "all")
    assert {"irmse", "imae", "rel", "delta125", "delta125_2", "delta125_3"} <= row.keys()
    # The measurements are kept: no error at one half of the pixels, 1 m at the other.
    assert int(row["pixels"]) == 2 * 64 and float(row["rmse"]) == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert main(["evaluate", "kitti:nowhere", "--models", "nearest"]) != 0
    assert "nowhere does not exist: give kitti:PATH" in capsys.readouterr().err
    assert main(["evaluate", str(root), "--models", "nearest"]) != 0
    assert f"for a published data set, give FORMAT:{root}" in capsys.readouterr().err
