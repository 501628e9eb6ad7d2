"""Points that nearer surfaces hide from the camera, on scenes whose surfaces are known."""

from __future__ import annotations

import numpy as np
import pytest
from lidar_scenes import CAMERA, Scene, camera_at, room, seen_and_leaked, street, sweep

from depth_completion_ros.geometry import moved, project_points
from depth_completion_ros.lens import image_coordinates
from depth_completion_ros.visibility import hidden_points

DIRECTIONS = {
    "right": (0.0, -1.0, 0.0),
    "below": (0.0, 0.0, -1.0),
    "ahead": (0.6, 0.0, -0.8),
    "aside": (0.2, -0.7, -0.7),
}


def in_image(points, position):
    """Image coordinates and depth of the points that fall into the image of a camera, and which points these are."""
    camera = moved(points, camera_at(position))
    u, v = image_coordinates(*camera.T, CAMERA)
    inside = (camera[:, 2] > 0.1) & (abs(u - 639.5) < 640) & (abs(v - 359.5) < 360)
    return u[inside], v[inside], camera[inside, 2], np.flatnonzero(inside)


def scored(scene, beams, position, rng):
    """Numbers of points: seen by the camera, of these kept, shining through, of these removed."""
    points = sweep(scene, beams, rng)
    u, v, z, here = in_image(points, position)
    hidden = hidden_points(u, v, z, CAMERA)
    seen, leaked = seen_and_leaked(scene, points[here], position)
    return np.array([seen.sum(), (seen & ~hidden).sum(), leaked.sum(), (leaked & hidden).sum()])


@pytest.mark.parametrize("beams", [16, 32, 64])
def test_points_that_shine_through_are_removed_and_others_kept(beams):
    """For cameras 5, 20 and 50 cm beside, below and ahead of the LiDAR. The limits are just below what was measured."""
    total = np.zeros(4)
    for baseline in (0.05, 0.2, 0.5):
        for name, direction in DIRECTIONS.items():
            rng = np.random.default_rng([7, round(100 * baseline), len(name)])
            position = tuple((np.array(direction) / np.linalg.norm(direction) * baseline).tolist())
            for kind in (street, room):
                total += scored(kind(rng), beams, position, rng)
    seen, kept, leaked, removed = total
    assert leaked > 500
    assert removed / leaked >= {16: 0.94, 32: 0.945, 64: 0.97}[beams]
    assert kept / seen >= 0.975


def test_a_wall_does_not_shine_through_a_pole():
    """A pole of 10 cm in front of a wall, with the camera 30 cm beside a LiDAR of 32 beams."""
    scene = Scene(-1.2, walls=(((1.0, 0.0, 0.0), 9.0),), poles=((3.0, 0.0, 0.05, 3.0),))
    points = sweep(scene, 32, np.random.default_rng(0), noise=0)
    position = (0.0, -0.3, 0.0)
    transform = camera_at(position)
    visible, all_points = (
        project_points(moved(points, transform), CAMERA, only_visible=choice) for choice in (True, False)
    )
    left, right = (
        round(CAMERA.cx + CAMERA.fx * (x - 0.3) / 3.0) for x in (-0.02, 0.02)
    )  # columns in the middle of the pole
    rows = slice(300, 420)
    through = (all_points[rows, left : right + 1] > 8).sum()
    assert through > 5
    assert not (visible[rows, left : right + 1] > 8).any()
    on_pole = np.isfinite(all_points[rows, left : right + 1]) & (all_points[rows, left : right + 1] < 4)
    assert on_pole.sum() > 10 and (visible[rows, left : right + 1][on_pole] < 4).all()


@pytest.mark.parametrize("beams", [16, 32, 64])
@pytest.mark.parametrize("height", [0.3, 0.6, 1.5])
def test_a_floor_and_walls_at_a_grazing_angle_stay(beams, height):
    """From a LiDAR 1.6 m above the floor of a corridor of 120 m, and cameras below it.

    Far away, a column of the image contains a long piece of a wall, of which some points are removed.
    """
    scene = Scene(-1.6, walls=(((0.0, 1.0, 0.0), 1.5), ((0.0, 1.0, 0.0), -1.5)))
    points = sweep(scene, beams, np.random.default_rng(0))
    u, v, z, _ = in_image(points, (0.0, 0.0, height - 1.6))
    assert len(z) > 1000
    hidden = hidden_points(u, v, z, CAMERA)
    assert hidden.mean() < 0.05 and hidden[z < 12].mean() < 0.01


def test_points_as_dense_as_an_image_hide_nothing():
    """The cloud of a depth camera with as many points as pixels: the z-buffer does what there is to do."""
    rows, columns = np.mgrid[100:400, 100:500].astype(np.float32)
    z = np.where(np.random.default_rng(0).random(rows.shape) < 0.5, 1.0, 5.0).astype(np.float32)
    assert not hidden_points(columns.ravel(), rows.ravel(), z.ravel(), CAMERA).any()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
def test_a_few_points_are_judged_too(count):
    """Points one above the other, of which those with odd numbers are far away."""
    v = np.arange(count, dtype=np.float32) * 10 + 100
    z = np.where(np.arange(count) % 2, 9.0, 2.0).astype(np.float32)
    hidden = hidden_points(np.full(count, 50, np.float32), v, z, CAMERA)
    between = (np.arange(count) % 2 == 1) & (np.arange(count) < count - 1)
    np.testing.assert_array_equal(hidden, between)


def test_the_order_of_points_does_not_matter():
    rng = np.random.default_rng(3)
    points = sweep(room(rng), 16, rng)
    u, v, z, _ = in_image(points, (0.0, -0.2, -0.1))
    hidden = hidden_points(u, v, z, CAMERA)
    order = rng.permutation(len(z))
    assert hidden.any()
    np.testing.assert_array_equal(hidden_points(u[order], v[order], z[order], CAMERA), hidden[order])
