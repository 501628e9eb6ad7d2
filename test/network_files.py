"""Small network files for tests, made once for all processes of a run and kept by what they hold."""

from __future__ import annotations

import fcntl
import functools
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from test_networks import HEIGHT, WIDTH, stirred

from depth_completion_ros.bag.recordings import read_source, resized
from depth_completion_ros.contract import CONTRACT_VERSION, DEFAULT_NETWORK, INPUTS, OUTPUTS
from depth_completion_ros.networks.export import OPSET, export_onnx
from depth_completion_ros.profiles import load_profile
from depth_completion_ros.resources import PACKAGE, share_directory

FLOAT = onnx.TensorProto.FLOAT
Frame = tuple[np.ndarray, np.ndarray, float]  # what an engine takes: image, depth, scale


def _made_once(name: str, make: Callable[[Path], object]) -> Path:
    """The file of this name in the folder that the processes of a run share; ``make`` writes it if there is none."""
    path = Path(os.environ["NETWORK_FILES"]) / name
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            make(unfinished)
            unfinished.replace(path)
    return path


def network_file(name: str, precision: str = "fp32", *, profile: str = "") -> Path:
    """The file of a small network for images of HEIGHT x WIDTH; its weights are random and far from its start
    (``stirred``).

    profile: not empty, the file says that it is trained for this one.
    """
    return _trained(name, precision, profile) if profile else _file(name, precision)


def file_for_any_size() -> Path:
    """The network that is shipped, trained, with weights in 8 bits: exporting one for any size takes minutes."""
    return share_directory() / "models" / f"{DEFAULT_NETWORK}-small-w8a16-dynamic.onnx"


def plain_file(*, any_size: bool = False) -> Path:
    """A file that fulfils the contract with one convolution, for tests of what engines do with files of any network."""

    def make(path: Path) -> None:
        height, width = ("height", "width") if any_size else (HEIGHT, WIDTH)
        shapes = {"image": (1, 3, height, width), "scale": (1, 1, 1, 1)}
        inputs, outputs = (
            [
                onnx.helper.make_tensor_value_info(
                    name, onnx.TensorProto.FLOAT, shapes.get(name, (1, 1, height, width))
                )
                for name in names
            ]
            for names in (INPUTS, OUTPUTS)
        )
        nodes = [
            onnx.helper.make_node("Conv", ["image", "weights"], ["grey"], pads=[1, 1, 1, 1]),
            onnx.helper.make_node("Sigmoid", ["grey"], ["share"]),
            onnx.helper.make_node("Mul", ["share", "scale"], ["sigma"]),
            onnx.helper.make_node("Add", ["depth", "sigma"], ["completed"]),
        ]
        weights = onnx.numpy_helper.from_array(np.full((1, 3, 3, 3), 0.1, np.float32), "weights")
        graph = onnx.helper.make_graph(nodes, "plain", inputs, outputs, [weights])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
        metadata = {
            "producer": PACKAGE,
            "contract": str(CONTRACT_VERSION),
            "name": "lite",
            "size": "small",
            "precision": "fp32",
            "height": "0" if any_size else str(HEIGHT),
            "width": "0" if any_size else str(WIDTH),
            "profile": "",
            "trained": "false",
            "weights": 16 * "0",
        }
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, path)

    return _made_once(f"plain-{'dynamic' if any_size else f'{HEIGHT}x{WIDTH}'}.onnx", make)


def relabelled(path: Path, new: Path, **labels: str) -> Path:
    """Copy a network to a new file that contains all weights, with other metadata."""
    model = onnx.load(path)  # also loads the weights from other files
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, metadata | {"weights_file": "", "base_file": ""} | labels)
    onnx.save(model, new)
    return new


def _trained(name: str, precision: str, profile: str) -> Path:
    path = _file(name, precision)
    return _made_once(
        f"{path.stem}-trained-{profile}.onnx", lambda new: relabelled(path, new, profile=profile, trained="true")
    )


def _file(name: str, precision: str) -> Path:
    def make(path: Path) -> None:
        calibration = [feed_of(frame) for frame in real_frames()[::2]] if precision == "int8" else ()
        export_onnx(stirred(name), path, HEIGHT, WIDTH, precision=precision, calibration=calibration)

    return _made_once(f"{name}-small-{precision}-{HEIGHT}x{WIDTH}.onnx", make)


@functools.cache
def real_frames() -> list[Frame]:
    """The first eight frames of the Kinect sample at the size of the networks, as engines get them."""
    profile = load_profile("kinect")
    frames = []
    for frame in islice(read_source(share_directory() / "samples" / "kinect"), 8):
        small = resized(frame, WIDTH, HEIGHT)
        depth = np.nan_to_num(small.depth, nan=0.0)
        depth[(depth < profile.min_range) | (depth > profile.max_range)] = 0
        frames.append((small.rgb, depth, float(np.median(depth[depth > 0]))))
    return frames


def random_frame(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Frame:
    """Noise for an image, 5 % of a plane for depth."""
    rng = np.random.default_rng(seed)
    plane = np.tile(np.linspace(1, 3, width, dtype=np.float32) + np.float32(rng.random()), (height, 1))
    depth = np.where(rng.random(plane.shape) < 0.05, plane, np.float32(0))
    return rng.integers(0, 256, (height, width, 3), np.uint8), depth, float(np.median(depth[depth > 0]))


def feed_of(frame: Frame) -> dict[str, np.ndarray]:
    """The frame as the inputs of the contract."""
    image, depth, scale = frame
    return {
        "image": np.ascontiguousarray(image.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255),
        "depth": depth[None, None],
        "scale": np.full((1, 1, 1, 1), scale, np.float32),
    }


def weights_of_convolutions(graph: onnx.GraphProto) -> list[str]:
    """The name of each convolution's weights, in the graph's order."""
    return [node.input[1] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]


def shapes_not_in_int8(graph: onnx.GraphProto) -> list[tuple[int, ...]]:
    """Return the shapes of the weights of the convolutions whose inputs are not in int8."""
    restored = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    convolutions = [
        node for node in graph.node if node.op_type in ("Conv", "ConvTranspose") and node.input[0] not in restored
    ]
    return [shapes[restored.get(node.input[1], node.input[1])] for node in convolutions]
