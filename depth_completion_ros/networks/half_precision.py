"""Networks in float16 for GPUs. Parts whose values need more range or precision stay in float32."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .completion_network import CompletionNetwork


class HalfPrecision(nn.Module):
    """A network with its convolutions and linear layers in float16. The types of inputs and outputs do not change.

    These parts stay in float32: prefill and composition (``CompletionNetwork``), layer norms, statistics, Fourier
    transforms, and the coordinates and the propagation of NLSPN. The networks call ``float()`` at these places.
    """

    def __init__(self, network: CompletionNetwork):
        super().__init__()
        self.network = fold_batch_norm(network)
        for module in self.network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                module.half()
            elif isinstance(module, nn.LayerNorm):
                module.register_forward_pre_hook(_in_float32)

    def forward(self, image: Tensor, depth: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Complete depth, see ``CompletionNetwork.forward``."""
        with torch.autocast(image.device.type, torch.float16):
            return self.network(image, depth, scale)


def _in_float32(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.float() for x in inputs)


def fold_batch_norm(network: CompletionNetwork) -> CompletionNetwork:
    """Return a copy in evaluation mode whose batch norms are merged into the convolutions before them."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            for index, (layer, norm) in enumerate(pairwise(list(module))):
                if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(norm, nn.BatchNorm2d):
                    module[index] = fuse_conv_bn_eval(layer, norm, isinstance(layer, nn.ConvTranspose2d))
                    module[index + 1] = nn.Identity()
    return network
