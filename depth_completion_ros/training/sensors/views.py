"""Geometry of a view for sensor models: windows, rays, angles, and visibility from another viewpoint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene_batch import SceneBatch


def pixels(like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (1, 1, H, 1) and columns (1, 1, 1, W) of the pixels, float32."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, device=like.device, dtype=torch.float32).view(1, 1, height, 1)
    columns = torch.arange(width, device=like.device, dtype=torch.float32).view(1, 1, 1, width)
    return rows, columns


def intrinsics(scene: SceneBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """fx, fy, cx, cy in pixels, (N, 1, 1, 1) each."""
    fx, fy, cx, cy = scene.intrinsics.float().view(-1, 4, 1, 1, 1).unbind(1)
    return fx, fy, cx, cy


def rays(scene: SceneBatch) -> Tensor:
    """(N, 3, H, W): the point at depth 1 of each pixel; multiplied by depth (N, 1, H, W) it is the surface [m]."""
    fx, fy, cx, cy = intrinsics(scene)
    rows, columns = pixels(scene.depth)
    x = ((columns - cx) / fx).expand_as(scene.depth)
    y = ((rows - cy) / fy).expand_as(scene.depth)
    return torch.cat([x, y, torch.ones_like(scene.depth)], dim=1)


def viewing_cosine(scene: SceneBatch) -> Tensor:
    """(N, 1, H, W): cosine of the angle between normal and line of sight, 0 where there is no surface."""
    ray = rays(scene)
    return (-dot(scene.normals, ray) / length(ray)).clamp(0, 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(N, 1, H, W): inner products of two fields of vectors (N, 3, H, W)."""
    x, y, z = (a * b).split(1, dim=1)
    return x + y + z


def length(a: Tensor) -> Tensor:
    """(N, 1, H, W): lengths of vectors (N, 3, H, W). On CPUs much faster than a norm over the channels."""
    return dot(a, a).sqrt()


def window_mean(x: Tensor, size: int) -> Tensor:
    """Mean over a window of size x size pixels (odd); at the border, over the part inside the image."""
    return _window_sum(x, size) / _window_sum(torch.ones_like(x[:1]), size)


def window_max(x: Tensor, size: int) -> Tensor:
    """Maximum over a window of size x size pixels (odd)."""
    half = size // 2
    x = F.pad(x, (half, half, half, half), value=-torch.inf)
    for dim in (2, 3):
        reach = 1
        while reach < size:  # doubling, since windows of a maximum may overlap: far faster on CPUs than max_pool2d
            step = min(reach, size - reach)
            kept = x.shape[dim] - step
            x = torch.maximum(x.narrow(dim, 0, kept), x.narrow(dim, step, kept))
            reach += step
    return x


def _window_sum(x: Tensor, size: int) -> Tensor:
    height, width = x.shape[-2:]
    half = size // 2
    x = F.pad(x, (half, half, half, half))
    x = sum((x.narrow(2, i, height) for i in range(1, size)), start=x.narrow(2, 0, height))
    return sum((x.narrow(3, i, width) for i in range(1, size)), start=x.narrow(3, 0, width))


def nearest(position: Tensor) -> Tensor:
    """Round to the nearest integer, halves upwards; rounding halves to even would put two neighbours on one pixel."""
    return (position + 0.5).floor()


def at_pixels(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values of image (N, 1, H, W) at the nearest pixels; rows and columns (N, 1, h, w), clamped to the image."""
    height, width = image.shape[-2:]
    index = nearest(rows).clamp(0, height - 1) * width + nearest(columns).clamp(0, width - 1)
    return image.flatten(1).gather(1, index.long().flatten(1)).view(index.shape)


def nearest_on_pixels(depth: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, height, width) [m]: the smallest positive depth that falls on each pixel (z-buffer); 0 = none.

    depth (N, 1, h, w) is at the image positions rows and columns, of the same shape. Positions outside are ignored.
    """
    rows, columns = nearest(rows), nearest(columns)
    inside = (depth > 0) & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = torch.where(inside, rows * width + columns, height * width).long().flatten(1)
    # One additional cell takes all positions outside the image.
    buffer = torch.full((len(depth), height * width + 1), torch.inf, device=depth.device)
    buffer = buffer.scatter_reduce(1, index, depth.flatten(1), "amin")[:, :-1].view(len(depth), 1, height, width)
    return torch.where(buffer.isinf(), 0.0, buffer)


def hidden_from_right(depth: Tensor, shift: Tensor, narrowest: Tensor | float) -> Tensor:
    """(N, 1, H, W) bool: surfaces that are not visible from a second viewpoint to the right of the camera.

    shift (N, 1, 1, 1) is focal length [px] x baseline [m]. At a step from z_fg to z_bg the hidden band is
    shift (1/z_fg - 1/z_bg) pixels wide, on the left of the foreground. Bands narrower than ``narrowest`` pixels (at
    least one, because lines of sight are distinguished by whole pixels) are ignored.
    """
    height, width = depth.shape[-2:]
    disparity = torch.where(depth > 0, shift / depth, 0.0)
    rows, columns = pixels(depth)
    # The image of the second viewpoint is extended to the left by half a width, to contain near surfaces too.
    rows, columns = rows.expand_as(depth), columns - disparity + width // 2
    front = nearest_on_pixels(depth, rows, columns, height, width + width // 2)
    front = at_pixels(front, rows, columns)
    return (depth > 0) & (columns > -0.5) & (shift / front > disparity + narrowest)
