"""A scene: triangles with materials, lights, and what is around it; the input of the renderer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...data.scene_batch import Material

# One vertex: position and normal in the world [m], texture coordinates, row of the table of materials.
VERTEX = np.dtype([("position", "3f4"), ("normal", "3f4"), ("uv", "2f4"), ("material", "i4")])


@dataclass
class Part:
    """A piece of a scene that is drawn at once: vertices (``VERTEX``) and triangles (n, 3) int32."""

    vertices: np.ndarray
    triangles: np.ndarray
    glass: bool = False


@dataclass
class Mirror:
    """A flat mirror of the scene: its plane n·x = d, with n towards the room, and its corners (4, 3)."""

    normal: np.ndarray
    offset: float
    corners: np.ndarray


@dataclass
class Light:
    """A lamp: position [m], colour (linear, times square metres), radius of the bulb [m]."""

    position: np.ndarray
    colour: np.ndarray
    radius: float = 0.05


@dataclass
class Scene:
    """Parts, the table of materials, lights and surroundings.

    Attributes:
        ambient: (3,) light from all sides.
        low, high: (3,) corners of the box that reflections are corrected for [m].
        sun: direction towards the sun and its colour, or None.
        panorama: index of the picture of the outside; turn: its rotation, 0..1; sky: (3,) its brightness.
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
        colour: np.ndarray | tuple[float, float, float] = (1.0, 1.0, 1.0),
        picture: int = -1,
        period: float = 0.0,
        kind: Material = Material.MATTE,
        reflectance: float = 0.5,
        gloss: float = 0.0,
        rough: float = 0.5,
        emission: float = 0.0,
        metal: bool = False,
        turn: float = 0.0,
    ) -> int:
        """Add a material; its row. colour: linear. picture: -1 = none. period: of a pattern over the world [m], 0 = uv."""
        gloss = min(max(gloss, 0.0), 1.0) + (1.001 if metal else 0.0)
        row = [*colour, picture, period, kind, reflectance, gloss, rough, emission, np.cos(turn), np.sin(turn)]
        # the shader reads cos as its third and sin as its fourth number
        self.materials.append(np.array(row, np.float32))
        return len(self.materials) - 1

    def kind_of(self, material: int) -> Material:
        """How a depth sensor sees a material."""
        return Material(int(self.materials[material][5]))

    def add(
        self,
        position: np.ndarray,
        normal: np.ndarray,
        uv: np.ndarray,
        material: np.ndarray | int,
        triangles: np.ndarray,
    ) -> None:
        """Add vertices (n, 3), (n, 3), (n, 2), rows of materials (n,) or one, and triangles (m, 3) of their indices."""
        vertices = np.empty(len(position), VERTEX)
        vertices["position"], vertices["normal"], vertices["uv"] = position, normal, uv
        vertices["material"] = material
        triangles = np.ascontiguousarray(triangles, np.int32)
        kinds = np.array([m[5] for m in self.materials])
        clear = kinds[vertices["material"][triangles[:, 0]]] == Material.GLASS
        if (~clear).any():
            self.parts.append(Part(vertices, triangles[~clear]))
        if clear.any():
            self.parts.append(Part(vertices, triangles[clear], glass=True))
