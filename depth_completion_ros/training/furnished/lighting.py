"""Light that is computed once for each scene: shadow maps of lamps and sun, and the environment map."""

from __future__ import annotations

import moderngl
import numpy as np

from .camera import Camera
from .drawing import DrawnScene, Layers, Lens, Program
from .lamps import MAX_LIGHTS
from .scene import Scene

SHADOWED = 3  # number of lights with shadows, as in the shaders
NEAR, FAR = 0.04, 200.0  # clipping planes of cameras [m]
_SHADOW_SIDE, _SUN_SIDE, _SURROUNDINGS_SIDE = 384, 1024, 64  # texels
_SHADOW_NEAR, _SHADOW_FAR = 0.05, 40.0  # [m]
_SUN_MARGIN = 20.0  # distance outside of the room within which objects cast shadows into it [m]
_MAX_SURROUNDING_LIGHT = 60.0
_BOUNCED_SHARE = 0.8  # share of light that surfaces reflect
_SQUARE: Lens = (1.0, 1.0, 0.0, 0.0)  # 90 degrees
_NO_CLIP = (0.0, 0.0, 0.0, 1.0)
# Faces of a cube in OpenGL's order. The rows of a face are its right, down and forward directions.
_FACES = (
    ((0, 0, -1), (0, -1, 0), (1, 0, 0)),
    ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
    ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
)
# Faces of a shadow map: the directions of its columns and rows in the shader, and the direction of its axis.
_SHADOW_FACES = (
    ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ((0, 1, 0), (0, 0, 1), (-1, 0, 0)),
    ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
)


class Lighting:
    """Computes shadow maps and environment maps.

    Args:
        context: The OpenGL context.
        surface: Program that draws surfaces.
        shadow: Program that draws only depth.
    """

    def __init__(self, context: moderngl.Context, surface: Program, shadow: Program) -> None:
        self._surface, self._shadow = surface, shadow
        self._shadows = context.depth_texture((6 * _SHADOW_SIDE, SHADOWED * _SHADOW_SIDE))
        self._sun = context.depth_texture((_SUN_SIDE, _SUN_SIDE))
        for texture in (self._shadows, self._sun):
            texture.compare_func = "<="
            texture.repeat_x = texture.repeat_y = False
        self._shadow_target = context.framebuffer(depth_attachment=self._shadows)
        self._sun_target = context.framebuffer(depth_attachment=self._sun)
        self._surroundings = context.texture_cube((_SURROUNDINGS_SIDE, _SURROUNDINGS_SIDE), 3, dtype="f2")
        self._layers = Layers(context, (_SURROUNDINGS_SIDE, _SURROUNDINGS_SIDE))

    def light(self, scene: Scene, drawn: DrawnScene) -> None:
        """Draw the shadow maps and the environment map of a scene, and set the lights of the surface program."""
        self._set_lights(scene)
        self._draw_shadows(scene, drawn)
        if scene.sun is not None and scene.sun[1].max() > 0:
            self._draw_sun(scene, scene.sun[0], drawn)
        self._draw_surroundings(scene, drawn)

    def bind(self) -> None:
        """Bind the shadow maps and the environment map to the texture units 2 to 4 of the surface program."""
        self._surface.set(shadows=(self._shadows, 2), sun_shadow=(self._sun, 3), surroundings=(self._surroundings, 4))

    def _set_lights(self, scene: Scene) -> None:
        lights = scene.lights[:MAX_LIGHTS]
        position = np.zeros((MAX_LIGHTS, 4), np.float32)
        colour = np.zeros((MAX_LIGHTS, 3), np.float32)
        for i, light in enumerate(lights):
            position[i], colour[i] = (*light.position, light.radius), light.colour
        direction, sun = scene.sun or (np.array([0.0, 0, 1]), np.zeros(3))
        self._surface.set(
            light_count=len(lights), light_position=position, light_colour=colour, ambient=scene.ambient,
            room_low=scene.low, room_high=scene.high, room_centre=(scene.low + scene.high) / 2,
            shadow_near=_SHADOW_NEAR, shadow_far=_SHADOW_FAR, sun_direction=direction, sun_colour=np.asarray(sun),
        )  # fmt: skip

    def _draw_shadows(self, scene: Scene, drawn: DrawnScene) -> None:
        """Draw the six faces of each light side by side, in one row for each light."""
        self._shadow_target.use()
        self._shadow_target.viewport = (0, 0, 6 * _SHADOW_SIDE, SHADOWED * _SHADOW_SIDE)
        self._shadow_target.clear(depth=1.0)
        self._shadow.set(clip=_NO_CLIP, range=(_SHADOW_NEAR, _SHADOW_FAR), parallel=False, lens=_SQUARE)
        for row, light in enumerate(scene.lights[:SHADOWED]):
            for face, axes in enumerate(_SHADOW_FACES):
                view = Camera(np.asarray(light.position, float), np.array(axes, float), _SQUARE).view()
                corner = face * _SHADOW_SIDE, row * _SHADOW_SIDE
                self._shadow_target.viewport = (*corner, _SHADOW_SIDE, _SHADOW_SIDE)
                self._shadow.set(view=view)
                drawn.draw_shadows(view)

    def _draw_sun(self, scene: Scene, direction: np.ndarray, drawn: DrawnScene) -> None:
        """Draw a parallel projection of the room in the direction of the sunlight."""
        right = np.cross(direction, (0.0, 0.0, 1.0) if abs(direction[2]) < 0.95 else (1.0, 0.0, 0.0))
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(-direction, right), -direction])
        corners = np.stack(np.meshgrid(*zip(scene.low, scene.high, strict=True)), -1).reshape(-1, 3) @ rotation.T
        low, high = corners.min(0), corners.max(0)
        half = (high - low) / 2 + 0.1
        view = Camera(rotation.T @ ((low + high) / 2), rotation, _SQUARE).view()
        lens = (1 / half[0], 1 / half[1], 0.0, 0.0)
        near, far = -half[2] - _SUN_MARGIN, half[2] + 1.0
        self._sun_target.use()
        self._sun_target.clear(depth=1.0)
        self._shadow.set(clip=_NO_CLIP, range=(near, far), parallel=True, view=view, lens=lens)
        drawn.draw_shadows()
        to_picture = np.diag([lens[0] / 2, lens[1] / 2, 1 / (far - near), 1.0])
        to_picture[:3, 3] = 0.5, 0.5, -near / (far - near)
        self._surface.set(sun_view=to_picture @ view, sun_radius=0.02 / float(half.max()))

    def _draw_surroundings(self, scene: Scene, drawn: DrawnScene) -> None:
        """Draw the environment map from the middle of the room, which gives reflections and ambient light."""
        layers, side = self._layers, _SURROUNDINGS_SIDE
        centre = (scene.low + scene.high) / 2
        outside = np.asarray(scene.sky) * 0.6
        self._surface.set(
            indirect=0.0, clip=_NO_CLIP, range=(NEAR, FAR), parallel=False, glass=False, lens=_SQUARE, eye=centre,
            materials=(drawn.materials, 1),
        )  # fmt: skip
        self.bind()
        for face, axes in enumerate(_FACES):
            view = Camera(centre, np.array(axes, float), _SQUARE).view()
            layers.target.use()
            layers.target.clear()
            self._surface.set(view=view)
            drawn.draw_surfaces(view, _SQUARE, glass=False)
            direct, diffuse = (
                np.frombuffer(texture.read(), np.float16).reshape(side, side, 4)[..., :3].astype(np.float32)
                for texture in (layers.direct, layers.diffuse)
            )
            depth = np.frombuffer(layers.data.read(), np.float32).reshape(side, side, 4)[..., :1]
            light = np.where(depth > 0, direct + _BOUNCED_SHARE * diffuse, outside).clip(0, _MAX_SURROUNDING_LIGHT)
            self._surroundings.write(face, np.ascontiguousarray(light.astype(np.float16)).tobytes())
        self._surroundings.build_mipmaps()
        self._surroundings.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._surface.set(indirect=_BOUNCED_SHARE)
