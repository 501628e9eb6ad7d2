"""Code for the GPU creates its tensors on the device of its inputs. The tests need no GPU.

The default device is "meta" and the inputs are on the CPU. A tensor that is created without a device is on "meta", and
combining it with the inputs fails, as it would with host and GPU.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the networks need PyTorch")

from torch.overrides import TorchFunctionMode  # noqa: E402

from depth_completion_ros.networks import create, names  # noqa: E402
from depth_completion_ros.networks.half_precision import fold_batch_norm  # noqa: E402
from depth_completion_ros.training.scenes import KINDS, render_scenes  # noqa: E402
from depth_completion_ros.training.scenes.textures import atlas  # noqa: E402
from depth_completion_ros.training.sensors import PROFILES  # noqa: E402

INPUT_DEVICE = torch.device("cpu")


class CopiesFromMeta(TorchFunctionMode):
    """Allow or forbid copies from "meta" to the device of the inputs.

    Args:
        copies: Whether ``to(device)`` copies tensors from "meta". The copies contain zeros.
    """

    def __init__(self, copies: bool) -> None:
        super().__init__()
        self._copies = copies

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if self._copies and function is torch.Tensor.to and arguments[0].is_meta and arguments[1:] == (INPUT_DEVICE,):
            return torch.zeros(arguments[0].shape, dtype=arguments[0].dtype, device=INPUT_DEVICE)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("name", names())
def test_networks_create_no_tensors_on_the_host(name):
    """They do not copy tensors from the host either, because a CUDA graph could not contain the copy."""
    network = fold_batch_norm(create(name))
    frame = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64) + 1, torch.ones(1, 1, 1, 1)
    with torch.device("meta"), CopiesFromMeta(copies=False), torch.inference_mode():
        completed, sigma = network(*frame)
    assert completed.device == sigma.device == INPUT_DEVICE


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_are_rendered_and_measured_on_one_device(kind):
    generator = torch.Generator().manual_seed(0)
    atlas(INPUT_DEVICE)  # it is created on the host and copied to the device once
    with torch.device("meta"), CopiesFromMeta(copies=True):
        scenes = render_scenes(kind, 8, 32, 32, generator=generator)
        for _, sensor in PROFILES["any"]:
            assert sensor(scenes, generator).device == INPUT_DEVICE
