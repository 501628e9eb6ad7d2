"""Which points of a LiDAR a camera beside it does not see, because something nearer hides them. No ROS."""

from __future__ import annotations

import numpy as np

from .frame import Intrinsics

# The image is divided into columns of this width, so that each beam has one to four points in a column [degrees].
_COLUMN_DEG = 0.4
_BEAM_DEG = 0.12  # points of one column that are farther apart than this belong to different beams [degrees]
_FEWEST_BEAMS = 0.05  # smallest share of such points; with fewer, the points are as dense as an image
_NEIGHBOURS = 8  # so many points above and below are looked at in a column
# A point hides another one that is farther away by both of these: a distance [m], and a share of the farther distance.
_BEHIND_M, _BEHIND_SHARE = np.float32(0.3), np.float32(0.05)
# Distances in an image are given in spacings of the beams.
_REACH = 1.3  # up to which points above and below together hide a point between them
_EDGE = 0.9  # up to which a point hides another one alone, because a surface ends somewhere between two beams
_SLOPE = 1.5  # up to which points tell if a surface is a slope
# A surface is a slope if points before or behind show a step of this share of the step to the nearer point.
_RAMP_NEAR, _RAMP_FAR = np.float32(0.5), np.float32(1.0)


def hidden_points(u: np.ndarray, v: np.ndarray, z: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Find points that shine through gaps between the points of nearer surfaces.

    A point is visible if nothing nearer closes the cone in which it is seen (Pintus, Gobbetti and Agus: Real-time
    rendering of massive unstructured raw point clouds using screen-space operators, VAST 2011). The gaps between two
    beams are far larger than those along a beam, so the cone is divided into two sectors, above and below, in columns
    of the image that are as wide as the gaps along a beam. A point is hidden if nearer points follow above and below
    within 1.3 spacings of the beams, or on one side within 0.9 spacings. On one side, points of a slope do not count: a
    floor that is seen at a grazing angle rises from beam to beam. Surfaces closer together than 0.3 m or 5 % of their
    distance do not hide each other. Points that are as dense as the pixels of an image hide nothing.

    Args:
        u: Columns of points in the image [pixels], (N,) float32.
        v: Rows [pixels], likewise.
        z: Depth [m] above 0, likewise.
        intrinsics: Intrinsics of the camera.

    Returns:
        Whether each point is hidden, (N,) bool.
    """
    hidden = np.zeros(len(z), bool)
    height = intrinsics.height
    # One coordinate for all columns: the gap between two of them is wider than the image, thus beyond any reach.
    column = np.floor((u + np.float32(0.5)) / np.float32(intrinsics.fx * np.radians(_COLUMN_DEG)))
    along = column * np.float32(2 * height) + v
    order = np.argsort(along)
    along, z = along[order], z[order]
    gaps = np.diff(along)
    beams = gaps[(gaps > intrinsics.fy * np.radians(_BEAM_DEG)) & (gaps < height)]
    if len(beams) <= _FEWEST_BEAMS * len(z):
        return hidden
    spacing = float(np.median(beams))
    nearer_than = z - np.maximum(_BEHIND_M, _BEHIND_SHARE * z)
    above, below = np.zeros(len(z), bool), np.zeros(len(z), bool)
    for step in range(1, min(_NEIGHBOURS, len(z) - 1) + 1):
        near = along[step:] - along[:-step] < _REACH * spacing
        above[step:] |= (z[:-step] < nearer_than[step:]) & near
        below[:-step] |= (z[step:] < nearer_than[:-step]) & near
    found = above & below
    for one_side, direction in ((above & ~below, -1), (below & ~above, 1)):
        here = np.flatnonzero(one_side)
        found[here] = _behind_an_edge(here, direction, along, z, nearer_than, spacing)
    hidden[order[found]] = True
    return hidden


def _behind_an_edge(
    here: np.ndarray, direction: int, along: np.ndarray, z: np.ndarray, nearer_than: np.ndarray, spacing: float
) -> np.ndarray:
    """Which of the points ``here`` lie just beside the edge of a nearer surface that is on one side (-1 or 1)."""
    missing = np.float32(np.inf)
    distance, edge, beyond = (np.full(len(here), missing, np.float32) for _ in range(3))
    opposite = np.zeros(len(here), np.float32)
    for step in range(1, _NEIGHBOURS + 1):
        away, depth = _neighbours(here, direction * step, along, z)
        beyond = np.where(away < distance + _SLOPE * spacing, np.minimum(beyond, depth), beyond)
        first = (depth < nearer_than[here]) & (away < _REACH * spacing) & (distance == missing)
        distance[first], edge[first], beyond[first] = away[first], depth[first], depth[first]
        away, depth = _neighbours(here, -direction * step, along, z)
        opposite = np.where(away < _SLOPE * spacing, np.maximum(opposite, depth), opposite)
    with np.errstate(invalid="ignore"):
        rise = z[here] - edge
        slope = (edge - beyond > _RAMP_NEAR * rise) | (opposite - z[here] > _RAMP_FAR * rise)
    return (distance < _EDGE * spacing) & ~slope


def _neighbours(here: np.ndarray, step: int, along: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in the image [pixels] and depth [m] of the points so many steps after those ``here``."""
    there = np.clip(here + step, 0, len(z) - 1)
    away = np.abs(along[there] - along[here])
    away[there != here + step] = np.inf
    return away, z[there]
