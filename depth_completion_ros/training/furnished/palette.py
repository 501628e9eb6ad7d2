"""Materials of a scene with their labels for depth sensors."""

from __future__ import annotations

import math

import numpy as np

from ..scene_batch import Material
from .library import Library, Model, ModelMaterial
from .scene import Scene

# Words in the names of materials.
_METALS = ("chrome", "metal", "steel", "inox", "alu", "brass", "zinc", "gold", "silver", "iron", "reflec")
_GLASSES = ("glass", "verre", "vitre", "vidro", "crystal", "cristal", "pane", "transparent")
_GLOWING = ("bulb", "emit", "fluoresc", "light_", "led")
_MIRRORS = ("mirror", "miroir", "espejo")
_SCREENS = ("screen", "display", "pantalla")
_MIN_CONTRADICTIONS = 0.04  # smallest share of surfaces with a random texture
_GAMMA = 2.2


class Palette:
    """Adds materials to a scene and returns their rows in its table of materials.

    Args:
        library: Library of textures.
        rng: Random generator for all choices.
        contradictions: Share of surfaces with a random texture that is unrelated to their shape.
    """

    def __init__(self, library: Library, rng: np.random.Generator, contradictions: float = 0.0) -> None:
        self.library, self.rng, self.scene = library, rng, Scene()
        self._contradictions = contradictions

    def surface(self, *uses: str, scale: float = 1.0, gloss: float | None = None) -> int:
        """Add a texture for one of the uses whose coordinates are positions in the world.

        Args:
            uses: Uses, such as "wall".
            scale: Factor of the texture's size.
            gloss: Gloss, 0..1; None = random.
        """
        r = self.rng
        if r.random() < max(self._contradictions, _MIN_CONTRADICTIONS):
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
        """Add a texture for one of the uses that fills each face."""
        r = self.rng
        gloss = r.uniform(0.1, 0.8) if r.random() < 0.4 else 0.0
        return self._opaque(np.ones(3), self._pick(*uses), gloss, r.uniform(0.1, 0.8))

    def glass(self) -> int:
        """Add the material of panes and glass vessels."""
        r = self.rng
        tint = r.uniform(0.85, 1.0, 3) if r.random() < 0.85 else r.uniform(0.4, 1.0, 3)
        return self.scene.material(
            tint, kind=Material.GLASS, reflectance=r.uniform(0.05, 0.3), roughness=0.02, gloss=1.0
        )

    def mirror(self) -> int:
        """Add the material of a flat mirror. Its reflection is rendered if its plane is one of the scene's mirrors."""
        return self.scene.material(np.full(3, 0.02), kind=Material.MIRROR, reflectance=0.3, gloss=1.0, roughness=0.0)

    def glowing(self, strength: float) -> int:
        """Add the material of a lamp that emits ``strength`` times the light of a white surface under unit light."""
        return self.scene.material(self.rng.uniform(0.85, 1.0, 3), emission=strength, reflectance=0.7)

    def metal(self) -> int:
        """Add bare metal."""
        r = self.rng
        colour = r.uniform(0.4, 0.85) * np.array([1, r.uniform(0.9, 1), r.uniform(0.7, 1.05)])
        return self._bare_metal(colour, r.uniform(0.05, 0.5))

    def screen(self) -> int:
        """Add the screen of a television or monitor that is on or off."""
        r = self.rng
        on = r.random() < 0.5
        return self.scene.material(
            np.full(3, 1.0 if on else 0.02), self._pick("screen") if on else -1,
            kind=Material.DARK if r.random() < 0.6 else Material.SHINY, reflectance=r.uniform(0.02, 0.2),
            gloss=0.9, roughness=r.uniform(0.02, 0.2), emission=r.uniform(0.5, 2.5) if on else 0.0,
        )  # fmt: skip

    def of_model(self, model: Model) -> np.ndarray:
        """Add the materials of a model, sometimes with changed colours or textures, and return their rows."""
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
        if named(_MIRRORS):  # curved or small mirrors have no rendered reflection, like polished metal
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
        """Return a random texture for one of the uses, if the library has textures for it."""
        known = [use for use in uses if use in self.library.by_use]
        found = self.library.by_use[known[self.rng.integers(len(known))]]
        return found[self.rng.integers(len(found))]

    def _opaque(
        self, colour: np.ndarray, texture: int, gloss: float, roughness: float, period: float = 0.0, turn: float = 0.0
    ) -> int:
        """Add a matte material, which is sometimes dark or shiny for a sensor."""
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
        """Draw the reflectance of infrared light, which is weakly correlated with the visible brightness."""
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
