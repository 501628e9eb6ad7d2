"""The U-Net without relative depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .variant import METHOD, Variant


class NoRelativeDepth(nn.Module):
    """Replacement of the relative-depth branch: zero everywhere, (N, 3, H, W) to (N, 1, H, W)."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.zeros_like(image[:, :1])


def _without_relative_depth(core: Any) -> None:
    core.relative_depth = NoRelativeDepth()


VARIANTS = (
    Variant("unet", METHOD, "relative depth from a small branch that is trained together with the rest, and the image"),
    Variant("unet", "no relative depth", "its channel is zero; the image stays", _without_relative_depth),
)
