"""Measurements that are hidden from completion: how many, where, and that completion knows nothing of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_completion_ros.completer import DepthCompleter
from depth_completion_ros.frame import RgbdFrame
from depth_completion_ros.holdout import LARGEST_SHARE, PERIOD_NS, hidden_pixels, without_hidden
from depth_completion_ros.profiles import load_profile
from depth_completion_ros.temporal import TemporalMemory, TemporalSettings

PROFILE = load_profile("kinect")


@st.composite
def masks(draw) -> np.ndarray:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    density = draw(st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < density


@given(masks(), st.floats(0, 1), st.integers(0, 2**62))
def test_exactly_the_share_of_the_measured_pixels_is_hidden(measured, share, stamp_ns):
    before = measured.copy()
    hidden = hidden_pixels(measured, share, stamp_ns)
    assert hidden.shape == measured.shape and hidden.dtype == bool
    assert hidden.sum() == int(share * measured.sum())
    assert not (hidden & ~measured).any()
    assert np.array_equal(measured, before)


@given(masks(), st.floats(0, LARGEST_SHARE), st.integers(0, 2**40))
def test_the_stamp_alone_decides_and_blocks_stay_for_a_period(measured, share, number):
    first = hidden_pixels(measured, share, number * PERIOD_NS)
    assert np.array_equal(first, hidden_pixels(measured, share, number * PERIOD_NS))
    assert np.array_equal(first, hidden_pixels(measured, share, (number + 1) * PERIOD_NS - 1))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_hidden_pixels_form_blocks_that_move_from_period_to_period(share):
    measured = np.ones((480, 640), bool)
    images = [hidden_pixels(measured, share, number * PERIOD_NS) for number in range(20)]
    for hidden in images:
        count, _, statistics, _ = cv2.connectedComponentsWithStats(hidden.view(np.uint8), connectivity=4)
        areas = statistics[1:, cv2.CC_STAT_AREA]
        assert count > 1 and np.average(areas, weights=areas) > 150
    covered = np.mean(np.any(images, axis=0))
    assert covered > 0.9 * (1 - (1 - share) ** 20)


def scene(seed: int = 0) -> RgbdFrame:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 255, (60, 80, 3), np.uint8)
    depth = rng.uniform(0.8, 4, (60, 80)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.nan
    depth[:5] = 20  # out of range
    return RgbdFrame(rgb, depth, stamp_ns=PERIOD_NS)


def test_the_frame_lacks_what_is_hidden_and_keeps_the_rest():
    frame = scene()
    shown, held = without_hidden(frame, PROFILE, 0.2)
    hidden = np.isfinite(held)
    measured = PROFILE.measured(frame.depth)
    assert hidden.sum() == int(0.2 * measured.sum()) and measured[hidden].all()
    assert np.array_equal(held[hidden], frame.depth[hidden])
    assert np.array_equal(shown.depth, np.where(hidden, np.nan, frame.depth), equal_nan=True)
    assert shown.depth.dtype == held.dtype == np.float32
    completed = DepthCompleter("kinect", "classical", fill_only=True).complete(shown)
    assert not completed.measured[hidden].any()


def test_depth_of_a_lower_resolution_is_hidden_on_the_grid_of_the_image():
    frame = replace(scene(), depth=scene().depth[::2, ::2].copy())
    shown, held = without_hidden(frame, PROFILE, 0.5)
    assert shown.depth.shape == held.shape == (60, 80)
    both = np.isfinite(shown.depth) & np.isfinite(held)
    measured = PROFILE.measured(frame.depth).sum()
    assert not both.any() and np.isfinite(held).sum() == int(0.5 * measured)


def test_hidden_depth_changes_neither_the_memory_nor_the_completed_depth():
    """Two recordings that differ only in what is hidden, with other values in each frame."""
    results = []
    for other in (False, True):
        memory = TemporalMemory(TemporalSettings("static"))
        completer = DepthCompleter("kinect", "classical")
        outputs = []
        for number in range(4):
            frame = replace(scene(), stamp_ns=PERIOD_NS + number * 33_000_000)
            _, held = without_hidden(frame, PROFILE, 0.3)
            if other:
                wrong = np.where(np.isfinite(held), np.float32(1 + number), frame.depth)
                frame = replace(frame, depth=wrong)
            shown, _ = without_hidden(frame, PROFILE, 0.3)
            outputs.append(completer.complete(memory.recall(shown, PROFILE)).depth)
        results.append(np.array(outputs))
    np.testing.assert_allclose(*results, rtol=1e-5)  # filters round by where their buffers lie
