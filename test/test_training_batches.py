"""What training draws from recorded frames: windows that are true to them, of which a part is hidden."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from frame_sets import edit_meta, write_meta  # noqa: E402

from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.training.batches import Batches, real_source  # noqa: E402
from depth_completion_ros.training.hiding import HIDINGS, hide  # noqa: E402
from depth_completion_ros.training.real_frames import RealFrames  # noqa: E402
from depth_completion_ros.training.recipe import read_recipe  # noqa: E402

torch.set_num_threads(1)
CPU = torch.device("cpu")
HEIGHT, WIDTH = 96, 128


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def write_ramp(folder, count=4, **changes):
    """Frames whose colour and depth both tell the column and row, with a hole: red and depth grow to the right."""
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


def test_colour_and_depth_of_a_window_belong_together(frames):
    image, depth, _ = frames.sample(12, 32, generator())
    column_of_colour, column_of_depth = 255 * image[:, :1] / 2, 100 * depth - 100
    known = depth > 0
    assert known.float().mean() > 0.7
    # Within a pixel: depth is taken at one pixel, colour between some.
    assert (column_of_colour - column_of_depth)[known].abs().max() < 1.01
    to_the_right = (image[:, 0, :, -1] > image[:, 0, :, 0]).float().mean(dim=1)
    assert set(to_the_right.tolist()) == {0.0, 1.0}, "some mirrored, some not"
    row = image[:, 1].mean(dim=-1)
    assert (row.diff(dim=1) > 0).all(), "never upside down"


def test_windows_cover_one_to_two_times_their_size(frames):
    image, _, _ = frames.sample(40, 32, generator())
    spans = (255 * (image[:, 0, 0, -1] - image[:, 0, 0, 0]).abs() / 2) * 32 / 31
    assert 31 <= spans.min() < 40 and 56 < spans.max() <= 65


def test_frames_are_decoded_once(tmp_path, frames):
    for path in (tmp_path / "ramp").glob("*/*.png"):
        path.unlink()
    again = RealFrames([tmp_path / "ramp"], tmp_path / "cache", 1.0, CPU)
    assert torch.equal(again.sample(2, 32, generator())[0], frames.sample(2, 32, generator())[0])


def test_frames_of_a_turning_camera_are_left_out(tmp_path):
    write_ramp(tmp_path / "ramp")
    turns = [0.1, 0.5, 0.9, 1.3]  # rad/s, with 10 ms between colour and depth

    def edit(meta):
        for entry, omega in zip(meta["frames"], turns, strict=True):
            entry |= {"omega_rad_s": omega, "t_rgb": 5.0, "t_depth": 5.01}

    edit_meta(tmp_path / "ramp", edit)
    assert len(RealFrames([tmp_path / "ramp"], tmp_path / "cache", 0.0051, CPU)) == 2
    with pytest.raises(ConfigurationError, match="max_turn_rad"):
        RealFrames([tmp_path / "ramp"], tmp_path / "cache", 0.0, CPU)


@pytest.mark.parametrize("name", HIDINGS)
def test_hiding_shows_a_part_of_what_was_measured(name):
    depth = 1 + torch.rand(16, 1, 96, 128, generator=generator())
    depth[..., :16] = 0
    shown = hide(depth, depth, {name: 1.0}, generator(), generator(1))
    assert ((shown == 0) | (shown == depth)).all()
    share = (shown > 0).float().mean(dim=(1, 2, 3)) / (depth > 0).float().mean()
    least, most = {"holes": (0.45, 0.99), "points": (0.001, 0.11), "rows": (0.03, 0.4), "grid": (0.004, 0.3)}[name]
    assert least < share.min() and share.max() < most and share.std() > 0


def test_hidden_holes_are_those_of_the_donor():
    depth = torch.ones(8, 1, 96, 128)
    donor = torch.ones(8, 1, 96, 128)
    donor[..., 30:60, 40:90] = 0
    assert not hide(depth, donor, {"holes": 1.0}, generator(), generator(1))[..., 30:60, 40:90].any()


def test_grid_keeps_one_pixel_of_each_block():
    shown = hide(torch.ones(6, 1, 96, 96), torch.ones(6, 1, 96, 96), {"grid": 1.0}, generator(), generator())
    for sample in shown[:, 0]:
        rows, columns = (line.nonzero().flatten() for line in (sample.any(dim=1), sample.any(dim=0)))
        assert torch.equal(rows, columns) and rows.diff().unique().numel() == 1
        assert sample.sum() == rows.numel() * columns.numel()
        assert rows[0] == rows.diff()[0] // 2


def test_batch_holds_what_the_contract_asks_and_the_truth(frames):
    recipe = dataclasses.replace(read_recipe("lite"), batch=16, crop=64, image_dropout=0.4)
    batches = Batches(recipe, {"real": real_source(frames, recipe)}, CPU)
    batch = batches.draw()
    assert batch.image.shape == (16, 3, 64, 64) and batch.image.min() >= 0 and batch.image.max() <= 1
    for each in (batch.depth, batch.target, batch.weight):
        assert each.shape == (16, 1, 64, 64) and each.isfinite().all()
    shown = batch.depth > 0
    assert torch.equal(batch.depth[shown], batch.target[shown])
    assert batch.weight[shown].unique().tolist() == pytest.approx([recipe.shown_weight])
    assert batch.weight[~shown & (batch.target > 0)].unique().tolist() == [1.0]
    assert not batch.weight[batch.target == 0].any()
    for i in range(16):
        ratio = float(batch.scale[i]) / float(batch.depth[i][shown[i]].median())
        assert 0.5 <= ratio <= 2
    assert batch.scale.std() > 0.1
    dark = (batch.image.flatten(1).amax(dim=1) == 0).sum()
    assert 1 <= dark <= 13


def test_sample_that_measured_nothing_is_left_out(frames):
    recipe = dataclasses.replace(read_recipe("lite"), batch=4, crop=32, hiding={"points": 1.0})
    source = real_source(frames, recipe)
    drawn = [source(16, generator(seed), generator(seed)) for seed in range(8)]
    empty = [(b.depth == 0).flatten(1).all(dim=1) for b in drawn]
    assert any(e.any() for e in empty), "the case occurs"
    for batch, e in zip(drawn, empty, strict=True):
        assert not batch.weight[e].any() and batch.scale.isfinite().all() and batch.weight[~e].any()
