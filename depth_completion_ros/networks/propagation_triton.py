"""NLSPN's propagation as Triton kernels for the GPU: one launch for the weights, then one launch for each iteration.

With PyTorch's operators, each iteration writes and reads the eight samples of every pixel. These kernels keep samples
in registers and compute coordinates when they need them. Several iterations cannot share a launch: neighbours may lie
anywhere in the image, so an iteration needs the whole result of the iteration before it.
"""

# mypy: disallow-untyped-defs=False
# Triton gives the arguments of kernels its own types.
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256  # pixels of one program
_NEIGHBOURS = tl.constexpr(8)  # the 3x3 window without its centre, row by row


def propagate(
    predicted: Tensor,
    gamma: Tensor,
    initial: Tensor,
    confidence: Tensor,
    sparse: Tensor,
    measured: Tensor,
    iterations: int,
    block: int = BLOCK,
) -> Tensor:
    """Compute the result of ``Propagation.reference`` without gradients.

    All tensors must be on one device and may have any float type.

    Args:
        predicted: Offsets of 8 neighbours [pixels], alternating between y and x, then 8 raw affinities, (N, 24, H, W).
        gamma: Scalar that normalises the affinities.
        initial: Initial log-depth, (N, 1, H, W).
        confidence: Confidence of the initial depth, 0..1, (N, 1, H, W).
        sparse: Measured log-depth, 0 where missing, (N, 1, H, W).
        measured: 1 where depth is measured, else 0, (N, 1, H, W).
        iterations: Number of iterations.
        block: Number of pixels that one program of a kernel processes.

    Returns:
        The refined log-depth, (N, 1, H, W) float32.
    """
    count, _, height, width = initial.shape
    # Convolutions may return channels-last tensors. Contiguous planes let threads read neighbouring pixels together.
    predicted = predicted.contiguous()
    sparse, measured = sparse.float().contiguous(), measured.float().contiguous()
    weights = torch.empty(count, 9, height, width, device=initial.device)
    grid = (triton.cdiv(height * width, block), count)
    _weigh[grid](predicted, gamma, confidence.float().contiguous(), weights, height, width, block)
    depth = torch.lerp(initial.float(), sparse, measured).contiguous()
    for iteration in range(iterations):
        after = torch.empty_like(depth)
        last = iteration == iterations - 1
        _iterate[grid](depth, predicted, weights, sparse, measured, after, height, width, last, block)
        depth = after
    return depth


@triton.jit
def _sampled(values, offsets, neighbour, y, x, height, width, inside):
    """Sample one image bilinearly at one neighbour of each pixel; beyond the border, return the value at the border."""
    size = height * width
    place = neighbour + (neighbour >= _NEIGHBOURS // 2)
    pixel = y * width + x
    down = tl.load(offsets + 2 * neighbour * size + pixel, inside, other=0.0).to(tl.float32)
    right = tl.load(offsets + (2 * neighbour + 1) * size + pixel, inside, other=0.0).to(tl.float32)
    row = (y + (place // 3 - 1)).to(tl.float32) + down
    column = (x + (place % 3 - 1)).to(tl.float32) + right
    row = tl.minimum(tl.maximum(row, 0.0), (height - 1).to(tl.float32))
    column = tl.minimum(tl.maximum(column, 0.0), (width - 1).to(tl.float32))
    top, left = row.to(tl.int32), column.to(tl.int32)
    bottom, far = tl.minimum(top + 1, height - 1), tl.minimum(left + 1, width - 1)
    v, u = row - top.to(tl.float32), column - left.to(tl.float32)
    top_left = tl.load(values + top * width + left, inside, other=0.0)
    top_right = tl.load(values + top * width + far, inside, other=0.0)
    bottom_left = tl.load(values + bottom * width + left, inside, other=0.0)
    bottom_right = tl.load(values + bottom * width + far, inside, other=0.0)
    upper = top_left + u * (top_right - top_left)
    lower = bottom_left + u * (bottom_right - bottom_left)
    return upper + v * (lower - upper)


@triton.jit
def _weigh(predicted, gamma, confidence, weights, height, width, BLOCK: tl.constexpr):
    """Compute eight planes of weights and one plane of their common factor, together ``Propagation.affinities``."""
    size = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = tl.program_id(1)
    inside = pixel < size
    y, x = pixel // width, pixel % width
    predicted += sample * 3 * _NEIGHBOURS * size
    raw = predicted + 2 * _NEIGHBOURS * size
    confidence += sample * size
    weights += sample * (_NEIGHBOURS + 1) * size
    scale = 1.0 / (tl.load(gamma).to(tl.float32) + 1e-8)
    total = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(_NEIGHBOURS):
        affinity = tl.load(raw + k * size + pixel, inside, other=0.0).to(tl.float32)
        tanh = 2.0 / (1.0 + tl.exp(-2.0 * affinity)) - 1.0
        weight = tanh * scale * _sampled(confidence, predicted, k, y, x, height, width, inside)
        total += tl.abs(weight)
        tl.store(weights + k * size + pixel, weight, inside)
    tl.store(weights + _NEIGHBOURS * size + pixel, 1.0 / tl.maximum(total + 1e-4, 1.0), inside)


@triton.jit
def _iterate(depth, offsets, weights, sparse, measured, after, height, width, LAST: tl.constexpr, BLOCK: tl.constexpr):
    """Compute one iteration. Unless it is the last, restore measured depth for the next iteration."""
    size = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = tl.program_id(1)
    inside = pixel < size
    y, x = pixel // width, pixel % width
    depth += sample * size
    offsets += sample * 3 * _NEIGHBOURS * size
    weights += sample * (_NEIGHBOURS + 1) * size
    centre = tl.load(depth + pixel, inside, other=0.0)
    change = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(_NEIGHBOURS):
        weight = tl.load(weights + k * size + pixel, inside, other=0.0)
        change += weight * (_sampled(depth, offsets, k, y, x, height, width, inside) - centre)
    moved = centre + change * tl.load(weights + _NEIGHBOURS * size + pixel, inside, other=0.0)
    if not LAST:
        known = tl.load(measured + sample * size + pixel, inside, other=0.0)
        moved += known * (tl.load(sparse + sample * size + pixel, inside, other=0.0) - moved)
    tl.store(after + sample * size + pixel, moved, inside)
