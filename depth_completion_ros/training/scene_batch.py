"""The output of procedural scenes and input of sensor models: images with ground truth for each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor


class Material(IntEnum):
    """How a surface appears to a depth sensor."""

    MATTE = 0
    DARK = 1  # returns little infrared light
    SHINY = 2  # reflects infrared light away
    GLASS = 3  # transmits light: the image shows the surface behind it
    MIRROR = 4  # the image shows the reflection
    SKY = 5  # no surface


@dataclass(frozen=True)
class SceneBatch:
    """N views of N scenes, all of one size and on one device.

    Attributes:
        image: (N, 3, H, W) float32, 0..1.
        depth: (N, 1, H, W) float32, metres along the optical axis to the first surface, including glass and mirrors;
            0 = no surface.
        behind: (N, 1, H, W) float32, like depth, but to the surface seen through glass or in a mirror (the length of
            the folded path); equal to depth for all other materials.
        normals: (N, 3, H, W) float32, unit vectors towards the camera in the optical frame (REP 103); 0 = no surface.
        reflectance: (N, 1, H, W) float32, 0..1, for infrared light.
        material: (N, 1, H, W) uint8, a ``Material``.
        intrinsics: (N, 4) float32, fx, fy, cx, cy [pixels].
    """

    image: Tensor
    depth: Tensor
    behind: Tensor
    normals: Tensor
    reflectance: Tensor
    material: Tensor
    intrinsics: Tensor
