"""Scenes that are so simple that the measured depth is known, and sensors in which single errors can be enabled."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from depth_completion_ros.training import sensors
from depth_completion_ros.training.scene_batch import Material, SceneBatch
from depth_completion_ros.training.sensors.materials import Response

NEVER = (0.0, 0.0)
ALWAYS = (1.0, 1.0)
TINY = (1e-9, 1e-9)
PLAIN = Response(dark=NEVER, shiny=NEVER, glass=NEVER, mirror=NEVER, through=NEVER)
EVERYWHERE = {"near": NEVER, "far": (1e3, 1e3), "response": PLAIN}


def scene_of(depth: Tensor, *, focal: float = 100.0, angle: float = 0.0, reflectance: float = 0.8) -> SceneBatch:
    """Return a grey scene with depth (N, 1, H, W) [m] and ``angle`` degrees between normal and ray at each pixel."""
    number, _, height, width = depth.shape
    intrinsics = torch.tensor([focal, focal, (width - 1) / 2, (height - 1) / 2]).repeat(number, 1)
    x = ((torch.arange(width) - intrinsics[0, 2]) / focal).expand(height, width)
    y = ((torch.arange(height) - intrinsics[0, 3]) / focal)[:, None].expand(height, width)
    ray = torch.nn.functional.normalize(torch.stack([x, y, torch.ones(height, width)]), dim=0)
    sideways = torch.nn.functional.normalize(torch.stack([-ray[2], torch.zeros(height, width), ray[0]]), dim=0)
    normal = -math.cos(math.radians(angle)) * ray + math.sin(math.radians(angle)) * sideways
    return SceneBatch(
        image=torch.full((number, 3, height, width), 0.5),
        depth=depth,
        behind=depth.clone(),
        normals=normal * (depth > 0),
        reflectance=torch.full_like(depth, reflectance),
        material=torch.where(depth > 0, int(Material.MATTE), int(Material.SKY)).to(torch.uint8),
        intrinsics=intrinsics,
    )


def wall(z: float, size: int = 96, number: int = 1, **how: float) -> SceneBatch:
    """Return a scene with the same depth [m] at all pixels."""
    return scene_of(torch.full((number, 1, size, size), z), **how)


def box(near: float, far: float, size: int = 96, number: int = 1, **how: float) -> SceneBatch:
    """Return a square at ``near`` in the middle half of rows and columns, before a wall at ``far`` [m]."""
    depth = torch.full((number, 1, size, size), far)
    depth[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = near
    return scene_of(depth, **how)


def fold(size: int = 96, focal: float = 100.0, concave: bool = True) -> SceneBatch:
    """Return two vertical planes that meet at a right angle 2 m away: the corner of a room, or of a house."""
    side = 1.0 if concave else -1.0
    x = ((torch.arange(size) - (size - 1) / 2) / focal).expand(1, 1, size, size)
    depth = 2 / (1 + side * x.abs())
    scene = scene_of(depth.contiguous(), focal=focal)
    normal = torch.cat([-side * x.sign(), torch.zeros_like(x), -torch.ones_like(x)], dim=1) / math.sqrt(2)
    return SceneBatch(**{**vars(scene), "normals": normal})


def of_material(scene: SceneBatch, material: Material, behind: float | None = None) -> SceneBatch:
    """Return the scene with one material; ``behind`` [m] is the depth of the surface behind it."""
    changed = {**vars(scene), "material": torch.full_like(scene.material, int(material))}
    if behind is not None:
        changed["behind"] = torch.full_like(scene.behind, behind)
    return SceneBatch(**changed)


def mixed(number: int = 2, size: int = 64) -> SceneBatch:
    """Return a scene with depth steps, sky, stripes of all materials, and a textured image."""
    random = torch.Generator().manual_seed(3)
    scene = box(1.2, 3.0, size, number)
    depth = scene.depth.clone()
    depth[..., :10, :] = 0
    depth[..., 40:50, 20:30] = 0
    material = (torch.arange(size) * 5 // size).expand(depth.shape).to(torch.uint8)
    return SceneBatch(
        **{
            **vars(scene_of(depth)),
            "image": torch.rand(number, 3, size, size, generator=random),
            "behind": torch.where(depth > 0, depth + (material >= 3), 0.0),
            "reflectance": torch.rand(depth.shape, generator=random),
            "material": torch.where(depth > 0, material, int(Material.SKY)).to(torch.uint8),
        }
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kinect(**parameters) -> sensors.KinectStructuredLight:
    """Return a Kinect without holes, ragged edges and window; ``parameters`` enable some of these effects."""
    quiet = {"lateral": NEVER, "narrowest_shadow": ALWAYS, "grazing": (120.0, 120.0), "signal": TINY, "window": 1}
    return sensors.KinectStructuredLight(**{**EVERYWHERE, **quiet, **parameters})


def tof(**parameters) -> sensors.TimeOfFlight:
    """Return a time-of-flight camera without noise, flying pixels, bias and holes."""
    quiet = {"sigma": TINY, "weakest": 1.0, "flying": NEVER, "multipath": NEVER}
    return sensors.TimeOfFlight(**{**EVERYWHERE, **quiet, **parameters})


def lidar(**parameters) -> sensors.Lidar:
    """Return a calibrated LiDAR at the position of the camera, without noise."""
    quiet = {"sigma": NEVER, "offset": (0.0, 0.0, 0.0), "misrotation": NEVER, "misplacement": NEVER, "mounting": NEVER}
    far = {"rolling": NEVER, "outliers": NEVER, "far": (1e3, 1e3), "response": PLAIN}
    return sensors.Lidar(**{**quiet, **far, **parameters})


def stereo(**parameters) -> sensors.Stereo:
    """Return active stereo with texture on all surfaces, without noise and without enlarged foreground."""
    quiet = {"baseline": (0.05, 0.05), "subpixel": TINY, "projected": ALWAYS, "mismatched": NEVER, "fattening": 0}
    return sensors.Stereo(**{**quiet, "filled": NEVER, "far": (1e3, 1e3), "response": PLAIN, **parameters})
