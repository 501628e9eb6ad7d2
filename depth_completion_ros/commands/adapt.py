"""``depth-completion adapt``: make the default network better in the rooms and with the camera of a recording."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from ..contract import DEFAULT_NETWORK
from ..errors import ConfigurationError
from ..evaluation.datasets import is_dataset
from ..evaluation.samples import profile_of
from ..model_file import find_weights_file
from ..profiles import load_profile
from .evaluate import check_reading, configure_reading, frame_settings
from .train import open_cache, open_device

NOT_BETTER = 3
_RECIPE = "adapt"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``depth-completion adapt``."""
    add = parser.add_argument
    add("recording", help="bag, folder of frames with a meta.json, or data set FORMAT:PATH, as for evaluate")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=10.0, help="duration of the training [min] (default: 10)")
    budget.add_argument("--steps", type=int, help="number of training steps, instead of a duration")
    out = (
        "name of the adapted model, which is written to the user's model directory, or path of a folder for its files "
        "(default: my_site)"
    )
    add("--out", default="my_site", metavar="NAME", help=out)
    add("--resume", action="store_true", help="continue an adaptation to --out that was interrupted")
    start = "weights file to start from, of lite (default: the weights of the package)"
    add("--start", type=Path, metavar="FILE", help=start)
    scenes = "folder of rendered scenes to mix in; can be repeated (default: simple scenes, rendered once)"
    add("--scenes", type=Path, action="append", default=[], metavar="DIR", help=scenes)
    changed = "setting that overrides that of config/training/adapt.yaml; can be repeated"
    add("--set", action="append", default=[], metavar="NAME=VALUE", help=changed)
    add("--frames", type=int, default=30, help="number of frames for the test, evenly spaced (default: 30)")
    add("--test-scenes", type=int, default=3, help="number of rendered scenes of each kind for the test (default: 3)")
    add("--device", choices=("cpu", "cuda"), help="device to train on (default: cuda if there is a GPU, else cpu)")
    add("--threads", type=int, default=0, help="number of CPU threads; 0 = library default (default: 0)")
    add("--cache", type=Path, metavar="DIR", help="folder for rendered scenes (default: a folder in ~/.cache)")
    configure_reading(parser)


def run(args: argparse.Namespace) -> int:
    """Adapt, compare, and write the model if it is better.

    Returns:
        0 if the model was written, 3 if it is not better and was not written, 130 after an interrupt signal.
    """
    if args.frames < 1 or args.test_scenes < 1 or (args.steps is not None and args.steps < 1):
        raise ConfigurationError("--frames, --test-scenes and --steps must be at least 1")
    if not 0 < args.minutes < math.inf:
        raise ConfigurationError(f"--minutes {args.minutes} must be a number above zero")
    check_reading(args)
    device = open_device(args)
    from ..training.adapt import adaptation_recipe, compare, open_trainer, run_training, save_adapted
    from ..training.adapted_model import (
        export_files,
        launch_command,
        model_card,
        place_of,
        print_result,
        write_parameters,
    )
    from ..training.display import training_display
    from ..training.recipe import read_recipe
    from ..training.recording import Reading, open_recording
    from ..training.trainer import Budget

    place = place_of(args.out)
    existing = place.existing()
    unfinished = args.resume and place.card not in existing  # the card is written last
    if existing and not unfinished:
        raise ConfigurationError(f"{existing[0]} exists: choose another name with --out, or delete {existing[0]}")
    start = args.start or find_weights_file(DEFAULT_NETWORK)
    if start is None:
        raise ConfigurationError(f"there are no weights of {DEFAULT_NETWORK}: give them with --start")
    recipe = read_recipe(_RECIPE, args.set)
    profile = load_profile(args.profile or _profile_of(args.recording)).within(args.min_range, args.max_range)
    reading = Reading(
        profile,
        slop_ns=round(args.slop * 1e9),
        depth_offset_ns=round(args.depth_offset * 1e9),
        rgb_topic=args.rgb_topic,
        depth_topic=args.depth_topic,
        settings=frame_settings(args),
    )
    recording = open_recording(args.recording, reading, place.work, args.resume)
    for line in (*recording.lines(), *recording.sensor.lines()):
        print(line, flush=True)

    recipe = adaptation_recipe(recipe, recording)
    trainer, data = open_trainer(recipe, recording, start, args.scenes, open_cache(args), device, args.resume)
    with training_display(f"adapt {place.name}") as show:
        budget = Budget(None if args.steps else args.minutes, args.steps)
        finished = run_training(trainer, budget, place.work, show)
    if not finished:
        print(f"stopped at step {trainer.step}; the same command with --resume continues from there", file=sys.stderr)
        return 130
    candidates = save_adapted(trainer, recording, start)
    result = compare(start, candidates, recording, profile, args.frames, args.test_scenes)
    if not result.complete:
        print("stopped; the same command with --resume repeats the comparison", file=sys.stderr)
        return 130
    print(f"weights: {result.share:.0%} of the adapted ones, the rest of those before, so that nothing is forgotten")
    print_result(result)
    if result.reasons():
        print(f"The adapted network is not used: {'; '.join(result.reasons())}. Nothing was written; {start} is kept.")
        return NOT_BETTER
    files, exported = export_files(place, result.weights, recording)
    write_parameters(place.parameters, recording, reading)
    card = model_card(place, recording, result, data, exported)
    place.card.write_text(card, encoding="utf-8")
    for line in exported:
        print(line)
    for path in (place.weights, *files, place.parameters, place.card):
        print(path)
    print(f"\nUse it with:\n\n    {launch_command(place, recording, files)}\n")
    return 0


def _profile_of(source: str) -> str:
    if is_dataset(source):
        from ..evaluation.datasets import open_dataset

        return open_dataset(source).profile
    path = Path(source)
    name = path.name
    if (path / "meta.json").is_file():
        from ..bag.folders import read_folder

        frames = read_folder(path)
        name = f"{frames.name} {frames.sensor}"
    profile = profile_of(name)
    print(f"{source}: the profile {profile} is used; set another with --profile", file=sys.stderr)
    return profile
