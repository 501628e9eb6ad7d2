"""What a network cannot be faster than on this card: its arithmetic at the rate of a large matrix product, its weights,
inputs and outputs at the bandwidth of a large copy; and how far above that the measured times are.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import inputs
from depth_completion_ros.networks import create
from depth_completion_ros.networks.weights import first_weights_file
from records import Records, read_json
from settings import Settings

_CHANNELS = 3 + 1 + 1 + 1  # image, depth, completed depth, log_b: all float32
_NUMBERS = {"fp16": ("float16", 2), "fp32": ("float32", 4)}


def run(settings: Settings, records: Records) -> None:
    steps = settings.state / "steps"
    card = read_json(steps / "card.json", [])
    bandwidth = next((r["bytes_per_s"] for r in card if "bytes_per_s" in r), None)
    rates = {r["precision"]: r["flop_per_s"] for r in card if "flop_per_s" in r}
    measured = [r for r in read_json(steps / "latency.json", []) if "error" not in r]
    for image, size, name in product(settings.images, settings.sizes, settings.networks):
        about: dict[str, Any] = {"network": name, "size": size, "image": list(image)}
        with records.case(**about) as record:
            first = first_weights_file(inputs.weights(settings.state, name, size))
            parameters, flop = _cost(name, size, first.stem if first else None, *image)
            record |= {"parameters": parameters, "flop": flop}
            for precision, (kind, number_bytes) in _NUMBERS.items():
                moved = parameters * number_bytes + _CHANNELS * 4 * image[0] * image[1]
                record[f"{precision}_bytes"] = moved
                if bandwidth is None or kind not in rates:
                    continue
                floor = max(flop / rates[kind], moved / bandwidth) * 1e3
                record[f"{precision}_floor_ms"] = round(floor, 5)
                for other in measured:
                    if about.items() <= other.items() and precision in other["engine"]:
                        ratio = other["engine_p50_ms"] / floor
                        record[f"{other['engine']}: times the floor"] = round(ratio, 2)


def _cost(name: str, size: str, first: str | None, height: int, width: int) -> tuple[int, int]:
    """Parameters, and floating-point operations of one frame, with those of the network that comes first, if any;
    nothing is computed, as shapes suffice.
    """
    with FakeTensorMode(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = create(name, size, create(*first.split("-")) if first else None).eval()
        network(torch.empty(1, 3, height, width), torch.empty(1, 1, height, width), torch.empty(1, 1, 1, 1))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()
