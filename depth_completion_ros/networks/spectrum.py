"""Real 2-D Fourier transform with matrix products, and spectra as amplitude and phase. Always float32.

The transform of one axis is a product with a constant cosine and a constant sine matrix, so no Fourier operator of an
engine is needed. Phases are unit vectors (cos, sin) instead of angles, because angles are discontinuous at ±π.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPSILON = 1e-6  # added to the real part, so that bins without amplitude have phase 0 and a finite gradient


def rfft2(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return real and imaginary part of the orthonormal Fourier transform of x.

    Args:
        x: Images, (N, C, H, W).

    Returns:
        Real and imaginary part, each (N, C, H, W // 2 + 1).
    """
    height, width = x.shape[-2:]
    cos_w, sin_w = _fourier_matrices(width, width // 2 + 1, x.device)
    cos_h, sin_h = _fourier_matrices(height, height, x.device)
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        real, imaginary = x @ cos_w, -(x @ sin_w)
        return cos_h @ real + sin_h @ imaginary, cos_h @ imaginary - sin_h @ real


def irfft2(real: Tensor, imaginary: Tensor) -> Tensor:
    """Return the images (N, C, H, W), W even, of half spectra (N, C, H, W/2 + 1); the inverse of ``rfft2``."""
    height, half = real.shape[-2:]
    width = 2 * (half - 1)
    cos_w, sin_w = _fourier_matrices(width, half, real.device)
    cos_h, sin_h = _fourier_matrices(height, height, real.device)
    # The omitted half mirrors all columns except the first and the last, so the mirrored columns count twice.
    columns = torch.arange(half, device=real.device)
    twice = torch.where((columns > 0) & (columns < half - 1), 2.0, 1.0)
    with torch.autocast(real.device.type, enabled=False):
        rows_real, rows_imaginary = cos_h @ real - sin_h @ imaginary, cos_h @ imaginary + sin_h @ real
        return (rows_real * twice) @ cos_w.T - (rows_imaginary * twice) @ sin_w.T


def _fourier_matrices(size: int, frequencies: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cos and sin of 2π·n·k / size, divided by √size, each (size, frequencies) float32."""
    n = torch.arange(size, device=device).unsqueeze(1)
    k = torch.arange(frequencies, device=device)
    period = n[-1] + 1  # the size as a tensor, so that the exported graph works for any size
    angle = (n * k % period).float() * (2 * math.pi / period)  # the remainder is exact; large angles would be rounded
    return torch.cos(angle) / period.sqrt(), torch.sin(angle) / period.sqrt()


def radius(height: int, half: int, device: torch.device) -> Tensor:
    """Return the frequency of each bin in cycles per pixel, 0 to √½, (height, half) float32; half is W/2 + 1."""
    rows = torch.arange(height, device=device)
    rows = torch.minimum(rows, height - rows).float() / height
    columns = torch.arange(half, device=device).float() / (2 * (half - 1))
    return torch.sqrt(rows.unsqueeze(1).square() + columns.square())


def polar(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return amplitude, cos and sin of the phase of complex numbers. All tensors have the same shape."""
    real = real + _EPSILON
    amplitude = torch.sqrt(real.square() + imaginary.square() + 1e-4 * _EPSILON**2)
    return amplitude, real / amplitude, imaginary / amplitude
