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
_CHUNK_PIXELS = {"cpu": 1 << 17, "cuda": 1 << 22}
_CONSTANT_OPENNESS = 0.9  # share of ambient light on surfaces behind glass and in mirrors, where it is not computed


def render_scenes(
    kinds: str | Sequence[str], count: int, height: int, width: int, *, generator: torch.Generator
) -> SceneBatch:
    """Build and render random scenes on the generator's device.

    The same state of the generator gives the same scenes. Setting up the scenes takes time in every call, so calls with
    at least ten scenes of a kind are efficient. ``behind`` is 0 where glass or a mirror shows the sky.

    Args:
        kinds: Kinds of scenes, all with the same probability.
        count: Number of scenes.
        height: Height of the images [pixels].
        width: Width of the images [pixels].
        generator: Random generator.

    Raises:
        ConfigurationError: If a kind is unknown.
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if unknown := set(kinds) - set(KINDS):
        raise ConfigurationError(f"no scenes of kind {', '.join(sorted(unknown))}: choose from {', '.join(KINDS)}")
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
    solids = camera.to_camera_frame(builder.build(), view.eye, rotation)

    def in_camera_frame(point: Tensor) -> Tensor:
        return (rotation @ (point - view.eye)[..., None])[..., 0]

    lights = draw_lights(builder, in_camera_frame(view.lamp), rotation, view.indoors)
    mirror = None
    if builder.mirror is not None:
        normal = (rotation @ builder.mirror[1][..., None])[..., 0]
        mirror = normal, (in_camera_frame(builder.mirror[0]) * normal).sum(-1)
    step = max(1, _CHUNK_PIXELS[generator.device.type] // (height * width))
    parts = []
    for first in range(0, count, step):
        some = slice(first, first + step)
        chunk = Solids(solids.shape[some], solids.centre[some], solids.axes[some], solids.look[some])
        plane = None if mirror is None else (mirror[0][some], mirror[1][some])
        light, *labels = _render_chunk(chunk, lights.of(some), plane, lens[some], height, width)
        image = camera.expose(Painter(len(light), generator, generator.device), light)
        parts.append((image, *labels))
    image, depth, behind, normals, reflectance, material = (torch.cat(p) for p in zip(*parts, strict=True))
    return SceneBatch(image, depth, behind, normals, reflectance, material.to(torch.uint8), lens)


def _render_chunk(
    solids: Solids, lights: Lights, mirror: tuple[Tensor, Tensor] | None, lens: Tensor, height: int, width: int
) -> tuple[Tensor, ...]:
    """Return light, depth, depth behind, normals, reflectance and material, (N, …, height, width) each."""
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
        transmitted = 0.88 * (1 - (1 - first.facing[tiles]) ** 5)  # less at grazing angles
        light_behind = shade(through, solids, lights, focal[tiles], _CONSTANT_OPENNESS)
        combined = light[tiles] + transmitted[..., None] * light_behind
        light[tiles] = torch.where(glazed[tiles][..., None], combined, light[tiles])
        behind[tiles] = torch.where(glazed[tiles], through.distance, behind[tiles])
    reflecting = (material == Material.MIRROR) & ~glazed
    tiles = reflecting.any(1).nonzero()[:, 0]
    if mirror is not None and len(tiles):
        # A mirror is rendered as a window to the mirror image of the scene.
        solids, lights = solids.reflected(*mirror), lights.reflected(*mirror)
        part, mirrored = rays.of(tiles), reflecting[tiles]
        opaque = (solids.look[..., MATERIAL] != Material.MIRROR) & (solids.look[..., MATERIAL] != Material.GLASS)
        candidates = in_view(solids, lens, rows, columns)[tiles] & opaque[part.scene]
        reflection = Hits(solids, part, *nearest(solids, part, candidates, behind[tiles] + 1e-3))
        reflected_light = 0.9 * shade(reflection, solids, lights, focal[tiles], _CONSTANT_OPENNESS) + 0.01
        light[tiles] = torch.where(mirrored[..., None], reflected_light, light[tiles])
        behind[tiles] = torch.where(mirrored, reflection.distance, behind[tiles])
    values = torch.stack([behind, first.look[REFLECTANCE] * first.found, material], -1)
    results = [image(light), depth, image(values[..., :1]), normals, image(values[..., 1:2]), image(values[..., 2:])]
    return tuple(r[..., :height, :width] for r in results)
