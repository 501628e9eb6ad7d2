"""The camera: its pose, its intrinsics, and the conversion of light to an image by exposure, blur, noise and gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .casting import Shape, Solids
from .surfaces import Painter

_FREE_RADIUS = 0.22  # radius around the camera without solids [m]


@dataclass(frozen=True)
class View:
    """Camera and main light of N scenes.

    Attributes:
        eye: Positions of the cameras in the world [m], (N, 3).
        aim: Points that the cameras look at [m], (N, 3).
        lamp: Positions of the main light [m], (N, 3).
        indoors: Whether the scenes are indoors.
    """

    eye: Tensor
    aim: Tensor
    lamp: Tensor
    indoors: bool


def world_to_camera(p: Painter, view: View) -> Tensor:
    """Return rotations from the world into the optical frame, with a random roll of up to 15 degrees, (N, 3, 3)."""
    forward = F.normalize(view.aim - view.eye, dim=-1)
    up = torch.tensor((0.0, 0.0, 1.0), device=forward.device).expand_as(forward)
    right = F.normalize(torch.linalg.cross(forward, up), dim=-1)
    down = torch.linalg.cross(forward, right)
    roll = p.normal(math.radians(5)).clamp(-math.radians(15), math.radians(15))[:, None]
    return torch.stack([right * roll.cos() + down * roll.sin(), down * roll.cos() - right * roll.sin(), forward], 1)


def to_camera_frame(solids: Solids, eye: Tensor, rotation: Tensor) -> Solids:
    """Return the solids in the optical frame of cameras, without solids that touch the camera.

    Args:
        solids: Solids in the world.
        eye: Positions of the cameras in the world [m], (N, 3).
        rotation: Rotations from the world into the optical frame, (N, 3, 3).
    """
    centre = (solids.centre - eye[:, None]) @ rotation.transpose(1, 2)
    axes = solids.axes @ rotation[:, None].transpose(-1, -2)
    moved = Solids(solids.shape, centre, axes, solids.look)
    _, offset = moved.to_unit()
    limit = 1 + _FREE_RADIUS / axes.square().sum(-1).sqrt()
    touches = (offset.abs() < limit).all(-1)
    touches &= (solids.shape == Shape.BOX) | (offset.norm(dim=-1) < limit.amax(-1))
    return Solids(torch.where(touches, -1, solids.shape), centre, axes, solids.look)


def intrinsics(p: Painter, height: int, width: int) -> Tensor:
    """Draw fx, fy, cx, cy [pixels], (N, 4), for horizontal fields of view of 45 to 100 degrees."""
    focal = width / 2 / torch.tan(torch.deg2rad(p.uniform(45, 100)) / 2)
    cx, cy = width / 2 - 0.5 + p.normal(0.01) * width, height / 2 - 0.5 + p.normal(0.01) * height
    return torch.stack([focal, focal * (1 + p.normal(0.003)), cx, cy], 1)


def expose(p: Painter, light: Tensor) -> Tensor:
    """Convert linear light to images, both (N, 3, H, W); images are 0..1.

    The function simulates a camera with imperfect automatic exposure and white balance, vignetting, blur, noise and
    gamma.
    """
    height, width = light.shape[-2:]
    level = light.clamp(min=0).sqrt().mean((1, 2, 3)).square()  # the square root reduces the weight of bright areas
    draw = p.uniform(0, 1)
    gain = torch.exp(p.normal(0.35)) * torch.where(
        draw < 0.06, p.uniform(0.03, 0.25), torch.where(draw > 0.93, p.uniform(1.8, 3.2), 1.0)
    )
    target = 0.27 * gain
    balance = 1 + p.normal(0.06, 3)
    light = light * (target / level.clamp(min=1e-4))[:, None, None, None] * balance[:, :, None, None]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=light.device),
        torch.linspace(-1, 1, width, device=light.device),
        indexing="ij",
    )
    light = light * (1 - p.uniform(0, 0.25)[:, None, None, None] * (x * x + y * y))
    light = _blur(light, p.uniform(0.3, 0.8))
    read = p.log_uniform(0.0003, 0.003) * torch.where(draw < 0.06, 3.0, 1.0)
    shot = p.log_uniform(0.00003, 0.0008)
    deviation = (read[:, None, None, None].square() + shot[:, None, None, None] * light).sqrt()
    noise = p.normal(1.0, 3, height, width)
    light = light + deviation * noise
    knee = 0.85  # highlights above this value are compressed instead of clipped
    excess = (light - knee).clamp(min=0)
    light = light - excess + (1 - knee) * (1 - torch.exp(-excess / (1 - knee)))
    image = light.clamp(min=0) ** (1 / p.uniform(1.9, 2.4)[:, None, None, None])
    return ((image - 0.5) * p.uniform(0.95, 1.3)[:, None, None, None] + 0.5).clamp(0, 1)


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Blur images (N, 3, H, W) with a Gaussian of sigma (N,) pixels."""
    n = len(image)
    tap = torch.arange(-2, 3, device=image.device)
    kernel = torch.exp(-(tap**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]  # (3 N, 1, 5)
    flat = F.pad(image.flatten(0, 1)[None], (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel[:, :, None, :], groups=3 * n)
    return F.conv2d(flat, kernel[:, :, :, None], groups=3 * n).view_as(image)
