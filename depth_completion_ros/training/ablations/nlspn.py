"""NLSPN with local neighbours, without confidence, and with the other normalisations of section 4 of its paper."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.nlspn import Propagation
from .variant import METHOD, Variant

_EPSILON = 1e-4  # as in the method's own normalisation


class LocalNeighbours(nn.Module):
    """Replacement of ``Propagation.neighbours``: zero offsets, which mean the 3x3 neighbours, and learnt affinities."""

    def __init__(self, count: int):
        super().__init__()
        self.affinity = nn.Conv2d(count, count, 3, padding=1)
        for parameter in self.affinity.parameters():
            nn.init.zeros_(parameter)

    def forward(self, guidance: Tensor) -> Tensor:
        affinity = self.affinity(guidance)
        return torch.cat([torch.zeros_like(affinity).repeat(1, 2, 1, 1), affinity], dim=1)


class ConstantConfidence(nn.Module):
    """Replacement of the confidence's last layer: 1 everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x[:, :1])


class AbsSum(Propagation):
    """AS: affinities are always divided by their absolute sum, so the absolute sum of the weights is 1.

    The other kinds start with affinities of zero, which cannot be normalised. Here the affinities start at 1.
    """

    def __init__(self, iterations: int):
        super().__init__(iterations)
        del self.gamma

    def affinities(self, raw: Tensor, confidence: Tensor) -> Tensor:
        affinity = (raw.float() + 1) * confidence
        return affinity / affinity.abs().sum(dim=1, keepdim=True).clamp(min=_EPSILON)


class AbsSumStar(Propagation):
    """ASS: affinities are divided by their absolute sum where it exceeds 1."""

    def __init__(self, iterations: int):
        super().__init__(iterations)
        del self.gamma

    def affinities(self, raw: Tensor, confidence: Tensor) -> Tensor:
        affinity = raw.float() * confidence
        return affinity / (affinity.abs().sum(dim=1, keepdim=True) + _EPSILON).clamp(min=1)


class TanhC(Propagation):
    """TC: affinities are bounded by tanh and divided by the number of neighbours; their absolute sum is below 1."""

    def __init__(self, iterations: int):
        super().__init__(iterations)
        del self.gamma

    def affinities(self, raw: Tensor, confidence: Tensor) -> Tensor:
        return torch.tanh(raw.float()) / raw.shape[1] * confidence


def _local(core: Any) -> None:
    core.propagation.neighbours = LocalNeighbours(core.guidance_head.out_channels)


def _without_confidence(core: Any) -> None:
    core.confidence, core.confidence_head = nn.Sequential(), nn.Sequential(ConstantConfidence())


def _set_propagation(core: Any, kind: Callable[[int], Propagation]) -> None:
    core.propagation = kind(core.propagation.iterations)


VARIANTS = (
    Variant("nlspn", METHOD, "non-local neighbours, confidence, tanh-gamma-abs-sum* (TGASS)"),
    Variant("nlspn", "local", "the 3x3 neighbours: all offsets are zero", _local),
    Variant("nlspn", "no confidence", "it is 1 everywhere", _without_confidence),
    Variant("nlspn", "AS", "affinities divided by their absolute sum", partial(_set_propagation, kind=AbsSum)),
    Variant("nlspn", "ASS", "divided by it where it exceeds 1 (abs-sum*)", partial(_set_propagation, kind=AbsSumStar)),
    Variant("nlspn", "TC", "tanh, divided by the number of neighbours (tanh-C)", partial(_set_propagation, kind=TanhC)),
)
