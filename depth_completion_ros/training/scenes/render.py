"""Render batches of views of random scenes, with ground truth for each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...errors import ConfigurationError
from ..scene_batch import Material, SceneBatch
from . import camera, indoor, outdoor
from .builder import Builder
from .camera import View
from .casting import TILE, Solids, camera_rays, in_view, nearest, to_image, to_tiles
from .shading import Hits, Lights, ambient_openness, draw_lights, shade
from .surfaces import MATERIAL, REFLECTANCE, Painter

_MAKERS: dict[str, Callable[[Builder], View]] = {
    "room": indoor.room,
    "tabletop": indoor.tabletop,
    "corridor": indoor.corridor,
    "hall": indoor.hall,
    "outdoor": outdoor.outdoor,
}
KINDS = tuple(_MAKERS)
_PIXELS_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 22}
_OPEN = 0.9  # ambient light in what glass and mirrors show: its occlusion is not computed


def render_scenes(
    kinds: str | Sequence[str], count: int, height: int, width: int, *, generator: torch.Generator
) -> SceneBatch:
    """Make and render ``count`` scenes of the kinds, each as likely, on the generator's device.

    The same state of the generator gives the same scenes. Every call sets up its scenes anew, which pays from some
    ten scenes of a kind on. behind is 0 where glass or a mirror shows the sky. Raises ConfigurationError for an unknown
    kind.
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if unknown := set(kinds) - set(KINDS):
        raise ConfigurationError(f"no scenes of kind {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
    device = generator.device
    drawn = torch.randint(len(kinds), (count,), generator=generator, device=device)
    batches, places = [], []
    for i, kind in enumerate(kinds):
        place = (drawn == i).nonzero()[:, 0]
        if len(place):
            places.append(place)
            batches.append(_render_kind(kind, len(place), height, width, generator))
    order = torch.cat(places).argsort()
    names = SceneBatch.__dataclass_fields__
    return SceneBatch(**{name: torch.cat([getattr(b, name) for b in batches])[order] for name in names})


def _render_kind(kind: str, count: int, height: int, width: int, generator: torch.Generator) -> SceneBatch:
    builder = Builder(count, generator, generator.device)
    view = _MAKERS[kind](builder)
    rotation = camera.world_to_camera(builder, view)
    lens = camera.intrinsics(builder, height, width)
    solids = camera.seen_from(builder.build(), view.eye, rotation)

    def moved(point: Tensor) -> Tensor:
        return (rotation @ (point - view.eye)[..., None])[..., 0]

    lights = draw_lights(builder, moved(view.lamp), rotation, view.indoors)
    mirror = None
    if builder.mirror is not None:
        normal = (rotation @ builder.mirror[1][..., None])[..., 0]
        mirror = normal, (moved(builder.mirror[0]) * normal).sum(-1)
    step = max(1, _PIXELS_AT_ONCE[generator.device.type] // (height * width))
    parts = []
    for first in range(0, count, step):
        some = slice(first, first + step)
        chunk = Solids(solids.shape[some], solids.centre[some], solids.axes[some], solids.look[some])
        plane = None if mirror is None else (mirror[0][some], mirror[1][some])
        light, *labels = _look(chunk, lights.of(some), plane, lens[some], height, width)
        image = camera.expose(Painter(len(light), generator, generator.device), light)
        parts.append((image, *labels))
    image, depth, behind, normals, reflectance, material = (torch.cat(p) for p in zip(*parts, strict=True))
    return SceneBatch(image, depth, behind, normals, reflectance, material.to(torch.uint8), lens)


def _look(
    solids: Solids, lights: Lights, mirror: tuple[Tensor, Tensor] | None, lens: Tensor, height: int, width: int
) -> tuple[Tensor, ...]:
    """Light, depth, depth behind, normals, reflectance and material (N, …, height, width) of a chunk of scenes."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    rays = camera_rays(lens, rows, columns)
    focal = lens[rays.scene, 0, None]
    visible = in_view(solids, lens, rows, columns)
    glass = (solids.look[..., MATERIAL] == Material.GLASS)[rays.scene]
    wall, wall_index = nearest(solids, rays, visible & ~glass)
    pane, pane_index = nearest(solids, rays, visible & glass)
    glazed = pane < wall
    first = Hits(solids, rays, torch.minimum(pane, wall), torch.where(glazed, pane_index, wall_index))

    def image(values: Tensor) -> Tensor:
        return to_image(values, rows, columns)

    depth, normals = image(first.distance[..., None]), image(torch.stack(first.normal, -1))
    openness = ambient_openness(depth, normals, lens)
    light = shade(first, solids, lights, focal, to_tiles(openness)[..., 0])
    behind = first.distance.clone()
    material = torch.where(first.found, first.look[MATERIAL], float(Material.SKY))

    tiles = glazed.any(1).nonzero()[:, 0]
    if len(tiles):
        through = Hits(solids, rays.of(tiles), wall[tiles], wall_index[tiles])
        passed = 0.88 * (1 - (1 - first.facing[tiles]) ** 5)  # less at grazing angles
        seen = light[tiles] + passed[..., None] * shade(through, solids, lights, focal[tiles], _OPEN)
        light[tiles] = torch.where(glazed[tiles][..., None], seen, light[tiles])
        behind[tiles] = torch.where(glazed[tiles], through.distance, behind[tiles])
    reflecting = (material == Material.MIRROR) & ~glazed
    tiles = reflecting.any(1).nonzero()[:, 0]
    if mirror is not None and len(tiles):
        # What a mirror shows is the mirror image of the world, seen through it as through a window.
        solids, lights = solids.reflected(*mirror), lights.reflected(*mirror)
        part, here = rays.of(tiles), reflecting[tiles]
        opaque = (solids.look[..., MATERIAL] != Material.MIRROR) & (solids.look[..., MATERIAL] != Material.GLASS)
        candidates = in_view(solids, lens, rows, columns)[tiles] & opaque[part.scene]
        image_of = Hits(solids, part, *nearest(solids, part, candidates, behind[tiles] + 1e-3))
        seen = 0.9 * shade(image_of, solids, lights, focal[tiles], _OPEN) + 0.01
        light[tiles] = torch.where(here[..., None], seen, light[tiles])
        behind[tiles] = torch.where(here, image_of.distance, behind[tiles])
    values = torch.stack([behind, first.look[REFLECTANCE] * first.found, material], -1)
    results = [image(light), depth, image(values[..., :1]), normals, image(values[..., 1:2]), image(values[..., 2:])]
    return tuple(r[..., :height, :width] for r in results)
