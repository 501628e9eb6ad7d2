"""Real 2-D Fourier transform by matrix products, and spectra as amplitude and unit phase. Always float32.

No engine's own Fourier operator is needed: a transform of one axis is a product with a constant cosine and a constant
sine matrix. Phases are unit vectors (cos, sin), never angles, which jump at ±π.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TINY = 1e-6  # added to the real part: what has no amplitude gets phase 0 and a finite gradient


def rfft2(x: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each (N, C, H, W/2 + 1), of the orthonormal transform of x (N, C, H, W), W even."""
    height, width = x.shape[-2:]
    cos_w, sin_w = _waves(width, width // 2 + 1, x.device)
    cos_h, sin_h = _waves(height, height, x.device)
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        real, imaginary = x @ cos_w, -(x @ sin_w)
        return cos_h @ real + sin_h @ imaginary, cos_h @ imaginary - sin_h @ real


def irfft2(real: Tensor, imaginary: Tensor) -> Tensor:
    """The image (N, C, H, W), W even, of half a spectrum (N, C, H, W/2 + 1): inverse of ``rfft2``."""
    height, half = real.shape[-2:]
    width = 2 * (half - 1)
    cos_w, sin_w = _waves(width, half, real.device)
    cos_h, sin_h = _waves(height, height, real.device)
    # The half that is left out mirrors all columns but the first and the last, so these count twice.
    columns = torch.arange(half, device=real.device)
    twice = torch.where((columns > 0) & (columns < half - 1), 2.0, 1.0)
    with torch.autocast(real.device.type, enabled=False):
        rows_real, rows_imaginary = cos_h @ real - sin_h @ imaginary, cos_h @ imaginary + sin_h @ real
        return (rows_real * twice) @ cos_w.T - (rows_imaginary * twice) @ sin_w.T


def _waves(size: int, frequencies: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of 2π·n·k / size over √size, each (size, frequencies) float32."""
    n = torch.arange(size, device=device).unsqueeze(1)
    k = torch.arange(frequencies, device=device)
    period = n[-1] + 1  # size as a tensor, which exports for any size
    angle = (n * k % period).float() * (2 * math.pi / period)  # the remainder is exact, a large angle would not be
    return torch.cos(angle) / period.sqrt(), torch.sin(angle) / period.sqrt()


def radius(height: int, half: int, device: torch.device) -> Tensor:
    """(H, W/2 + 1) float32: the frequency of each bin in cycles per pixel, 0 to √½."""
    rows = torch.arange(height, device=device)
    rows = torch.minimum(rows, height - rows).float() / height
    columns = torch.arange(half, device=device).float() / (2 * (half - 1))
    return torch.sqrt(rows.unsqueeze(1).square() + columns.square())


def polar(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitude and phase (amplitude, cos, sin) of complex numbers, or the direction of a blend of phases."""
    real = real + _TINY
    amplitude = torch.sqrt(real.square() + imaginary.square() + 1e-4 * _TINY**2)
    return amplitude, real / amplitude, imaginary / amplitude
