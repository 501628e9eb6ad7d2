"""Find and read models, textures and panoramas in folders of assets.

A folder can contain
- ``*.sh3f``: furniture catalogues of Sweet Home 3D, as Debian's package ``sweethome3d-furniture`` installs them,
- ``models/SET/*.glb``: models in metres; a ``MANIFEST.csv`` gives their category by name and set (source),
- ``textures/*.jpg``: textures, whose names begin with the kind of surface, such as ``brick_red.jpg``,
- ``panoramas/*.jpg``: panoramas of the surroundings, 360 x 180 degrees,
- ``LICENCES.md`` and ``models/SET/AUTHORS.csv``: see ``credits``.

The names of catalogues, sets of models, kinds of textures and panoramas decide which of them are held out for
validation.
"""

from __future__ import annotations

import csv
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .glb import read_glb
from .mesh import Mesh
from .obj import read_obj

FURNITURE = Path("/usr/share/sweethome3d/furniture")  # folder of Debian's and Ubuntu's package
_EXCLUDED_CATEGORIES = ("Exterior", "Vehicles", "Staircases")
_ROOM_CATEGORIES = ("furniture", "clutter", "plant", "person", "other")  # categories of models that rooms can contain
OUTDOOR = ("building", "vehicle", "street", "plant", "person")  # categories of models that streets can contain
_MAX_OBJ_BYTES = 6_000_000
_MAX_TRIANGLES = 20_000
_MAX_INDOOR_SIZE, _MAX_SIZE, _MIN_SIZE = 3.3, 50.0, 0.02  # of models in GLB files [m]
_MAX_ANISOTROPY = 8  # largest ratio of the scales along two axes, from the size in the file to that in the catalogue
# Converts y up and front +z to z up and front -y.
_UP = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)


@dataclass(frozen=True)
class Piece:
    """A piece of furniture or a small object, centred on x = y = 0 and standing on z = 0, with its front towards -y.

    Attributes:
        name: Name.
        kind: Category, such as "Kitchen".
        catalogue: Set of assets that it belongs to. Whole sets are held out.
        size: (3,) width, depth, height [m].
        elevation: Height above the floor at which it is mounted [m].
        door: Whether it is a door or a window.
    """

    name: str
    kind: str
    catalogue: str
    size: np.ndarray
    elevation: float
    door: bool


@dataclass(frozen=True)
class Asset(Piece):
    """A piece with its cleaned mesh."""

    mesh: Mesh


def chooser(split: str, held_out: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that says by name whether a set of assets belongs to a split.

    Sets that are held out belong to "validation", all other sets to "train".
    """
    return lambda name: (name in held_out) == (split == "validation")


def files(folders: Sequence[Path], chosen: Callable[[str], bool]) -> dict[str, list[Path]]:
    """Return the asset files of folders by type, for the sets whose names are chosen."""
    types = {
        "catalogues": ("*.sh3f", lambda path: path.stem),
        "models": ("models/*/*.glb", lambda path: path.parent.name),
        "textures": ("textures/*.jpg", texture_set),
        "panoramas": ("panoramas/*.jpg", lambda path: path.stem),
    }
    return {
        kind: [path for folder in folders for path in sorted(folder.glob(pattern)) if chosen(name(path))]
        for kind, (pattern, name) in types.items()
    }


def texture_set(path: Path) -> str:
    """Return the set of a texture, which is the first word of its name."""
    return path.stem.partition("_")[0]


def read_catalogue(path: Path) -> Iterator[Asset]:
    """Read the models of a furniture catalogue that are suitable for rooms. Unreadable models are skipped."""
    with zipfile.ZipFile(path) as archive:
        for entry in catalogue_entries(archive):
            asset = _catalogue_asset(archive, entry, path.stem)
            if asset is not None:
                yield asset


def catalogue_entries(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    """Return the catalogue's properties of each model."""
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin1")
    found: dict[int, dict[str, str]] = {}
    for key, number, value in re.findall(r"^([a-zA-Z]+)#(\d+)[ \t]*=[ \t]*(.*?)[ \t]*\r?$", text, re.MULTILINE):
        found.setdefault(int(number), {})[key] = value
    return [found[number] for number in sorted(found)]


def _catalogue_asset(archive: zipfile.ZipFile, entry: dict[str, str], catalogue: str) -> Asset | None:
    name, kind, model = entry.get("name", ""), entry.get("category", ""), entry.get("model", "").lstrip("/")
    door = entry.get("doorOrWindow") == "true"
    if kind in _EXCLUDED_CATEGORIES or (kind == "Doors and windows" and "oor" not in name):
        return None
    folder = posixpath.dirname(model)

    def load(file: str) -> bytes:
        try:
            return archive.read(posixpath.join(folder, file.replace("\\", "/")))
        except KeyError:
            return b""

    try:
        size = np.array([float(entry[key]) / 100 for key in ("width", "depth", "height")])
        if archive.getinfo(model).file_size > _MAX_OBJ_BYTES:
            return None
        mesh = read_obj(archive.read(model).decode("latin1"), load)
    except (KeyError, ValueError, IndexError):
        return None
    matrix = _UP.copy()
    if rotation := entry.get("modelRotation"):
        matrix[:3, :3] = _UP[:3, :3] @ np.array([float(x) for x in rotation.split()]).reshape(3, 3)
    elevation = float(entry.get("elevation") or 0) / 100
    return _fit_to_size(Asset(name, kind, catalogue, size, elevation, door, mesh.transformed(matrix)))


def read_models(paths: Sequence[Path]) -> Iterator[Asset]:
    """Read the models of GLB files that are suitable for rooms or streets. Unreadable models are skipped."""
    categories: dict[Path, dict[tuple[str, str], str]] = {}
    for path in paths:
        root = path.parents[2]
        if root not in categories:
            categories[root] = _categories(root / "MANIFEST.csv")
        kind = categories[root].get((path.parent.name, path.stem), "furniture" if not categories[root] else "")
        if kind not in {*_ROOM_CATEGORIES, *OUTDOOR}:
            continue
        try:
            mesh = read_glb(path.read_bytes()).transformed(_UP)
        except (ValueError, KeyError, IndexError):
            continue
        low, high = mesh.bounds()
        size = (high - low).astype(float)
        if _MIN_SIZE <= size.max() <= (_MAX_SIZE if kind in OUTDOOR else _MAX_INDOOR_SIZE):
            asset = _fit_to_size(Asset(path.stem, kind, path.parent.name, size, 0.0, False, mesh))
            if asset is not None:
                yield asset


def _categories(manifest: Path) -> dict[tuple[str, str], str]:
    """Read the categories of models by set and name."""
    if not manifest.is_file():
        return {}
    with manifest.open(encoding="utf-8", newline="") as file:
        return {(row["source"], row["name"]): row["category"] for row in csv.DictReader(file)}


def _fit_to_size(asset: Asset) -> Asset | None:
    """Move and scale the mesh of an asset to its size. Return None if it does not fit or is too large."""
    mesh = asset.mesh
    if not 0 < len(mesh.triangles) <= _MAX_TRIANGLES:
        return None
    low, high = mesh.bounds()
    scale = asset.size / np.maximum(high - low, 1e-6)
    thin = asset.size < 1e-3 * asset.size.max()  # a flat model has no thickness that could be scaled
    if np.ptp(np.log(scale[~thin])) > np.log(_MAX_ANISOTROPY):
        return None
    scale[thin] = 1.0
    matrix = np.diag([*scale, 1.0])
    matrix[:3, 3] = -scale * [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    mesh = mesh.transformed(matrix).cleaned()
    if not len(mesh.triangles):
        return None
    return Asset(asset.name, asset.kind, asset.catalogue, asset.size, asset.elevation, asset.door, mesh)
