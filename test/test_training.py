"""Training: it reduces the error, follows its schedule, can be resumed exactly, and writes its files."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
from statistics import median

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("safetensors", reason="weights files need it")

from test_training_batches import generator, write_ramp  # noqa: E402

from depth_completion_ros import model_file  # noqa: E402
from depth_completion_ros.cli import main  # noqa: E402
from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.evaluation.samples import open_folder  # noqa: E402
from depth_completion_ros.networks import names  # noqa: E402
from depth_completion_ros.networks.weights import WeightedNetwork, load_weights, read_metadata, save_weights  # noqa: E402
from depth_completion_ros.training import synthetic  # noqa: E402
from depth_completion_ros.training.batches import Batches, TrainingBatch  # noqa: E402
from depth_completion_ros.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from depth_completion_ros.training.loop import CHECKPOINT, train  # noqa: E402
from depth_completion_ros.training.recipe import Recipe, read_recipe, read_splits, recipe_names  # noqa: E402
from depth_completion_ros.training.trainer import Budget, Trainer, schedule  # noqa: E402
from depth_completion_ros.training.validation import Case, Validation, complete, folder_cases  # noqa: E402

torch.set_num_threads(1)
CPU = torch.device("cpu")


def tiny(name: str = "lite", **changes) -> Recipe:
    """Return a recipe for images of 32 x 32 pixels."""
    return dataclasses.replace(read_recipe(name), **{"batch": 2, "crop": 32, "precision": "float32", **changes})


def bowls(count: int, choices: torch.Generator, noise: torch.Generator) -> TrainingBatch:
    """Return a batch of curved surfaces that are measured only in the left quarter."""
    slope = torch.rand(count, 1, 1, 1, generator=choices)
    depth = 1 + slope * torch.linspace(0, 1, 32).square().expand(count, 1, 32, 32)
    image = torch.rand(count, 3, 32, 32, generator=noise)
    shown = depth * (torch.arange(32) < 8)
    return TrainingBatch(image, shown, torch.ones(count, 1, 1, 1), depth, torch.ones_like(depth))


def trainer(recipe: Recipe, source=bowls) -> Trainer:
    recipe = dataclasses.replace(recipe, sources={"real": 1.0})
    return Trainer(recipe, Batches(recipe, {"real": source}, CPU), CPU)


def same(first: object, second: object) -> bool:
    """Return whether two states are bit-identical."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("name", ["lite", "srgan"])
def test_state_of_a_resumed_training_is_bit_identical_to_an_uninterrupted_one(name, tmp_path):
    """The state contains weights, averages and optimisers; ``srgan`` has a second optimiser for its discriminator."""
    whole = trainer(tiny(name))
    for step in range(6):
        if step == 3:
            save_checkpoint(whole.state(), tmp_path / "c.pt")
        whole.train_step(step / 6)
    torch.rand(5)  # the global random state must not matter
    resumed = trainer(tiny(name))
    resumed.train_step(0.5)
    resumed.restore(load_checkpoint(tmp_path / "c.pt", CPU))
    assert resumed.step == 3
    for step in range(3, 6):
        resumed.train_step(step / 6)
    assert same(resumed.state(), whole.state())


def test_checkpoint_of_another_recipe_is_rejected():
    state = trainer(tiny()).state()
    with pytest.raises(ConfigurationError, match="another recipe"):
        trainer(tiny(seed=5)).restore(state)


def test_unusable_checkpoint_is_rejected_with_a_fix(tmp_path):
    with pytest.raises(ConfigurationError, match="omit --resume"):
        load_checkpoint(tmp_path / "none.pt", CPU)
    (tmp_path / "c.pt").write_bytes(b"text")
    with pytest.raises(ConfigurationError, match="omit --resume"):
        load_checkpoint(tmp_path / "c.pt", CPU)


def test_training_can_start_from_the_weights_of_an_earlier_training(tmp_path):
    pytest.importorskip("safetensors", reason="weights files need it")
    first, second, path = trainer(tiny()), trainer(tiny(seed=1)), tmp_path / "lite.safetensors"
    first.train_step(0.1)
    save_weights(WeightedNetwork(first.ema, "any"), path, {"steps": "1"})
    second.begin_with(path)
    written = load_weights(path).network.state_dict()
    assert same(dict(second.network.state_dict()), dict(written)) and same(dict(second.ema.state_dict()), dict(written))
    assert "steps 1" in second.origin and "random" in first.origin
    with pytest.raises(ConfigurationError, match="lite-small"):
        trainer(tiny("srgan")).begin_with(path)


def test_training_reduces_the_error_of_the_averaged_network():
    """The surfaces are curved, which the prefill cannot represent."""
    learner = trainer(tiny(batch=8, ema_decay=0.9, learning_rate=1e-3))
    totals = [float(learner.train_step(step / 200)["relative_l1"]) for step in range(200)]
    assert median(totals[-20:]) < 0.5 * median(totals[:5])
    test = bowls(8, generator(99), generator(98))
    with torch.no_grad():
        averaged, _, start = learner.ema.predict_with_prefill(test.image, test.depth, test.scale)
    assert (averaged - test.target).abs().mean() < 0.5 * (start - test.target).abs().mean()


def test_overfit_repeats_the_batches_of_the_first_samples():
    recipe = dataclasses.replace(tiny(batch=2), sources={"real": 1.0})
    batches = Batches(recipe, {"real": bowls}, CPU, overfit=3)
    assert torch.equal(batches[0].image, batches[2].image) and torch.equal(batches[1].target, batches[7].target)
    assert not torch.equal(batches[0].image, batches[1].image)


def test_worker_processes_create_the_same_batches_in_the_same_order(tmp_path):
    recipe = dataclasses.replace(tiny(batch=2), sources={"real": 1.0})
    batches = Batches(recipe, {"real": bowls}, CPU)
    from_worker = batches.from_step(3, workers=1)
    for step in (3, 4, 5):
        made = next(from_worker)
        assert all(torch.equal(getattr(made, f.name), getattr(batches[step], f.name)) for f in dataclasses.fields(made))


def test_weights_are_averaged_exponentially():
    learner = trainer(tiny(ema_decay=0.25))
    learner.train_step(0.1)
    before = next(learner.ema.parameters()).clone()
    learner.train_step(0.1)
    # After two steps, the decay of the warm-up is 3/12, the same as the recipe's decay of 0.25.
    expected = 0.25 * before + 0.75 * next(learner.network.parameters())
    assert torch.allclose(next(learner.ema.parameters()), expected.detach(), atol=1e-7)
    assert not learner.ema.training and not next(learner.ema.parameters()).requires_grad


def test_weights_stay_finite_after_an_overflow():
    def source(count, choices, noise):
        return dataclasses.replace(bowls(count, choices, noise), target=torch.full((count, 1, 32, 32), torch.inf))

    learner = trainer(tiny(), source)
    assert not learner.train_step(0.1)["total"].isfinite()
    assert all(value.isfinite().all() for value in learner.network.state_dict().values())


def test_learning_rate_rises_stays_constant_and_falls_to_zero():
    rates = [schedule(i / 1000, 0.1, 0.2) for i in range(1001)]
    assert rates[0] < 0.01 and rates[50] == pytest.approx(0.5) and rates[-1] < 0.01
    assert rates[:101] == sorted(rates[:101]) and rates[800:] == sorted(rates[800:], reverse=True)
    assert rates[100:801] == pytest.approx([1.0] * 701)
    learner = trainer(tiny())
    learner.train_step(0.5)
    peak = learner.recipe.learning_rate
    assert [group["lr"] for group in learner.state()["optimiser"]["param_groups"]] == [peak, peak]


def test_budget_of_minutes_depends_on_time_and_budget_of_steps_does_not():
    assert Budget(minutes=2).progress(step=10**6, elapsed_s=30) == 0.25
    assert Budget(minutes=2).progress(step=0, elapsed_s=1e9) == 1
    assert Budget(steps=10).progress(step=5, elapsed_s=1e9) == 0.5


def test_time_before_a_resume_counts_towards_the_budget(tmp_path):
    learner = trainer(tiny())
    learner.elapsed_s = 59.9
    assert train(learner, Budget(minutes=1), tmp_path, lambda report: None, lambda: None, 1e9)
    assert 60 <= learner.elapsed_s < 70


def test_signal_ends_training_after_the_step_with_a_checkpoint(tmp_path):
    learner = trainer(tiny())
    handler = signal.getsignal(signal.SIGTERM)
    finished = train(
        learner, Budget(steps=10**6), tmp_path, lambda report: None, lambda: os.kill(os.getpid(), signal.SIGTERM), 0.0
    )
    assert not finished and learner.step == 1
    assert same(load_checkpoint(tmp_path / CHECKPOINT, CPU), learner.state())
    assert signal.getsignal(signal.SIGTERM) is handler


def test_killing_the_process_while_it_writes_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    save_checkpoint({"step": 1}, tmp_path / "c.pt")

    def killed(state, path):
        path.write_bytes(b"half")
        raise SystemExit

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(SystemExit):
        save_checkpoint({"step": 2}, tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt", CPU) == {"step": 1}


# Recipes.


def test_every_network_has_a_recipe():
    assert set(names()) <= set(recipe_names())
    for name in recipe_names():
        recipe = read_recipe(name)
        assert recipe.losses.keys() & {"laplace_nll", "laplace_scale", "laplace_crps"}, (
            "a loss must have a gradient of log_b"
        )
    assert len({read_recipe(name).hash() for name in recipe_names()}) == len(recipe_names())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("network: [", "cannot be read"),
        ("just words", "names and values"),
        ("network: lyte", "no network 'lyte'"),
        ("network: lite\nbatchsize: 8", "unknown settings batchsize"),
        ("network: lite\nbatch: many", "batch must be a int"),
        ("network: lite\ncrop: 100", "crop must be a multiple of 32"),
        ("network: lite\nprofile: radar", "profile must be one of"),
        ("network: srgan\nbase: planes", "base is only for networks that use the image"),
        ("network: unet\nbase: lyte", "no network 'lyte'"),
        ("network: lite\nlosses: {l3: 1.0}", "losses has unknown names l3"),
        ("network: lite\nhiding: {holes: 0.0}", "hiding must be numbers"),
        ("size: small", "lacks network"),
    ],
)
def test_invalid_recipe_is_rejected_with_the_name_of_the_setting(text, complaint, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=complaint):
        read_recipe(str(tmp_path / "mine.yaml"))


def test_settings_can_be_changed_from_the_command_line():
    """YAML reads 2e-3, which has no dot, as text; it must be accepted as a number."""
    changed = read_recipe("lite", ["batch=64", "losses={l1: 1.0}", "learning_rate=2e-3"])
    assert (changed.batch, changed.losses, changed.learning_rate) == (64, {"l1": 1.0}, 2e-3)
    assert changed.hash() != read_recipe("lite").hash()
    for change in ("batchsize=8", "batch", "batch=[", "learning_rate=fast"):
        with pytest.raises(ConfigurationError):
            read_recipe("lite", [change])


def test_no_validation_set_is_used_for_training():
    splits = read_splits()
    assert not set(splits.train) & set(splits.validation)
    assert splits.train_scenes_seed != splits.validation_scenes_seed


# Validation.


def test_scores_cover_the_hidden_pixels_of_all_cases(tmp_path):
    write_ramp(tmp_path / "ramp")
    cases = folder_cases(open_folder(tmp_path / "ramp"), 2, ("sparse5", "rows"))
    assert {(case.group, case.protocol) for case in cases} == {("ramp", "sparse5"), ("ramp", "rows")}
    start, better = trainer(tiny()).ema, trainer(tiny()).ema
    validation = Validation(cases, start, CPU)
    assert validation.evaluate(better) == validation.baselines["start"]
    assert validation.relative(validation.baselines["guided"]) == pytest.approx(1)
    rows = [case for case in cases if case.protocol == "rows"]
    errors = torch.cat(
        [torch.from_numpy(complete(start, c, CPU) - c.truth)[torch.from_numpy(c.truth > 0)] for c in rows]
    )
    score = validation.baselines["start"]["ramp", "rows"]
    assert score == pytest.approx((float(errors.square().mean()) ** 0.5, float(errors.abs().mean())), rel=1e-4)
    halved = {key: score._replace(rmse=score.rmse / 2) for key, score in validation.baselines["guided"].items()}
    assert validation.relative(halved) == pytest.approx(0.5**0.5)


def test_each_place_has_the_same_weight_in_the_validation_score():
    """The weight does not depend on the number of protocols: 1/8 of the error in one of three places gives 1/2."""
    image, truth = np.zeros((32, 32, 3), np.uint8), np.linspace(1, 2, 32 * 32, dtype=np.float32).reshape(32, 32)
    shown = np.where(np.arange(32) % 4 == 0, truth, np.float32(0))
    places = [("one", "rows"), ("two", "rows"), ("two", "raw"), ("three", "rows"), ("three", "raw")]
    validation = Validation([Case(*place, image, shown, truth) for place in places], trainer(tiny()).ema, CPU)
    scores = dict(validation.baselines["guided"])
    scores["one", "rows"] = type(scores["one", "rows"])(*(error / 8 for error in scores["one", "rows"]))
    assert validation.relative(scores) == pytest.approx(0.5)


def test_frames_of_any_size_can_be_validated():
    """Frames are padded for the network, and the result is cropped."""
    depth = torch.full((50, 70), 2.0).numpy()
    case = Case("group", "given", torch.zeros(50, 70, 3, dtype=torch.uint8).numpy(), depth, depth)
    assert complete(trainer(tiny()).ema, case, CPU).shape == (50, 70)


# The command.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in (*read_splits().train, *read_splits().validation):
        write_ramp(root / name)
    return root


def command(data, out, *extra: str) -> int:
    recipe = out.parent / "tiny.yaml"
    recipe.write_text(
        "network: lite\nbatch: 2\ncrop: 32\nprecision: float32\nscenes: {count: 4, height: 32, width: 48}\n"
    )
    options = ["--data", str(data), "--out", str(out), "--cache", str(data / "cache"), "--validation-frames", "1"]
    return main(["train", str(recipe), "--device", "cpu", *options, *extra])


def test_command_trains_and_writes_weights_card_logs_and_pictures(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(data, out, "--steps", "3") == 0
    path = out / "lite-small.safetensors"
    assert capsys.readouterr().out.strip() == str(path)
    assert load_weights(path).profile == "any"
    metadata = read_metadata(path)
    assert metadata["steps"] == "3" and metadata["recipe"] == "tiny" and metadata["commit"]
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for expected in ("# lite-small", metadata["recipe_hash"], "kinect1_osd: 4 frames", "| nearsl_tsdf_sample | rows |"):
        assert expected in card
    log, validation = (list(csv.DictReader((out / f"{name}.csv").open())) for name in ("log", "validation"))
    assert log[-1]["step"] == "3" and float(log[-1]["relative_l1"]) and float(log[-1]["learning_rate"])
    assert [row["step"] for row in validation] == ["3"] and float(validation[0]["relative"]) > 0
    picture = cv2.imread(str(out / "pictures" / "step-0000003.png"))
    assert picture.shape[1] == 5 * 256


def test_training_with_a_base_network_copies_its_weights_and_names_them_in_the_model_card(
    data, tmp_path, monkeypatch, capsys
):
    """If the weights of the base network are missing, the message says so."""
    monkeypatch.setenv(model_file.DIRECTORY_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(model_file, "share_directory", lambda: tmp_path / "none")
    extra = ("--steps", "1", "--set", "network=unet", "--set", "base=planes")
    assert command(data, tmp_path / "out", *extra) == 1
    assert "corrects planes, but there are no weights of it" in capsys.readouterr().err
    (tmp_path / "models").mkdir()
    save_weights(WeightedNetwork(trainer(tiny("planes")).ema, "any"), tmp_path / "models" / "planes-small.safetensors")
    assert command(data, tmp_path / "out", *extra) == 0
    path = tmp_path / "out" / "unet-small.safetensors"
    assert load_weights(path).network.base.name == "planes"
    corrected = f"| corrects | planes-small, weights {read_metadata(path)['base_weights']} |"
    assert corrected in path.with_suffix(".md").read_text(encoding="utf-8")


def test_resumed_training_equals_uninterrupted_training(data, tmp_path):
    """The training is killed after three of six steps."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert command(data, whole, "--steps", "6") == 0

    calls = 0
    step = Trainer.train_step

    def killed(self, progress):
        nonlocal calls
        calls += 1
        if calls == 4:
            save_checkpoint(self.state(), broken / CHECKPOINT)
            raise SystemExit("killed")
        return step(self, progress)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "train_step", killed)
        command(data, broken, "--steps", "6")
    assert command(data, broken, "--steps", "6", "--resume") == 0
    states = [load_checkpoint(out / CHECKPOINT, CPU) for out in (whole, broken)]
    for state in states:
        del state["elapsed_s"], state["best_score"]
    assert same(*states)


def test_dry_run_takes_two_steps_and_renders_scenes_during_training(data, tmp_path, monkeypatch):
    """It runs the code for GPUs on a CPU, with few scenes."""
    monkeypatch.setattr(synthetic, "_RENDERED_AT_ONCE", 4)
    monkeypatch.setattr(synthetic, "rendered_pool", None)
    out = tmp_path / "out"
    assert command(data, out, "--dry-run") == 0
    assert read_metadata(out / "lite-small.safetensors")["steps"] == "2"
    assert "rendered as they were needed" in (out / "lite-small.md").read_text(encoding="utf-8")


def test_command_without_data_reports_the_missing_option(tmp_path, capsys):
    assert main(["train", "lite", "--steps", "1", "--out", str(tmp_path / "out"), "--cache", str(tmp_path)]) == 1
    assert "--data" in capsys.readouterr().err
    assert main(["train", "light", "--steps", "1", "--out", str(tmp_path / "out")]) == 1
    assert "no recipe 'light'" in capsys.readouterr().err
