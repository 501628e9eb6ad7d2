"""Materials of a scene, labelled with how a depth sensor sees them."""

from __future__ import annotations

import math

import numpy as np

from ..scene_batch import Material
from .library import Library, Model, ModelMaterial
from .scene import Scene

# Parts of the names of materials
_METALS = ("chrome", "metal", "steel", "inox", "alu", "brass", "zinc", "gold", "silver", "iron", "reflec")
_GLASSES = ("glass", "verre", "vitre", "vidro", "crystal", "cristal", "pane", "transparent")
_GLOWING = ("bulb", "emit", "fluoresc", "light_", "led")
_MIRRORS = ("mirror", "miroir", "espejo")
_SCREENS = ("screen", "display", "pantalla")
_STRANGE = 0.04  # least share of surfaces whose texture fits no use
_GAMMA = 2.2


class Palette:
    """Adds materials to a scene and returns their rows; ``rng`` makes every choice.

    contradictions: share of surfaces with a random texture that contradicts their shape.
    """

    def __init__(self, library: Library, rng: np.random.Generator, contradictions: float = 0.0) -> None:
        self.library, self.rng, self.scene = library, rng, Scene()
        self._contradictions = contradictions

    def surface(self, *uses: str, scale: float = 1.0, gloss: float | None = None) -> int:
        """A texture laid over the world that is good for one of the uses. scale: of its size."""
        r = self.rng
        if r.random() < max(self._contradictions, _STRANGE):
            texture = int(r.integers(len(self.library.textures)))
        else:
            texture = self._pick(*uses)
        period = math.exp(r.uniform(math.log(0.35), math.log(2.2))) * scale
        turn = float(r.choice([0.0, math.pi / 2]) if r.random() < 0.9 else r.uniform(0, math.pi))
        tint = r.uniform(0.8, 1.05) * np.exp(r.normal(0, 0.04, 3))
        if gloss is None:
            gloss = r.uniform(0.2, 0.9) if r.random() < 0.3 else 0.0
        return self._opaque(tint, texture, gloss, r.uniform(0.25, 0.9), period, turn)

    def flat(self, *uses: str) -> int:
        """A texture stretched over each face."""
        r = self.rng
        gloss = r.uniform(0.1, 0.8) if r.random() < 0.4 else 0.0
        return self._opaque(np.ones(3), self._pick(*uses), gloss, r.uniform(0.1, 0.8))

    def glass(self) -> int:
        """A pane or a glass vessel."""
        r = self.rng
        tint = r.uniform(0.85, 1.0, 3) if r.random() < 0.85 else r.uniform(0.4, 1.0, 3)
        return self.scene.material(
            tint, kind=Material.GLASS, reflectance=r.uniform(0.05, 0.3), roughness=0.02, gloss=1.0
        )

    def mirror(self) -> int:
        """A flat mirror; its image is drawn if its plane is among the scene's mirrors."""
        return self.scene.material(np.full(3, 0.02), kind=Material.MIRROR, reflectance=0.3, gloss=1.0, roughness=0.0)

    def glowing(self, strength: float) -> int:
        """A lamp that sends out ``strength`` times the light of a white surface under unit light."""
        return self.scene.material(self.rng.uniform(0.85, 1.0, 3), emission=strength, reflectance=0.7)

    def metal(self) -> int:
        """Bare metal."""
        r = self.rng
        colour = r.uniform(0.4, 0.85) * np.array([1, r.uniform(0.9, 1), r.uniform(0.7, 1.05)])
        return self._bare_metal(colour, r.uniform(0.05, 0.5))

    def screen(self) -> int:
        """A television or monitor, on or off."""
        r = self.rng
        on = r.random() < 0.5
        return self.scene.material(
            np.full(3, 1.0 if on else 0.02), self._pick("screen") if on else -1,
            kind=Material.DARK if r.random() < 0.6 else Material.SHINY, reflectance=r.uniform(0.02, 0.2),
            gloss=0.9, roughness=r.uniform(0.02, 0.2), emission=r.uniform(0.5, 2.5) if on else 0.0,
        )  # fmt: skip

    def of_model(self, model: Model) -> np.ndarray:
        """Rows for the materials of a model: its own, sometimes in other colours or with a texture over plain ones."""
        r = self.rng
        tint = np.exp(r.normal(0, 0.3, 3)) if r.random() < 0.3 else np.exp(r.normal(0, 0.05, 3))
        textured = r.random() < 0.3
        return np.array([self._model_material(material, tint, textured) for material in model.materials], np.int32)

    def _model_material(self, material: ModelMaterial, tint: np.ndarray, textured: bool) -> int:
        r = self.rng
        name, texture, period = material.name.lower(), material.texture, 0.0

        def named(words: tuple[str, ...]) -> bool:
            return any(word in name for word in words)

        colour = np.clip(np.asarray(material.colour) ** (_GAMMA if texture < 0 else 1), 0.012, 0.92)
        if named(_GLOWING):
            return self.glowing(r.uniform(1, 6) if r.random() < 0.6 else 0.0)
        if named(_MIRRORS):  # curved or small: without an image, like polished metal
            return self._bare_metal(np.full(3, 0.8), 0.03)
        clear = named(_GLASSES) and "fiber" not in name and material.opacity < 0.995
        if texture < 0 and (clear or 0.02 < material.opacity < 0.6):
            return self.glass()
        if named(_METALS) and texture < 0 and r.random() < 0.8:
            return self._bare_metal(colour.mean() * 0.5 + colour * 0.5 + 0.1, r.uniform(0.05, 0.45))
        if named(_SCREENS):
            return self.screen()
        if r.random() < self._contradictions:
            texture, period = int(r.integers(len(self.library.textures))), math.exp(r.uniform(-2.5, 0))
            colour = np.ones(3)
        elif texture < 0 and textured and r.random() < 0.8:
            texture, period = self._pick("wood", "fabric", "plain", "rug", "plain"), math.exp(r.uniform(-2, 0))
            mean = max(float(self.library.mean[texture].mean()), 0.04)
            colour = np.clip(colour / mean, 0, 1.4) if r.random() < 0.7 else np.ones(3)
        gloss = r.uniform(0, 0.8) * min(1.0, 0.3 + material.specular) if r.random() < 0.6 else 0.0
        return self._opaque(colour * tint, texture, gloss, r.uniform(0.1, 0.8), period)

    def _pick(self, *uses: str) -> int:
        """A texture for one of the uses that the library has textures for."""
        known = [use for use in uses if use in self.library.by_use]
        found = self.library.by_use[known[self.rng.integers(len(known))]]
        return found[self.rng.integers(len(found))]

    def _opaque(
        self, colour: np.ndarray, texture: int, gloss: float, roughness: float, period: float = 0.0, turn: float = 0.0
    ) -> int:
        """A matte material, or sometimes one that is dark or shiny to a sensor."""
        r = self.rng
        brightness = float((colour * (self.library.mean[texture] if texture >= 0 else 1)).mean())
        kind = Material.MATTE
        if brightness < 0.03 and r.random() < 0.5:
            kind = Material.DARK
        elif gloss > 0.7 and r.random() < 0.4:
            kind = Material.SHINY
        return self.scene.material(
            colour.clip(0.004, 1.5), texture, kind=kind, reflectance=self._reflectance(brightness, kind), gloss=gloss,
            roughness=roughness, period=period, turn=turn,
        )  # fmt: skip

    def _reflectance(self, brightness: float, kind: Material) -> float:
        """Of infrared light: related to what the eye sees, but loosely."""
        r = self.rng
        if kind == Material.DARK:
            return float(r.uniform(0.01, 0.08))
        return float(np.clip(math.sqrt(max(brightness, 0)) * r.uniform(0.7, 1.2) + r.uniform(-0.1, 0.25), 0.12, 1.0))

    def _bare_metal(self, colour: np.ndarray, roughness: float) -> int:
        r = self.rng
        kind = Material.SHINY if r.random() < 0.85 else Material.MATTE
        return self.scene.material(
            colour.clip(0.1, 0.95), kind=kind, reflectance=r.uniform(0.3, 0.9), gloss=r.uniform(0.7, 1.0),
            roughness=roughness, metal=True,
        )  # fmt: skip
