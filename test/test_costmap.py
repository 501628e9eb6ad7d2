"""``depth-completion costmap``: the rule of nav2's obstacle layer, and what completed depth makes wrong in it."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rosbags.rosbag2", reason="bags need rosbags: pip install rosbags")

from depth_completion_ros.cli import main
from depth_completion_ros.evaluation.costmap import (
    FREE,
    OCCUPIED,
    UNKNOWN,
    Cells,
    Rule,
    compare,
    costmap,
    floor_pose,
)
from depth_completion_ros.evaluation.costmap_safety import shares_of
from depth_completion_ros.frame import Intrinsics
from depth_completion_ros.geometry import back_project, moved
from depth_completion_ros.resources import share_directory

RULE = Rule()
SENSOR = np.array([0.0, 0.0, 1.0])
CENTRE = 60  # the cell of the sensor: 3.0 m of 0.05 m to each side
SAMPLES = share_directory() / "samples"


def surface(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> np.ndarray:
    """Points (N, 3) every 2 cm on a box without inside; an axis with two equal limits has one layer."""
    axes = [np.arange(low, high + 1e-9, 0.02) if high > low else np.array([low]) for low, high in (x, y, z)]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)


def at(grid: np.ndarray, x: float, y: float) -> int:
    """The cell that contains a place [m] in the axes of the sensor."""
    return int(grid[CENTRE + round(y / RULE.resolution), CENTRE + round(x / RULE.resolution)])


WALL = surface((2.0, 2.0), (-1.0, 1.0), (0.0, 1.5))
BOX = surface((1.0, 1.0), (-0.2, 0.2), (0.0, 0.5))  # the front of a box before the wall
FLOOR = surface((0.5, 2.0), (-0.5, 0.5), (0.0, 0.0))


def test_a_wall_is_marked_with_free_space_before_it_and_unknown_behind():
    grid = costmap(WALL, SENSOR, RULE)
    assert grid.shape == (121, 121)
    assert all(at(grid, 2.0, y) == OCCUPIED for y in np.arange(-0.9, 0.95, 0.1))
    assert all(at(grid, x, 0) == FREE for x in np.arange(0, 1.9, 0.1))
    assert all(at(grid, x, 0) == UNKNOWN for x in np.arange(2.1, 2.9, 0.1))
    assert at(grid, -1, 0) == at(grid, 0, 2) == UNKNOWN


def test_an_empty_floor_is_free_even_if_it_is_noisy():
    noise = np.random.default_rng(0).uniform(-0.09, 0.09, (len(FLOOR), 1)) * [[0, 0, 1]]
    grid = costmap(FLOOR + noise, SENSOR, RULE)
    assert not (grid == OCCUPIED).any()
    assert all(at(grid, x, y) == FREE for x in (0.6, 1.0, 1.9) for y in (-0.3, 0.0, 0.3))
    assert at(costmap(FLOOR + np.array([0, 0, 0.15]), SENSOR, RULE), 1, 0) == OCCUPIED


def test_points_mark_and_clear_only_within_the_limits_of_the_rule():
    ceiling = costmap(WALL + np.array([0, 0, 2.1]), SENSOR, RULE)
    assert not ceiling.any()
    far = costmap(WALL + np.array([0.6, 0, 0]), SENSOR, RULE)  # 2.6 m: too far to mark, but it clears
    assert not (far == OCCUPIED).any() and at(far, 2.4, 0) == FREE
    very_far = costmap(10 * WALL, SENSOR, RULE)  # cleared up to 3 m
    assert at(very_far, 2.5, 0) == FREE and not (very_far == OCCUPIED).any()
    assert not costmap(np.full((5, 3), np.nan), SENSOR, RULE).any()
    assert not costmap(np.empty((0, 3)), SENSOR, RULE).any()


def test_what_a_point_marks_is_not_cleared_by_rays_of_the_same_cloud():
    grid = costmap(np.concatenate([BOX, WALL]), SENSOR, RULE)  # the wall is seen above the box
    assert at(grid, 1.0, 0) == OCCUPIED and at(grid, 1.5, 0) == FREE and at(grid, 2.0, 0) == OCCUPIED


TRUTH = costmap(np.concatenate([BOX, WALL]), SENSOR, RULE)


def test_a_hole_at_an_obstacle_loses_it_if_others_see_past_it_or_if_it_is_filled_with_the_wall():
    hole = compare(costmap(WALL, SENSOR, RULE), TRUTH)
    assert hole.lost == 9 and hole.found == hole.obstacles - 9  # the 0.4 m of the box, in cells of 0.05 m
    assert hole.invented == hole.beyond == 0
    right = compare(costmap(np.concatenate([BOX + np.array([0.03, 0, 0]), WALL]), SENSOR, RULE), TRUTH)
    assert right.found == right.obstacles and right.lost == right.invented == 0
    near = compare(costmap(np.concatenate([BOX - np.array([0.5, 0, 0]), WALL]), SENSOR, RULE), TRUTH)
    assert near.invented >= 9 and near.lost == 9
    unseen = compare(costmap(WALL[WALL[:, 1] > 0.5], SENSOR, RULE), TRUTH)
    assert unseen.lost == 0 and unseen.found < unseen.obstacles  # nothing looked there


def test_rays_through_a_wall_count_as_free_space_beyond_it():
    wall = costmap(WALL, SENSOR, RULE)
    through = compare(costmap(WALL * [1.4, 1.4, 1], SENSOR, RULE), wall)
    assert through.lost > 30 and through.beyond > 200 and through.invented == 0


clouds = st.lists(st.tuples(*(st.floats(-4, 4) for _ in range(2)), st.floats(0, 2.5)), max_size=30)


@given(clouds)
def test_a_map_agrees_with_itself_and_an_empty_one_claims_nothing(cloud):
    grid = costmap(np.array(cloud).reshape(-1, 3), SENSOR, RULE)
    same, empty = compare(grid, grid), compare(np.zeros_like(grid), grid)
    assert (same.found, same.lost, same.invented, same.beyond) == (same.obstacles, 0, 0, 0)
    assert same.seen == same.free
    assert empty == Cells(obstacles=same.obstacles, free=same.free)


@given(clouds, clouds)
def test_more_points_mark_and_clear_at_least_as_many_cells(cloud, more):
    first, both = (costmap(np.array(one).reshape(-1, 3), SENSOR, RULE) for one in (cloud, cloud + more))
    assert np.all(both[first == OCCUPIED] == OCCUPIED)
    assert np.all(both[first == FREE] != UNKNOWN)


@given(st.floats(-2.9, 2.9), st.floats(-2.9, 2.9))
def test_the_cells_of_a_ray_are_a_chain_from_the_sensor_to_the_point(x, y):
    grid = costmap(np.array([[x, y, 1.0]]), SENSOR, Rule(obstacle_max_range=5, raytrace_max_range=5))
    rows, columns = np.nonzero(grid)
    centre = grid.shape[0] // 2
    chain = sorted(zip(np.maximum(abs(rows - centre), abs(columns - centre)), rows, columns, strict=True))
    assert [steps for steps, _, _ in chain] == list(range(len(chain)))  # one cell at each distance, in king's moves
    for (_, row, column), (_, next_row, next_column) in pairwise(chain):
        assert max(abs(row - next_row), abs(column - next_column)) == 1
    assert grid[chain[-1][1], chain[-1][2]] == OCCUPIED and np.count_nonzero(grid == OCCUPIED) == 1


def test_cells_add_up_and_their_shares_are_of_obstacles_and_of_free_cells():
    total = Cells(10, 7, 2, 100, 90, 3, 5) + Cells(10, 10, 0, 100, 100, 0, 0)
    expected = {"found": 0.85, "lost": 0.1, "unknown": 0.05, "seen": 0.95, "invented": 0.015, "beyond": 0.025}
    assert shares_of(total) == pytest.approx(expected)
    assert np.isnan(shares_of(Cells())["found"])


def camera_above_a_floor(height: float, down: float) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) in the optical frame of a camera that looks down by an angle [rad] on a floor, and its true up."""
    up = np.array([0, -np.cos(down), -np.sin(down)])
    intrinsics = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
    v, u = np.mgrid[:120, :160]
    rays = np.stack([(u - 79.5) / 100, (v - 59.5) / 100, np.ones_like(u)], axis=-1)
    along = rays @ up
    depth = np.where(along < -0.05, -height / np.minimum(along, -0.05), 4.0)  # a far wall above the horizon
    depth[60:100, 40:60] = 1.0  # an obstacle
    return back_project(np.minimum(depth, 4).astype(np.float32), intrinsics), up


@pytest.mark.parametrize(("height", "down"), [(0.5, 0.1), (1.2, 0.4), (1.5, 0.55)])
def test_the_floor_is_found_below_a_camera_that_looks_down(height, down):
    points, up = camera_above_a_floor(height, down)
    pose = floor_pose(points, 0.025)
    assert pose[2, 3] == pytest.approx(height, abs=0.01) and pose[:2, 3] == pytest.approx([0, 0])
    assert pose[2, :3] == pytest.approx(up, abs=0.01)
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3)) and np.linalg.det(pose[:3, :3]) > 0
    assert np.percentile(moved(points, pose)[:, 2], 1) == pytest.approx(0, abs=0.03)


def test_there_is_no_floor_before_a_wall_or_on_a_table():
    rng = np.random.default_rng(0)
    wall = np.stack([*rng.uniform(-1, 1, (2, 3000)), np.full(3000, 2.0)], axis=1)
    assert floor_pose(wall, 0.025) is None
    table = np.stack([rng.uniform(-0.3, 0.3, 3000), np.full(3000, 0.4), rng.uniform(0.8, 1.2, 3000)], axis=1)
    below = np.stack([rng.uniform(-1, 1, 2000), rng.uniform(0.8, 1.2, 2000), rng.uniform(1.5, 3, 2000)], axis=1)
    assert floor_pose(table, 0.025) is not None
    assert floor_pose(np.concatenate([table, below]), 0.025) is None
    assert floor_pose(wall[:2], 0.025) is None


def test_the_command_scores_a_recording_by_gate_and_confidence(tmp_path, capsys):
    arguments = ["costmap", str(SAMPLES / "kinect"), "--models", "nearest", "--frames", "1", "--out", str(tmp_path)]
    assert main([*arguments, "--min-confidence", "0,0.9"]) == 0
    assert "sensor" in capsys.readouterr().out
    with (tmp_path / "costmap.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["fill_only"], row["min_confidence"]) for row in rows] == [
        ("sensor", "True", "0.0"),
        *(("nearest", fill_only, confidence) for fill_only in ("False", "True") for confidence in ("0.0", "0.9")),
    ]
    names = ("obstacles", "found", "invented", "free")
    sensor, everything, gated, *_ = ({name: float(row[name]) for name in names} for row in rows)
    assert sensor["obstacles"] == everything["obstacles"] > 100 and sensor["free"] > 100
    assert sensor["found"] < sensor["obstacles"] and sensor["invented"] == 0  # blocks of the recording are hidden
    assert sensor["found"] <= gated["found"] <= everything["found"]
    assert gated["invented"] <= everything["invented"]
    content = json.loads((tmp_path / "costmap.json").read_text(encoding="utf-8"))
    assert content["rules"]["kinect"]["obstacle_max_range"] == 2.5 and len(content["cells"]) == len(rows)


def test_frames_without_a_floor_or_intrinsics_are_left_out_with_a_reason(tmp_path: Path, capsys):
    assert main(["costmap", str(SAMPLES / "tof"), "--models", "nearest"]) == 1
    assert "no frame can be used: tof, frame 0" in capsys.readouterr().err
    assert main(["costmap", str(SAMPLES / "tof"), "--min-confidence", "0,high"]) == 1
    assert "--min-confidence" in capsys.readouterr().err
    assert main(["costmap", str(SAMPLES / "tof"), "--min-confidence", "2"]) == 1
    assert "between 0 and 1" in capsys.readouterr().err
