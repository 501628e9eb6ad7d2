"""Textured triangle meshes as their files hold them, in metres with z up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SMOOTH = 0.5  # cosine of the largest angle between a vertex normal and the normal of its triangle
_SMALLEST_AREA = 1e-10  # of a triangle, twice [m^2]


@dataclass(frozen=True)
class MeshMaterial:
    """name: of the file. colour: (3,) sRGB, 0..1. texture: (h, w, 3) uint8 RGB, or None. opacity, specular: 0..1."""

    name: str
    colour: tuple[float, float, float]
    texture: np.ndarray | None
    opacity: float
    specular: float


@dataclass(frozen=True)
class Mesh:
    """Vertices and the triangles between them.

    Attributes:
        position: (n, 3) float32 [m].
        normal: (n, 3) float32, unit vectors; zero where the file gives none.
        uv: (n, 2) float32, texture coordinates from the upper left corner.
        material: (n,) int32, index into ``materials``.
        triangles: (m, 3) int32, indices of vertices.
        materials: What the surfaces look like.
    """

    position: np.ndarray
    normal: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    triangles: np.ndarray
    materials: list[MeshMaterial]

    def transformed(self, matrix: np.ndarray) -> Mesh:
        """The mesh after an affine map (4, 4)."""
        linear = matrix[:3, :3]
        position = self.position @ linear.T + matrix[:3, 3]
        normal = _unit(self.normal @ np.linalg.inv(linear))
        triangles = self.triangles if np.linalg.det(linear) > 0 else self.triangles[:, ::-1]
        return Mesh(
            position.astype(np.float32), normal.astype(np.float32), self.uv, self.material, triangles, self.materials
        )

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(3,) lowest and (3,) highest coordinates of the triangles [m]."""
        used = self.position[self.triangles.ravel()]
        return used.min(0), used.max(0)

    def cleaned(self) -> Mesh:
        """The mesh without degenerate triangles, with a normal at each vertex.

        Where a normal is missing, it becomes the mean of the triangles around the vertex. Where a normal differs by
        more than 60 degrees from that of a triangle, the triangle gets corners of its own with its own normal: hard
        edges stay hard.
        """
        corner = self.position[self.triangles].astype(np.float64)
        cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        area = np.linalg.norm(cross, axis=1)
        kept = area > _SMALLEST_AREA
        triangles, flat = self.triangles[kept], _unit(cross[kept])
        normal = self.normal.astype(np.float64)
        missing = np.linalg.norm(normal, axis=1) < 0.1
        if missing.any():
            normal[missing] = self._mean_normals(triangles, cross[kept])[missing]
        corners = _unit(normal)[triangles]
        hard = np.abs((corners * flat[:, None]).sum(2)) < _SMOOTH
        corners[hard] = np.broadcast_to(flat[:, None], corners.shape)[hard]
        index = triangles.ravel()
        vertices = np.empty(index.size, [("p", "3f4"), ("n", "3f4"), ("u", "2f4"), ("m", "i4")])
        vertices["p"], vertices["u"], vertices["m"] = self.position[index], self.uv[index], self.material[index]
        vertices["n"] = np.round(corners.reshape(-1, 3) * 64) / 64 + 0.0  # coarse, so that equal corners are found
        unique, index = np.unique(vertices.view(f"V{vertices.itemsize}"), return_inverse=True)
        found = unique.view(vertices.dtype)
        new = index.reshape(-1, 3).astype(np.int32)
        return Mesh(found["p"], found["n"], found["u"], found["m"], new, self.materials)

    def _mean_normals(self, triangles: np.ndarray, cross: np.ndarray) -> np.ndarray:
        """(n, 3) sums of the normals of the triangles at each position, weighted by area."""
        _, place = np.unique(self.position, axis=0, return_inverse=True)
        place = place.ravel()
        total = np.zeros((place.max() + 1, 3))
        for k in range(3):
            np.add.at(total, place[triangles[:, k]], cross)
        return total[place]


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh of several."""
    vertices = np.cumsum([0, *(len(m.position) for m in meshes)])
    materials = np.cumsum([0, *(len(m.materials) for m in meshes)])
    return Mesh(
        np.concatenate([m.position for m in meshes]),
        np.concatenate([m.normal for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.material + first for m, first in zip(meshes, materials, strict=False)]).astype(np.int32),
        np.concatenate([m.triangles + first for m, first in zip(meshes, vertices, strict=False)]).astype(np.int32),
        [material for m in meshes for material in m.materials],
    )


def decode_image(data: bytes) -> np.ndarray | None:
    """(h, w, 3) uint8 RGB of an image file; None where it cannot be decoded."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if image is None else np.ascontiguousarray(image[..., ::-1])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
