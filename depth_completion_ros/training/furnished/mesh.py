"""Textured triangle meshes, in metres with z up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_MIN_COSINE = 0.5  # of the angle between a vertex normal and the normal of its triangle
_MIN_DOUBLE_AREA = 1e-10  # twice the area of a triangle [m²]


@dataclass(frozen=True)
class MeshMaterial:
    """A material of a mesh.

    Attributes:
        name: Name in the file.
        colour: (3,) sRGB, 0..1.
        texture: (h, w, 3) uint8 RGB, or None.
        opacity: 0..1.
        specular: 0..1.
    """

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
        normal: (n, 3) float32, unit vectors; zero if the file has no normals.
        uv: (n, 2) float32, texture coordinates from the upper left corner.
        material: (n,) int32, index into ``materials``.
        triangles: (m, 3) int32, indices of vertices.
        materials: The materials.
    """

    position: np.ndarray
    normal: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    triangles: np.ndarray
    materials: list[MeshMaterial]

    def transformed(self, matrix: np.ndarray) -> Mesh:
        """Return the mesh after an affine transform (4, 4)."""
        linear = matrix[:3, :3]
        position = self.position @ linear.T + matrix[:3, 3]
        normal = _unit(self.normal @ np.linalg.inv(linear))
        triangles = self.triangles if np.linalg.det(linear) > 0 else self.triangles[:, ::-1]
        return Mesh(
            position.astype(np.float32), normal.astype(np.float32), self.uv, self.material, triangles, self.materials
        )

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest coordinates of the triangles [m], (3,) each."""
        used = self.position[self.triangles.ravel()]
        return used.min(0), used.max(0)

    def cleaned(self) -> Mesh:
        """Return the mesh without degenerate triangles and with a normal at each vertex.

        Missing normals become the mean of the triangles around the vertex. If a normal differs by more than 60 degrees
        from that of a triangle, the triangle gets separate vertices with its own normal, which keeps hard edges.
        """
        corner = self.position[self.triangles].astype(np.float64)
        cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        area = np.linalg.norm(cross, axis=1)
        kept = area > _MIN_DOUBLE_AREA
        triangles, flat = self.triangles[kept], _unit(cross[kept])
        normal = self.normal.astype(np.float64)
        missing = np.linalg.norm(normal, axis=1) < 0.1
        if missing.any():
            normal[missing] = self._mean_normals(triangles, cross[kept])[missing]
        corners = _unit(normal)[triangles]
        hard = np.abs((corners * flat[:, None]).sum(2)) < _MIN_COSINE
        corners[hard] = np.broadcast_to(flat[:, None], corners.shape)[hard]
        index = triangles.ravel()
        vertices = np.empty(index.size, [("p", "3f4"), ("n", "3f4"), ("u", "2f4"), ("m", "i4")])
        vertices["p"], vertices["u"], vertices["m"] = self.position[index], self.uv[index], self.material[index]
        vertices["n"] = np.round(corners.reshape(-1, 3) * 64) / 64 + 0.0  # rounded, so that equal corners can be merged
        unique, index = np.unique(vertices.view(f"V{vertices.itemsize}"), return_inverse=True)
        found = unique.view(vertices.dtype)
        new = index.reshape(-1, 3).astype(np.int32)
        return Mesh(found["p"], found["n"], found["u"], found["m"], new, self.materials)

    def _mean_normals(self, triangles: np.ndarray, cross: np.ndarray) -> np.ndarray:
        """Return the sum of the normals of the triangles at each vertex, weighted by area, (n, 3)."""
        _, index = np.unique(self.position, axis=0, return_inverse=True)
        index = index.ravel()
        total = np.zeros((index.max() + 1, 3))
        for k in range(3):
            np.add.at(total, index[triangles[:, k]], cross)
        return total[index]


def joined(meshes: list[Mesh]) -> Mesh:
    """Join several meshes to one mesh."""
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
    """Decode an image file to (h, w, 3) uint8 RGB; return None if this fails."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if image is None else np.ascontiguousarray(image[..., ::-1])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
