"""Metrics against plain formulas: errors by stratum, SSIM, sparsification, rank correlation, bootstrap intervals."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")


from depth_completion_ros.evaluation import metrics
from depth_completion_ros.evaluation.evaluate import Key
from depth_completion_ros.evaluation.metrics import FIGURES, Metric
from depth_completion_ros.evaluation.rank_statistics import aurg, ause, spearman
from depth_completion_ros.evaluation.ssim import StructuralSimilarity
from depth_completion_ros.evaluation.strata import DISTANCES_PX, RANK_PIXELS, STRATA, ScoredPixels
from depth_completion_ros.evaluation.summary import ALL, summarise
from depth_completion_ros.frame import CompletedDepth

SHAPE = (40, 50)


def trial(seed: int) -> tuple[CompletedDepth, np.ndarray, np.ndarray]:
    """A completion, what was shown (one block) and the truth, with steps in depth and holes."""
    rng = np.random.default_rng(seed)
    truth = np.where(np.arange(50) < 30, 1.5, 3.0) + rng.uniform(0, 0.02, SHAPE)
    truth[:, 45:] = 40
    truth = truth.astype(np.float32)
    sigma = rng.uniform(0.01, 0.3, SHAPE).astype(np.float32)
    depth = (truth + rng.laplace(0, sigma / np.sqrt(2))).clip(0.1).astype(np.float32)
    measured = np.zeros(SHAPE, bool)
    measured[18:22, 5:9] = True
    shown = np.where(measured, truth + np.float32(0.01), np.float32(np.nan))
    truth[rng.random(SHAPE) < 0.1] = np.nan
    return CompletedDepth(depth, sigma, rng.random(SHAPE, np.float32), measured), shown, truth


@pytest.fixture(scope="module")
def trials():
    return [trial(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def metric(trials):
    metric = Metric()
    for completed, shown, truth in trials:
        metric.update(completed, ScoredPixels(shown, truth, completed.measured))
    return metric


def members(shown: np.ndarray, truth: np.ndarray, measured: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of some strata by loops over the pixels."""
    rows, columns = np.nonzero(measured)
    known = np.where(np.isfinite(truth), truth, shown)
    masks = {name: np.zeros(SHAPE, bool) for name in ("all", "measured", "near", "far", "edges", "1-2 m", "over 32 m")}
    for y, x in product(range(SHAPE[0]), range(SHAPE[1])):
        if np.isnan(truth[y, x]):
            continue
        distance = np.hypot(rows - y, columns - x).min()
        masks["all"][y, x] = True
        masks["measured" if distance == 0 else "near" if distance <= 8 else "far"][y, x] = True
        around = known[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        masks["edges"][y, x] = np.nanmax(around) > 1.05 * np.nanmin(around)
        masks["1-2 m"][y, x] = 1 <= truth[y, x] < 2
        masks["over 32 m"][y, x] = truth[y, x] >= 32
    return masks


def test_metrics_are_the_plain_formulas_over_the_pixels_of_all_frames(trials, metric):
    scores = metric.compute()
    for stratum in ("all", "measured", "near", "far", "edges", "1-2 m", "over 32 m"):
        parts = []
        for completed, shown, truth in trials:
            where = members(shown, truth, completed.measured)[stratum]
            peak = np.full(where.sum(), np.nanmax(truth))
            arrays = (completed.depth, truth, completed.sigma, completed.confidence)
            parts.append([*(array[where].astype(float) for array in arrays), peak])
        depth, truth, sigma, confidence, peak = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        error = np.abs(depth - truth)
        ratio = np.maximum(depth / truth, truth / depth)
        within = error < np.maximum(0.05, 0.02 * depth)
        b = sigma / 2**0.5
        bins = np.floor(confidence * 10)
        expected = {
            "pixels": depth.size,
            "rmse": np.mean(error**2) ** 0.5,
            "mae": np.mean(error),
            "rel": np.mean(error / truth),
            "mape": np.mean(error / truth) * 100,
            "irmse": np.mean((1000 / depth - 1000 / truth) ** 2) ** 0.5,
            "imae": np.mean(np.abs(1000 / depth - 1000 / truth)),
            "delta110": np.mean(ratio < 1.1),
            "delta125": np.mean(ratio < 1.25),
            "delta125_2": np.mean(ratio < 1.5625),
            "delta125_3": np.mean(ratio < 1.953125),
            "psnr": 10 * np.log10(np.mean(peak**2) / np.mean(error**2)),
            "sigma": np.mean(sigma**2) ** 0.5,
            "within": np.mean(within),
            "confidence": np.mean(confidence),
            "ece": sum(abs(np.sum(confidence[bins == d]) - np.sum(within[bins == d])) for d in range(10)) / depth.size,
            "coverage50": np.mean(1 - np.exp(-error / b) < 0.5),
            "coverage80": np.mean(1 - np.exp(-error / b) < 0.8),
            "coverage": np.mean(1 - np.exp(-error / b) < 0.9),
            "coverage95": np.mean(1 - np.exp(-error / b) < 0.95),
            "nll": -np.mean(np.log(np.exp(-error / b) / (2 * b))),
        }
        # the chamfer distance puts a few pixels of the rim at 8 px on the other side
        tolerance = 0.05 if stratum in ("near", "far") else 1e-5
        for figure, value in expected.items():
            assert scores[stratum][figure] == pytest.approx(value, rel=tolerance), (stratum, figure)


def test_every_pixel_is_of_one_kind_one_side_of_edges_and_one_band(metric):
    pixels = {stratum: figures["pixels"] for stratum, figures in metric.compute().items()}
    assert pixels["measured"] + pixels["near"] + pixels["far"] == pixels["all"]
    assert pixels["near"] + pixels["far"] == pixels["filled"]
    assert pixels["edges"] + pixels["flat"] == pixels["all"]
    assert sum(pixels[stratum] for stratum in STRATA if stratum.endswith(" m")) == pixels["all"]


def test_correct_sigmas_have_the_nominal_coverage(metric):
    # of 5000 pixels the share inside a 90 % interval has a standard deviation of 0.4 %
    assert metric.compute()["all"]["coverage"] == pytest.approx(0.9, abs=0.02)


def test_rank_statistics_of_a_metric_are_those_of_each_frame_weighted_by_pixels(trials, metric):
    areas, correlations, weights = [], [], []
    for completed, _, truth in trials:
        known = np.isfinite(truth)
        error = np.abs(completed.depth[known].astype(float) - truth[known])
        areas.append(ause(error, completed.sigma[known]))
        correlations.append(spearman(error, completed.sigma[known]))
        weights.append(known.sum())
    figures = metric.compute()["all"]
    assert figures["ause"] == pytest.approx(np.average(areas, weights=weights))
    assert figures["spearman"] == pytest.approx(np.average(correlations, weights=weights))


def test_rank_statistics_of_a_large_frame_are_close_to_those_of_all_its_pixels():
    rng = np.random.default_rng(0)
    shape = (200, 300)
    assert shape[0] * shape[1] > 5 * RANK_PIXELS
    truth = np.full(shape, 2, np.float32)
    sigma = rng.uniform(0.01, 0.3, shape).astype(np.float32)
    depth = (truth + rng.laplace(0, sigma)).clip(0.1).astype(np.float32)
    measured = np.zeros(shape, bool)
    measured[0, 0] = True
    metric = Metric()
    shown = np.where(measured, truth, np.float32(np.nan))
    completed = CompletedDepth(depth, sigma, np.ones(shape, np.float32), measured)
    metric.update(completed, ScoredPixels(shown, truth, measured))
    error = np.abs(depth - truth).ravel().astype(float)
    figures = metric.compute()["all"]
    assert figures["ause"] == pytest.approx(ause(error, sigma.ravel()), abs=0.02)
    assert figures["spearman"] == pytest.approx(spearman(error, sigma.ravel()), abs=0.02)


def test_a_reset_metric_has_no_frames_and_returns_nan(trials):
    completed, shown, truth = trials[0]
    metric = Metric()
    metric.update(completed, ScoredPixels(shown, truth, completed.measured))
    metric.reset()
    assert metric.frames == 0
    assert all(figures["pixels"] == 0 and np.isnan(figures["rmse"]) for figures in metric.compute().values())
    assert all(set(figures) == set(FIGURES) for figures in metric.compute().values())


def test_ause_is_the_area_between_two_curves_made_one_pixel_at_a_time():
    rng = np.random.default_rng(3)
    error, uncertainty = rng.exponential(size=60), rng.random(60)
    area = 0.0
    for removed in range(60):
        by_uncertainty = error[np.argsort(uncertainty)[: 60 - removed]].mean()
        by_error = np.sort(error)[: 60 - removed].mean()
        area += (by_uncertainty - by_error) / error.mean() / 60
    assert ause(error, uncertainty) == pytest.approx(area)


def test_ause_is_zero_for_a_perfect_ranking_and_of_ties_the_mean_over_all_their_orders():
    rng = np.random.default_rng(4)
    error = rng.exponential(size=400)
    assert ause(error, np.exp(error)) == pytest.approx(0, abs=1e-12)
    assert ause(np.zeros(5), np.arange(5.0)) == 0
    random_orders = [ause(error, rng.random(400)) for _ in range(2000)]
    assert ause(error, np.ones(400)) == pytest.approx(np.mean(random_orders), rel=0.01)


def test_ause_and_aurg_share_the_gain_of_a_perfect_ranking_over_chance():
    rng = np.random.default_rng(10)
    error, uncertainty = rng.exponential(size=400), rng.random(400)
    gains = [error.mean() - np.sort(error)[: 400 - removed].mean() for removed in range(400)]
    assert aurg(error, error) == pytest.approx(np.mean(gains) / error.mean())
    assert ause(error, uncertainty) + aurg(error, uncertainty) == pytest.approx(aurg(error, error))
    random_orders = [aurg(error, rng.random(400)) for _ in range(500)]
    assert np.mean(random_orders) == pytest.approx(0, abs=0.02)


def test_the_baseline_of_distance_is_that_of_a_fit_to_each_class_of_distance(trials, metric):
    errors = {}
    for completed, _, truth in trials:
        rows, columns = np.nonzero(completed.measured)
        for y, x in np.argwhere(np.isfinite(truth)):
            distance = np.hypot(rows - y, columns - x).min()
            position = int(np.searchsorted(DISTANCES_PX, distance))
            errors.setdefault(position, []).append(abs(float(completed.depth[y, x]) - float(truth[y, x])))
    scales = {position: np.mean(values) for position, values in errors.items()}
    terms = [np.log(2 * scales[k]) + error / scales[k] for k, values in errors.items() for error in values]
    # the chamfer distance puts a few pixels on the other side of a limit
    assert metric.compute()["all"]["nll_distance"] == pytest.approx(np.mean(terms), rel=0.01)
    pixels, mean = metric.by_distance()
    assert pixels.sum() == len(terms)
    assert np.sum(pixels * np.nan_to_num(mean)) == pytest.approx(sum(map(sum, errors.values())))
    assert mean[4] == pytest.approx(scales[4], rel=0.1)


def test_spearman_agrees_with_scipy_ties_included():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(5)
    first = rng.integers(0, 20, 500).astype(float)
    second = first + rng.normal(0, 5, 500)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert spearman(np.ones(9), np.arange(9.0)) == 0


def test_ssim_of_a_full_truth_is_that_of_the_paper_computed_window_by_window():
    rng = np.random.default_rng(6)
    truth = rng.uniform(1, 4, (24, 30)).astype(np.float32)
    depth = (truth + rng.normal(0, 0.3, truth.shape)).astype(np.float32)
    kernel = np.outer(*[cv2.getGaussianKernel(11, 1.5)[:, 0]] * 2)
    peak = float(truth.max())
    found = StructuralSimilarity(truth).map(depth)
    for y, x in ((10, 10), (7, 20), (12, 14)):
        window = np.s_[y - 5 : y + 6, x - 5 : x + 6]
        a, b = depth[window].astype(float), truth[window].astype(float)
        mean_a, mean_b = np.sum(kernel * a), np.sum(kernel * b)
        var_a, var_b = np.sum(kernel * (a - mean_a) ** 2), np.sum(kernel * (b - mean_b) ** 2)
        covariance = np.sum(kernel * (a - mean_a) * (b - mean_b))
        c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
        expected = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        expected /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
        assert found[y, x] == pytest.approx(expected, rel=1e-3)


def test_ssim_ignores_pixels_without_ground_truth():
    rng = np.random.default_rng(7)
    truth = rng.uniform(1, 4, (24, 30)).astype(np.float32)
    truth[8:12] = np.nan
    truth[:, 20:] = np.nan
    depth = np.nan_to_num(truth, nan=100)
    similarity = StructuralSimilarity(truth)
    assert similarity.valid.any() and not similarity.valid[9].any() and not similarity.valid[:, 20:].any()
    np.testing.assert_allclose(similarity.map(depth)[similarity.valid], 1, rtol=1e-4)


def metric_of(errors: np.ndarray) -> Metric:
    """Of frames with these absolute errors [m], (frames, pixels)."""
    metric = Metric()
    for row in errors:
        truth = np.full((1, row.size), 2, np.float32)
        measured = np.zeros(truth.shape, bool)
        measured[0, 0] = True
        depth = (truth + row).astype(np.float32)
        completed = CompletedDepth(depth, np.ones_like(depth), np.ones_like(depth), measured)
        metric.update(completed, ScoredPixels(np.where(measured, depth, np.nan), truth, measured))
    return metric


def test_intervals_cover_the_error_of_the_population_about_as_often_as_they_say():
    rng = np.random.default_rng(8)
    covered = 0
    for repetition in range(60):
        errors = rng.gamma(4, 0.02, (20, 1)) * np.ones((20, 9))
        (one,), _ = summarise({Key("set", "raw", "nearest"): metric_of(errors)}, ("nearest",), seed=repetition)
        covered += one.errors["mae"].low <= 0.08 <= one.errors["mae"].high
    assert 50 <= covered <= 60


def test_changes_are_to_the_best_baseline_of_each_set_and_total_by_the_geometric_mean():
    rng = np.random.default_rng(9)
    base = {name: rng.uniform(0.05, 0.1, (12, 30)) for name in ("one", "two")}
    factors = {("one", "net"): 0.5, ("two", "net"): 0.8, ("one", "guided"): 1.3, ("two", "guided"): 0.9}
    metrics = {}
    for (name, model), factor in factors.items():
        metrics[Key(name, "raw", "nearest")] = metric_of(base[name])
        metrics[Key(name, "raw", model)] = metric_of(base[name] * factor)
    by_set, totals = summarise(metrics, ("nearest", "guided"))
    found = {(one.set, one.model): one for one in by_set}
    assert found["one", "net"].best == {"rmse": "nearest", "mae": "nearest"}
    assert found["two", "net"].best == {"rmse": "guided", "mae": "guided"}
    change = found["two", "net"].changes["rmse"]
    assert change.value == pytest.approx(0.8 / 0.9 - 1, abs=1e-4)
    # the errors are proportional frame by frame, so of pairs there is no uncertainty, though each alone has some
    assert change.low == pytest.approx(change.high, abs=1e-4)
    assert found["two", "net"].errors["rmse"].low < found["two", "net"].errors["rmse"].high
    total = next(one for one in totals if one.model == "net")
    assert total.changes["mae"].value == pytest.approx((0.5 * 0.8 / 0.9) ** 0.5 - 1, abs=1e-4)
    assert total.errors["mae"].value == pytest.approx(
        0.5 * base["one"].mean() / 2 + 0.8 * base["two"].mean() / 2, abs=1e-4
    )
    assert (total.set, total.frames) == ("2 sets", 24)


def test_totals_of_several_protocols_hold_each_and_all_and_one_frame_has_no_interval():
    metrics = {Key("set", protocol, "nearest"): metric_of(np.full((1, 9), 0.1)) for protocol in ("raw", "rows")}
    by_set, totals = summarise(metrics, ("guided",))
    assert [one.protocol for one in totals] == ["raw", "rows", ALL]
    assert all(np.isnan(one.errors["rmse"].low) and not one.changes for one in by_set)


def test_the_number_of_groups_for_intervals_is_bounded_and_nothing_is_lost(trials, monkeypatch):
    """Of 21 frames with at most 8 groups: each group but the last sums four frames."""
    monkeypatch.setattr(metrics, "MOST_GROUPS", 8)
    sums = [
        metrics.frame_sums(completed, ScoredPixels(shown, truth, completed.measured))
        for completed, shown, truth in trials
    ]
    metric = Metric()
    for number in range(21):
        metric.add(sums[number % 3])
    assert (metric.frames, metric.groups) == (21, 6)
    rmse, mae = metric.resampled(np.ones((1, 6)))[:, 0]
    figures = metric.compute()["all"]
    assert (rmse, mae) == (pytest.approx(figures["rmse"]), pytest.approx(figures["mae"]))
    first = metric.resampled(np.eye(6)[:1])[1, 0]
    pixels = [sums[number % 3]["pixels"][0] for number in range(4)]
    absolute = [sums[number % 3]["absolute"][0] for number in range(4)]
    assert first == pytest.approx(sum(absolute) / sum(pixels))
    (by_set,), _ = summarise({Key("set", "protocol", "model"): metric}, ())
    assert by_set.frames == 21 and by_set.errors["rmse"].low < by_set.errors["rmse"].high
