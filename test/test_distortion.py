"""Images that nobody rectified: projection through the distortion against OpenCV's, and rectification."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from depth_completion_ros.frame import Distortion, Intrinsics
from depth_completion_ros.geometry import back_project, project_points
from depth_completion_ros.lens import image_coordinates, rectify_depth, rectify_rgb

repeatable = settings(deadline=None, derandomize=True, max_examples=30)
seeds = st.integers(0, 10_000)
# As calibrations of real cameras have them: a wide webcam, Azure Kinect's colour, a fisheye of 130 degrees.
LENSES = {
    "plumb_bob": Distortion((-0.3, 0.09, 0.001, -0.0005, 0.0)),
    "rational_polynomial": Distortion((0.5, -2.5, 0.0005, -0.0004, 1.5, 0.4, -2.4, 1.4)),
    "equidistant": Distortion((-0.02, 0.004, 0.001, -0.0002), fisheye=True),
    "stereo": Distortion(
        (-0.2, 0.05, 0.0, 0.0), rotation=tuple(Rotation.from_rotvec([0.02, -0.03, 0.01]).as_matrix().ravel())
    ),
}
lenses = st.sampled_from(sorted(LENSES))
WIDTH, HEIGHT = 64, 48


def camera_of(lens: str, rng: np.random.Generator) -> Intrinsics:
    fx, fy = WIDTH * rng.uniform(0.6, 1.2, 2)
    cx, cy = rng.uniform(0.45, 0.55, 2) * (WIDTH, HEIGHT)
    return Intrinsics(fx, fy, cx, cy, WIDTH, HEIGHT, LENSES[lens])


def opencv_pixels(points: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Where OpenCV sees points (N, 3) in the rectified frame: (N, 2) pixel coordinates."""
    lens = camera.distortion
    assert lens is not None
    project = cv2.fisheye.projectPoints if lens.fisheye else cv2.projectPoints
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    unturned = points.astype(np.float64) @ np.array(lens.rotation).reshape(3, 3)  # the transpose, from the right
    found = project(unturned.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), matrix, np.array(lens.coefficients))
    return found[0].reshape(-1, 2)


@repeatable
@given(lenses, seeds)
def test_each_point_lands_where_opencv_projects_it(lens, seed):
    rng = np.random.default_rng(seed)
    camera = camera_of(lens, rng)
    x, y, z = rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.3), rng.uniform(0.5, 9)
    point = np.array([[x * z, y * z, z]], np.float32)
    column, row = opencv_pixels(point, camera)[0]
    depth = project_points(point, camera)
    if min(abs(column % 1 - 0.5), abs(row % 1 - 0.5)) > 1e-3:  # else rounding decides
        assert np.argwhere(np.isfinite(depth)).tolist() == [[round(row), round(column)]]
        assert depth[round(row), round(column)] == np.float32(z)


@repeatable
@given(lenses, seeds)
def test_coordinates_are_those_of_opencv_to_a_thousandth_of_a_pixel(lens, seed):
    """Of a full HD image, in single precision, as points are."""
    rng = np.random.default_rng(seed)
    small = camera_of(lens, rng)
    camera = Intrinsics(small.fx * 30, small.fy * 30, small.cx * 30, small.cy * 30, 1920, 1440, small.distortion)
    z = rng.uniform(0.5, 90, 500)
    points = np.stack([rng.uniform(-0.5, 0.5, 500) * z, rng.uniform(-0.4, 0.4, 500) * z, z], axis=1).astype(np.float32)
    found = np.stack(image_coordinates(*points.T, camera), axis=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, opencv_pixels(points, camera), atol=1e-3)


def test_thin_prisms_and_tilted_sensors_are_those_of_opencv():
    coefficients = (-0.1, 0.02, 0.001, -0.0005, 0.0, 0.01, 0.0, 0.0, 0.002, 0.001, -0.001, 0.0005, 0.02, -0.01)
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 9), (100, 3)).astype(np.float32)
    for count in (12, 14):
        camera = Intrinsics(500.0, 510.0, 319.5, 239.5, 640, 480, Distortion(coefficients[:count]))
        np.testing.assert_allclose(
            np.stack(image_coordinates(*points.T, camera), axis=1), opencv_pixels(points, camera), atol=1e-3
        )


@repeatable
@given(lenses, seeds)
def test_the_ray_of_a_pixel_projects_back_onto_it(lens, seed):
    rng = np.random.default_rng(seed)
    camera = camera_of(lens, rng)
    depth = rng.uniform(0.5, 9, (HEIGHT, WIDTH)).astype(np.float32)
    points = back_project(depth, camera)
    seen = np.isfinite(points).all(axis=1)
    assert seen.mean() > 0.9
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    there = np.stack([columns.ravel(), rows.ravel()], axis=1)[seen]
    np.testing.assert_allclose(opencv_pixels(points[seen], camera), there, atol=0.5)
    again = project_points(points, camera)
    assert np.mean(again[seen.reshape(depth.shape)] == depth[seen.reshape(depth.shape)]) > 0.99


def test_a_point_beyond_the_turn_of_the_polynomial_is_not_folded_into_the_image():
    """r (1 - 0.3 r²) falls again from r = 1.05 on: at r = 1.6 it is 0.37, well inside the image."""
    camera = Intrinsics(400.0, 400.0, 319.5, 239.5, 640, 480, Distortion((-0.3, 0.0, 0.0, 0.0)))
    aside = np.array([[1.6, 0.0, 1.0]], np.float32)
    assert abs(opencv_pixels(aside, camera)[0, 0] - 319.5 - 400 * 0.371) < 1
    assert np.isnan(project_points(aside, camera)).all()
    ahead = np.array([[0.4, 0.0, 1.0]], np.float32)
    assert np.isfinite(project_points(ahead, camera)).sum() == 1


@pytest.mark.parametrize("lens", sorted(LENSES))
def test_points_behind_a_distorting_camera_or_none_at_all_leave_it_empty(lens):
    camera = camera_of(lens, np.random.default_rng(0))
    behind = np.array([[0, 0, -1], [0, 0, 0], [np.nan, 0, 1], [np.inf, 0, 1]], np.float32)
    assert np.isnan(project_points(behind, camera)).all()
    assert np.isnan(project_points(np.empty((0, 3), np.float32), camera)).all()


@pytest.mark.parametrize("lens", sorted(LENSES))
def test_a_rectified_image_shows_what_the_pinhole_camera_sees(lens):
    """A raw image whose colours tell its own pixels: the rectified one holds those that its rays are distorted to."""
    raw = Intrinsics(150.0, 150.0, 99.5, 74.5, 200, 150, LENSES[lens])
    rectified = Intrinsics(170.0, 170.0, 100.0, 76.0, 200, 150)
    rows, columns = np.mgrid[:150, :200]
    rgb = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)
    straight = np.stack([(columns - 100.0) / 170, (rows - 76.0) / 170, np.ones(rows.shape)], axis=2).reshape(-1, 3)
    expected = opencv_pixels(straight, raw).reshape(150, 200, 2)
    inside = ((expected >= 0) & (expected <= (199, 149))).all(axis=2)
    assert inside.mean() > 0.8
    found = rectify_rgb(rgb, raw, rectified)
    np.testing.assert_allclose(found[inside][:, :2], expected[inside], atol=0.6)

    depth = (1 + columns + 1000 * rows).astype(np.float32)
    nearest = rectify_depth(depth, raw, rectified)
    got = np.stack([(nearest - 1) % 1000, (nearest - 1) // 1000], axis=2)
    np.testing.assert_allclose(got[inside], expected[inside], atol=0.55)
    outside = ((expected < -1) | (expected > (200, 150))).any(axis=2)
    assert np.isnan(nearest[outside]).all()


def test_depth_of_half_the_resolution_is_rectified_like_its_image():
    raw = Intrinsics(300.0, 300.0, 199.5, 149.5, 400, 300, LENSES["plumb_bob"])
    rectified = Intrinsics(300.0, 300.0, 199.5, 149.5, 400, 300)
    columns = np.tile(np.arange(400, dtype=np.float32), (300, 1))
    whole = rectify_depth(1 + columns, raw, rectified)
    half = rectify_depth(1 + 0.5 + 2 * columns[:150, :200], raw, rectified)  # in pixels of the whole
    both = np.isfinite(half) & np.isfinite(whole[::2, ::2])
    assert both.mean() > 0.8
    np.testing.assert_allclose(half[both], whole[::2, ::2][both], atol=2.6)


def test_what_a_lens_does_not_see_stays_black_and_missing_when_an_image_is_rectified():
    """Beyond the field of view of a wide lens, its polynomial turns back into the image."""
    raw = Intrinsics(150.0, 150.0, 99.5, 74.5, 200, 150, Distortion((-0.35, 0.0, 0.0, 0.0)))
    rectified = Intrinsics(50.0, 50.0, 99.5, 74.5, 200, 150)
    rgb, depth = np.full((150, 200, 3), 255, np.uint8), np.ones((150, 200), np.float32)
    radius = np.hypot(*(np.mgrid[:150, :200] - np.array([[[74.5]], [[99.5]]]))) / 50
    turn = np.sqrt(1 / (3 * 0.35))  # where r (1 - 0.35 r²) is largest
    for shown in (rectify_rgb(rgb, raw, rectified)[..., 0] > 0, np.isfinite(rectify_depth(depth, raw, rectified))):
        assert shown[radius < 0.5].all() and not shown[radius > 1.5 * turn].any()
