"""Draws scenes with OpenGL: on a GPU, or on a CPU with Mesa's llvmpipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import moderngl
import numpy as np

from . import shaders
from .scene import VERTEX, Scene

SIDE = 256  # pixels of a picture of the library
_SHADOWED = 3  # lights with shadows
_LIGHTS = 6
_SHADOW_SIDE, _SUN_SIDE, _AROUND_SIDE = 384, 1024, 64
_NEAR, _FAR = 0.04, 200.0
_SHADOW_NEAR, _SHADOW_FAR = 0.05, 40.0
# Faces of a cube as OpenGL orders them: rows right, down, forward of each.
_FACES = (
    ((0, 0, -1), (0, -1, 0), (1, 0, 0)),
    ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
    ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
)
# Faces of a shadow map: the coordinates that the shader takes as columns and rows, and the one along the axis.
_SHADOW_FACES = (
    ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ((0, 1, 0), (0, 0, 1), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
)


@dataclass(frozen=True)
class Camera:
    """eye (3,) [m]; rotation (3, 3) from the world into the optical frame; lens: fx, fy, cx, cy [px]."""

    eye: np.ndarray
    rotation: np.ndarray
    lens: tuple[float, float, float, float]

    def view(self) -> np.ndarray:
        """(4, 4) from the world into the optical frame."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = -self.rotation @ self.eye
        return matrix


@dataclass(frozen=True)
class Picture:
    """What a camera sees: light (H, W, 3) linear float32 and the other fields of a ``SceneBatch``, channels last."""

    light: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    normals: np.ndarray
    reflectance: np.ndarray
    material: np.ndarray


class _Layers:
    """The textures that surfaces are drawn into."""

    def __init__(self, context: moderngl.Context, size: tuple[int, int], depth: moderngl.Renderbuffer | None) -> None:
        self.direct = context.texture(size, 4, dtype="f2")
        self.diffuse = context.texture(size, 4, dtype="f2")
        self.data = context.texture(size, 4, dtype="f4")
        for texture in (self.direct, self.diffuse, self.data):
            texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self.depth = depth or context.depth_renderbuffer(size)
        self.target = context.framebuffer([self.direct, self.diffuse, self.data], self.depth)
        self.colours = context.framebuffer([self.direct, self.diffuse, self.data])


class Renderer:
    """One OpenGL context with the pictures of a library, and the scene that it shows."""

    def __init__(
        self, pictures: Sequence[np.ndarray], panoramas: Sequence[np.ndarray], height: int, width: int, samples: int = 2
    ) -> None:
        """pictures: (SIDE, SIDE, 3) uint8 each. panoramas: (h, w, 3) uint8 each. samples: per pixel and direction."""
        self.context = context = moderngl.create_context(standalone=True, backend="egl", require=330)
        self.height, self.width, self.samples = height, width, samples
        context.enable(moderngl.DEPTH_TEST)
        context.enable_direct(0x3000)  # clip distance 0
        data = np.concatenate([p.reshape(1, SIDE, SIDE, 3) for p in pictures])
        self._pictures = context.texture_array((SIDE, SIDE, len(data)), 3, data.tobytes())
        self._pictures.build_mipmaps()
        self._pictures.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._panoramas = []
        for panorama in panoramas:
            h, w = panorama.shape[:2]
            texture = context.texture((w, h), 3, np.ascontiguousarray(panorama).tobytes(), internal_format=0x8C41)
            texture.repeat_y = False
            self._panoramas.append(texture)
        self._surface = context.program(shaders.SURFACE_VERTEX, shaders.SURFACE_FRAGMENT)
        self._depth_only = context.program(shaders.SURFACE_VERTEX, shaders.SHADOW_FRAGMENT)
        self._openness = context.program(shaders.SCREEN_VERTEX, shaders.OPENNESS_FRAGMENT)
        self._resolve = context.program(shaders.SCREEN_VERTEX, shaders.RESOLVE_FRAGMENT)
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32).tobytes())
        self._screen_openness = context.vertex_array(self._openness, [(corners, "2f", "corner")])
        self._screen_resolve = context.vertex_array(self._resolve, [(corners, "2f", "corner")])
        size = (width * samples, height * samples)
        self._solid = _Layers(context, size, None)
        self._panes = _Layers(context, size, self._solid.depth)
        self._image = _Layers(context, size, None)
        self._open = context.texture((width // 2, height // 2), 1, dtype="f2")
        self._open.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._open_target = context.framebuffer([self._open])
        self._colour = context.texture((width, height), 4, dtype="f2")
        self._depths = context.texture((width, height), 2, dtype="f4")
        self._normals = context.texture((width, height), 4)
        self._result = context.framebuffer([self._colour, self._depths, self._normals])
        self._shadows = context.depth_texture((6 * _SHADOW_SIDE, _SHADOWED * _SHADOW_SIDE))
        self._sun = context.depth_texture((_SUN_SIDE, _SUN_SIDE))
        for texture in (self._shadows, self._sun):
            texture.compare_func = "<="
            texture.repeat_x = texture.repeat_y = False
        self._shadow_target = context.framebuffer(depth_attachment=self._shadows)
        self._sun_target = context.framebuffer(depth_attachment=self._sun)
        self._around = context.texture_cube((_AROUND_SIDE, _AROUND_SIDE), 3, dtype="f2")
        self._around_layers = _Layers(context, (_AROUND_SIDE, _AROUND_SIDE), None)
        self._scene: Scene | None = None
        self._buffers: list[moderngl.Buffer | moderngl.VertexArray | moderngl.Texture] = []

    # The scene

    def show(self, scene: Scene) -> None:
        """Take a scene: upload it and draw its shadow maps and the picture of its surroundings."""
        for buffer in self._buffers:
            buffer.release()
        self._scene = scene
        starts = np.cumsum([0] + [len(part.vertices) for part in scene.parts])
        triangles = [part.triangles + start for part, start in zip(scene.parts, starts, strict=False)]
        counts = [t.size for t in triangles]
        self._ranges = list(zip(np.cumsum([0, *counts]).tolist(), counts, strict=False))
        self._glass = np.array([part.glass for part in scene.parts])
        used = [part.vertices["position"][part.triangles.ravel()] for part in scene.parts]
        corners = np.array([(p.min(0), p.max(0)) for p in used])
        self._centres = corners.mean(1)
        self._radii = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1) / 2
        context = self.context
        data = context.buffer(np.concatenate([part.vertices for part in scene.parts]).tobytes())
        index = context.buffer(np.concatenate(triangles).astype(np.int32).tobytes())
        layout = "3f4 3f4 2f4 1i4", "position", "normal", "uv", "material"
        assert VERTEX.itemsize == 36
        self._drawn = context.vertex_array(self._surface, [(data, *layout)], index)
        self._cast = context.vertex_array(self._depth_only, [(data, "3f4 24x1", "position")], index)
        table = np.array(scene.materials, np.float32)
        self._materials = context.texture((shaders.MATERIAL_TEXELS, len(table)), 4, table.tobytes(), dtype="f4")
        self._materials.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._buffers = [data, index, self._drawn, self._cast, self._materials]
        self._set_lights(scene)
        self._draw_shadows(scene)
        self._draw_surroundings(scene)

    def _set_lights(self, scene: Scene) -> None:
        lights = scene.lights[:_LIGHTS]
        position = np.zeros((_LIGHTS, 4), np.float32)
        colour = np.zeros((_LIGHTS, 3), np.float32)
        for i, light in enumerate(lights):
            position[i], colour[i] = (*light.position, light.radius), light.colour
        self._write(self._surface, "light_count", len(lights))
        self._write(self._surface, "light_position", position)
        self._write(self._surface, "light_colour", colour)
        self._write(self._surface, "ambient", tuple(scene.ambient))
        self._write(self._surface, "room_low", tuple(scene.low))
        self._write(self._surface, "room_high", tuple(scene.high))
        self._write(self._surface, "room_centre", tuple((scene.low + scene.high) / 2))
        self._write(self._surface, "shadow_near", _SHADOW_NEAR)
        self._write(self._surface, "shadow_far", _SHADOW_FAR)
        direction, sun = scene.sun or (np.array([0.0, 0, 1]), np.zeros(3))
        self._write(self._surface, "sun_direction", tuple(direction))
        self._write(self._surface, "sun_colour", tuple(sun))

    def _draw_shadows(self, scene: Scene) -> None:
        self._shadow_target.use()
        self._shadow_target.viewport = (0, 0, 6 * _SHADOW_SIDE, _SHADOWED * _SHADOW_SIDE)
        self._shadow_target.clear(depth=1.0)
        self._write(self._depth_only, "clip", (0.0, 0.0, 0.0, 1.0))
        self._write(self._depth_only, "range", (_SHADOW_NEAR, _SHADOW_FAR))
        for row, light in enumerate(scene.lights[:_SHADOWED]):
            for face, axes in enumerate(_SHADOW_FACES):
                rotation = np.array(axes, float)
                camera = Camera(np.asarray(light.position, float), rotation, (1, 1, 0, 0))
                self._shadow_target.viewport = (
                    face * _SHADOW_SIDE, row * _SHADOW_SIDE, _SHADOW_SIDE, _SHADOW_SIDE,
                )  # fmt: skip
                self._set_view(self._depth_only, camera.view(), (1.0, 1.0, 0.0, 0.0))
                self._draw(self._cast, camera.view(), 1.0, 1.0, glass=False)
        if scene.sun is None or scene.sun[1].max() <= 0:
            return
        direction = scene.sun[0]
        right = np.cross(direction, (0.0, 0.0, 1.0) if abs(direction[2]) < 0.95 else (1.0, 0.0, 0.0))
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(-direction, right), -direction])
        corners = np.stack(np.meshgrid(*zip(scene.low, scene.high, strict=True)), -1).reshape(-1, 3) @ rotation.T
        low, high = corners.min(0), corners.max(0)
        centre, half = (low + high) / 2, (high - low) / 2 + 0.1
        view = Camera(rotation.T @ centre, rotation, (1, 1, 0, 0)).view()
        lens = (1 / half[0], 1 / half[1], 0.0, 0.0)
        near, far = -half[2] - 20.0, half[2] + 1.0
        self._write(self._depth_only, "range", (near, far))
        self._write(self._depth_only, "parallel", True)
        self._sun_target.use()
        self._sun_target.clear(depth=1.0)
        self._set_view(self._depth_only, view, lens)
        for (first, count), glass in zip(self._ranges, self._glass, strict=True):
            if not glass:
                self._cast.render(moderngl.TRIANGLES, vertices=count, first=first)
        self._write(self._depth_only, "parallel", False)
        to_picture = np.diag([lens[0] / 2, lens[1] / 2, 1 / (far - near), 1.0])
        to_picture[:3, 3] = 0.5, 0.5, -near / (far - near)
        self._write(self._surface, "sun_view", (to_picture @ view).T)
        self._write(self._surface, "sun_radius", 0.02 / float(half.max()))

    def _draw_surroundings(self, scene: Scene) -> None:
        self._write(self._surface, "indirect", 0.0)
        centre = (scene.low + scene.high) / 2
        outside = tuple(float(x) for x in np.asarray(scene.sky) * 0.6)
        for face, axes in enumerate(_FACES):
            camera = Camera(centre, np.array(axes, float), (1, 1, 0, 0))
            layers = self._around_layers
            layers.target.use()
            layers.target.clear()
            self._set_surface(camera.view(), (1.0, 1.0, 0.0, 0.0), centre, False)
            self._draw(self._drawn, camera.view(), 1.0, 1.0, glass=False)
            light = np.frombuffer(layers.direct.read(), np.float16).reshape(_AROUND_SIDE, _AROUND_SIDE, 4)
            shade = np.frombuffer(layers.diffuse.read(), np.float16).reshape(_AROUND_SIDE, _AROUND_SIDE, 4)
            data = np.frombuffer(layers.data.read(), np.float32).reshape(_AROUND_SIDE, _AROUND_SIDE, 4)
            total = light[..., :3].astype(np.float32) + 0.8 * shade[..., :3]
            total = np.where(data[..., :1] > 0, total, outside).clip(0, 60)
            self._around.write(face, np.ascontiguousarray(total.astype(np.float16)).tobytes())
        self._around.build_mipmaps()
        self._around.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._write(self._surface, "indirect", 0.8)

    # Views of it

    def render(self, camera: Camera) -> Picture:
        """What a camera sees of the scene."""
        scene = self._scene
        assert scene is not None
        s, width, height = self.samples, self.width, self.height
        fx, fy, cx, cy = camera.lens
        # one sample of each pixel lies exactly in its centre: that of which depth is taken
        focal = (s * fx, s * fy, s * cx + s // 2 + 0.5, s * cy + s // 2 + 0.5)
        lens = (2 * fx / width, 2 * fy / height, 2 * focal[2] / (s * width) - 1, 2 * focal[3] / (s * height) - 1)
        view = camera.view()
        self._solid.target.use()
        self._solid.target.clear()
        self._set_surface(view, lens, camera.eye, False)
        self._draw(self._drawn, view, lens[0], lens[1], glass=False)
        panes = self._visible(view, lens[0], lens[1], glass=True)
        if len(panes):
            self._panes.colours.clear()
            self._panes.target.use()
            self._set_surface(view, lens, camera.eye, True)
            self._draw(self._drawn, view, lens[0], lens[1], glass=True)
        mirror = self._mirror_in(view, lens)
        reflected = np.eye(4)
        if mirror is not None:
            n, d = mirror.normal, mirror.offset
            reflected[:3, :3] -= 2 * np.outer(n, n)
            reflected[:3, 3] = 2 * d * n
            self._image.target.use()
            self._image.target.clear()
            self._set_surface(view @ reflected, lens, reflected[:3, :3] @ camera.eye + reflected[:3, 3], False)
            self._write(self._surface, "clip", (*n, -d - 1e-3))
            self._draw(self._drawn, view @ reflected, lens[0], lens[1], glass=False)
        self._open_target.use()
        self._solid.data.use(0)
        self._write(self._openness, "data", 0)
        self._write(self._openness, "focal", focal)
        self._write(self._openness, "step_", (2 * s, 2 * s))
        self._write(self._openness, "radius", 0.35)
        self.context.disable(moderngl.DEPTH_TEST)
        self._screen_openness.render(moderngl.TRIANGLES, 3)
        self._result.use()
        p, w = self._resolve, self._write
        layers = ("direct", "diffuse", "data")
        for i, (prefix, source) in enumerate((("", self._solid), ("pane_", self._panes), ("image_", self._image))):
            for j, name in enumerate(layers):
                getattr(source, name).use(3 * i + j)
                w(p, prefix + name, 3 * i + j)
        self._open.use(9)
        w(p, "openness", 9)
        self._panoramas[scene.panorama].use(10)
        w(p, "panorama", 10)
        w(p, "samples", s)
        w(p, "panes", bool(len(panes)))
        w(p, "mirrored", mirror is not None)
        w(p, "focal", focal)
        w(p, "to_world", np.ascontiguousarray(camera.rotation, np.float32))  # transposed, as OpenGL reads columns
        w(p, "mirror_to_world", np.ascontiguousarray((view @ reflected)[:3, :3], np.float32))
        w(p, "turn", scene.turn)
        w(p, "sky", tuple(scene.sky))
        self._screen_resolve.render(moderngl.TRIANGLES, 3)
        self.context.enable(moderngl.DEPTH_TEST)
        return self._read()

    def _read(self) -> Picture:
        shape = (self.height, self.width)
        colour = np.frombuffer(self._colour.read(), np.float16).reshape(*shape, 4).astype(np.float32)
        depths = np.frombuffer(self._depths.read(), np.float32).reshape(*shape, 2)
        normals = np.frombuffer(self._normals.read(), np.uint8).reshape(*shape, 4)
        material = normals[..., 3]
        towards = np.where((material == 5)[..., None], 0.0, normals[..., :3].astype(np.float32) / 127.5 - 1)
        return Picture(
            colour[..., :3], depths[..., 0].copy(), depths[..., 1].copy(), towards, colour[..., 3].clip(0, 1), material
        )

    def _mirror_in(self, view: np.ndarray, lens: tuple[float, float, float, float]):  # noqa: ANN202
        best, largest = None, 0.0
        eye = -view[:3, :3].T @ view[:3, 3]
        for mirror in self._scene.mirrors if self._scene else []:
            if mirror.normal @ eye - mirror.offset < 0.02:
                continue
            p = mirror.corners @ view[:3, :3].T + view[:3, 3]
            if (p[:, 2] < 0.05).all():
                continue
            z = p[:, 2].clip(0.05)
            x = (lens[0] * p[:, 0] / z + lens[2]).clip(-1, 1)
            y = (lens[1] * p[:, 1] / z + lens[3]).clip(-1, 1)
            size = float(np.ptp(x) * np.ptp(y))
            if size > largest:
                best, largest = mirror, size
        return best

    def _visible(self, view: np.ndarray, sx: float, sy: float, glass: bool) -> np.ndarray:
        """Indices of the parts that may be in view, the nearest first."""
        p = self._centres @ view[:3, :3].T + view[:3, 3]
        r = self._radii
        inside = (p[:, 2] > -r) & (self._glass == glass)
        for axis, scale in ((0, sx), (1, sy)):
            # generous by a tenth: the principal point is not exactly in the middle
            scale = scale / 1.1
            inside &= (np.abs(p[:, axis]) * scale - p[:, 2]) < r * math.hypot(scale, 1)
        found = np.flatnonzero(inside)
        # walls and floors last: most of them is hidden
        return found[np.argsort(np.linalg.norm(p[found], axis=1) + 100.0 * (r[found] > 1.3))]

    def _draw(self, array: moderngl.VertexArray, view: np.ndarray, sx: float, sy: float, glass: bool) -> None:
        for i in self._visible(view, sx, sy, glass):
            first, count = self._ranges[i]
            array.render(moderngl.TRIANGLES, vertices=count, first=first)

    def _set_surface(
        self, view: np.ndarray, lens: tuple[float, float, float, float], eye: np.ndarray, glass: bool
    ) -> None:
        p = self._surface
        self._set_view(p, view, lens)
        self._write(p, "range", (_NEAR, _FAR))
        self._write(p, "clip", (0.0, 0.0, 0.0, 1.0))
        self._write(p, "eye", tuple(eye))
        self._write(p, "glass", glass)
        for unit, (name, texture) in enumerate(
            (
                ("pictures", self._pictures),
                ("materials", self._materials),
                ("shadows", self._shadows),
                ("sun_shadow", self._sun),
                ("surroundings", self._around),
            )
        ):
            texture.use(unit)
            self._write(p, name, unit)

    def _set_view(self, program: moderngl.Program, view: np.ndarray, lens: tuple[float, ...]) -> None:
        self._write(program, "view", np.ascontiguousarray(view.T, np.float32))
        self._write(program, "lens", lens)

    @staticmethod
    def _write(program: moderngl.Program, name: str, value: object) -> None:
        if name not in program:
            return  # the compiler leaves out what has no effect
        if isinstance(value, np.ndarray):
            program[name].write(np.ascontiguousarray(value, np.float32).tobytes())
        else:
            program[name].value = value
