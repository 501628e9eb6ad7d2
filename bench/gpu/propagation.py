"""NLSPN's propagation by the Triton kernels against PyTorch's operators: equal, and how much faster."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product

import torch
from torch import Tensor

from depth_completion_ros.networks import method
from depth_completion_ros.networks.nlspn import Propagation
from records import Record, Records
from settings import Settings
from timing import device_ms

_BLOCKS = (64, 128, 256, 512)
_TOLERANCE = 1e-3
_FAR = 3.0  # pixels that offsets reach, one deviation
# Bytes of each pixel and iteration: 16 offsets in float16, and in float32 9 weights, 4 images.
_ITERATION_BYTES = 16 * 2 + 9 * 4 + 4 * 4


def run(settings: Settings, records: Records) -> None:
    for image, size in product(settings.images, settings.sizes):
        about = {"size": size, "image": list(image)}
        if not records.has(**about):
            with records.case(**about) as record, torch.inference_mode():
                record |= _compare(settings, size, *image)


def _compare(settings: Settings, size: str, image_height: int, image_width: int) -> Record:
    about = method("nlspn").sizes[size]
    iterations, reduction = about["iterations"], about["reduction"]
    height, width = image_height // reduction, image_width // reduction
    network = Propagation(iterations).to(settings.device)
    predicted, others = _inputs(height, width, settings.device)
    expected = network.reference(predicted, **others)
    reference_ms = _recorded_ms(settings, partial(network.reference, predicted, **others))
    record: Record = {"iterations": iterations, "pixels": height * width, "reference_ms": reference_ms}
    record["bytes"] = height * width * iterations * _ITERATION_BYTES
    if settings.dry:
        return record | {"kernels": "they need a GPU"}
    if find_spec("triton") is None:
        raise ImportError("Triton is not installed")
    from depth_completion_ros.networks.propagation_triton import BLOCK, propagate

    def fused(block: int = BLOCK) -> Tensor:
        return propagate(predicted, network.gamma, iterations=iterations, block=block, **others)

    record["difference"] = float((fused() - expected).abs().max())
    record["equal"] = record["difference"] <= _TOLERANCE
    times = {block: _recorded_ms(settings, partial(fused, block=block)) for block in _BLOCKS}
    record["kernels_ms"] = times
    record["ratio"] = round(reference_ms / times[BLOCK], 2)
    return record


def _inputs(height: int, width: int, device: str) -> tuple[Tensor, dict[str, Tensor]]:
    """What the network predicts, in float16 as on the card, and initial, confidence, sparse, measured."""
    generator = torch.Generator(device).manual_seed(0)

    def noise(channels: int) -> Tensor:
        return torch.randn(1, channels, height, width, generator=generator, device=device)

    measured = (noise(1) > 1.5).float()
    predicted = (_FAR * noise(24)).half().contiguous(memory_format=torch.channels_last)
    others = {"initial": noise(1), "confidence": torch.sigmoid(noise(1)), "sparse": noise(1) * measured}
    return predicted, others | {"measured": measured}


def _recorded_ms(settings: Settings, call: Callable[[], object]) -> float:
    """Median of a CUDA graph's replays; on a CPU of the calls."""
    if settings.dry:
        return round(statistics.median(device_ms(call, settings.rounds, settings.device)), 4)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return round(statistics.median(device_ms(graph.replay, settings.rounds, settings.device)), 4)
