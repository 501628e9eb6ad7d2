"""What procedural scenes are made of and what sensor models look at: images with everything known about each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor


class Material(IntEnum):
    """How a surface answers a depth sensor."""

    MATTE = 0
    DARK = 1  # returns little infrared light
    SHINY = 2  # reflects it away
    GLASS = 3  # lets it through: the image shows what is behind
    MIRROR = 4  # the image shows the reflection
    SKY = 5  # nothing there


@dataclass(frozen=True)
class SceneBatch:
    """N views of N scenes, all of one size and on one device.

    image (N, 3, H, W) float32 0..1. depth (N, 1, H, W) float32, metres along the optical axis to the first surface,
    glass and mirrors included, 0 where there is none. behind (N, 1, H, W): the same, but to what is seen through glass
    or in a mirror (the length of the folded path); equal to depth on everything else. normals (N, 3, H, W) unit vectors
    in the optical frame (REP 103), towards the camera, 0 where there is no surface. reflectance (N, 1, H, W), 0..1, of
    infrared light. material (N, 1, H, W) uint8, a ``Material``. intrinsics (N, 4): fx, fy, cx, cy in pixels.
    """

    image: Tensor
    depth: Tensor
    behind: Tensor
    normals: Tensor
    reflectance: Tensor
    material: Tensor
    intrinsics: Tensor
