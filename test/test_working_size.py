"""Large images are completed at a reduced size, and what was measured at full size is not lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_completion_ros import DepthCompleter, RgbdFrame
from depth_completion_ros.engines import Engine
from depth_completion_ros.working_size import enlarged, reduced, reduction

SIDES = st.integers(8, 60)


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(480, 640, 1), (500, 800, 1), (352, 1216, 2), (720, 960, 2), (720, 1280, 2), (1080, 1920, 3), (1200, 1920, 3)],
)
def test_reduction_is_the_smallest_that_fits(height, width, factor):
    assert reduction(height, width, 400_000) == factor


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 10_000))
def test_reduced_size_is_within_the_limit_and_no_smaller_factor_is(height, width, pixels):
    factor = reduction(height, width, pixels)

    def size(factor: int) -> int:
        return -(-height // factor) * -(-width // factor)

    assert size(factor) <= pixels and (factor == 1 or size(factor - 1) > pixels)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(2, 4), st.integers(0, 1000))
def test_constant_depth_stays_constant(height, width, factor, seed):
    rng = np.random.default_rng(seed)
    depth = np.where(rng.random((height, width)) < 0.5, np.float32(2.5), np.float32(0))
    rgb, small = reduced(np.full((height, width, 3), (10, 20, 30), np.uint8), depth, factor)
    assert rgb.shape[:2] == small.shape == (-(-height // factor), -(-width // factor))
    assert (rgb == (10, 20, 30)).all()
    np.testing.assert_allclose(small[small > 0], 2.5, rtol=1e-5)
    dense, sigma = enlarged(np.full_like(small, 2.5), np.full_like(small, 0.1), depth, factor)
    assert dense.shape == sigma.shape == (height, width)
    np.testing.assert_allclose(dense, 2.5, rtol=1e-5)
    np.testing.assert_allclose(sigma, 0.1, rtol=1e-5)


def test_a_reduced_pixel_is_measured_where_one_of_its_pixels_is():
    depth = np.zeros((4, 6), np.float32)
    depth[0, 0], depth[2:, 4] = 2.0, (1.0, 3.0)
    small = reduced(np.zeros((4, 6, 3), np.uint8), depth, 2)[1]
    np.testing.assert_allclose(small, [[2.0, 0, 0], [0, 0, 1.5]], rtol=1e-6)


def test_measured_depth_corrects_the_enlarged_depth_around_it():
    """Where everything is measured, the result follows the measurement, not the blurred reduced depth."""
    depth = np.full((40, 40), 2.0, np.float32)
    depth[:, 20:] = 1.0
    dense, _ = enlarged(np.full((20, 20), 1.5, np.float32), np.ones((20, 20), np.float32), depth, 2)
    assert np.abs(dense - depth)[:, :18].max() < 0.01 and np.abs(dense - depth)[:, 22:].max() < 0.01
    nothing = np.zeros_like(depth)
    np.testing.assert_allclose(enlarged(depth[::2, ::2], depth[::2, ::2], nothing, 2)[0][:, :18], 2.0)


class SizeRecorder(Engine):
    """Fills with the median depth and remembers the size of the image."""

    engine, model = "recorder", "median"
    working_pixels = 5000

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        assert image.shape[:2] == depth.shape
        self.size = depth.shape
        return np.where(depth > 0, depth, np.float32(scale)), np.full_like(depth, 0.1)


def test_completer_reduces_only_images_above_the_limit():
    engine = SizeRecorder()
    completer = DepthCompleter("kinect", engine)
    for height, width, size in ((50, 100, (50, 100)), (101, 131, (51, 66)), (150, 200, (50, 67))):
        frame = RgbdFrame(np.zeros((height, width, 3), np.uint8), np.full((height, width), 2, np.float32))
        completed = completer.complete(frame)
        assert engine.size == size and completed.depth.shape == (height, width)
        np.testing.assert_allclose(completed.depth, 2, rtol=1e-5)
    completer.working_pixels = 100_000
    completer.complete(frame)
    assert engine.size == (150, 200)
