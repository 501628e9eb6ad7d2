"""Add shapes to a scene: quadrilaterals, boxes, bodies of revolution, models and mirrors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .library import Model
from .palette import Palette
from .scene import Mirror


class Builder(Palette):
    """Adds materials and shapes to a scene. Positions are in the world, in metres with z up; angles are in radians."""

    def quad(self, corner: ArrayLike, a: ArrayLike, b: ArrayLike, material: int) -> None:
        """Add a parallelogram with the edges a and b; its normal is a x b."""
        start, first, second = (np.asarray(x, float) for x in (corner, a, b))
        normal = np.cross(first, second)
        normal /= np.linalg.norm(normal) + 1e-12
        position = np.array([start, start + first, start + first + second, start + second])
        uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
        self.scene.add(position, np.tile(normal, (4, 1)), uv, material, np.array([[0, 1, 2], [0, 2, 3]]))

    def flat_mirror(self, corner: ArrayLike, a: ArrayLike, b: ArrayLike) -> None:
        """Add a mirror with the edges a and b; its normal is a x b."""
        start, first, second = (np.asarray(x, float) for x in (corner, a, b))
        normal = np.cross(first, second)
        normal /= np.linalg.norm(normal)
        self.quad(start, first, second, self.mirror())
        corners = np.array([start, start + first, start + first + second, start + second])
        self.scene.mirrors.append(Mirror(normal, float(normal @ start), corners))

    def box(self, centre: ArrayLike, half: ArrayLike, yaw: float, materials: int | Sequence[int]) -> None:
        """Add a box that is rotated about z.

        Args:
            centre: Centre [m], (3,).
            half: Half of its size [m], (3,).
            yaw: Rotation [rad].
            materials: One material, or one for each pair of faces in the order z, x, y.
        """
        c, s = math.cos(yaw), math.sin(yaw)
        x, y, z = (np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) * np.asarray(half, float)).T
        rows = [materials] * 3 if isinstance(materials, int) else list(materials)
        position, normal, material = [], [], []
        for row, face, a, b in (
            (rows[0], z, x, y), (rows[0], -z, y, x), (rows[1], x, y, z), (rows[1], -x, -y, z), (rows[2], -y, x, z),
            (rows[2], y, -x, z),
        ):  # fmt: skip
            corner = np.asarray(centre, float) + face - a - b
            position += [corner, corner + 2 * a, corner + 2 * a + 2 * b, corner + 2 * b]
            normal += [face / (np.linalg.norm(face) + 1e-12)] * 4
            material += [row] * 4
        uv = np.tile([[0, 1], [1, 1], [1, 0], [0, 0]], (6, 1))
        triangles = (np.arange(6)[:, None, None] * 4 + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
        self.scene.add(np.array(position), np.array(normal), uv, np.array(material), triangles)

    def revolution(self, centre: ArrayLike, profile: ArrayLike, material: int, steps: int = 20) -> None:
        """Add a body of revolution about z. profile: (k, 2) radius and height [m], from the bottom outwards."""
        angle = np.linspace(0, 2 * math.pi, steps + 1)
        outline = np.asarray(profile, float)
        ring = np.stack([np.cos(angle), np.sin(angle)], -1)
        k = len(outline)

        def revolve(radial: np.ndarray, axial: np.ndarray) -> np.ndarray:
            """Return the vectors of all rings, (k, steps + 1, 3)."""
            height = np.broadcast_to(axial[:, None, None], (k, steps + 1, 1))
            return np.concatenate([radial[:, None, None] * ring[None], height], -1)

        position = revolve(outline[:, 0], outline[:, 1])
        slope = np.gradient(outline, axis=0)
        normal = revolve(slope[:, 1], -slope[:, 0])
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))])
        u, v = np.meshgrid(angle / (2 * math.pi), 1 - length / (length[-1] + 1e-9))
        i, j = np.meshgrid(np.arange(k - 1), np.arange(steps), indexing="ij")
        first = (i * (steps + 1) + j).ravel()
        triangles = np.concatenate(
            [
                np.stack([first, first + 1, first + steps + 2], 1),
                np.stack([first, first + steps + 2, first + steps + 1], 1),
            ]
        )
        uv = np.stack([u, v], -1).reshape(-1, 2)
        at = position.reshape(-1, 3) + np.asarray(centre, float)
        self.scene.add(at, normal.reshape(-1, 3), uv, material, triangles)

    def ball(self, centre: ArrayLike, radius: float, material: int) -> None:
        """Add a sphere."""
        angle = np.linspace(0, math.pi, 12)
        self.revolution(centre, radius * np.stack([np.sin(angle), -np.cos(angle)], 1), material)

    def place(
        self, model: Model, at: ArrayLike, yaw: float, scale: ArrayLike = 1.0, rows: np.ndarray | None = None
    ) -> None:
        """Add a model that is rotated about z.

        Args:
            model: The model.
            at: Position of its origin [m], (3,).
            yaw: Rotation [rad].
            scale: Scale, one number or (3,).
            rows: Rows of its materials, so that several models have the same materials; None = new materials.
        """
        c, s = math.cos(yaw), math.sin(yaw)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]], np.float32)
        scales = np.asarray(scale, np.float32) * np.ones(3, np.float32)
        vertices = model.vertices
        position = (vertices["position"] * scales) @ turn.T + np.asarray(at, np.float32)
        normal = (vertices["normal"] / scales) @ turn.T
        rows = self.of_model(model) if rows is None else rows
        self.scene.add(position, normal, vertices["uv"], rows[vertices["material"]], model.triangles)
