"""Light on surfaces: Lambert and Phong terms, soft cast shadows, ambient occlusion, haze and sky."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..scene_batch import Material
from .casting import TILE, Rays, Shape, Solids, free, may_occlude
from .surfaces import (
    CASTS,
    COLOURS,
    COS,
    EMISSION,
    GLOSS,
    LAYER,
    MATERIAL,
    PERIOD,
    SHARPNESS,
    SHIFT_U,
    SHIFT_V,
    SIN,
    Painter,
)
from .textures import atlas, look_up


@dataclass(frozen=True)
class Lights:
    """Light in N scenes: a main light with shadows, a fill light without shadows, and ambient light.

    Attributes:
        main: Position of the main light in the optical frame [m], (N, 3).
        fill: Position of the fill light in the optical frame [m], (N, 3).
        up: Upward direction in the optical frame, (N, 3).
        radius: Radius of the main light [m], (N,).
        half_distance: Distance at which the light is halved [m], (N,).
        main_colour: Colour of the main light, (N, 3).
        fill_colour: Colour of the fill light, (N, 3).
        ambient: Colour of the ambient light, (N, 3).
        sky: Colour of the sky, (N, 3).
        haze: Distance at which haze reduces contrast to 1/e [m], (N,).
    """

    main: Tensor
    fill: Tensor
    up: Tensor
    radius: Tensor
    half_distance: Tensor
    main_colour: Tensor
    fill_colour: Tensor
    ambient: Tensor
    sky: Tensor
    haze: Tensor

    def of(self, scenes: slice) -> Lights:
        """Return the lights of some scenes."""
        return Lights(*(getattr(self, name)[scenes] for name in self.__dataclass_fields__))

    def reflected(self, normal: Tensor, distance: Tensor) -> Lights:
        """Return the lights' mirror images, see ``Solids.reflected``."""

        def mirrored(p: Tensor, d: Tensor | float) -> Tensor:
            return p - 2 * ((p * normal).sum(-1) - d)[:, None] * normal

        return replace(
            self, main=mirrored(self.main, distance), fill=mirrored(self.fill, distance), up=mirrored(self.up, 0.0)
        )


def draw_lights(p: Painter, lamp: Tensor, rotation: Tensor, indoors: bool) -> Lights:
    """Draw random lights.

    Args:
        p: Source of random numbers.
        lamp: Position of the main light in the optical frame [m], (N, 3).
        rotation: Rotations from the world into the optical frame, (N, 3, 3).
        indoors: Whether the scenes are indoors.
    """

    def tint(strength: float) -> Tensor:
        warm = p.normal(strength)[:, None]
        return torch.cat([1 + warm, torch.ones_like(warm), 1 - warm], 1).clamp(min=0.3)

    ambient = p.uniform(0.25, 0.8) if indoors else p.uniform(0.2, 0.6)
    overcast = p.chance(0.0 if indoors else 0.3)
    bright = p.uniform(0.8, 2.0) if indoors else p.uniform(1.5, 3.5)
    main = torch.where(overcast, p.uniform(0.0, 0.3), bright)[:, None] * tint(0.12)
    ambient = ambient[:, None] * tint(0.08)
    if not indoors:
        ambient = ambient * torch.tensor((0.93, 1.0, 1.1), device=p.device)
    blue = p.uniform(0.2, 1.0)[:, None] * torch.tensor((-0.5, -0.2, 0.3), device=p.device)
    return Lights(
        main=lamp,
        fill=p.normal(1.5, 3),
        up=rotation[:, :, 2],
        radius=p.uniform(0.02, 0.25) if indoors else p.uniform(1.0, 6.0),
        half_distance=p.log_uniform(1.5, 6.0) if indoors else p.uniform(1e4, 1e4),
        main_colour=main,
        fill_colour=p.uniform(0.0, 0.4)[:, None] * tint(0.1),
        ambient=ambient,
        sky=p.log_uniform(0.8, 3.0)[:, None] * (1 + blue),
        haze=p.log_uniform(200, 3000),
    )


class Hits:
    """The surfaces that the rays of T tiles with S pixels hit.

    Args:
        solids: The solids.
        rays: The rays.
        distance: Distances of the surfaces, (T, S).
        index: Indices of the solids, -1 for none, (T, S).

    Attributes:
        found: Whether a ray hits a surface, (T, S).
        look: Columns of the appearance, (WIDTH, T, S).
        point: Three components of the points [m], (T, S) each.
        normal: Three components of the unit normals towards the camera, (T, S) each.
        view: Three components of the unit vectors to the camera, (T, S) each.
        facing: Cosine of the angle between normal and ray, (T, S).
    """

    def __init__(self, solids: Solids, rays: Rays, distance: Tensor, index: Tensor) -> None:
        self.rays, self.index, self.found = rays, index, index >= 0
        places = solids.shape.shape[1]
        row = index.clamp(min=0) + rays.scene[:, None] * places
        matrix, offset = solids.to_unit()
        half = solids.axes.square().sum(-1).sqrt()
        table = torch.cat([matrix.flatten(2), offset, half, solids.shape[..., None].float()], -1).flatten(0, 1).T
        a = table.contiguous().index_select(1, row.flatten()).view(16, *row.shape)
        self.look = solids.look.flatten(0, 1).T.contiguous().index_select(1, row.flatten()).view(-1, *row.shape)
        self.distance = torch.where(self.found, distance, 0)
        d = rays.direction
        self.point = [self.distance * c for c in d]
        q = [
            a[3 * i] * self.point[0] + a[3 * i + 1] * self.point[1] + a[3 * i + 2] * self.point[2] + a[9 + i]
            for i in range(3)
        ]
        box, tube = a[15] == Shape.BOX, a[15] == Shape.CYLINDER
        size = [c.abs() for c in q]
        radial = torch.where(tube, (q[0] * q[0] + q[1] * q[1]).sqrt(), torch.maximum(size[0], size[1]))
        on_z = size[2] >= radial
        on_x = (size[0] >= size[1]) & ~on_z
        flat = box | (tube & on_z)  # on a plane face
        zero = torch.zeros_like(radial)
        m = [
            torch.where(box & ~on_x | flat & on_z, zero, q[0]),
            torch.where(box & (on_x | on_z) | flat & on_z, zero, q[1]),
            torch.where((box | tube) & ~on_z, zero, q[2]),
        ]
        normal = [a[i] * m[0] + a[3 + i] * m[1] + a[6 + i] * m[2] for i in range(3)]
        facing = normal[0] * d[0] + normal[1] * d[1] + normal[2] * d[2]
        length = (normal[0].square() + normal[1].square() + normal[2].square()).sqrt().clamp(min=1e-12)
        scale = torch.where(self.found, -facing.sign() / length, 0)
        self.normal = [c * scale for c in normal]
        ray_length = (d[0].square() + d[1].square() + d[2].square()).sqrt()
        self.view = [-c / ray_length for c in d]
        self.facing = (facing / length).abs() / ray_length
        metres = [q[i] * a[12 + i] for i in range(3)]
        arc = torch.atan2(q[1], q[0]) * a[12]
        self.u = torch.where(flat, torch.where(box & on_x, metres[1], metres[0]), arc)
        self.v = torch.where(flat & on_z, metres[1], metres[2])

    def albedo(self, focal: Tensor) -> list[Tensor]:
        """Return three colour components (T, S) from the solids' patterns. focal: focal length [pixels], (T, 1)."""
        look = self.look
        u = (self.u * look[COS] + self.v * look[SIN]) / look[PERIOD] + look[SHIFT_U]
        v = (self.v * look[COS] - self.u * look[SIN]) / look[PERIOD] + look[SHIFT_V]
        footprint = self.distance / (focal * look[PERIOD] * self.facing.clamp(min=0.1).sqrt())
        first, second = look_up(u.device, look[LAYER].long(), u, v, footprint)
        c = look[COLOURS]
        return [(c[i] + first * (c[3 + i] - c[i]) + second * (c[6 + i] - c[i])).clamp(min=0.004) for i in range(3)]


def shade(hits: Hits, solids: Solids, lights: Lights, focal: Tensor, open_to_ambient: Tensor | float) -> Tensor:
    """Return the light that reaches the camera, (T, S, 3).

    Args:
        hits: The visible surfaces.
        solids: The solids, which cast shadows.
        lights: The lights.
        focal: Focal length [pixels], (T, 1).
        open_to_ambient: Share of ambient light that is not occluded, (T, S).
    """
    scene = hits.rays.scene
    colour = hits.albedo(focal)
    look, n = hits.look, hits.normal

    def per_tile(value: Tensor) -> list[Tensor]:
        return [value[scene, i, None] for i in range(3)]

    up = per_tile(lights.up)
    height = n[0] * up[0] + n[1] * up[1] + n[2] * up[2]
    ambient = (0.75 + 0.25 * height) * open_to_ambient
    diffuse = [ambient * c for c in per_tile(lights.ambient)]
    mirrored = 2 * height * hits.facing - sum(v * u for v, u in zip(hits.view, up, strict=True))
    shine = look[GLOSS].square() * 0.4 * ((0.35 + 0.65 * mirrored).clamp(0, 1) * open_to_ambient)
    specular = [shine * c for c in per_tile(lights.ambient)]
    open_to_main = _soft_shadow(hits, solids, lights)
    for position, tone, unoccluded in (
        (lights.main, lights.main_colour, open_to_main), (lights.fill, lights.fill_colour, open_to_ambient),
    ):  # fmt: skip
        to = [p - c for p, c in zip(per_tile(position), hits.point, strict=True)]
        squared = to[0].square() + to[1].square() + to[2].square()
        inverse = squared.clamp(min=1e-6).rsqrt()
        to = [c * inverse for c in to]
        lambert = (n[0] * to[0] + n[1] * to[1] + n[2] * to[2]).clamp(min=0)
        half = [a + b for a, b in zip(to, hits.view, strict=True)]
        slant = n[0] * half[0] + n[1] * half[1] + n[2] * half[2]
        slant = slant * (half[0].square() + half[1].square() + half[2].square()).clamp(min=1e-6).rsqrt()
        arriving = unoccluded / (1 + squared / lights.half_distance[scene, None].square())
        highlight = torch.exp(look[SHARPNESS] * torch.log(slant.clamp(min=1e-4)))
        highlight = look[GLOSS] * highlight * arriving * (lambert > 0)
        for i, t in enumerate(per_tile(tone)):
            diffuse[i] = diffuse[i] + t * arriving * lambert
            specular[i] = specular[i] + t * highlight
    transmission = torch.exp(-hits.distance / lights.haze[scene, None])
    emission = look[EMISSION]
    light = []
    for i, hazy in enumerate(per_tile(lights.sky)):
        c = colour[i] * (diffuse[i] + emission) + specular[i]
        light.append(torch.lerp(hazy * 0.7, c, transmission))
    shaded = torch.stack(light, -1)
    tiles = (~hits.found).any(1).nonzero()[:, 0]
    if len(tiles):
        sky = _sky(scene[tiles], [-c.index_select(0, tiles) for c in hits.view], lights)
        shaded[tiles] = torch.where(hits.found[tiles][..., None], shaded[tiles], sky)
    return shaded


def _sky(scene: Tensor, d: list[Tensor], lights: Lights) -> Tensor:
    """Return the colour of the sky (T, S, 3) in unit directions d, with clouds and a brighter horizon."""
    up = [lights.up[scene, i, None] for i in range(3)]
    height = (d[0] * up[0] + d[1] * up[1] + d[2] * up[2]).clamp(min=0.02)
    scale = 0.1 / height
    cloud_layer = torch.full_like(scale, atlas(scale.device).names["clouds"].start, dtype=torch.int64)
    cloud, _ = look_up(scale.device, cloud_layer, d[0] * scale, d[2] * scale, 0.02 * scale)
    white = (cloud + torch.exp(-6 * height)).clamp(0, 1)
    tone = lights.sky[scene]
    pale = tone.mean(1)[:, None]
    return torch.stack([torch.lerp(c[:, None] * 0.7, pale, white) for c in tone.unbind(1)], -1)


def _soft_shadow(hits: Hits, solids: Solids, lights: Lights) -> Tensor:
    """Return the share of the main light that is not occluded, (T, S).

    The value has no meaning where the surface faces away from the light. Each pixel tests one of sixteen points of the
    light, and neighbouring pixels are averaged.
    """
    scene, device = hits.rays.scene, hits.distance.device
    pixel = torch.arange(TILE * TILE, device=device)
    number = (pixel % TILE % 4) * 4 + pixel // TILE % 4
    angle, out = number * 2.4, ((number + 0.5) / 16).sqrt()
    disc = torch.stack([out * angle.cos(), out * angle.sin(), (number * 0.618) % 1 - 0.5])
    origin = [lights.main[scene, i, None] + lights.radius[scene, None] * disc[i] for i in range(3)]
    direction = [p - o for p, o in zip(hits.point, origin, strict=True)]
    rays = Rays(scene, tuple(origin), tuple(direction))  # type: ignore[arg-type]
    towards = sum(n * (lights.main[scene, i, None] - hits.point[i]) for i, n in enumerate(hits.normal))
    lit = hits.found & (towards > 0)  # surfaces that face away from the light get no light
    any_lit = lit.any(1)

    def bound(extremum: Callable[..., Tensor], ignored: float) -> Tensor:
        ends = [extremum(torch.where(lit, c, ignored), 1) for c in hits.point]
        return torch.where(any_lit[:, None], torch.stack(ends, 1), 0)

    low, high = bound(torch.amin, torch.inf), bound(torch.amax, -torch.inf)
    casts = (
        (solids.shape >= 0)
        & solids.look[..., CASTS].bool()
        & (solids.look[..., EMISSION] == 0)
        & (solids.look[..., MATERIAL] != Material.GLASS)
    )
    candidates = may_occlude(solids, casts, scene, lights.main, lights.radius, low, high) & any_lit[:, None]
    length = (direction[0].square() + direction[1].square() + direction[2].square()).sqrt().clamp(min=1e-3)
    open_to_light = free(solids, rays, candidates, 1 - 0.004 / length - 1e-5)
    return _average_neighbours(open_to_light.float(), torch.where(lit, hits.index, -1).int())


def _average_neighbours(value: Tensor, index: Tensor) -> Tensor:
    """Average values (T, S) over those of the 4 x 4 nearest pixels of the tile that have the same index (T, S)."""
    side = torch.arange(TILE, device=value.device)
    first = (side - 2).clamp(0, TILE - 4)
    value, index = value.view(-1, TILE, TILE), index.view(-1, TILE, TILE)
    for dim in (1, 2):
        total, count = torch.zeros_like(value), torch.zeros_like(value)
        for window in range(4):
            same = (index.index_select(dim, first + window) == index).float()
            total.addcmul_(same, value.index_select(dim, first + window))
            count += same
        value = total / count
    return value.flatten(1)


def ambient_openness(depth: Tensor, normal: Tensor, intrinsics: Tensor) -> Tensor:
    """Return the share of ambient light that visible surfaces do not occlude, (N, 1, H, W) 0..1.

    Screen-space ambient occlusion, computed at half of the resolution.

    Args:
        depth: Depth [m], (N, 1, H, W).
        normal: Unit normals, (N, 3, H, W).
        intrinsics: fx, fy, cx, cy [pixels], (N, 4).
    """
    d, n = depth[..., ::2, ::2], normal[..., ::2, ::2]
    height, width = d.shape[-2:]
    fx, fy, cx, cy = (k[:, None, None, None] for k in intrinsics.unbind(1))
    x = (torch.arange(width, device=d.device) * 2 - cx) / fx
    y = (torch.arange(height, device=d.device)[:, None] * 2 - cy) / fy
    points = torch.cat([x * d, y * d, d], 1)
    occlusion = torch.zeros_like(d)
    directions = 16
    for i in range(directions):
        radius = 1.5 * 1.22**i
        step = round(radius * math.cos(2.4 * i)), round(radius * math.sin(2.4 * i))
        to = points.roll(step, (2, 3)) - points
        squared = to.square().sum(1, keepdim=True)
        rise = (to * n).sum(1, keepdim=True) * (squared + 1e-6).rsqrt()
        near = 1 / (1 + squared / (0.12 * d + 0.1).square())
        occlusion += (rise - 0.1).clamp(min=0) * near
    return F.interpolate(1 - (2.2 / directions * occlusion).clamp(max=0.8), scale_factor=2, mode="bilinear")
