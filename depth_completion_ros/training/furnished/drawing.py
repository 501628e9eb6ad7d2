"""The common parts of the renderer's passes: OpenGL context, programs, render targets, and the buffers of a scene."""

from __future__ import annotations

import math
from typing import Any

import moderngl
import numpy as np

from ...errors import ConfigurationError
from . import shaders
from .scene import VERTEX, Scene

Lens = tuple[float, float, float, float]  # fx, fy, cx, cy in units of half the width and half the height
SURFACE = "3f4 3f4 2f4 1i4", "position", "normal", "uv", "material"  # layout of VERTEX for the shaders
_POSITION = "3f4 24x1", "position"
_LARGE_RADIUS = 1.3  # parts with a larger radius are drawn last, because other parts hide most of them [m]
_PRINCIPAL_MARGIN = 1.1  # allows for a principal point that is off the centre by a tenth of half the image


def open_context() -> moderngl.Context:
    """Create an OpenGL 3.3 context without a window.

    Raises:
        ConfigurationError: If OpenGL is not available.
    """
    try:
        backend: Any = {"backend": "egl"}  # moderngl's type stub does not include this argument
        context = moderngl.create_context(require=330, standalone=True, **backend)
    except Exception as error:  # moderngl raises plain exceptions
        raise ConfigurationError(
            f"furnished scenes need OpenGL 3.3 through EGL ({error}): sudo apt install libegl1 libegl-mesa0 "
            "libgl1-mesa-dri (Debian, Ubuntu), or the EGL library of your GPU's driver"
        ) from error
    context.enable(moderngl.DEPTH_TEST)
    context.enable_direct(0x3000)  # GL_CLIP_DISTANCE0
    return context


class Program:
    """A GLSL program. Uniforms that the compiler has removed can be set, too."""

    def __init__(self, context: moderngl.Context, vertex: str, fragment: str) -> None:
        self.program = context.program(vertex, fragment)

    def set(self, **uniforms: object) -> None:
        """Set uniforms: row-major matrices, vectors as arrays or tuples, numbers, or textures as (texture, unit)."""
        for name, value in uniforms.items():
            if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "use"):
                texture, value = value
                texture.use(value)
            if name not in self.program:
                continue
            uniform = self.program[name]
            assert isinstance(uniform, moderngl.Uniform)
            if isinstance(value, np.ndarray):
                square = value.ndim == 2 and value.shape[0] == value.shape[1]  # OpenGL matrices are column-major
                uniform.write(np.ascontiguousarray(value.T if square else value, np.float32).tobytes())
            else:
                uniform.value = value

    def screen(self, context: moderngl.Context) -> moderngl.VertexArray:
        """Return a triangle that covers the whole render target."""
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32).tobytes())
        return context.vertex_array(self.program, [(corners, "2f", "corner")])


class Layers:
    """The render targets of surfaces: direct light, ambient light, and data (see the shaders)."""

    def __init__(
        self, context: moderngl.Context, size: tuple[int, int], depth: moderngl.Renderbuffer | None = None
    ) -> None:
        self.direct = context.texture(size, 4, dtype="f2")
        self.diffuse = context.texture(size, 4, dtype="f2")
        self.data = context.texture(size, 4, dtype="f4")
        textures = [self.direct, self.diffuse, self.data]
        for texture in textures:
            texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self.depth = depth or context.depth_renderbuffer(size)
        self.target = context.framebuffer(textures, self.depth)
        self.colours = context.framebuffer(textures)


class DrawnScene:
    """A scene on the graphics device."""

    def __init__(self, context: moderngl.Context, scene: Scene, surface: Program, shadow: Program) -> None:
        starts = np.cumsum([0, *(len(part.vertices) for part in scene.parts)])
        triangles = [part.triangles + start for part, start in zip(scene.parts, starts, strict=False)]
        counts = [t.size for t in triangles]
        self._ranges = list(zip(np.cumsum([0, *counts]).tolist(), counts, strict=False))
        self._glass = np.array([part.glass for part in scene.parts])
        used = [part.vertices["position"][part.triangles.ravel()] for part in scene.parts]
        corners = np.array([(p.min(0), p.max(0)) for p in used])
        self._centres = corners.mean(1)
        self._radii = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1) / 2
        assert VERTEX.itemsize == 36  # SURFACE and _POSITION assume this size
        vertices = context.buffer(np.concatenate([part.vertices for part in scene.parts]).tobytes())
        index = context.buffer(np.concatenate(triangles).astype(np.int32).tobytes())
        self._surface = context.vertex_array(surface.program, [(vertices, *SURFACE)], index)
        self._shadow = context.vertex_array(shadow.program, [(vertices, *_POSITION)], index)
        table = np.array(scene.materials, np.float32)
        self.materials = context.texture((shaders.MATERIAL_TEXELS, len(table)), 4, table.tobytes(), dtype="f4")
        self.materials.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._owned: list[moderngl.Buffer | moderngl.VertexArray | moderngl.Texture] = [vertices, index]
        self._owned += [self._surface, self._shadow, self.materials]

    def release(self) -> None:
        """Free all buffers on the device."""
        for buffer in self._owned:
            buffer.release()

    def draw_surfaces(self, view: np.ndarray, lens: Lens, glass: bool) -> None:
        """Draw the parts that may be in view, either those of glass or all others.

        Args:
            view: Transform from the world into the optical frame, (4, 4).
            lens: Projection.
            glass: Whether to draw the parts of glass.
        """
        for part in self.visible(view, lens, glass):
            first, count = self._ranges[part]
            self._surface.render(moderngl.TRIANGLES, vertices=count, first=first)

    def draw_shadows(self, view: np.ndarray | None = None, lens: Lens = (1.0, 1.0, 0.0, 0.0)) -> None:
        """Draw the depth of all parts that are not glass; if a view is given, only those that may be in view."""
        solid = np.flatnonzero(~self._glass) if view is None else self.visible(view, lens, glass=False)
        for part in solid:
            first, count = self._ranges[part]
            self._shadow.render(moderngl.TRIANGLES, vertices=count, first=first)

    def visible(self, view: np.ndarray, lens: Lens, glass: bool) -> np.ndarray:
        """Return the indices of the parts that may be in view, in the order in which they are drawn, nearest first."""
        centre = self._centres @ view[:3, :3].T + view[:3, 3]
        radius = self._radii
        inside = (centre[:, 2] > -radius) & (self._glass == glass)
        for axis in (0, 1):
            scale = lens[axis] / _PRINCIPAL_MARGIN
            inside &= (np.abs(centre[:, axis]) * scale - centre[:, 2]) < radius * math.hypot(scale, 1)
        found = np.flatnonzero(inside)
        return found[np.argsort(np.linalg.norm(centre[found], axis=1) + 100.0 * (radius[found] > _LARGE_RADIUS))]
