"""The response of materials: each patch gives a hole, the depth of the surface, or the depth of the surface behind."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..scene_batch import Material, SceneBatch
from .fields import Range, patches, uniform


@dataclass(frozen=True)
class Response:
    """Ranges of probabilities. A value is drawn from each range for each sample.

    Attributes:
        dark: Probability that a patch of dark material is a hole.
        shiny: Probability that a patch of shiny material is a hole.
        glass: Probability that a patch of glass is a hole.
        mirror: Probability that a patch of a mirror is a hole.
        through: Probability that a patch of glass or mirror that is not a hole shows the surface behind it.
        length: Size of the patches [pixels].
    """

    dark: Range
    shiny: Range
    glass: Range
    mirror: Range
    through: Range
    length: float = 10.0


def respond(scene: SceneBatch, generator: torch.Generator, response: Response) -> tuple[Tensor, Tensor]:
    """Return the depth that the sensor sees, (N, 1, H, W) [m], 0 = no surface; and where it has holes, bool."""
    like = scene.depth
    none = torch.zeros(len(like), 1, 1, 1, device=like.device)
    hole = dict.fromkeys(Material, none)
    hole |= {
        Material.DARK: uniform(like, generator, response.dark),
        Material.SHINY: uniform(like, generator, response.shiny),
        Material.GLASS: uniform(like, generator, response.glass),
        Material.MIRROR: uniform(like, generator, response.mirror),
    }
    through = uniform(like, generator, response.through)
    behind = dict.fromkeys(Material, none)
    behind |= {kind: (1 - hole[kind]) * through for kind in (Material.GLASS, Material.MIRROR)}

    draw = patches(like, generator, response.length)
    hole_probability = _by_material(scene, hole)
    holes = draw < hole_probability
    see_through = ~holes & (draw < hole_probability + _by_material(scene, behind))
    return torch.where(see_through, scene.behind, scene.depth), holes


def _by_material(scene: SceneBatch, values: dict[Material, Tensor]) -> Tensor:
    """Return the value (N, 1, 1, 1) of each pixel's material as (N, 1, H, W)."""
    table = torch.cat([values[kind] for kind in Material], dim=1).flatten(1)
    return table.gather(1, scene.material.flatten(1).long()).view(scene.depth.shape)
