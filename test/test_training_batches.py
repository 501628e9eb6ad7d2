"""Training batches: windows of recorded frames, hidden depth, and simulated scenes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from frame_sets import edit_meta, write_meta  # noqa: E402

from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.training import real_frames, synthetic  # noqa: E402
from depth_completion_ros.training.batches import (  # noqa: E402
    Batches,
    clean_source,
    proximity_weight,
    real_source,
    synthetic_source,
    with_scale,
)
from depth_completion_ros.training.cache import new_directory  # noqa: E402
from depth_completion_ros.training.hiding import HOLES, PATTERNS, Hiding, as_scene  # noqa: E402
from depth_completion_ros.training.real_frames import RealFrames  # noqa: E402
from depth_completion_ros.training.recipe import read_recipe, read_splits  # noqa: E402
from depth_completion_ros.training.scene_batch import Material  # noqa: E402
from depth_completion_ros.training.sensors import HoleMasks  # noqa: E402
from depth_completion_ros.training.sources import open_sources  # noqa: E402

torch.set_num_threads(1)
CPU = torch.device("cpu")
HEIGHT, WIDTH = 96, 128


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def write_ramp(folder, count=4, **changes):
    """Write frames with a hole. Red and depth increase to the right and green increases downwards."""
    (folder / "rgb").mkdir(parents=True)
    (folder / "depth").mkdir()
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    rgb = np.stack([2 * column, 2 * row, 0 * row], axis=-1).astype(np.uint8)
    depth = (1000 + 10 * column).astype(np.uint16)
    depth[20:40, 30:60] = 0
    for i in range(count):
        cv2.imwrite(str(folder / f"rgb/{i}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / f"depth/{i}.png"), depth)
    frames = [{"id": str(i), "rgb": f"rgb/{i}.png", "depth": f"depth/{i}.png"} for i in range(count)]
    write_meta(folder, {"name": folder.name, "depth": {"scale_to_m": 0.001}, "frames": frames, **changes})


@pytest.fixture
def frames(tmp_path) -> RealFrames:
    write_ramp(tmp_path / "ramp")
    return RealFrames([tmp_path / "ramp"], tmp_path / "cache", 1.0, CPU)


def test_colour_and_depth_of_a_window_are_aligned(frames):
    image, depth = frames.sample(12, 32, generator(), (1.0, 2.0))
    column_of_colour, column_of_depth = 255 * image[:, :1] / 2, 100 * depth - 100
    known = depth > 0
    assert known.float().mean() > 0.7
    # The columns differ by at most a pixel: depth is that of one pixel, colour is a mean of several.
    assert (column_of_colour - column_of_depth)[known].abs().max() < 1.01
    to_the_right = (image[:, 0, :, -1] > image[:, 0, :, 0]).float().mean(dim=1)
    assert set(to_the_right.tolist()) == {0.0, 1.0}, "some windows are flipped and some are not"
    row = image[:, 1].mean(dim=-1)
    assert (row.diff(dim=1) > 0).all(), "windows are not flipped upside down"


def test_size_of_windows_follows_the_zoom(frames):
    image, _ = frames.sample(40, 32, generator(), (1.0, 2.0))
    spans = (255 * (image[:, 0, 0, -1] - image[:, 0, 0, 0]).abs() / 2) * 32 / 31
    assert 31 <= spans.min() < 40 and 56 < spans.max() <= 65


def test_frames_are_decoded_once(tmp_path, frames):
    for path in (tmp_path / "ramp").glob("*/*.png"):
        path.unlink()
    again = RealFrames([tmp_path / "ramp"], tmp_path / "cache", 1.0, CPU)
    assert torch.equal(
        again.sample(2, 32, generator(), (1.0, 2.0))[0], frames.sample(2, 32, generator(), (1.0, 2.0))[0]
    )


def test_frames_of_several_sizes_are_decoded_and_large_ones_reduced(tmp_path):
    write_ramp(tmp_path / "ramp", 2)
    for kind in ("rgb", "depth"):
        path = tmp_path / "ramp" / kind / "1.png"
        cv2.imwrite(
            str(path), np.tile(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), (12, 12, 1)[: 3 if kind == "rgb" else 2])
        )
    frames = RealFrames([tmp_path / "ramp"], tmp_path / "cache", 1.0, CPU)
    assert sorted(depth.shape[1:] for depth in frames._depths) == [(96, 128), (576, 768)]


def test_weight_of_a_set_is_the_square_root_of_its_number_of_frames(tmp_path):
    """Sets of 16 frames and of 1 frame have the weights 4 and 1."""
    write_ramp(tmp_path / "many", 16)
    write_ramp(tmp_path / "few", 1)
    (path,) = (tmp_path / "few" / "depth").iterdir()
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH), 9000, np.uint16))
    frames = RealFrames([tmp_path / "many", tmp_path / "few"], tmp_path / "cache", 1.0, CPU)
    _, depth = frames.sample(400, 32, generator(), (1.0, 1.0))
    assert (depth.amax(dim=(1, 2, 3)) > 8).float().mean() == pytest.approx(1 / 5, abs=0.06)


def test_two_trainings_can_decode_the_same_set_at_the_same_time(tmp_path):
    """The folder of the training that finishes first is kept."""
    path = tmp_path / "cache" / "set"
    with new_directory(path) as first, new_directory(path) as second:
        (first / "a").write_text("first")
        (second / "a").write_text("second")
    assert (path / "a").read_text(encoding="utf-8") == "second" and sorted(path.parent.iterdir()) == [path]


def test_frames_of_a_turning_camera_are_not_used(tmp_path):
    write_ramp(tmp_path / "ramp")
    turns = [0.1, 0.5, 0.9, 1.3]  # rad/s, with 10 ms between colour and depth

    def edit(meta):
        for entry, omega in zip(meta["frames"], turns, strict=True):
            entry |= {"omega_rad_s": omega, "t_rgb": 5.0, "t_depth": 5.01}

    edit_meta(tmp_path / "ramp", edit)
    assert len(RealFrames([tmp_path / "ramp"], tmp_path / "cache", 0.0051, CPU)) == 2
    with pytest.raises(ConfigurationError, match="max_turn_rad"):
        RealFrames([tmp_path / "ramp"], tmp_path / "cache", 0.0, CPU)


def test_published_data_sets_are_trained_on_like_recorded_frames(tmp_path, monkeypatch):
    """Of large ones, evenly spaced frames, as all stay in memory."""
    monkeypatch.setattr(real_frames, "_MOST_OF_A_DATASET", 2)
    write_ramp(tmp_path / "ramp", 6)
    place = Path(f"images:{tmp_path / 'ramp'}")
    frames = RealFrames([place], tmp_path / "cache", 1.0, CPU)
    assert len(frames) == 2 and "images-ramp: 2 frames" in frames.contents[0]
    _, depth = frames.sample(4, 32, generator(), (1.0, 2.0))
    assert depth[depth > 0].min() >= 1 and depth.max() <= 1 + 0.01 * WIDTH
    splits = read_splits()
    sources, contents = open_sources(read_recipe("lite", ["sources={real: 1.0}"]), splits, [place], [],
                                     tmp_path / "cache", CPU)  # fmt: skip
    assert set(sources) == {"real"} and contents == frames.contents, "no other set is needed"


def test_frames_without_holes_are_not_used_as_masks(tmp_path):
    for name in ("holes", "whole"):
        write_ramp(tmp_path / name)
    for path in (tmp_path / "whole" / "depth").iterdir():
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH), 1000, np.uint16))
    frames = RealFrames([tmp_path / "holes", tmp_path / "whole"], tmp_path / "cache", 1.0, CPU)
    masks = frames.hole_masks().masks
    assert len(frames) == 8 and masks.shape == (4, HEIGHT, WIDTH)
    assert masks[:, 20:40, 30:60].all() and masks.sum() == 4 * 20 * 30


def hide(name: str, depth: torch.Tensor, masks: torch.Tensor | None = None) -> torch.Tensor:
    """Hide depth (N, 1, H, W) with one pattern; the images are noise."""
    masks = torch.zeros(1, 96, 128, dtype=torch.bool) if masks is None else masks
    image = torch.rand(len(depth), 3, *depth.shape[-2:], generator=generator(2))
    return Hiding({name: 1.0}, HoleMasks(masks))(image, depth, generator(), generator(1))


@pytest.mark.parametrize("name", [HOLES, *PATTERNS])
def test_hiding_keeps_a_part_of_the_measured_depth(name):
    depth = 1 + torch.rand(16, 1, 96, 128, generator=generator())
    depth[..., :16] = 0
    shown = hide(name, depth)
    assert shown.isfinite().all() and not shown[depth == 0].any()
    share = (shown > 0).float().mean(dim=(1, 2, 3)) / (depth > 0).float().mean()
    points = (0.002, 0.19)
    limits = {"holes": (0.2, 1.001), "rows": (0.03, 0.4), "grid": (0.003, 0.3)}
    least, most = limits.get(name, points)
    assert least < share.min() and share.max() < most and share.std() > 0


def test_hidden_holes_are_those_of_other_frames():
    """A vertical stripe of a mask hides a vertical stripe of the depth, in addition to hidden blocks."""
    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    mask[..., 60:68] = True
    shown = hide("holes", torch.ones(32, 1, 96, 128), mask)
    hidden = (shown == 0).all(dim=-2).sum(dim=-1)
    assert (hidden >= 8).float().mean() > 0.5, "enlarged masks hide wider stripes"


def test_rows_are_lines_across_the_image():
    shown = hide("rows", torch.ones(8, 1, 96, 128))
    vertical, horizontal = (shown[..., 1:, :] * shown[..., :-1, :]).sum(), (shown[..., 1:] * shown[..., :-1]).sum()
    assert horizontal > 5 * vertical


def test_batch_contains_the_inputs_of_the_contract_and_the_target(frames):
    recipe = dataclasses.replace(read_recipe("lite"), batch=16, crop=64, image_dropout=0.4)
    batches = Batches(recipe, {"real": real_source(frames, recipe)}, CPU)
    batch = batches[0]
    assert batch.image.shape == (16, 3, 64, 64) and batch.image.min() >= 0 and batch.image.max() <= 1
    for each in (batch.depth, batch.target, batch.weight):
        assert each.shape == (16, 1, 64, 64) and each.isfinite().all()
    shown, known = batch.depth > 0, batch.target > 0
    copied = shown & (batch.depth == batch.target)
    assert not (shown & ~known).any() and 0.05 < copied.float().mean() < 0.9
    assert batch.weight[copied].unique().tolist() == pytest.approx([recipe.shown_weight])
    near = proximity_weight(batch.depth, recipe.far_weight)
    torch.testing.assert_close(batch.weight[known & ~copied], near[known & ~copied])
    assert not batch.weight[~known].any()
    for i in range(16):
        ratio = float(batch.scale[i]) / float(batch.depth[i][shown[i]].median())
        assert 0.5 <= ratio <= 2
    assert batch.scale.std() > 0.1
    dark = (batch.image.flatten(1).amax(dim=1) == 0).sum()
    assert 1 <= dark <= 13


def test_sample_without_measurements_has_no_weight():
    depth, known = torch.ones(2, 1, 32, 32), torch.ones(2, 1, 32, 32)
    depth[1] = 0
    batch = with_scale(torch.rand(2, 3, 32, 32), depth, known, known, read_recipe("lite"), generator())
    assert batch.weight[0].all() and not batch.weight[1].any() and batch.scale.isfinite().all()


def test_weight_decreases_with_the_distance_to_the_nearest_measurement():
    depth = torch.zeros(1, 1, 8, 96)
    depth[..., 0] = 1
    row = proximity_weight(depth, 0.05)[0, 0, 4]
    assert row[4] == 1 and row[5] == row[12] == pytest.approx(2 / 3)
    assert row[13] == row[32] == pytest.approx(1 / 3) and row[33] == pytest.approx(0.05)


def test_synthetic_target_has_weight_only_up_to_1_25_times_the_farthest_measurement():
    """The sensor measures up to 2 m of a floor that extends to 10 m."""
    recipe = dataclasses.replace(read_recipe("lite"), crop=32)
    floor = torch.linspace(1, 10, 32).view(1, 1, 32, 1).expand(3, 1, 32, 32).clone()
    floor[..., -1] = 0

    def scenes(count, size, choices, noise):
        return as_scene(torch.rand(count, 3, size, size, generator=noise), floor)

    source = synthetic_source(scenes, lambda scene, noise: scene.depth * (scene.depth <= 2), recipe)
    batch = source(3, generator(), generator())
    assert torch.equal(batch.target, floor)
    farthest = floor[floor <= 2].max()
    assert torch.equal(batch.weight > 0, (floor > 0) & (floor <= 1.25 * farthest))


@pytest.mark.parametrize("name", [HOLES, *PATTERNS])
def test_clean_scenes_have_exact_depth_except_on_glass(name):
    """The visible depth is exact for every pattern except the grid, whose samples are means of blocks."""
    recipe = dataclasses.replace(read_recipe("unet"), crop=64, hiding={name: 1.0})
    depth = torch.linspace(1.0, 1.1, 64).expand(6, 1, 64, 64)

    def scenes(count, size, choices, noise):
        scene = as_scene(torch.rand(count, 3, size, size, generator=noise), depth)
        scene.material[..., :16, :] = Material.GLASS
        return scene

    batch = clean_source(scenes, None, recipe)(6, generator(), generator(1))
    shown = batch.depth > 0
    error = (batch.depth - depth).abs()[shown].max()
    assert error < 0.1 / 64 * 16 if name == "grid" else error == 0
    assert not shown[..., :16, :].any() and shown.flatten(1).any(dim=1).all()
    assert torch.equal(batch.target, depth) and (batch.weight[~shown] > 0).all()
    exact = batch.depth == depth
    assert batch.weight[exact].max() <= recipe.shown_weight < batch.weight[~shown].max()


def test_scenes_on_a_gpu_are_rendered_again_after_several_uses(monkeypatch):
    """The test runs the code for GPUs on a CPU, with few scenes."""
    monkeypatch.setattr(synthetic, "_RENDERED_AT_ONCE", 4)
    scenes, noise = synthetic.RenderedScenes(), generator()
    depths = [scenes(4, 32, generator(), noise).depth for _ in range(6)]
    seen = [{float(depth.sum()) for depth in batch} for batch in depths]
    assert len(set.union(*seen[:4])) <= 4 and not set.union(*seen[:4]) & set.union(*seen[4:])


def test_pool_is_rendered_once(tmp_path, monkeypatch):
    pool = synthetic.rendered_pool(tmp_path, 2, 32, 32, 0)
    assert len(pool) == 2
    monkeypatch.setattr(synthetic, "render_pool", None)
    again = synthetic.rendered_pool(tmp_path, 2, 32, 32, 0)
    first, second = (p.sample(4, 32, 32, generator()).depth for p in (pool, again))
    assert torch.equal(first, second)
