"""Builds scenes: boxes, models and clutter, in materials that are labelled for sensor models."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...data.scene_batch import Material
from .scene import Mirror, Scene

_METALS = ("chrome", "metal", "steel", "inox", "alu", "brass", "zinc", "gold", "silver", "iron", "reflec")
_GLASSES = ("glass", "verre", "vitre", "vidro", "crystal", "cristal", "pane", "transparent")
_GLOWING = ("bulb", "emit", "fluoresc", "light_", "led")


@dataclass
class Model:
    """A piece of furniture or a small thing, standing on z = 0, its front towards -y; metres.

    size: width, depth, height. elevation: where it hangs [m]. tops: upward surfaces: heights and the free room above
    them, (layers, n, n) each, over the model's floor plan. materials: dicts with name, col, tex, d, ks.
    """

    name: str
    kind: str
    catalogue: str
    size: np.ndarray
    elevation: float
    door: bool
    position: np.ndarray
    normal: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    triangles: np.ndarray
    materials: list[dict]
    tops: tuple[np.ndarray, np.ndarray] | None


class Library:
    """Models and pictures. pictures: uint8; by_use: their indices for each use; own: those of models."""

    def __init__(
        self,
        models: list[Model],
        pictures: list[np.ndarray],
        by_use: dict[str, list[int]],
        panoramas: list[np.ndarray],
        own: list[int],
    ) -> None:
        self.models, self.pictures, self.by_use, self.panoramas, self.own = models, pictures, by_use, panoramas, own
        self.mean = np.array([((p[::8, ::8].reshape(-1, 3) / 255.0) ** 2.2).mean(0) for p in pictures])


class Builder:
    """Adds things to a scene; rng makes every choice."""

    def __init__(self, library: Library, rng: np.random.Generator) -> None:
        self.library, self.rng, self.scene = library, rng, Scene()
        self.chaos = 0.0  # share of surfaces with a random picture, that contradicts their shape

    # Materials

    def _pick(self, *uses: str) -> int:
        use = uses[self.rng.integers(len(uses))]
        found = self.library.by_use[use]
        return found[self.rng.integers(len(found))]

    def surface(self, *uses: str, scale: float = 1.0, gloss: float | None = None) -> int:
        """A material with a pattern over the world that fits one of the uses."""
        r = self.rng
        if r.random() < max(self.chaos, 0.04):
            picture = int(r.integers(len(self.library.pictures)))
        else:
            picture = self._pick(*uses)
        period = math.exp(r.uniform(math.log(0.35), math.log(2.2))) * scale
        turn = r.choice([0.0, math.pi / 2]) if r.random() < 0.9 else r.uniform(0, math.pi)
        tint = r.uniform(0.8, 1.05) * np.exp(r.normal(0, 0.04, 3))
        if gloss is None:
            gloss = r.uniform(0.2, 0.9) if r.random() < 0.3 else 0.0
        return self._plain(tint, picture, period=period, gloss=gloss, rough=r.uniform(0.25, 0.9), turn=turn)

    def flat(self, *uses: str) -> int:
        """A material with a picture stretched over each face."""
        r = self.rng
        gloss = r.uniform(0.1, 0.8) if r.random() < 0.4 else 0.0
        return self._plain(np.ones(3), self._pick(*uses), gloss=gloss, rough=r.uniform(0.1, 0.8))

    def _plain(self, colour: np.ndarray, picture: int, **other: float) -> int:
        """A matte material, or sometimes one that is dark or shiny to a sensor."""
        r = self.rng
        bright = float((colour * (self.library.mean[picture] if picture >= 0 else 1)).mean())
        kind = Material.MATTE
        if bright < 0.03 and r.random() < 0.5:
            kind = Material.DARK
        elif other.get("gloss", 0) > 0.7 and r.random() < 0.4:
            kind = Material.SHINY
        return self.scene.material(
            colour.clip(0.004, 1.5), picture, kind=kind, reflectance=self._reflectance(bright, kind), **other
        )

    def _reflectance(self, bright: float, kind: Material) -> float:
        """Of infrared light: related to what the eye sees, but loosely."""
        r = self.rng
        if kind == Material.DARK:
            return float(r.uniform(0.01, 0.08))
        return float(np.clip(math.sqrt(max(bright, 0)) * r.uniform(0.7, 1.2) + r.uniform(-0.1, 0.25), 0.12, 1.0))

    def glass(self) -> int:
        """A pane."""
        r = self.rng
        tint = r.uniform(0.85, 1.0, 3) if r.random() < 0.85 else r.uniform(0.4, 1.0, 3)
        return self.scene.material(tint, kind=Material.GLASS, reflectance=r.uniform(0.05, 0.3), rough=0.02, gloss=1)

    def mirror(self) -> int:
        """A mirror, whose image is drawn if its plane is registered with ``add_mirror``."""
        return self.scene.material(np.full(3, 0.02), kind=Material.MIRROR, reflectance=0.3, gloss=1, rough=0.0)

    def glowing(self, strength: float) -> int:
        """A lamp."""
        return self.scene.material(self.rng.uniform(0.85, 1.0, 3), emission=strength, reflectance=0.7)

    def metal(self) -> int:
        """Bare metal."""
        r = self.rng
        colour = r.uniform(0.4, 0.85) * np.array([1, r.uniform(0.9, 1), r.uniform(0.7, 1.05)])
        kind = Material.SHINY if r.random() < 0.8 else Material.MATTE
        return self.scene.material(
            colour, kind=kind, reflectance=r.uniform(0.3, 0.9), gloss=r.uniform(0.6, 1), rough=r.uniform(0.05, 0.5),
            metal=True,
        )  # fmt: skip

    def materials_of(self, model: Model) -> np.ndarray:
        """Rows for the materials of a model: its own, sometimes in other colours or with a pattern over plain ones."""
        r = self.rng
        tint = np.exp(r.normal(0, 0.3, 3)) if r.random() < 0.3 else np.exp(r.normal(0, 0.05, 3))
        pattern = r.random() < 0.3
        rows = []
        for m in model.materials:
            name, picture, period = m["name"].lower(), m["tex"], 0.0
            colour = np.clip(np.asarray(m["col"], float) ** (2.2 if picture < 0 else 1), 0.012, 0.92)
            metal = any(k in name for k in _METALS)
            glowing = any(k in name for k in _GLOWING)
            if glowing:
                rows.append(self.glowing(r.uniform(1, 6) if r.random() < 0.6 else 0.0))
                continue
            if "mirror" in name or "miroir" in name or "espejo" in name:
                rows.append(self._shiny(np.full(3, 0.8), 0.03))
                continue
            clear = any(k in name for k in _GLASSES) and "fiber" not in name
            if picture < 0 and (clear and m["d"] < 0.995 or 0.02 < m["d"] < 0.6):
                rows.append(self.glass())
                continue
            if metal and picture < 0 and r.random() < 0.8:
                rows.append(self._shiny(colour.mean() * 0.5 + colour * 0.5 + 0.1, r.uniform(0.05, 0.45)))
                continue
            if "screen" in name or "display" in name or "pantalla" in name:
                rows.append(self.screen())
                continue
            if r.random() < self.chaos:
                picture, period = int(r.integers(len(self.library.pictures))), math.exp(r.uniform(-2.5, 0))
                colour = np.ones(3)
            elif picture < 0 and pattern and r.random() < 0.8:
                picture, period = self._pick("wood", "fabric", "plain", "rug", "plain"), math.exp(r.uniform(-2, 0))
                mean = self.library.mean[picture]
                colour = np.clip(colour / max(mean.mean(), 0.04), 0, 1.4) if r.random() < 0.7 else np.ones(3)
            gloss = r.uniform(0, 0.8) * min(1.0, 0.3 + m["ks"]) if r.random() < 0.6 else 0.0
            rows.append(self._plain(colour * tint, picture, period=period, gloss=gloss, rough=r.uniform(0.1, 0.8)))
        return np.array(rows, np.int32)

    def _shiny(self, colour: np.ndarray, rough: float) -> int:
        r = self.rng
        kind = Material.SHINY if r.random() < 0.85 else Material.MATTE
        return self.scene.material(
            colour.clip(0.1, 0.95), kind=kind, reflectance=r.uniform(0.3, 0.9), gloss=r.uniform(0.7, 1), rough=rough,
            metal=True,
        )  # fmt: skip

    def screen(self) -> int:
        """A television or monitor, on or off."""
        r = self.rng
        on = r.random() < 0.5
        return self.scene.material(
            np.full(3, 1.0 if on else 0.02), self._pick("screen") if on else -1,
            kind=Material.DARK if r.random() < 0.6 else Material.SHINY, reflectance=r.uniform(0.02, 0.2),
            gloss=0.9, rough=r.uniform(0.02, 0.2), emission=r.uniform(0.5, 2.5) if on else 0.0,
        )  # fmt: skip

    # Shapes

    def quad(self, corner: np.ndarray, a: np.ndarray, b: np.ndarray, material: int) -> None:
        """A parallelogram with the edges a and b [m]; its normal is a x b."""
        corner, a, b = (np.asarray(x, float) for x in (corner, a, b))
        normal = np.cross(a, b)
        normal /= np.linalg.norm(normal) + 1e-12
        position = np.array([corner, corner + a, corner + a + b, corner + b])
        uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
        self.scene.add(position, np.tile(normal, (4, 1)), uv, material, np.array([[0, 1, 2], [0, 2, 3]]))

    def add_mirror(self, corner: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """A flat mirror that faces a x b."""
        corner, a, b = (np.asarray(x, float) for x in (corner, a, b))
        normal = np.cross(a, b)
        normal /= np.linalg.norm(normal)
        self.quad(corner, a, b, self.mirror())
        corners = np.array([corner, corner + a, corner + a + b, corner + b])
        self.scene.mirrors.append(Mirror(normal, float(normal @ corner), corners))

    def box(self, centre: np.ndarray, half: np.ndarray, yaw: float, materials: int | list[int]) -> None:
        """A box turned about z; one material, or one for the top and bottom, and one for each pair of sides."""
        c, s = math.cos(yaw), math.sin(yaw)
        x, y, z = (np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) * np.asarray(half)).T
        ids = [materials] * 3 if np.isscalar(materials) else materials
        position, normal, rows = [], [], []
        for material, f, a, b in (
            (ids[0], z, x, y), (ids[0], -z, y, x), (ids[1], x, y, z), (ids[1], -x, -y, z), (ids[2], -y, x, z),
            (ids[2], y, -x, z),
        ):  # fmt: skip
            corner = np.asarray(centre) + f - a - b
            position += [corner, corner + 2 * a, corner + 2 * a + 2 * b, corner + 2 * b]
            normal += [f / (np.linalg.norm(f) + 1e-12)] * 4
            rows += [material] * 4
        uv = np.tile([[0, 1], [1, 1], [1, 0], [0, 0]], (6, 1))
        triangles = (np.arange(6)[:, None, None] * 4 + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
        self.scene.add(np.array(position), np.array(normal), uv, np.array(rows), triangles)

    def lathe(self, centre: np.ndarray, profile: np.ndarray, material: int, steps: int = 20) -> None:
        """A body of revolution about z. profile: (k, 2) radius and height [m]."""
        angle = np.linspace(0, 2 * math.pi, steps + 1)
        profile = np.asarray(profile, float)
        ring = np.stack([np.cos(angle), np.sin(angle)], -1)
        k = len(profile)
        position = np.concatenate(
            [profile[:, None, :1] * ring[None], np.broadcast_to(profile[:, None, 1:], (k, steps + 1, 1))], -1
        )
        slope = np.gradient(profile, axis=0)
        normal = np.concatenate(
            [slope[:, None, 1:] * ring[None], np.broadcast_to(-slope[:, None, :1], (k, steps + 1, 1))], -1
        )
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
        u, v = np.meshgrid(angle / (2 * math.pi), 1 - length / (length[-1] + 1e-9))
        i, j = np.meshgrid(np.arange(k - 1), np.arange(steps), indexing="ij")
        a = (i * (steps + 1) + j).ravel()
        triangles = np.concatenate(
            [np.stack([a, a + 1, a + steps + 2], 1), np.stack([a, a + steps + 2, a + steps + 1], 1)]
        )
        flat = position.reshape(-1, 3) + np.asarray(centre)
        self.scene.add(flat, normal.reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2), material, triangles)

    def place(
        self, model: Model, at: np.ndarray, yaw: float, scale: np.ndarray | float = 1.0, rows: np.ndarray | None = None
    ) -> None:
        """Put a model at a point [m], turned about z."""
        c, s = math.cos(yaw), math.sin(yaw)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]], np.float32)
        scale = np.asarray(scale, np.float32) * np.ones(3, np.float32)
        position = (model.position * scale) @ turn.T + np.asarray(at, np.float32)
        normal = (model.normal / scale) @ turn.T
        rows = self.materials_of(model) if rows is None else rows
        self.scene.add(position, normal, model.uv, rows[model.material], model.triangles)
