"""Geometry of a view for sensor models: windows, rays, angles, and visibility from another viewpoint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene_batch import SceneBatch


def pixels(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows (1, 1, H, 1) and columns (1, 1, 1, W) of the pixels, float32."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, device=like.device, dtype=torch.float32).view(1, 1, height, 1)
    columns = torch.arange(width, device=like.device, dtype=torch.float32).view(1, 1, 1, width)
    return rows, columns


def intrinsics(scene: SceneBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return fx, fy, cx, cy in pixels, (N, 1, 1, 1) each."""
    fx, fy, cx, cy = scene.intrinsics.float().view(-1, 4, 1, 1, 1).unbind(1)
    return fx, fy, cx, cy


def rays(scene: SceneBatch) -> Tensor:
    """Return the point at depth 1 of each pixel, (N, 3, H, W). Multiplied by depth, it gives the surface point [m]."""
    fx, fy, cx, cy = intrinsics(scene)
    rows, columns = pixels(scene.depth)
    x = ((columns - cx) / fx).expand_as(scene.depth)
    y = ((rows - cy) / fy).expand_as(scene.depth)
    return torch.cat([x, y, torch.ones_like(scene.depth)], dim=1)


def viewing_cosine(scene: SceneBatch) -> Tensor:
    """Return the cosine of the angle between normal and line of sight, (N, 1, H, W); 0 where there is no surface."""
    ray = rays(scene)
    return (-dot(scene.normals, ray) / length(ray)).clamp(0, 1)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot products of two images of vectors (N, 3, H, W) as (N, 1, H, W)."""
    x, y, z = (a * b).split(1, dim=1)
    return x + y + z


def length(a: Tensor) -> Tensor:
    """Return the lengths (N, 1, H, W) of vectors (N, 3, H, W). On CPUs, a norm over the channels is much slower."""
    return dot(a, a).sqrt()


def window_mean(x: Tensor, size: int) -> Tensor:
    """Return means over windows of size x size pixels (odd); at the border, over the part inside the image."""
    return _window_sum(x, size) / _window_sum(torch.ones_like(x[:1]), size)


def window_max(x: Tensor, size: int) -> Tensor:
    """Return maxima over windows of size x size pixels (odd)."""
    half = size // 2
    x = F.pad(x, (half, half, half, half), value=-torch.inf)
    for dim in (2, 3):
        window = 1
        while window < size:  # the window doubles in each step, which is much faster on CPUs than max_pool2d
            step = min(window, size - window)
            kept = x.shape[dim] - step
            x = torch.maximum(x.narrow(dim, 0, kept), x.narrow(dim, step, kept))
            window += step
    return x


def _window_sum(x: Tensor, size: int) -> Tensor:
    height, width = x.shape[-2:]
    half = size // 2
    x = F.pad(x, (half, half, half, half))
    x = sum((x.narrow(2, i, height) for i in range(1, size)), start=x.narrow(2, 0, height))
    return sum((x.narrow(3, i, width) for i in range(1, size)), start=x.narrow(3, 0, width))


def nearest(position: Tensor) -> Tensor:
    """Round to the nearest integer, halves upwards. Rounding halves to even could map two neighbours to one pixel."""
    return (position + 0.5).floor()


def at_pixels(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return values of an image (N, 1, H, W) at the pixels nearest to rows and columns (N, 1, h, w), both clamped."""
    height, width = image.shape[-2:]
    index = nearest(rows).clamp(0, height - 1) * width + nearest(columns).clamp(0, width - 1)
    return image.flatten(1).gather(1, index.long().flatten(1)).view(index.shape)


def nearest_on_pixels(depth: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """Render points with a z-buffer: return the smallest positive depth of each pixel, 0 = none.

    Args:
        depth: Depth of the points [m], (N, 1, h, w). Values of 0 are ignored.
        rows: Rows of the points in the image, (N, 1, h, w). Points outside of the image are ignored.
        columns: Columns of the points in the image, (N, 1, h, w).
        height: Height of the image [pixels].
        width: Width of the image [pixels].

    Returns:
        Depth [m], (N, 1, height, width).
    """
    rows, columns = nearest(rows), nearest(columns)
    inside = (depth > 0) & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = torch.where(inside, rows * width + columns, height * width).long().flatten(1)
    # One additional cell takes all positions outside the image.
    buffer = torch.full((len(depth), height * width + 1), torch.inf, device=depth.device)
    buffer = buffer.scatter_reduce(1, index, depth.flatten(1), "amin")[:, :-1].view(len(depth), 1, height, width)
    return torch.where(buffer.isinf(), 0.0, buffer)


def hidden_from_right(depth: Tensor, shift: Tensor, narrowest: Tensor | float) -> Tensor:
    """Return which surfaces are not visible from a second viewpoint to the right of the camera, (N, 1, H, W) bool.

    At a step from z_fg to z_bg, the hidden band is shift (1/z_fg - 1/z_bg) pixels wide, on the left of the foreground.

    Args:
        depth: Depth [m], (N, 1, H, W).
        shift: Focal length [pixels] x baseline [m], (N, 1, 1, 1).
        narrowest: Bands that are narrower than this are ignored [pixels]. At least 1, because lines of sight are
            distinguished by whole pixels.
    """
    height, width = depth.shape[-2:]
    disparity = torch.where(depth > 0, shift / depth, 0.0)
    rows, columns = pixels(depth)
    # The image of the second viewpoint is extended to the left by half a width, to contain near surfaces too.
    rows, columns = rows.expand_as(depth), columns - disparity + width // 2
    front = nearest_on_pixels(depth, rows, columns, height, width + width // 2)
    front = at_pixels(front, rows, columns)
    return (depth > 0) & (columns > -0.5) & (shift / front > disparity + narrowest)
