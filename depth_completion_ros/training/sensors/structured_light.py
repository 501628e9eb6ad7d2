"""Structured light: a projected speckle pattern that is matched to a reference (Kinect v1, PrimeSense)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scene_batch import SceneBatch
from .fields import Range, patches, smooth_noise, uniform
from .materials import Response, respond
from .views import at_pixels, hidden_from_right, intrinsics, pixels, viewing_cosine, window_mean

# Correlation length of noise [pixels]. With quantisation, it gives the correlation of flat patches in real Kinect
# frames, about 0.6, 0.4, 0.25 and 0.15 at 1, 2, 3 and 4 pixels.
_NOISE_LENGTH = 2.5
_EDGE_LENGTH = 2.5  # correlation length of ragged edges [pixels], similar to real frames
_GRAZING_WIDTH = math.radians(10)  # range of angles in which the share of lost surfaces rises from 0 to 1
_RESPONSE = Response(dark=(0.0, 0.7), shiny=(0.1, 0.8), glass=(0.2, 0.9), mirror=(0.1, 0.8), through=(0.5, 1.0))


@dataclass(frozen=True)
class KinectStructuredLight:
    """Depth from the disparity d = focal baseline / z of a projected pattern.

    - Axial noise (Nguyen, Izadi, Lovell, 3DIMPVT 2012): 0.0012 + 0.0019 (z - 0.4)² + 0.0001/√z θ²/(π/2 - θ)² [m],
      including quantisation, with θ the angle between normal and line of sight.
    - Lateral noise: each value is taken from a random position with a standard deviation of ``lateral`` pixels, before
      quantisation (Barron, Malik, CVPR 2013; Handa et al., ICRA 2014), so edges are ragged and slopes are noisy.
    - Disparity is rounded to ``step`` pixels: 2.9 mm at 1 m, 11.6 mm at 2 m, 46 mm at 4 m.
    - Shadow: surfaces that the projector, ``baseline`` metres to the right, does not light are holes. They are fx
      baseline (1/z_fg - 1/z_bg) pixels wide, with fx of the image, at any crop or resolution. The matcher closes
      shadows narrower than ``narrowest_shadow`` pixels.
    - Holes: at grazing angles (half of the surface is lost at ``grazing`` degrees, the whole surface at 5° more); where
      reflectance cos θ (4 m/z)² is below ``signal``, with a probability that increases with the difference; depending
      on material; and nearer than ``near`` or farther than ``far`` metres.
    - Matching window (Bohg et al., ICRA 2014): 83 % of ``window`` x ``window`` image pixels must have depth.

    focal (native pixels) and baseline (metres) determine the steps of disparity, which do not depend on the image.
    """

    focal: float = 575.0
    baseline: float = 0.075
    step: float = 1 / 8
    lateral: Range = (0.3, 1.5)
    narrowest_shadow: Range = (1.0, 3.0)
    grazing: Range = (70.0, 82.0)
    signal: Range = (0.01, 0.08)
    near: Range = (0.35, 0.5)
    far: Range = (4.5, 9.0)
    window: int = 5
    response: Response = _RESPONSE

    def __call__(self, scene: SceneBatch, generator: torch.Generator) -> Tensor:
        """Return the measured depth, (N, 1, H, W) float32 [m], 0 = missing."""
        depth, holes = respond(scene, generator, self.response)
        cosine = viewing_cosine(scene)
        angle = cosine.acos()
        narrowest = uniform(depth, generator, self.narrowest_shadow)
        holes |= hidden_from_right(depth, intrinsics(scene)[0] * self.baseline, narrowest)
        holes |= self._lost_signal(scene, depth, cosine, angle, generator)
        depth = _with_ragged_edges(depth * ~holes, uniform(depth, generator, self.lateral), generator)

        measured = self._quantise(self._with_axial_noise(depth, angle, generator))
        kept = (depth > 0) & (measured > uniform(depth, generator, self.near))
        kept &= measured < uniform(depth, generator, self.far)
        kept &= scene.depth > 0
        kept &= window_mean(kept.float(), self.window) >= 0.83
        return torch.where(kept, measured, 0.0)

    def _lost_signal(
        self, scene: SceneBatch, depth: Tensor, cosine: Tensor, angle: Tensor, generator: torch.Generator
    ) -> Tensor:
        signal = scene.reflectance * cosine * (4 / depth.clamp(min=0.1)) ** 2
        lost_signal = (1 - signal / uniform(depth, generator, self.signal)).clamp(0, 1)
        grazing = torch.deg2rad(uniform(depth, generator, self.grazing))
        lost_grazing = ((angle - grazing) / _GRAZING_WIDTH + 0.5).clamp(0, 1)
        return patches(depth, generator, 4.0) < 1 - (1 - lost_signal) * (1 - lost_grazing)

    def _with_axial_noise(self, depth: Tensor, angle: Tensor, generator: torch.Generator) -> Tensor:
        z = depth.clamp(min=0.1)
        slope = angle.clamp(max=math.radians(85))
        sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2 + 0.0001 / z.sqrt() * (slope / (math.pi / 2 - slope)) ** 2
        # Nguyen et al. measured the output of the sensor, so sigma includes quantisation. Only the remainder is added.
        quantisation = z**2 * self.step / (self.focal * self.baseline) / math.sqrt(12)
        remainder = (sigma**2 - quantisation**2).clamp(min=0).sqrt()
        return (z + remainder * smooth_noise(z, generator, _NOISE_LENGTH)).clamp(min=0.1)

    def _quantise(self, depth: Tensor) -> Tensor:
        steps = (self.focal * self.baseline / self.step / depth).round().clamp(min=1)
        return self.focal * self.baseline / self.step / steps


def _with_ragged_edges(depth: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    rows, columns = pixels(depth)
    rows = rows + sigma * smooth_noise(depth, generator, _EDGE_LENGTH)
    columns = columns + sigma * smooth_noise(depth, generator, _EDGE_LENGTH)
    return at_pixels(depth, rows, columns)
