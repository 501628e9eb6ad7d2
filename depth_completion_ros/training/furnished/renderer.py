"""Render scenes with OpenGL: on a GPU, or on a CPU with Mesa's llvmpipe."""

from __future__ import annotations

import moderngl
import numpy as np

from ..scene_batch import Material
from . import shaders
from .camera import Camera, View
from .drawing import DrawnScene, Layers, Lens, Program, open_context
from .lighting import FAR, NEAR, Lighting
from .scene import Mirror, Scene

_SAMPLES = 2  # samples of a pixel in each direction
_SRGB8 = 0x8C41  # OpenGL's number of the format
_OCCLUSION_RADIUS = 0.35  # distance within which surfaces occlude ambient light [m]
_NO_CLIP = (0.0, 0.0, 0.0, 1.0)
_MIN_CORNER_DEPTH = 0.05  # of a mirror's corners [m]


class Renderer:
    """An OpenGL context with textures and panoramas, and the scene that it renders."""

    def __init__(self, textures: np.ndarray, panoramas: np.ndarray, height: int, width: int) -> None:
        """Create a renderer.

        Args:
            textures: (n, SIDE, SIDE, 3) uint8 sRGB.
            panoramas: (k, h, w, 3) uint8 sRGB.
            height: Height of the views [pixels].
            width: Width of the views [pixels].

        Raises:
            ConfigurationError: If OpenGL is not available.
        """
        self._context = context = open_context()
        self.height, self.width = height, width
        count, side = textures.shape[:2]
        self._textures = context.texture_array((side, side, count), 3)
        for layer, texture in enumerate(textures):  # one by one, because a copy of all textures needs much memory
            self._textures.write(texture.tobytes(), viewport=(0, 0, layer, side, side, 1))
        self._textures.build_mipmaps()
        self._textures.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._panoramas = []
        for panorama in panoramas:
            h, w = panorama.shape[:2]
            data = np.ascontiguousarray(panorama).tobytes()
            image = context.texture((w, h), 3, data, internal_format=_SRGB8)
            image.repeat_y = False
            self._panoramas.append(image)
        self._surface = Program(context, shaders.SURFACE_VERTEX, shaders.SURFACE_FRAGMENT)
        shadow = Program(context, shaders.SURFACE_VERTEX, shaders.SHADOW_FRAGMENT)
        self._occlusion = Program(context, shaders.SCREEN_VERTEX, shaders.OCCLUSION_FRAGMENT)
        self._resolve = Program(context, shaders.SCREEN_VERTEX, shaders.RESOLVE_FRAGMENT)
        self._occlusion_screen = self._occlusion.screen(context)
        self._resolve_screen = self._resolve.screen(context)
        size = (width * _SAMPLES, height * _SAMPLES)
        self._solid = Layers(context, size)
        self._panes = Layers(context, size, self._solid.depth)  # with the depth buffer of the other surfaces
        self._image = Layers(context, size)  # reflection in a mirror
        self._openness = context.texture((width // 2, height // 2), 1, dtype="f2")
        self._openness.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._occlusion_target = context.framebuffer([self._openness])
        self._colour = context.texture((width, height), 4, dtype="f2")
        self._depths = context.texture((width, height), 2, dtype="f4")
        self._normals = context.texture((width, height), 4)
        self._result = context.framebuffer([self._colour, self._depths, self._normals])
        self._lighting = Lighting(context, self._surface, shadow)
        self._shadow = shadow
        self._scene = Scene()
        self._drawn: DrawnScene | None = None

    def show(self, scene: Scene) -> None:
        """Set the scene of the following views."""
        if self._drawn is not None:
            self._drawn.release()
        self._scene = scene
        self._drawn = DrawnScene(self._context, scene, self._surface, self._shadow)
        self._surface.set(pictures=(self._textures, 0))
        self._lighting.light(scene, self._drawn)

    def render(self, camera: Camera) -> View:
        """Render the view of a camera in the scene that ``show`` has set."""
        if self._drawn is None:
            raise RuntimeError("call show before render")
        fx, fy, cx, cy = camera.intrinsics
        # One sample of each pixel lies exactly in its centre. Depth is that of this sample.
        centre = _SAMPLES // 2 + 0.5
        focal = (_SAMPLES * fx, _SAMPLES * fy, _SAMPLES * cx + centre, _SAMPLES * cy + centre)
        lens = (
            2 * fx / self.width,
            2 * fy / self.height,
            2 * focal[2] / (_SAMPLES * self.width) - 1,
            2 * focal[3] / (_SAMPLES * self.height) - 1,
        )
        view = camera.view()
        self._surface.set(
            range=(NEAR, FAR), parallel=False, pictures=(self._textures, 0), materials=(self._drawn.materials, 1)
        )
        self._lighting.bind()
        self._solid.target.use()
        self._solid.target.clear()
        self._draw(view, lens, camera.eye, glass=False)
        panes = len(self._drawn.visible(view, lens, glass=True)) > 0
        if panes:
            self._panes.colours.clear()
            self._panes.target.use()
            self._draw(view, lens, camera.eye, glass=True)
        mirror = self._largest_mirror(view, lens)
        mirrored_view = view
        if mirror is not None:
            reflection = np.eye(4)
            reflection[:3, :3] -= 2 * np.outer(mirror.normal, mirror.normal)
            reflection[:3, 3] = 2 * mirror.offset * mirror.normal
            mirrored_view = view @ reflection
            eye = reflection[:3, :3] @ camera.eye + reflection[:3, 3]
            self._image.target.use()
            self._image.target.clear()
            self._draw(mirrored_view, lens, eye, glass=False, clip=(*mirror.normal, -mirror.offset - 1e-3))
        self._draw_occlusion(focal)
        self._result.use()
        self._bind_layers()
        self._resolve.set(
            samples=_SAMPLES, panes=panes, mirrored=mirror is not None, focal=focal,
            to_world=camera.rotation.T, mirror_to_world=mirrored_view[:3, :3].T,
            turn=self._scene.turn, sky=tuple(self._scene.sky),
        )  # fmt: skip
        self._context.disable(moderngl.DEPTH_TEST)
        self._resolve_screen.render(moderngl.TRIANGLES, 3)
        self._context.enable(moderngl.DEPTH_TEST)
        return self._read()

    def _draw(
        self, view: np.ndarray, lens: Lens, eye: np.ndarray, glass: bool, clip: tuple[float, ...] = _NO_CLIP
    ) -> None:
        assert self._drawn is not None
        self._surface.set(view=view, lens=lens, eye=eye, glass=glass, clip=clip)
        self._drawn.draw_surfaces(view, lens, glass)

    def _draw_occlusion(self, focal: tuple[float, float, float, float]) -> None:
        """Render the share of ambient light that reaches each surface, at half of the resolution."""
        self._occlusion_target.use()
        step = 2 * _SAMPLES
        self._occlusion.set(data=(self._solid.data, 0), focal=focal, step_=(step, step), radius=_OCCLUSION_RADIUS)
        self._context.disable(moderngl.DEPTH_TEST)
        self._occlusion_screen.render(moderngl.TRIANGLES, 3)
        self._context.enable(moderngl.DEPTH_TEST)

    def _bind_layers(self) -> None:
        unit = 0
        for prefix, layers in (("", self._solid), ("pane_", self._panes), ("image_", self._image)):
            for name in ("direct", "diffuse", "data"):
                self._resolve.set(**{prefix + name: (getattr(layers, name), unit)})
                unit += 1
        self._resolve.set(openness=(self._openness, unit), panorama=(self._panoramas[self._scene.panorama], unit + 1))

    def _read(self) -> View:
        shape = (self.height, self.width)
        colour = np.frombuffer(self._colour.read(), np.float16).reshape(*shape, 4).astype(np.float32)
        depths = np.frombuffer(self._depths.read(), np.float32).reshape(*shape, 2)
        normals = np.frombuffer(self._normals.read(), np.uint8).reshape(*shape, 4)
        material = normals[..., 3].copy()
        directions = np.where(
            (material == Material.SKY)[..., None], 0.0, normals[..., :3].astype(np.float32) / 127.5 - 1
        )
        return View(
            colour[..., :3], depths[..., 0].copy(), depths[..., 1].copy(), directions.astype(np.float32),
            colour[..., 3].clip(0, 1), material,
        )  # fmt: skip

    def _largest_mirror(self, view: np.ndarray, lens: Lens) -> Mirror | None:
        """Return the mirror facing the camera that covers the largest part of the view. Only it gets a reflection."""
        best, largest = None, 0.0
        eye = -view[:3, :3].T @ view[:3, 3]
        for mirror in self._scene.mirrors:
            corners = mirror.corners @ view[:3, :3].T + view[:3, 3]
            if mirror.normal @ eye - mirror.offset < 0.02 or (corners[:, 2] < _MIN_CORNER_DEPTH).all():
                continue
            z = corners[:, 2].clip(_MIN_CORNER_DEPTH)
            x = (lens[0] * corners[:, 0] / z + lens[2]).clip(-1, 1)
            y = (lens[1] * corners[:, 1] / z + lens[3]).clip(-1, 1)
            size = float(np.ptp(x) * np.ptp(y))
            if size > largest:
                best, largest = mirror, size
        return best
