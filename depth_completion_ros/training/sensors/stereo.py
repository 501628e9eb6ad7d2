"""Stereo cameras: passive stereo, and active stereo with a projector that adds texture (RealSense D400)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..scene_batch import SceneBatch
from .fields import Range, log_uniform, patches, smooth_noise, uniform
from .materials import Response, respond
from .views import hidden_from_right, intrinsics, window_max, window_mean

_TEXTURE_WINDOW = 7  # pixels
_NOISE_LENGTH = 2.5  # pixels: matching windows overlap, so their errors are correlated
_RESPONSE = Response(dark=(0.0, 0.3), shiny=(0.1, 0.7), glass=(0.1, 0.6), mirror=(0.0, 0.4), through=(0.6, 1.0))


@dataclass(frozen=True)
class Stereo:
    """Depth from the disparity d = focal baseline / z between two cameras, the second to the right of the first.

    - Disparity has noise with a standard deviation of ``subpixel`` native pixels, correlated within matching windows,
      so the noise of depth is z² subpixel / (focal baseline) (Keselman et al., CVPRW 2017, Intel RealSense). Then it is
      rounded to ``step`` pixels.
    - Texture is the RMS horizontal gradient of the image in a window. If it is below ``texture``, patches become holes
      with a probability that increases with the difference, and a share ``mismatched`` around them has a disparity with
      a relative error of up to ``wrong``. The projector of an active sensor adds texture of ``projected`` x reflectance
      to every surface, decreasing with (3 m/z)².
    - Edges are fattened: the foreground extends over up to ``fattening`` pixels of the background (Scharstein,
      Szeliski, IJCV 2002), patch by patch.
    - The band that the second camera does not see is a hole, except for a share ``filled`` of patches, where the
      matcher uses the value of the background.
    - Patches of glass and mirrors are holes, or have the depth of the surface behind them or of the reflection. Depth
      beyond ``far`` metres is missing.
    """

    focal: float = 640.0
    baseline: Range = (0.05, 0.12)
    step: float = 1 / 32
    subpixel: Range = (0.05, 0.25)
    texture: Range = (0.003, 0.012)
    projected: Range = (0.0, 0.0)
    mismatched: Range = (0.0, 0.15)
    wrong: float = 0.3
    fattening: int = 2
    filled: Range = (0.0, 0.6)
    far: Range = (8.0, 30.0)
    response: Response = _RESPONSE

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing."""
        depth, holes = respond(scene, generator, self.response)
        baseline = log_uniform(depth, generator, self.baseline)
        hidden = hidden_from_right(depth, intrinsics(scene)[0] * baseline, narrowest=1.0)
        holes |= hidden & (patches(depth, generator, 6.0) >= uniform(depth, generator, self.filled))

        disparity = torch.where(depth > 0, self.focal * baseline / depth.clamp(min=0.05), 0.0)
        fattened = window_max(disparity, 2 * self.fattening + 1)
        disparity = torch.where(patches(depth, generator, 4.0) < 0.5, fattened, disparity)

        texture = self._texture(scene, depth, generator)
        needed = log_uniform(depth, generator, self.texture)
        draw = patches(depth, generator, 6.0)
        lost = (1 - texture / needed).clamp(0, 1)
        holes |= draw < lost
        mismatched = (draw - lost < uniform(depth, generator, self.mismatched)) & (lost > 0)
        wrong = 1 + self.wrong * (2 * patches(depth, generator, 8.0) - 1)

        disparity = disparity * torch.where(mismatched, wrong, 1.0)
        subpixel = log_uniform(depth, generator, self.subpixel)
        disparity = disparity + subpixel * smooth_noise(depth, generator, _NOISE_LENGTH)
        disparity = (disparity / self.step).round() * self.step
        measured = self.focal * baseline / disparity.clamp(min=self.step)
        kept = ~holes & (depth > 0) & (scene.depth > 0) & (disparity > 0)
        kept &= measured < uniform(depth, generator, self.far)
        return torch.where(kept, measured, 0.0)

    def _texture(self, scene: SceneBatch, depth: Tensor, generator: torch.Generator) -> Tensor:
        grey = scene.image.mean(dim=1, keepdim=True)
        gradient = torch.zeros_like(grey)
        gradient[..., 1:-1] = (grey[..., 2:] - grey[..., :-2]) / 2
        projected = uniform(depth, generator, self.projected) * scene.reflectance * (3 / depth.clamp(min=1)) ** 2
        return (window_mean(gradient.square(), _TEXTURE_WINDOW) + projected.square()).sqrt()


def active_stereo() -> Stereo:
    """Return a model of a RealSense D435: a short baseline, and a projector that adds texture to nearby surfaces."""
    return Stereo(
        baseline=(0.05, 0.055),
        projected=(0.01, 0.05),
        far=(5.0, 12.0),
        response=Response(dark=(0.1, 0.6), shiny=(0.1, 0.7), glass=(0.2, 0.8), mirror=(0.0, 0.5), through=(0.6, 1.0)),
    )
