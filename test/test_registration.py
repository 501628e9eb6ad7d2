"""Registration of the depth of another camera: against a loop over its pixels, and what it looks like on surfaces."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from depth_completion_ros.errors import InputError
from depth_completion_ros.frame import Distortion, Intrinsics, RgbdFrame
from depth_completion_ros.geometry import depth_on_rgb_grid
from depth_completion_ros.lens import rays

repeatable = settings(deadline=None, derandomize=True, max_examples=40)
seeds = st.integers(0, 10_000)
NONSENSE = [0.0, -1.0, np.nan, np.inf, -np.inf]
LENSES = {
    "pinhole": None,
    "plumb_bob": Distortion((-0.1, 0.02, 0.001, -0.0005, 0.0)),
    "rational_polynomial": Distortion((0.5, -2.5, 0.0005, -0.0004, 1.5, 0.4, -2.4, 1.4)),
    "equidistant": Distortion((-0.02, 0.004, 0.001, -0.0002), fisheye=True),
}
STRETCH, REACH = 1.25, 4.0  # as the docstring of ``registered`` says
UNSURE = 2e-3  # rounding may decide on a pixel whose centre is so near to the edge of a rectangle [pixels]


def camera_of(rng: np.random.Generator, width: int, height: int, lens: str = "pinhole") -> Intrinsics:
    focal = rng.uniform(0.6, 1.5) * width * rng.uniform(0.9, 1.1, 2)
    centre = rng.uniform(0.4, 0.6, 2) * (width, height)
    return Intrinsics(*focal.tolist(), *centre.tolist(), width, height, LENSES[lens])


def seen_at(camera: Intrinsics, x: float, y: float, z: float) -> tuple[float, float]:
    """Pixel coordinates of a point by OpenCV."""
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    lens, nowhere = camera.distortion or Distortion((0.0,) * 4), np.zeros(3)
    project = cv2.fisheye.projectPoints if lens.fisheye else cv2.projectPoints
    pixels = project(np.array([[[x, y, z]]], np.float64), nowhere, nowhere, matrix, np.array(lens.coefficients))[0]
    return pixels.ravel().tolist()


def registered_by_loop(depth, depth_camera, camera, transform):
    """The nearest of the rectangles that cover each pixel, and which pixels rounding could decide otherwise."""
    height, width = depth.shape
    x, y = (np.broadcast_to(ray, depth.shape).astype(np.float64) for ray in rays(depth_camera))
    turned = np.stack([x, y, np.ones_like(x)], axis=2) @ transform[:3, :3].T
    far = np.array([[seen_at(camera, *point) for point in row] for row in turned.tolist()])
    found, unsure = np.full((camera.height, camera.width), np.inf), np.zeros((camera.height, camera.width), bool)
    for row, column in np.ndindex(*depth.shape):
        size = np.zeros(2)  # width and height of the pixel in the other image, if it is far
        for step in ((1, 0), (0, 1)):
            before = max(row - step[0], 0), max(column - step[1], 0)
            after = min(row + step[0], height - 1), min(column + step[1], width - 1)
            size += abs(far[after] - far[before]) / (sum(after) - sum(before))
        here = turned[row, column] * depth[row, column] + transform[:3, 3]
        if not (0 < depth[row, column] < math.inf and here[2] > 0):
            continue
        place = np.array(seen_at(camera, *here))
        half = np.clip(size * (1 - transform[2, 3] / here[2]) * STRETCH / 2, 0.5, REACH)
        rows, columns = np.arange(camera.height), np.arange(camera.width)
        off = abs(rows[:, None] - place[1]) - half[1], abs(columns[None, :] - place[0]) - half[0]
        covered = (off[0] <= 0) & (off[1] <= 0)
        found[covered] = np.minimum(found[covered], here[2])
        edge = (abs(off[0]) < UNSURE) | (abs(off[1]) < UNSURE)
        unsure |= edge & (off[0] < UNSURE) & (off[1] < UNSURE)
    found[np.isinf(found)] = np.nan
    return found, unsure


def register(depth, depth_camera, camera, transform):
    rgb = np.zeros((camera.height, camera.width, 3), np.uint8)
    return depth_on_rgb_grid(RgbdFrame(rgb, depth, camera, 0, "", depth_camera, transform))


def pose(turn=(0, 0, 0), offset=(0, 0, 0)):
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), offset
    return transform


@repeatable
@given(seeds, st.sampled_from([(14, 9), (10, 8), (25, 19), (5, 4)]), st.sampled_from(sorted(LENSES)))
def test_registration_equals_a_loop_over_the_depth_pixels(seed, size, lens):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.5, 9, (8, 10)).astype(np.float32)
    holes = rng.random(depth.shape) < 0.3
    depth[holes] = rng.choice(NONSENSE, holes.sum())
    before = depth.copy()
    depth_camera, camera = camera_of(rng, 10, 8, "plumb_bob"), camera_of(rng, *size, lens)
    transform = pose(rng.uniform(-0.2, 0.2, 3), rng.uniform(-0.3, 0.3, 3) * (1, 1, rng.integers(2)))
    found = register(depth, depth_camera, camera, transform)
    expected, unsure = registered_by_loop(depth, depth_camera, camera, transform)
    np.testing.assert_array_equal(depth, before)
    assert found.shape == (camera.height, camera.width) and found.dtype == np.float32
    np.testing.assert_allclose(found[~unsure], expected[~unsure], rtol=1e-4)
    assert (~unsure).mean() > 0.5


def test_the_same_camera_in_the_same_place_changes_nothing():
    rng = np.random.default_rng(0)
    camera = camera_of(rng, 160, 120)
    depth = rng.uniform(0.5, 9, (120, 160)).astype(np.float32)
    holes = rng.random(depth.shape) < 0.3
    depth[holes] = rng.choice(NONSENSE, holes.sum())
    found = register(depth, camera, camera, np.eye(4))
    np.testing.assert_array_equal(found, np.where((depth > 0) & (depth < np.inf), depth, np.nan))


def plane(camera: Intrinsics, normal: np.ndarray, distance: float) -> np.ndarray:
    """The depth of a plane [m] in an image (H, W)."""
    x, y = rays(camera)
    return (distance / (normal[0] * x + normal[1] * y + normal[2])).astype(np.float32)


@pytest.mark.parametrize("width", [160, 240, 320, 400, 533])
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.0, 0.0, 0.4), (0.1, -0.15, 0.05)])
def test_a_slanted_wall_has_no_cracks_and_its_depth_where_it_is_magnified(width, turn):
    """A wall at 45 degrees, from a depth camera of 160 x 120 pixels, for images of up to 3.3 times as many columns."""
    depth_camera = Intrinsics(150.0, 150.0, 79.5, 59.5, 160, 120)
    height = width * 3 // 4
    camera = Intrinsics(width * 1.5, width * 1.5, width / 2 - 0.5, height / 2 - 0.5, width, height)
    transform = pose(turn, (0.05, -0.02, 0.03))
    normal = np.array([0.7, 0.0, 0.7])
    found = register(plane(depth_camera, normal, 1.5), depth_camera, camera, transform)
    seen = np.isfinite(found)
    inside = cv2.erode(cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))), np.ones((9, 9))) > 0
    assert inside.mean() > 0.5 and seen[inside].all()
    turned = transform[:3, :3] @ normal
    expected = plane(camera, turned, 1.5 + turned @ transform[:3, 3])
    # A measurement also covers places beside it, up to 0.6 pixels of the depth camera away.
    np.testing.assert_allclose(found[seen], expected[seen], rtol=0.02)


@pytest.mark.parametrize("lens", sorted(LENSES))
def test_nothing_shines_through_a_nearer_surface(lens):
    """A box in front of a wall, in an image of twice the resolution: on the box, only depth of the box is kept."""
    depth_camera = Intrinsics(150.0, 150.0, 79.5, 59.5, 160, 120)
    camera = Intrinsics(290.0, 300.0, 159.5, 119.5, 320, 240, LENSES[lens])
    depth = np.full((120, 160), 4.0, np.float32)
    depth[40:80, 60:100] = 1.0
    found = register(depth, depth_camera, camera, pose(offset=(0.1, 0, 0)))
    corners = [seen_at(camera, (u - 79.5) / 150 + 0.1, (v - 59.5) / 150, 1.0) for u, v in ((61, 41), (98, 78))]
    (left, top), (right, bottom) = np.rint(corners).astype(int)
    assert (found[top:bottom, left:right] == 1.0).all() and (bottom - top) * (right - left) > 3000
    assert np.isin(found[np.isfinite(found)], (1.0, 4.0)).all()
    # Beside the box, nobody measured the wall that it hides from the depth camera.
    shadow = found[top + 5 : bottom - 5, max(left - 25, 0) : left - 6]
    assert np.isnan(shadow).any(axis=1).all()


def test_a_far_coarser_camera_leaves_gaps_for_the_completion_to_fill():
    """Each of 8 x 8 zones covers at most 8 x 8 pixels."""
    camera = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)
    zones = Intrinsics(7.0, 7.0, 3.5, 3.5, 8, 8)
    found = register(np.full((8, 8), 2.0, np.float32), zones, camera, pose(offset=(0.01, 0, 0)))
    assert 0 < np.isfinite(found).sum() <= 64 * 81


@pytest.mark.parametrize(
    ("depth", "transform", "cause", "text"),
    [
        (2.0, pose(offset=(0, 0, -3)), "outside", "100% of them lie behind the camera"),
        (2.0, pose(offset=(90, 0, 0)), "outside", "0% of them lie behind the camera"),
    ],
)
def test_depth_that_lands_outside_the_image_is_refused(depth, transform, cause, text):
    camera = Intrinsics(20.0, 20.0, 9.5, 7.5, 20, 16)
    with pytest.raises(InputError, match=text) as caught:
        register(np.full((16, 20), depth, np.float32), camera, camera, transform)
    assert caught.value.cause == cause


def test_points_almost_beside_the_lens_do_not_land_in_the_image():
    """They are seen 10^8 pixels away, where single precision knows only every eighth pixel."""
    camera = Intrinsics(10.0, 10.0, 9.5, 7.5, 20, 16)
    depth = np.full((16, 20), 2.0, np.float32)
    for offset in np.linspace(0.5, 1.5, 23):
        transform = pose(offset=(offset + 2, offset + 2, np.nextafter(np.float32(-2), np.float32(0))))
        with pytest.raises(InputError, match="none of 320 points falls into the image"):
            register(depth, camera, camera, transform)


def test_an_image_without_a_measurement_stays_empty():
    camera = Intrinsics(20.0, 20.0, 9.5, 7.5, 20, 16)
    assert np.isnan(register(np.zeros((16, 20), np.float32), camera, camera, pose((0, 0.1, 0)))).all()
