"""The camera: its pose, its intrinsics, and its image of the light with exposure, blur, noise and gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .casting import Shape, Solids
from .surfaces import Painter

_FREE = 0.22  # radius around the camera without solids [m]


@dataclass(frozen=True)
class View:
    """Positions of cameras, points that they look at, and positions of the main light: (N, 3) each, in the world."""

    eye: Tensor
    aim: Tensor
    lamp: Tensor
    indoors: bool


def world_to_camera(p: Painter, view: View) -> Tensor:
    """(N, 3, 3) rotation into the optical frame, rolled by up to 15 degrees."""
    forward = F.normalize(view.aim - view.eye, dim=-1)
    up = torch.tensor((0.0, 0.0, 1.0), device=forward.device).expand_as(forward)
    right = F.normalize(torch.linalg.cross(forward, up), dim=-1)
    down = torch.linalg.cross(forward, right)
    roll = p.normal(math.radians(5)).clamp(-math.radians(15), math.radians(15))[:, None]
    return torch.stack([right * roll.cos() + down * roll.sin(), down * roll.cos() - right * roll.sin(), forward], 1)


def seen_from(solids: Solids, eye: Tensor, rotation: Tensor) -> Solids:
    """The solids in the optical frame of cameras at eye (N, 3), without those that touch the camera."""
    centre = (solids.centre - eye[:, None]) @ rotation.transpose(1, 2)
    axes = solids.axes @ rotation[:, None].transpose(-1, -2)
    moved = Solids(solids.shape, centre, axes, solids.look)
    _, offset = moved.to_unit()
    reach = 1 + _FREE / axes.square().sum(-1).sqrt()
    touches = (offset.abs() < reach).all(-1)
    touches &= (solids.shape == Shape.BOX) | (offset.norm(dim=-1) < reach.amax(-1))
    return Solids(torch.where(touches, -1, solids.shape), centre, axes, solids.look)


def intrinsics(p: Painter, height: int, width: int) -> Tensor:
    """(N, 4) fx, fy, cx, cy [px] of horizontal fields of view of 45 to 100 degrees."""
    focal = width / 2 / torch.tan(torch.deg2rad(p.uniform(45, 100)) / 2)
    cx, cy = width / 2 - 0.5 + p.normal(0.01) * width, height / 2 - 0.5 + p.normal(0.01) * height
    return torch.stack([focal, focal * (1 + p.normal(0.003)), cx, cy], 1)


def expose(p: Painter, light: Tensor) -> Tensor:
    """Images (N, 3, H, W), 0..1, of linear light of the same shape.

    Models a camera with imperfect automatic exposure and white balance, vignetting, blur, noise and gamma.
    """
    height, width = light.shape[-2:]
    level = light.clamp(min=0).sqrt().mean((1, 2, 3)).square()  # small bright areas count little
    luck = p.uniform(0, 1)
    gain = torch.exp(p.normal(0.35)) * torch.where(
        luck < 0.06, p.uniform(0.03, 0.25), torch.where(luck > 0.93, p.uniform(1.8, 3.2), 1.0)
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
    read = p.log_uniform(0.0003, 0.003) * torch.where(luck < 0.06, 3.0, 1.0)
    shot = p.log_uniform(0.00003, 0.0008)
    deviation = (read[:, None, None, None].square() + shot[:, None, None, None] * light).sqrt()
    noise = p.normal(1.0, 3, height, width)
    light = light + deviation * noise
    knee = 0.85  # highlights are compressed above this value instead of clipped
    beyond = (light - knee).clamp(min=0)
    light = light - beyond + (1 - knee) * (1 - torch.exp(-beyond / (1 - knee)))
    image = light.clamp(min=0) ** (1 / p.uniform(1.9, 2.4)[:, None, None, None])
    return ((image - 0.5) * p.uniform(0.95, 1.3)[:, None, None, None] + 0.5).clamp(0, 1)


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images (N, 3, H, W) with sigma (N,) pixels."""
    n = len(image)
    tap = torch.arange(-2, 3, device=image.device)
    kernel = torch.exp(-(tap**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None]  # (3 N, 1, 5)
    flat = F.pad(image.flatten(0, 1)[None], (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel[:, :, None, :], groups=3 * n)
    return F.conv2d(flat, kernel[:, :, :, None], groups=3 * n).view_as(image)
