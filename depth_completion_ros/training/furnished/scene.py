"""A scene, the input of the renderer: triangles with materials, lights and the panorama outside."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..scene_batch import Material

# One vertex: position [m] and normal in the world, texture coordinates, row of the table of materials.
VERTEX = np.dtype([("position", "3f4"), ("normal", "3f4"), ("uv", "2f4"), ("material", "i4")])
_KIND = 5  # column of the table of materials


@dataclass(frozen=True)
class Part:
    """Triangles that are drawn together: vertices (n,) of ``VERTEX`` and triangles (m, 3) int32."""

    vertices: np.ndarray
    triangles: np.ndarray
    glass: bool = False


@dataclass(frozen=True)
class Mirror:
    """A flat mirror: its plane normal·x = offset [m] with the normal (3,) to the front, and its corners (4, 3) [m]."""

    normal: np.ndarray
    offset: float
    corners: np.ndarray


@dataclass(frozen=True)
class Light:
    """A lamp: position (3,) [m], colour (3,) (linear, times square metres), radius of the bulb [m]."""

    position: np.ndarray
    colour: np.ndarray
    radius: float = 0.05


@dataclass
class Scene:
    """A scene.

    Attributes:
        parts: Triangles.
        materials: Rows of the table of materials.
        mirrors: Flat mirrors.
        lights: Lamps.
        ambient: Ambient light, (3,).
        low: Lower corner of the box that reflections assume as walls [m], (3,).
        high: Upper corner of this box [m], (3,).
        sun: Direction towards the sun (3,) and its colour (3,), or None.
        panorama: Index of the panorama outside.
        turn: Rotation of the panorama, 0..1.
        sky: Brightness of the panorama, (3,).
    """

    parts: list[Part] = field(default_factory=list)
    materials: list[np.ndarray] = field(default_factory=list)
    mirrors: list[Mirror] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: np.ndarray = field(default_factory=lambda: np.full(3, 0.2))
    low: np.ndarray = field(default_factory=lambda: np.zeros(3))
    high: np.ndarray = field(default_factory=lambda: np.ones(3))
    sun: tuple[np.ndarray, np.ndarray] | None = None
    panorama: int = 0
    turn: float = 0.0
    sky: np.ndarray = field(default_factory=lambda: np.ones(3))

    def material(
        self,
        colour: ArrayLike = (1.0, 1.0, 1.0),
        texture: int = -1,
        *,
        period: float = 0.0,
        turn: float = 0.0,
        kind: Material = Material.MATTE,
        reflectance: float = 0.5,
        gloss: float = 0.0,
        roughness: float = 0.5,
        emission: float = 0.0,
        metal: bool = False,
    ) -> int:
        """Add a material and return its row.

        Args:
            colour: Linear colour that is multiplied by the texture, (3,).
            texture: Index in the library, -1 = none.
            period: Size of a texture whose coordinates are positions in the world [m]; 0 = texture coordinates of the
                vertices.
            turn: Rotation of such a texture [rad].
            kind: Material for a depth sensor.
            reflectance: Reflectance of infrared light, 0..1.
            gloss: Strength of reflections, 0..1.
            roughness: 0 = sharp reflections, 1 = no reflections.
            emission: Emitted light, in units of the colour.
            metal: Whether the material is bare metal.
        """
        shine = min(max(gloss, 0.0), 1.0) + (1.001 if metal else 0.0)  # the shader treats values above 1 as metal
        red, green, blue = np.asarray(colour, float)
        row = [red, green, blue, texture, period, kind, reflectance, shine, roughness, emission]
        self.materials.append(np.array([*row, np.cos(turn), np.sin(turn)], np.float32))
        return len(self.materials) - 1

    def add(
        self,
        position: np.ndarray,
        normal: np.ndarray,
        uv: np.ndarray,
        material: np.ndarray | int,
        triangles: np.ndarray,
    ) -> None:
        """Add triangles.

        Args:
            position: Positions of vertices [m], (n, 3).
            normal: Unit normals, (n, 3).
            uv: Texture coordinates, (n, 2).
            material: Rows of materials, (n,) or one number.
            triangles: Indices of vertices, (m, 3).
        """
        vertices = np.empty(len(position), VERTEX)
        vertices["position"], vertices["normal"], vertices["uv"] = position, normal, uv
        vertices["material"] = material
        triangles = np.ascontiguousarray(triangles, np.int32)
        kinds = np.array([row[_KIND] for row in self.materials])
        clear = kinds[vertices["material"][triangles[:, 0]]] == Material.GLASS
        if (~clear).any():
            self.parts.append(Part(vertices, triangles[~clear]))
        if clear.any():
            self.parts.append(Part(vertices, triangles[clear], glass=True))
