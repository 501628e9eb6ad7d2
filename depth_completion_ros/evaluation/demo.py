"""Play a recording of a real sensor through the node, and draw the results."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bag.messages import stamp_of
from ..bag.reader import DEPTH_TOPIC, POINTS_TOPIC, RGB_TOPIC, BagReader, camera_info_topic
from ..completer import DepthCompleter
from ..conversion import decode_depth
from ..engines.classical import ClassicalEngine
from ..errors import ConfigurationError
from ..frame import RgbdFrame
from ..node.frames import FrameBuilder, MessagePair
from ..node.parameters import PARAMETERS
from ..node.statistics import Statistics
from ..preview import Range, colour_range, panel, save_animation, save_picture, smooth_range
from ..profiles import profile_file, read_parameters
from ..resources import share_directory
from ..synchronizer import Synchronizer
from .benchmarks.pipeline import Log, Report, Setup, run_pipeline
from .benchmarks.progress import progress_display

_DEPTH, _CONFIDENCE = "/depth_completion/depth", "/depth_completion/confidence"
_EVERY = 3  # record only every third frame for the pictures, so that recording takes little CPU time
_ANIMATION_WIDTH, _PANEL_WIDTH = 800, 1620


def play_sample(profile: str, seconds: float, rate: float, out: Path) -> tuple[Report, str]:
    """Play the sample recording of a profile through the node, and draw the results into a folder.

    Args:
        profile: Name of the sensor profile.
        seconds: Duration of playing [s]; the recording is repeated.
        rate: Playback speed.
        out: Existing folder for preview.webp and panel.png.

    Returns:
        What the node did, and the size of the frames in words.
    """
    bag = share_directory() / "samples" / profile
    parameters = _parameters(profile, bag)
    with tempfile.TemporaryDirectory() as folder, progress_display(seconds) as progress:
        recording = Path(folder) / "recording"
        setup = Setup(
            bag=bag,
            node=_node_command(profile, bag),
            rgb=RGB_TOPIC,
            depth=POINTS_TOPIC if parameters["depth.source"] == "points" else DEPTH_TOPIC,
            output=_DEPTH,
            record=[_DEPTH, _CONFIDENCE, "/diagnostics"],
            seconds=seconds,
            rate=rate,
            every=_EVERY,
        )
        report, sent = run_pipeline(setup, recording, progress)
        progress("drawing the pictures", sum(report.frames_in.values()) // 2, report.frames_out)
        return report, draw(completed_frames(recording, bag, parameters, sent), out, profile, report)


@dataclass(frozen=True)
class Completed:
    """A recorded result of the node (depth [m] and confidence, both (H, W) float32) and its input frame."""

    frame: RgbdFrame
    depth: np.ndarray
    confidence: np.ndarray

    def picture(self, limits: Range, width: int, classical: np.ndarray | None = None) -> np.ndarray:
        return panel(self.frame.rgb, self.frame.depth, self.depth, self.confidence, limits, width, classical)


def completed_frames(recording: Path, bag: Path, parameters: dict[str, Any], sent: Log) -> list[Completed]:
    """The recorded results with their input frames, one for each frame of the bag, in its order.

    Args:
        recording: Bag with the recorded results.
        bag: The bag that was played.
        parameters: The node's parameters.
        sent: Log of the played RGB messages, to map their stamps back to those in the bag: each repetition of the bag
            has later stamps, but the same order of messages.
    """
    with BagReader(bag) as reader:
        repetition = reader.find_image("rgb", RGB_TOPIC).count
    original = {int(stamp): int(sent.stamps[i % repetition]) for i, stamp in enumerate(sent.stamps)}
    images: dict[str, dict[int, np.ndarray]] = {_DEPTH: {}, _CONFIDENCE: {}}
    with BagReader(recording) as reader:
        for message in reader.messages(set(images)):
            stamp = original[stamp_of(message.data)]
            if stamp not in images[message.topic]:
                images[message.topic][stamp] = decode_depth(reader.deserialize(message))
    frames = _bag_frames(bag, parameters, images[_DEPTH].keys() & images[_CONFIDENCE].keys())
    return [Completed(frame, images[_DEPTH][stamp], images[_CONFIDENCE][stamp]) for stamp, frame in frames.items()]


def draw(results: list[Completed], folder: Path, profile: str, report: Report) -> str:
    """Write preview.webp, and panel.png of the frame with the most missing depth; returns the frame size in words.

    If another engine ran, the panel also shows the result of the classical engine for comparison.
    """
    if not results:
        raise ConfigurationError("the node published too few frames to draw pictures: increase --seconds")
    limits: Range | None = None
    frames = []
    for result in results:
        limits = smooth_range(limits, colour_range(result.depth))
        frames.append(result.picture(limits, _ANIMATION_WIDTH))
    telling = max(results, key=lambda result: np.mean(np.isnan(result.frame.depth)))
    classical = None
    if report.diagnostics.get("engine") != ClassicalEngine.engine:
        classical = DepthCompleter(profile, ClassicalEngine.engine).complete(telling.frame).depth
    save_picture(folder / "panel.png", telling.picture(colour_range(telling.depth), _PANEL_WIDTH, classical))
    stamps = [result.frame.stamp_ns for result in results]
    milliseconds = [round(step * 1e-6) for step in np.diff(stamps)]
    save_animation(folder / "preview.webp", frames, [*milliseconds, max(milliseconds, default=1000)])
    height, width = results[0].depth.shape
    return f"{width}x{height}"


def _bag_frames(bag: Path, parameters: dict[str, Any], wanted: set[int]) -> dict[int, RgbdFrame]:
    """The frames of a bag whose RGB stamp is in ``wanted``, by that stamp, decoded as in the node."""
    points = parameters["depth.source"] == "points"
    synchronizer = Synchronizer(int(parameters["sync.slop"] * 1e9), parameters["sync.queue_size"])
    frames, info = {}, None
    with BagReader(bag) as reader:
        rgb = reader.find_image("rgb", RGB_TOPIC).name
        depth = POINTS_TOPIC if points else reader.find_image("depth", DEPTH_TOPIC).name
        settings: Any = parameters
        builder = FrameBuilder(settings, Statistics(print), None, {"rgb": rgb, "depth": depth})
        for message in reader.messages({rgb, depth, camera_info_topic(RGB_TOPIC)}):
            if message.topic not in (rgb, depth):
                info = reader.deserialize(message)
                continue
            role: Any = "rgb" if message.topic == rgb else "depth"
            for pair in synchronizer.add(role, stamp_of(message.data), message):
                if pair.rgb_ns in wanted:
                    messages = (reader.deserialize(pair.rgb), reader.deserialize(pair.depth))
                    frames[pair.rgb_ns] = builder.build(MessagePair(*messages, info, None, pair.rgb_ns, 0.0))
    return frames


def _parameters(profile: str, bag: Path) -> dict[str, Any]:
    """All parameters of the node for this bag."""
    files = [profile_file(profile), *_bag_parameters(bag)]
    defaults = {name: parameter.default for name, parameter in PARAMETERS.items()}
    return {name: value for content in (defaults, *map(read_parameters, files)) for name, value in content.items()}


def _node_command(profile: str, bag: Path) -> list[str]:
    command = ["depth_completion_ros.cli", "node", "--profile", profile, "--ros-args"]
    return command + [word for file in _bag_parameters(bag) for word in ("--params-file", str(file))]


def _bag_parameters(bag: Path) -> list[Path]:
    """The parameter file of a bag, if it has one, for example with the extrinsic of its LiDAR."""
    file = bag / "parameters.yaml"
    return [file] if file.is_file() else []
