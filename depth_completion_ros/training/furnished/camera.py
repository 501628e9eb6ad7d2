"""A pinhole camera and its view of a scene."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Intrinsics = tuple[float, float, float, float]  # fx, fy, cx, cy [px]; pixel (0, 0) has its centre at (0, 0)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        eye: Position in the world [m], (3,).
        rotation: Rotation from the world into the optical frame (x right, y down, z forward), (3, 3).
        intrinsics: fx, fy, cx, cy [pixels].
    """

    eye: np.ndarray
    rotation: np.ndarray
    intrinsics: Intrinsics

    def view(self) -> np.ndarray:
        """Return the transform from the world into the optical frame, (4, 4)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = -self.rotation @ self.eye
        return matrix


@dataclass(frozen=True)
class View:
    """View of a camera. All fields except ``light`` are as in ``SceneBatch``, with channels last.

    Attributes:
        light: (H, W, 3) float32, linear.
        depth: (H, W) float32 [m], to the first surface; 0 = no surface.
        behind: (H, W) float32 [m], to the surface seen through glass or in a mirror; elsewhere equal to depth.
        normals: (H, W, 3) float32, unit vectors in the optical frame; 0 = no surface.
        reflectance: (H, W) float32, 0..1, for infrared light.
        material: (H, W) uint8, a ``Material``.
    """

    light: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    normals: np.ndarray
    reflectance: np.ndarray
    material: np.ndarray


def look_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Return the rotation from the world into the optical frame of a camera that looks at a point, (3, 3).

    Args:
        eye: Position of the camera [m], (3,).
        target: The point [m], (3,).
        roll: Rotation about the optical axis [rad].
    """
    forward = (target - eye) / (np.linalg.norm(target - eye) + 1e-9)
    up = np.array([0, 0, 1.0]) if abs(forward[2]) < 0.98 else np.array([0, 1.0, 0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([right * c + down * s, down * c - right * s, forward])
