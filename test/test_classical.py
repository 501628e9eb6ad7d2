"""The classical engine: properties of all models, and each model compared with its definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_completion_ros import DepthCompleter, RgbdFrame
from depth_completion_ros.engines import classical_models, model_names, open_engine
from depth_completion_ros.engines.classical import ClassicalEngine
from depth_completion_ros.errors import ConfigurationError
from depth_completion_ros.profiles import Profile

PROFILE = Profile("test", 0.1, 10.0, (0.001, 0.0, 0.002))
MODELS = model_names("classical")
COMPLETING = [model for model in MODELS if model != "measured"]


@pytest.fixture(params=MODELS)
def model(request) -> str:
    if request.param == "linear":
        pytest.importorskip("scipy")
    return request.param


def engine(model: str, profile: Profile = PROFILE) -> ClassicalEngine:
    return ClassicalEngine(model, profile=profile)


def scene(height: int = 60, width: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the image and the dense depth [m] of a box before a slanted wall of another colour, with image noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    depth = (2.5 + 0.006 * columns + 0.003 * rows).astype(np.float32)
    rgb = np.full((height, width, 3), (200, 180, 160), np.uint8)
    box = (slice(height // 4, 3 * height // 4), slice(width // 3, 2 * width // 3))
    depth[box], rgb[box] = 1.5, (40, 60, 120)
    return rgb + rng.integers(0, 4, rgb.shape, np.uint8), depth


def thinned(depth: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(depth.shape) < share, depth, np.float32(0))


@pytest.mark.parametrize("shape", [(60, 80), (61, 83), (7, 1), (1, 9), (1, 1), (3, 200)])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.8])
def test_result_is_finite_positive_and_within_the_measured_range_at_any_size_and_density(model, shape, share):
    rng = np.random.default_rng(2)
    depth = thinned(rng.uniform(0.5, 9.0, shape).astype(np.float32), share)
    depth[shape[0] // 2, shape[1] // 2] = 2.0
    dense, sigma = engine(model).run(rng.integers(0, 256, (*shape, 3), np.uint8), depth, 2.0)
    for array in (dense, sigma):
        assert array.shape == shape and array.dtype == np.float32
        assert np.isfinite(array).all() and (array > 0).all()
    known = depth[depth > 0]
    assert dense.min() >= known.min() and dense.max() <= known.max()


def test_keeps_measured_pixels_and_their_sigma(model):
    rgb, depth = scene()
    sparse = thinned(depth, 0.5)
    dense, sigma = engine(model).run(rgb, sparse, 2.0)
    measured = sparse > 0
    np.testing.assert_array_equal(dense[measured], sparse[measured])
    np.testing.assert_allclose(sigma[measured], PROFILE.measurement_sigma(sparse)[measured], rtol=1e-6)
    dense, _ = engine(model).run(rgb, depth, 2.0)
    np.testing.assert_array_equal(dense, depth)


def test_frames_are_independent_and_inputs_are_not_modified(model):
    first, other = scene(seed=3), scene(seed=4)
    first_depth, other_depth = thinned(first[1], 0.1), thinned(other[1][::-1], 0.02)
    inputs = [first[0].copy(), first_depth.copy()]
    running = engine(model)
    before = [array.copy() for array in running.run(first[0], first_depth, 2.0)]
    running.run(other[0], np.ascontiguousarray(other_depth), 2.0)
    after = running.run(first[0], first_depth, 2.0)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(inputs[0], first[0])
    np.testing.assert_array_equal(inputs[1], first_depth)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_depth_in_another_unit_gives_the_same_result_in_that_unit(model, factor):
    rgb, depth = scene()
    sparse = thinned(depth, 0.05)
    proportional = Profile("proportional", 0.01, 100.0, (0.0, 0.01, 0.0))
    dense, sigma = (array.copy() for array in engine(model, proportional).run(rgb, sparse, 2.0))
    scaled, scaled_sigma = engine(model, proportional).run(rgb, sparse * np.float32(factor), 2.0 * factor)
    # inpaint quantises depth to 1/65535 of the largest depth, so one unit may be rounded differently
    np.testing.assert_allclose(scaled, factor * dense, rtol=2e-4 if model == "inpaint" else 2e-5)
    np.testing.assert_allclose(scaled_sigma, factor * sigma, rtol=1e-3, atol=1e-4 * factor)


def test_sigma_grows_with_the_distance_to_the_nearest_measurement(model):
    rgb = np.full((20, 90, 3), 128, np.uint8)
    depth = np.zeros((20, 90), np.float32)
    depth[:, 0] = 2.0
    _, sigma = engine(model).run(rgb, depth, 2.0)
    assert sigma[10, 1] > sigma[10, 0]
    if model != "measured":
        assert (np.diff(sigma[10]) > 0).all()


def test_sigma_is_larger_beside_a_depth_step_than_on_a_surface():
    """A pixel between foreground and background may belong to either."""
    rgb = np.full((40, 81, 3), 128, np.uint8)
    depth = np.where(np.arange(81) < 40, np.float32(1.0), np.float32(3.0)) * np.ones((40, 1), np.float32)
    depth[:, [10, 40]] = 0
    _, sigma = engine("guided").run(rgb, depth, 2.0)
    assert sigma[20, 40] > 3 * sigma[20, 10]


def test_an_unknown_model_is_rejected_with_the_valid_names():
    with pytest.raises(ConfigurationError, match=r"engine classical has no model 'telepathy'.*guided.*nearest"):
        engine("telepathy")


def test_a_model_whose_library_is_missing_is_rejected_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(classical_models, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install scipy"):
        engine("linear")
    monkeypatch.delattr(cv2, "ximgproc")
    with pytest.raises(ConfigurationError, match="opencv-contrib-python-headless"):
        engine("guided")


def test_auto_is_the_guided_model():
    assert open_engine("classical", "auto", profile=PROFILE).model == "guided" == MODELS[0]


@pytest.mark.parametrize("hidden", ["sparse", "hole across the edge"])
def test_guided_beats_nearest_and_linear_where_colour_shows_the_edges(hidden):
    pytest.importorskip("scipy")
    rgb, depth = scene(120, 160)
    shown = thinned(depth, 0.05)
    if hidden != "sparse":
        shown = depth.copy()
        shown[32:88, 44:60] = 0
    error = {
        model: np.abs(engine(model).run(rgb, shown, 2.0)[0] - depth)[shown == 0].mean()
        for model in ("guided", "nearest", "linear")
    }
    assert error["guided"] < 0.7 * min(error["nearest"], error["linear"])


def test_errors_of_guided_are_small_where_its_confidence_is_high():
    rgb, depth = scene(120, 160)
    completer = DepthCompleter(PROFILE, "classical")
    shown = thinned(depth, 0.02)
    result = completer.complete(RgbdFrame(rgb, shown))
    hit = np.abs(result.depth - depth) < np.maximum(0.05, 0.02 * result.depth)
    sure = result.confidence > 0.9
    assert hit[sure].mean() > max(0.9, hit[~sure].mean())


def test_nearest_equals_a_brute_force_search():
    rng = np.random.default_rng(5)
    depth = np.where(rng.random((30, 40)) < 0.03, rng.uniform(1, 5, (30, 40)), 0).astype(np.float32)
    dense, _ = engine("nearest").run(np.zeros((30, 40, 3), np.uint8), depth, 2.0)
    seeds = np.argwhere(depth > 0)
    for pixel in np.argwhere(depth == 0):
        distance = np.linalg.norm(seeds - pixel, axis=1)
        taken = seeds[depth[depth > 0] == dense[tuple(pixel)]]
        assert np.linalg.norm(taken - pixel, axis=1).min() <= 1.03 * distance.min()


def test_linear_reproduces_a_plane_within_the_hull_and_accepts_points_on_a_line():
    pytest.importorskip("scipy")
    rows, columns = np.mgrid[:30, :40]
    plane = (1 + 0.02 * rows + 0.01 * columns).astype(np.float32)
    shown = thinned(plane, 0.05)
    shown[[0, 0, -1, -1], [0, -1, 0, -1]] = plane[[0, 0, -1, -1], [0, -1, 0, -1]]
    rgb = np.zeros((30, 40, 3), np.uint8)
    np.testing.assert_allclose(engine("linear").run(rgb, shown, 1.5)[0], plane, atol=1e-5)
    line = np.zeros_like(plane)
    line[5, 3:9] = 2.0
    np.testing.assert_array_equal(engine("linear").run(rgb, line, 2.0)[0], np.full_like(plane, 2.0))


@pytest.mark.parametrize("model", COMPLETING)
def test_constant_depth_is_completed_to_constant_depth(model):
    if model == "linear":
        pytest.importorskip("scipy")
    rgb, _ = scene()
    shown = thinned(np.full((60, 80), 3.0, np.float32), 0.01)
    np.testing.assert_allclose(engine(model).run(rgb, shown, 3.0)[0], 3.0, rtol=1e-6)


def test_push_pull_fills_a_cell_with_the_mean_of_its_measurements():
    depth = np.zeros((2, 2), np.float32)
    depth[0] = 1.0, 3.0
    measured = depth > 0
    dense = classical_models.push_pull(np.zeros((2, 2, 3), np.uint8), depth, measured, 2.0)
    np.testing.assert_allclose(dense[1], 2.0)


def test_fast_global_smoother_equals_the_normalised_convolution_near_measurements():
    rgb, depth = scene()
    shown = thinned(depth, 0.3)
    smoother = cv2.ximgproc.createFastGlobalSmootherFilter(rgb, 30.0, classical_models.COLOUR_SIGMA, 0.25, 3)
    weight = (shown > 0).astype(np.float32)
    expected = smoother.filter(shown) / smoother.filter(weight)
    dense = classical_models.fast_global_smoother(rgb, shown, shown > 0, 2.0)
    np.testing.assert_allclose(dense, expected, rtol=2e-3)


def test_ip_basic_follows_the_paper_step_by_step():
    """Two points, at 1 m and at 4 m four pixels to its right. The expected values ignore the final blurring."""
    depth = np.zeros((60, 60), np.float32)
    depth[30, 20], depth[30, 24] = 1.0, 4.0
    dense = classical_models.ip_basic(np.zeros((60, 60, 3), np.uint8), depth, depth > 0, 2.0)
    # Steps 1 and 2: both diamonds cover column 22, and the nearer point prevails, because depth is inverted.
    assert dense[30, 22] < 2.5
    # Step 4: the 7x7 fill extends the far point to column 29. The near point does not extend that far.
    assert dense[30, 28] == pytest.approx(4.0, abs=0.3)
    # Step 5: the topmost values of columns 20 and 25 are extended to the top before the 31x31 fill of step 6.
    assert dense[0, 20] == pytest.approx(1.0, abs=0.01)
    assert dense[0, 25] == pytest.approx(4.0, abs=0.3)
    # Step 6: below, where step 5 extends nothing, the nearer point prevails.
    assert dense[40, 25] == pytest.approx(1.0, abs=0.01)
    assert np.isfinite(dense).all()


def test_model_measured_has_no_confidence_at_missing_pixels():
    rgb, depth = scene()
    shown = thinned(depth, 0.5)
    result = DepthCompleter(PROFILE, "classical", "measured").complete(RgbdFrame(rgb, shown))
    assert len(np.unique(result.depth[shown == 0])) == 1
    assert result.confidence[shown == 0].max() < 0.01
