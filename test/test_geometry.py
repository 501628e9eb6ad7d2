"""Geometry against per-pixel loops and SciPy's rotations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from depth_completion_ros.errors import InputError
from depth_completion_ros.frame import Intrinsics, RgbdFrame
from depth_completion_ros.geometry import back_project, depth_on_rgb_grid, project_points, transform_from_pose

repeatable = settings(deadline=None, derandomize=True, max_examples=60)
seeds = st.integers(0, 10_000)
NONSENSE = [0.0, -1.0, np.nan, np.inf, -np.inf]


def random_intrinsics(rng, width, height):
    fx, fy = rng.uniform(0.5, 2, 2) * width
    cx, cy = rng.uniform(0.3, 0.7, 2) * (width, height)
    return Intrinsics(float(fx), float(fy), float(cx), float(cy), width, height)


def random_depth(rng, height, width, missing=0.3):
    depth = rng.uniform(0.5, 9, (height, width)).astype(np.float32)
    holes = rng.random((height, width)) < missing
    depth[holes] = rng.choice(NONSENSE, holes.sum())
    return depth


def is_depth(value):
    return 0 < value < math.inf


def projected_by_loop(points, intrinsics):
    """Nearest pixel, nearest point, one point at a time; and which pixels a rounding error could decide otherwise."""
    depth = np.full((intrinsics.height, intrinsics.width), np.nan)
    uncertain = np.zeros(depth.shape, bool)
    for x, y, z in points:
        if not (is_depth(z) and math.isfinite(x) and math.isfinite(y)):
            continue
        u, v = x / z * intrinsics.fx + intrinsics.cx, y / z * intrinsics.fy + intrinsics.cy
        column, row = math.floor(u + 0.5), math.floor(v + 0.5)
        if min(abs(u + 0.5 - round(u + 0.5)), abs(v + 0.5 - round(v + 0.5))) < 1e-3:
            around = slice(max(row - 1, 0), max(row + 2, 0)), slice(max(column - 1, 0), max(column + 2, 0))
            uncertain[around] = True
        if 0 <= row < intrinsics.height and 0 <= column < intrinsics.width and not depth[row, column] <= z:
            depth[row, column] = z
    return depth, uncertain


@repeatable
@given(seeds)
def test_projection_is_a_z_buffer(seed):
    rng = np.random.default_rng(seed)
    intrinsics = random_intrinsics(rng, 12, 9)
    points = rng.uniform(-3, 3, (300, 3)).astype(np.float32)
    points[rng.random(300) < 0.1, rng.integers(3)] = rng.choice([np.nan, np.inf, -np.inf, 0, 1e-40, 1e38])
    before = points.copy()
    depth = project_points(points, intrinsics)
    np.testing.assert_array_equal(points, before)
    expected, uncertain = projected_by_loop(points.tolist(), intrinsics)
    assert depth.shape == (9, 12)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth[~uncertain], expected[~uncertain], rtol=1e-6)


def test_the_image_begins_half_a_pixel_before_its_first_centre():
    intrinsics = Intrinsics(1.0, 1.0, 0.0, 0.0, 3, 2)

    def lands(x, y):
        rows, columns = np.nonzero(np.isfinite(project_points(np.array([[x, y, 1]], np.float32), intrinsics)))
        return [*zip(rows.tolist(), columns.tolist(), strict=True)]

    assert lands(-0.49, -0.49) == [(0, 0)]
    assert lands(2.49, 1.49) == [(1, 2)]
    assert lands(1.4, 0.6) == [(1, 1)]
    assert lands(-0.51, 0) == lands(2.51, 0) == lands(0, -0.51) == lands(0, 1.51) == []


def test_points_land_on_the_right_pixel_of_a_large_image():
    """Beyond 2^24 pixels, float32 cannot count them any more."""
    camera = Intrinsics(1.0, 1.0, 0.0, 0.0, 5000, 3400)
    depth = project_points(np.array([[4998, 3399, 1], [4997, 3399, 1]], np.float32), camera)
    assert np.argwhere(np.isfinite(depth)).tolist() == [[3399, 4997], [3399, 4998]]


def test_no_points_give_an_empty_image():
    depth = project_points(np.empty((0, 3), np.float32), Intrinsics(1, 1, 0, 0, 4, 3))
    assert np.isnan(depth).all()


@repeatable
@given(seeds)
def test_back_projection_is_the_pinhole_equation_and_projects_back(seed):
    rng = np.random.default_rng(seed)
    intrinsics = random_intrinsics(rng, 11, 7)
    depth = random_depth(rng, 7, 11)
    depth[~np.isfinite(depth) | (depth <= 0)] = np.nan
    points = back_project(depth, intrinsics)
    expected = [
        [(u - intrinsics.cx) * z / intrinsics.fx, (v - intrinsics.cy) * z / intrinsics.fy, z]
        for v, row in enumerate(depth.tolist())
        for u, z in enumerate(row)
        if math.isfinite(z)
    ]
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, np.array(expected).reshape(-1, 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(project_points(points, intrinsics), depth)


def frame_of(depth, height, width, **others):
    return RgbdFrame(np.zeros((height, width, 3), np.uint8), depth, **others)


def test_depth_of_the_same_size_is_not_copied():
    depth = np.ones((3, 4), np.float32)
    assert depth_on_rgb_grid(frame_of(depth, 3, 4)) is depth


@repeatable
@given(st.sampled_from([(6, 8), (12, 16), (9, 12), (18, 24), (24, 32), (27, 36), (48, 64)]), seeds)
def test_resampling_keeps_the_nearest_measurement_of_each_pixel(shape, seed):
    """Each sample belongs to the pixel of 12x16 that holds its centre; up, down and by ratios that are not whole."""
    height, width = 12, 16
    depth = random_depth(np.random.default_rng(seed), *shape, missing=0.5)
    before = depth.copy()
    expected = np.full((height, width), np.nan)
    for v in range(shape[0]):
        for u in range(shape[1]):
            row, column = (2 * v + 1) * height // (2 * shape[0]), (2 * u + 1) * width // (2 * shape[1])
            if is_depth(depth[v, u]) and not expected[row, column] <= depth[v, u]:
                expected[row, column] = depth[v, u]
    found = depth_on_rgb_grid(frame_of(depth, height, width))
    np.testing.assert_array_equal(depth, before)
    if shape == (height, width):
        found = np.where((found > 0) & np.isfinite(found), found, np.nan)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize(("depth", "rgb"), [((480, 640), (720, 1280)), ((480, 848), (480, 640)), ((64, 48), (48, 64))])
def test_another_shape_cannot_be_the_same_field_of_view(depth, rgb):
    with pytest.raises(InputError) as caught:
        depth_on_rgb_grid(frame_of(np.ones(depth, np.float32), *rgb))
    assert caught.value.cause == "size"
    assert f"{depth[1]}x{depth[0]}" in str(caught.value)
    assert f"{rgb[1]}x{rgb[0]}" in str(caught.value)


def test_rounded_image_sizes_count_as_the_same_field_of_view():
    found = depth_on_rgb_grid(frame_of(np.ones((480, 848), np.float32), 720, 1280))
    assert np.isfinite(found).sum() == 480 * 848


@repeatable
@given(seeds)
def test_a_pose_is_the_rotation_and_translation_that_scipy_makes_of_it(seed):
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed)
    pose = np.concatenate([rng.uniform(-5, 5, 3), rotation.as_quat() * rng.uniform(0.995, 1.005)])
    before = pose.copy()
    transform = transform_from_pose(pose)
    np.testing.assert_array_equal(pose, before)
    np.testing.assert_allclose(transform[:3, :3], rotation.as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(transform[:3, 3], pose[:3])
    np.testing.assert_array_equal(transform[3], [0, 0, 0, 1])


@pytest.mark.parametrize(
    "pose",
    [
        [0] * 7,
        [0, 0, 0, 0, 0, 0, 1.1],
        [0, 0, 0, 0, 0, 0, 0.9],
        [np.nan, 0, 0, 0, 0, 0, 1],
        [0, np.inf, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [],
        [[0, 0, 0, 0, 0, 0, 1]],
    ],
)
def test_an_invalid_pose_is_rejected(pose):
    with pytest.raises(InputError) as caught:
        transform_from_pose(np.array(pose))
    assert caught.value.cause == "extrinsic"
