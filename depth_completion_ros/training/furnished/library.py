"""The library of models and textures. It is built once from folders of assets and then mapped into memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from ...errors import ConfigurationError
from ..cache import new_directory
from . import assets, patterns
from .mesh import MeshMaterial
from .scene import VERTEX
from .support import support_surfaces

SIDE = patterns.SIDE  # pixels of a texture
SPLITS = ("train", "validation")
_MIN_SUPPORT_SIZE = 0.35  # smallest width or depth of a model on which objects can stand [m]
_DRAWN = {  # number of procedural textures by use
    "wall": 70, "ceiling": 20, "floor": 70, "rug": 40, "wood": 40, "metal": 10, "fabric": 60, "package": 90,
    "paper": 40, "books": 30, "picture": 60, "screen": 24, "plain": 40,
}  # fmt: skip
_PHOTOS = 90  # number of details of panoramas that are used as pictures on walls
_DRAWN_PANORAMAS = 4  # number of procedural panoramas, if the assets contain none
# Uses of textures by the beginning of their names. The longest matching beginning is used.
_USES = {
    "brick": ("wall",), "plaster": ("wall",), "concrete": ("wall", "floor"), "tile": ("wall", "floor"),
    "floor": ("floor",), "wood": ("wood", "floor"), "fabric": ("fabric", "rug"), "ground_carpet": ("floor", "rug"),
    "stone": ("floor",), "fs_wood": ("wood",), "fs_metal": ("metal",), "metal": ("metal",),
    "fs_stone": ("floor", "wall"),
}  # fmt: skip
_BUILDERS = ("assets", "glb", "library", "mesh", "obj", "patterns", "support")


@dataclass(frozen=True)
class ModelMaterial:
    """A material of a model.

    Attributes:
        name: Name.
        colour: (3,) sRGB, 0..1.
        texture: Index in the library, -1 = none.
        opacity: 0..1.
        specular: 0..1.
    """

    name: str
    colour: tuple[float, float, float]
    texture: int
    opacity: float
    specular: float


@dataclass(frozen=True)
class Model(assets.Piece):
    """A piece in the library.

    Attributes:
        vertices: (n,) of ``VERTEX``, whose material is an index of ``materials``.
        triangles: (m, 3) int32.
        materials: The materials.
        support: Result of ``support_surfaces``, or None for small models.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    materials: list[ModelMaterial]
    support: tuple[np.ndarray, np.ndarray] | None


class Library:
    """Models and textures of one split.

    Attributes:
        models: All models.
        textures: (n, SIDE, SIDE, 3) uint8 sRGB.
        mean: (n, 3) mean colour of each texture, linear.
        by_use: Indices of textures by use, such as "wall".
        panoramas: (k, h, w, 3) uint8 sRGB.
    """

    def __init__(self, directory: Path) -> None:
        """Open a folder that ``library_directory`` returned."""
        index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
        self.textures = np.load(directory / "textures.npy", mmap_mode="r")
        self.panoramas = np.load(directory / "panoramas.npy", mmap_mode="r")
        self.by_use: dict[str, list[int]] = index["by_use"]
        self.mean = np.array([((t[::8, ::8].reshape(-1, 3) / 255.0) ** 2.2).mean(0) for t in self.textures])
        vertices, triangles, supports = (
            np.load(directory / f"{name}.npy", mmap_mode="r") for name in ("vertices", "triangles", "supports")
        )
        self.models = []
        for entry in index["models"]:
            (v0, v1), (t0, t1), support = (entry.pop(key) for key in ("vertices", "triangles", "support"))
            entry["materials"] = [ModelMaterial(**material) for material in entry["materials"]]
            entry["size"] = np.array(entry["size"])
            surfaces = None if support is None else (supports[support, 0], supports[support, 1])
            self.models.append(Model(vertices=vertices[v0:v1], triangles=triangles[t0:t1], support=surfaces, **entry))


def library_directory(
    folders: Sequence[Path],
    cache: Path,
    split: str,
    held_out: Sequence[str],
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Return the folder of the ``Library`` of a split in the cache. The library is built if it does not exist.

    Args:
        folders: Folders of assets, see ``assets``.
        cache: Folder of the cache.
        split: "train" uses the sets that are not held out, "validation" those that are held out.
        held_out: Names of held-out sets.
        progress: Called with the name of each catalogue.

    Raises:
        ConfigurationError: If the split has no models.
    """
    files = assets.files(folders, assets.chooser(split, held_out))
    if not files["catalogues"] and not files["models"]:
        raise ConfigurationError(
            f"no models for {split} in {', '.join(map(str, folders))}: install Debian's package sweethome3d-furniture "
            "(sudo apt install sweethome3d-furniture), or name a folder of assets with --assets"
        )
    directory = cache / f"assets-{split}-{_digest(files, held_out)}"
    if not directory.is_dir():
        with new_directory(directory) as unfinished:
            _build(files, split, unfinished, progress)
    return directory


def _digest(files: dict[str, list[Path]], held_out: Sequence[str]) -> str:
    """Return a hash of the assets and of the code that reads them, so that a change of either builds a new library."""
    digest = hashlib.sha256(",".join(held_out).encode())
    for path in (path for paths in files.values() for path in paths):
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    for name in _BUILDERS:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def _build(files: dict[str, list[Path]], split: str, directory: Path, progress: Callable[[str], None]) -> None:
    textures = _Textures()
    entries: list[dict[str, object]] = []
    vertices: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    supports: list[np.ndarray] = []
    first_vertex = first_triangle = 0
    sources = [(path.stem, assets.read_catalogue(path)) for path in files["catalogues"]]
    sources += [("models", assets.read_models(files["models"]))] if files["models"] else []
    for name, source in sources:
        progress(name)
        for asset in source:
            mesh = asset.mesh
            packed = np.empty(len(mesh.position), VERTEX)
            packed["position"], packed["normal"], packed["uv"] = mesh.position, mesh.normal, mesh.uv
            packed["material"] = mesh.material
            support = None
            if asset.size[:2].max() > _MIN_SUPPORT_SIZE and asset.kind not in assets.OUTDOOR:
                support = len(supports)
                supports.append(np.stack(support_surfaces(mesh.position, mesh.triangles, asset.size)))
            entries.append(
                {
                    "name": asset.name,
                    "kind": asset.kind,
                    "catalogue": asset.catalogue,
                    "size": asset.size.tolist(),
                    "elevation": asset.elevation,
                    "door": asset.door,
                    "vertices": (first_vertex, first_vertex + len(packed)),
                    "triangles": (first_triangle, first_triangle + len(mesh.triangles)),
                    "materials": [asdict(textures.material(material)) for material in mesh.materials],
                    "support": support,
                }
            )
            first_vertex, first_triangle = first_vertex + len(packed), first_triangle + len(mesh.triangles)
            vertices.append(packed)
            triangles.append(mesh.triangles)
    progress("textures")
    panoramas = [image for path in files["panoramas"] if (image := cv2.imread(str(path))) is not None]
    rng = np.random.default_rng(SPLITS.index(split))
    textures.add_surfaces(files["textures"], [panorama[..., ::-1] for panorama in panoramas], rng)
    if not panoramas:
        panoramas = [patterns.panorama(rng)[..., ::-1] for _ in range(_DRAWN_PANORAMAS)]
    size = panoramas[0].shape[1::-1]
    np.save(directory / "vertices.npy", np.concatenate(vertices) if vertices else np.empty(0, VERTEX))
    np.save(directory / "triangles.npy", np.concatenate(triangles) if triangles else np.empty((0, 3), np.int32))
    np.save(directory / "supports.npy", np.array(supports, np.float32))
    np.save(directory / "textures.npy", np.array(textures.pictures, np.uint8))
    np.save(directory / "panoramas.npy", np.array([cv2.resize(p, size)[..., ::-1] for p in panoramas], np.uint8))
    index = {"models": entries, "by_use": textures.by_use}
    (directory / "index.json").write_text(json.dumps(index), encoding="utf-8")


class _Textures:
    """Collects textures while a library is built."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []
        self.by_use: dict[str, list[int]] = {}
        self._known: dict[bytes, int] = {}

    def material(self, material: MeshMaterial) -> ModelMaterial:
        texture = -1 if material.texture is None else self._add(material.texture)
        return ModelMaterial(material.name, material.colour, texture, material.opacity, material.specular)

    def add_surfaces(self, paths: list[Path], panoramas: list[np.ndarray], rng: np.random.Generator) -> None:
        """Add photographs of surfaces, details of panoramas, and procedural textures."""
        for path in paths:
            image = cv2.imread(str(path))
            names = [name for name in _USES if path.stem.startswith(name)]
            if image is not None and names:
                side = min(image.shape[:2])
                self._add(image[:side, :side, ::-1], *_USES[max(names, key=len)])
        for _ in range(_PHOTOS if panoramas else 0):
            panorama = panoramas[rng.integers(len(panoramas))]
            height, width = panorama.shape[:2]
            side = int(rng.uniform(0.25, 0.8) * height)
            top = int(rng.uniform(0.1, 0.9) * (height - side))
            left = int(rng.uniform(0, width - side))
            self._add(panorama[top : top + side, left : left + side], "picture", "photo")
        for use, count in _DRAWN.items():
            for _ in range(count):
                self._add(patterns.draw(rng, use), use)

    def _add(self, picture: np.ndarray, *uses: str) -> int:
        smaller = max(picture.shape[:2]) > SIDE
        resized = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        index = self._known.setdefault(resized.tobytes(), len(self.pictures))
        if index == len(self.pictures):
            self.pictures.append(resized)
        for use in uses:
            self.by_use.setdefault(use, []).append(index)
        return index
