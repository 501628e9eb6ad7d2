"""``depth-completion robustness``: degradations of the input, curves of error and sigma, and the page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from browser import browser, page
from frame_sets import write_set

from depth_completion_ros.cli import main
from depth_completion_ros.evaluation.degradations import DEGRADATIONS, Degradation
from depth_completion_ros.evaluation.protocols import make_trial
from depth_completion_ros.evaluation.robustness import (
    CLEAN,
    Curve,
    Point,
    curves_of,
    degraded_trial,
    names_of,
    robustness,
)
from depth_completion_ros.evaluation.samples import open_bundled, open_folder
from depth_completion_ros.frame import RgbdFrame

SHAPE = (60, 80)
BY_NAME = {one.name: one for one in DEGRADATIONS}


@pytest.fixture
def frame() -> RgbdFrame:
    """A picture with all grey values, and depth from 1 to 3 m with a hole."""
    rng = np.random.default_rng(0)
    rgb = cv2.GaussianBlur(rng.integers(0, 256, (*SHAPE, 3), np.uint8), (0, 0), 1)
    depth = np.broadcast_to(np.linspace(1, 3, 80, dtype=np.float32), SHAPE).copy()
    depth[20:30, 30:50] = np.nan
    return RgbdFrame(rgb, depth)


def changed(name: str, frame: RgbdFrame, level: float) -> np.ndarray:
    one = BY_NAME[name]
    return getattr(one.applied(frame, level, 0), one.part)


@pytest.mark.parametrize("degradation", DEGRADATIONS, ids=lambda one: one.name)
def test_a_degradation_changes_its_part_alone_and_always_in_the_same_way(frame, degradation: Degradation):
    before = frame.rgb.copy(), frame.depth.copy()
    for level in degradation.levels:
        first, again, other = (degradation.applied(frame, level, seed) for seed in (1, 1, 2))
        for part in ("rgb", "depth"):
            old, new = getattr(frame, part), getattr(first, part)
            assert new.shape == old.shape and new.dtype == old.dtype
            assert np.array_equal(new, getattr(again, part), equal_nan=part == "depth")
            if part != degradation.part:
                assert new is old and getattr(other, part) is old
    assert np.array_equal(before[0], frame.rgb) and np.array_equal(before[1], frame.depth, equal_nan=True)
    assert not np.array_equal(getattr(first, degradation.part), getattr(frame, degradation.part), equal_nan=True)


def test_one_rectangle_of_one_colour_covers_the_share(frame):
    for share in BY_NAME["occluded"].levels:
        covered = changed("occluded", frame, share)
        where = np.any(covered != frame.rgb, axis=-1)
        rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        inside = covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.all(inside == inside[0, 0])
        assert inside.shape[0] * inside.shape[1] / where.size == pytest.approx(share, rel=0.1)


def test_light_and_colour_change_as_their_levels_say(frame):
    assert np.abs(changed("dark", frame, 0.1).mean() - 0.1 * frame.rgb.mean()) < 1
    bright = changed("overexposed", frame, 2).astype(int)
    assert np.array_equal(bright, np.minimum(255, 2 * frame.rgb.astype(int)))
    red, green, blue = (changed("colour shift", frame, 0.4)[..., channel].astype(int) for channel in range(3))
    assert np.all(red >= frame.rgb[..., 0]) and np.all(blue <= frame.rgb[..., 2])
    assert np.array_equal(green, frame.rgb[..., 1])
    assert not changed("lost", frame, 1).any()
    frozen = changed("frozen", frame, 8)
    assert np.array_equal(frozen[:, 8:], frame.rgb[:, :-8]) and np.all(frozen[:, :8] == frame.rgb[:, :1])


def test_harder_levels_of_noise_blur_and_compression_differ_more(frame):
    for name in ("noisy", "blurred", "jpeg"):
        differences = [
            np.abs(changed(name, frame, level) - frame.rgb.astype(float)).mean() for level in BY_NAME[name].levels
        ]
        assert differences == sorted(differences) and differences[0] > 0, name


def test_a_share_of_the_measurements_are_outliers_within_the_measured_range(frame):
    known, before = np.isfinite(frame.depth), np.zeros(SHAPE, bool)
    for share in BY_NAME["outliers"].levels:
        depth = changed("outliers", frame, share)
        assert np.array_equal(np.isfinite(depth), known) and np.nanmin(depth) >= 1 and np.nanmax(depth) <= 3
        wrong = known & (depth != frame.depth)
        assert np.count_nonzero(wrong) == pytest.approx(share * np.count_nonzero(known), rel=0.2)
        assert np.all(wrong[before])  # those of the level before are among them
        before = wrong


def test_depth_is_scaled_shifted_and_quantised_as_the_levels_say(frame):
    assert np.allclose(changed("scaled", frame, 1.1), 1.1 * frame.depth, equal_nan=True)
    shifted = changed("shifted", frame, 5)
    assert np.isnan(shifted[:, :5]).all() and np.array_equal(shifted[:, 5:], frame.depth[:, :-5], equal_nan=True)
    for bits in (2, 4, 6):
        coarse = changed("quantised", frame, bits)
        values = np.unique(coarse[np.isfinite(coarse)])
        assert len(values) == min(2**bits, 80) and (values[0], values[-1]) == pytest.approx((1, 3))
        assert np.nanmax(np.abs(coarse - frame.depth)) <= 1 / (2**bits - 1) + 1e-5
    flat = replace(frame, depth=np.full(SHAPE, 2, np.float32))
    assert np.all(changed("quantised", flat, 2) == 2)


def test_points_and_beams_are_some_of_the_measurements(frame):
    more = np.ones(SHAPE, bool)
    for count in (2000, 500, 50):
        few = changed("points", frame, count)
        kept = np.isfinite(few)
        assert np.count_nonzero(kept) == count and np.array_equal(few[kept], frame.depth[kept]) and more[kept].all()
        more = kept
    few = changed("beams", frame, 8)
    rows = np.flatnonzero(np.isfinite(few).any(axis=1))
    assert len(rows) == 8 and np.ptp(np.diff(rows)) <= 1
    assert np.array_equal(few[rows], frame.depth[rows], equal_nan=True)


def test_beams_of_scattered_points_are_the_nearest_ones_of_each_column(frame):
    rng = np.random.default_rng(0)
    scattered = replace(frame, depth=np.where(rng.random(SHAPE) < 0.2, frame.depth, np.float32(np.nan)))
    few = changed("beams", scattered, 4)
    kept = np.isfinite(few)
    assert np.array_equal(few[kept], scattered.depth[kept])
    assert 1 <= kept.sum(axis=0).max() <= 4
    assert kept.sum() > 2 * SHAPE[1]  # nearly every column has a point in nearly every beam


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three small frames of a slope with a step, each with another picture."""
    path = tmp_path_factory.mktemp("set") / "set"
    write_set(path, name="slope", depth={"scale_to_m": 0.001})
    rng = np.random.default_rng(3)
    for index in range(3):
        depth = np.broadcast_to(1000 + 20 * np.arange(32), (24, 32)) + 600 * (np.arange(24)[:, None] > 8 + index)
        cv2.imwrite(str(path / f"depth/{index}.png"), depth.astype(np.uint16))
        cv2.imwrite(str(path / f"gt/{index}.png"), depth.astype(np.uint16))
        cv2.imwrite(str(path / f"rgb/{index}.png"), rng.integers(0, 256, (24, 32, 3), np.uint8))
    return path


def test_the_same_hidden_pixels_are_scored_at_all_levels_and_measured_ones_against_the_clean_input(folder):
    samples = open_folder(folder)
    plain = make_trial("blocks", samples, 0, 5)
    hidden = np.isnan(plain.frame.depth)
    for degradation in DEGRADATIONS:
        for name in (CLEAN, *names_of(degradation)):
            trial = degraded_trial(("transparent", "blocks"), name, samples, 0, 5)
            assert np.array_equal(trial.truth[hidden], plain.truth[hidden])
            scored = np.isfinite(trial.truth) & ~hidden
            assert np.array_equal(scored, np.isfinite(trial.frame.depth) & ~hidden)
            assert np.array_equal(trial.truth[scored], plain.frame.depth[scored])
    assert degraded_trial(("transparent",), CLEAN, samples, 0) is None


def curve(errors: list[float], sigmas: list[float], **last: float) -> Curve:
    shares = {"confidence": 0.8, "within": 0.8, "measured_confidence": 0.9, "measured_within": 0.9}
    points = [Point("", rmse=e, mae=e, sigma=s, **shares) for e, s in zip(errors, sigmas, strict=True)]
    return Curve("noisy", "guided", [*points[:-1], replace(points[-1], **last)])


def test_sigma_follows_the_error_if_their_ranks_agree():
    assert curve([1, 1.2, 2], [1, 1.1, 1.2]).follows == pytest.approx(1)
    assert curve([1, 1.2, 2], [1, 0.9, 0.8]).follows == pytest.approx(-1)
    assert np.isnan(curve([1, 1.005, 0.999], [1, 2, 3]).follows)
    assert curve([1, 2], [1, 2], within=0.5).excess == pytest.approx(0.3)
    assert curve([1, 2], [1, 2], measured_within=0.2, within=0.7).excess == pytest.approx(0.7)
    assert curve([1, 2], [1, 2], measured_within=np.nan).excess == pytest.approx(0)


def test_a_method_without_colour_is_the_same_with_any_image_and_worse_with_worse_depth(folder):
    chosen = tuple(BY_NAME[name] for name in ("lost", "noisy", "outliers", "scaled"))
    curves = {
        (one.degradation, one.model): one
        for one in curves_of(robustness([open_folder(folder)], ["nearest", "guided"], chosen, frames=2))
    }
    assert len(curves) == 8
    for name in ("lost", "noisy"):
        same = curves[name, "nearest"]
        assert {(point.rmse, point.mae, point.sigma) for point in same.points} == {(1, 1, 1)}
        assert np.isnan(same.follows)
    for model in ("nearest", "guided"):
        assert curves["outliers", model].points[-1].rmse > 1.05
        scaled = curves["scaled", model].points
        # Depth of 1.0 to 2.2 m that is 10 % too large is wrong everywhere, and nothing in the input tells.
        assert scaled[0].measured_within == 1 and scaled[-1].measured_within == 0
        assert curves["scaled", model].excess > 0.5


@pytest.fixture(scope="module")
def report(folder, tmp_path_factory) -> Path:
    """The page of one frame, two models and two degradations."""
    pytest.importorskip("jinja2", reason="needs the extra report: pip install -e '.[report]'")
    pytest.importorskip("vl_convert", reason="needs the extra report: pip install -e '.[report]'")
    file = tmp_path_factory.mktemp("report") / "robustness.html"
    arguments = ["robustness", str(folder), "--models", "nearest,guided", "--degradations", "lost,points"]
    assert main([*arguments, "--frames", "1", "--report", str(file)]) == 0
    return file


def test_the_command_writes_all_figures_and_a_page(report):
    with (report.parent / "robustness.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    levels = [(row["degradation"], row["level"]) for row in rows if row["model"] == "guided"]
    lost = [("lost", level) for level in (CLEAN, "1")]
    assert levels == [*lost, *(("points", level) for level in (CLEAN, "2000", "500", "200", "50"))]
    content = json.loads((report.parent / "robustness.json").read_text(encoding="utf-8"))
    assert content["complete"] and len(content["curves"]) == 4 and len(content["recordings"]) == 12
    text = report.read_text(encoding="utf-8")
    assert text.count('<figure class="chart">') == 4  # two charts for each degradation
    assert 'href="robustness.csv"' in text and "frozen" not in text


def test_a_browser_shows_the_page_without_errors_or_requests(report):
    with browser() as opened:
        for width in (1280, 400):
            with page(opened, report, viewport={"width": width, "height": 900}) as (shown, faults):
                assert shown.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
                charts = shown.locator(".chart svg")
                assert charts.count() == 4
                assert all(charts.nth(at).bounding_box()["height"] > 50 for at in range(4))
                assert faults == []


def test_wrong_names_are_reported_with_the_right_ones(folder, capsys):
    assert main(["robustness", str(folder), "--degradations", "fog"]) == 1
    assert "no degradation fog: choose from occluded" in capsys.readouterr().err
    assert main(["robustness", str(folder), "--protocol", "rings"]) == 1
    assert "no protocol rings: choose from raw" in capsys.readouterr().err
    assert main(["robustness", str(folder), "--protocol", "transparent", "--models", "nearest"]) == 1
    assert "no frame can be used" in capsys.readouterr().err


def test_without_a_source_the_bundled_recordings_are_used():
    sets = {samples.profile.name: samples for samples in open_bundled(1)}
    assert sets.keys() == {"kinect", "tof", "lidar"}
    assert all(np.isfinite(samples[0].frame.depth).any() for samples in sets.values())
    assert [degraded_trial(("blocks", "lidar-rings", "sparse5"), CLEAN, one, 0) for one in sets.values()].count(
        None
    ) == 0
