"""What runs on a GPU makes its tensors there, seen without one: those made without naming a device land on "meta", and
mixing them with the rest fails as it would with host and GPU.
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

HERE = torch.device("cpu")


class Elsewhere(TorchFunctionMode):
    """copies: tensors may be brought to the others' device by ``to(device)``; what they hold is lost, being zeros."""

    def __init__(self, copies: bool) -> None:
        super().__init__()
        self._copies = copies

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if self._copies and function is torch.Tensor.to and arguments[0].is_meta and arguments[1:] == (HERE,):
            return torch.zeros(arguments[0].shape, dtype=arguments[0].dtype, device=HERE)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("name", names())
def test_networks_create_no_tensors_on_the_host(name):
    """Nor copy one from there: a CUDA graph could not hold that."""
    network = fold_batch_norm(create(name))
    frame = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64) + 1, torch.ones(1, 1, 1, 1)
    with torch.device("meta"), Elsewhere(copies=False), torch.inference_mode():
        completed, sigma = network(*frame)
    assert completed.device == sigma.device == HERE


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_are_made_and_seen_on_one_device(kind):
    generator = torch.Generator().manual_seed(0)
    atlas(HERE)  # made on the host and brought to the device, once
    with torch.device("meta"), Elsewhere(copies=True):
        scenes = render_scenes(kind, 8, 32, 32, generator=generator)
        for _, sensor in PROFILES["any"]:
            assert sensor(scenes, generator).device == HERE
