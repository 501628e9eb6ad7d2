"""Finds and reads models, textures and panoramas in folders of assets.

A folder may hold
- ``*.sh3f``: furniture catalogues of Sweet Home 3D, as Debian's package ``sweethome3d-furniture`` installs them,
- ``models/SET/*.glb``: models in metres; a ``MANIFEST.csv`` gives their category by name and set (source),
- ``textures/*.jpg``: surfaces, whose names begin with what they show, such as ``brick_red.jpg``,
- ``panoramas/*.jpg``: surroundings over 360 x 180 degrees,
- ``LICENCES.md`` and ``models/SET/AUTHORS.csv``: see ``credits``.

Catalogues, sets of models, kinds of textures and panoramas are held out for validation by their names.
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

FURNITURE = Path("/usr/share/sweethome3d/furniture")  # of Debian's and Ubuntu's package
_LEFT_OUT = ("Exterior", "Vehicles", "Staircases")
_INDOOR = ("furniture", "clutter", "plant", "person", "other")  # categories of models that may stand in rooms
OUTDOOR = ("building", "vehicle", "street", "plant", "person")  # and of those that may stand in streets
_LARGEST_FILE = 6_000_000  # bytes of an OBJ file
_MOST_TRIANGLES = 20_000
_LARGEST_INDOOR, _LARGEST, _SMALLEST = 3.3, 50.0, 0.02  # models that are taken from GLB files [m]
_MOST_STRETCH = 8  # between the axes, from a file's own size to that of the catalogue
_UP = np.array(
    [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float
)  # from y up, front +z to z up, front -y


@dataclass(frozen=True)
class Piece:
    """A piece of furniture or a small thing, centred on x = y = 0 and standing on z = 0, front to -y.

    Attributes:
        name: Its name.
        kind: Category, such as "Kitchen".
        catalogue: The set of assets that it belongs to, which is held out as a whole.
        size: (3,) width, depth, height [m].
        elevation: Height at which it hangs [m].
        door: Whether it belongs into a wall.
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
    """Whether a set of assets belongs to a split, by its name: those that are held out are for validation alone."""
    return lambda name: (name in held_out) == (split == "validation")


def files(folders: Sequence[Path], chosen: Callable[[str], bool]) -> dict[str, list[Path]]:
    """Asset files of folders by their sort, of those sets that are chosen by name."""
    sorts = {
        "catalogues": ("*.sh3f", lambda path: path.stem),
        "models": ("models/*/*.glb", lambda path: path.parent.name),
        "textures": ("textures/*.jpg", texture_set),
        "panoramas": ("panoramas/*.jpg", lambda path: path.stem),
    }
    return {
        sort: [path for folder in folders for path in sorted(folder.glob(pattern)) if chosen(name(path))]
        for sort, (pattern, name) in sorts.items()
    }


def texture_set(path: Path) -> str:
    """What a texture is held out by: the first word of its name."""
    return path.stem.partition("_")[0]


def read_catalogue(path: Path) -> Iterator[Asset]:
    """Models of a furniture catalogue that suit rooms. Those that cannot be read are left out."""
    with zipfile.ZipFile(path) as archive:
        for entry in catalogue_entries(archive):
            asset = _catalogue_asset(archive, entry, path.stem)
            if asset is not None:
                yield asset


def catalogue_entries(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    """The catalogue's properties of each model."""
    text = archive.read("PluginFurnitureCatalog.properties").decode("latin1")
    found: dict[int, dict[str, str]] = {}
    for key, number, value in re.findall(r"^([a-zA-Z]+)#(\d+)[ \t]*=[ \t]*(.*?)[ \t]*\r?$", text, re.MULTILINE):
        found.setdefault(int(number), {})[key] = value
    return [found[number] for number in sorted(found)]


def _catalogue_asset(archive: zipfile.ZipFile, entry: dict[str, str], catalogue: str) -> Asset | None:
    name, kind, model = entry.get("name", ""), entry.get("category", ""), entry.get("model", "").lstrip("/")
    door = entry.get("doorOrWindow") == "true"
    if kind in _LEFT_OUT or (kind == "Doors and windows" and "oor" not in name):
        return None
    folder = posixpath.dirname(model)

    def load(file: str) -> bytes:
        try:
            return archive.read(posixpath.join(folder, file.replace("\\", "/")))
        except KeyError:
            return b""

    try:
        size = np.array([float(entry[key]) / 100 for key in ("width", "depth", "height")])
        if archive.getinfo(model).file_size > _LARGEST_FILE:
            return None
        mesh = read_obj(archive.read(model).decode("latin1"), load)
    except (KeyError, ValueError, IndexError):
        return None
    matrix = _UP.copy()
    if rotation := entry.get("modelRotation"):
        matrix[:3, :3] = _UP[:3, :3] @ np.array([float(x) for x in rotation.split()]).reshape(3, 3)
    elevation = float(entry.get("elevation") or 0) / 100
    return _finished(Asset(name, kind, catalogue, size, elevation, door, mesh.transformed(matrix)))


def read_models(paths: Sequence[Path]) -> Iterator[Asset]:
    """Models of GLB files that may stand in rooms or streets. Those that cannot be read are left out."""
    categories: dict[Path, dict[tuple[str, str], str]] = {}
    for path in paths:
        root = path.parents[2]
        if root not in categories:
            categories[root] = _categories(root / "MANIFEST.csv")
        kind = categories[root].get((path.parent.name, path.stem), "furniture" if not categories[root] else "")
        if kind not in {*_INDOOR, *OUTDOOR}:
            continue
        try:
            mesh = read_glb(path.read_bytes()).transformed(_UP)
        except (ValueError, KeyError, IndexError):
            continue
        low, high = mesh.bounds()
        size = (high - low).astype(float)
        if _SMALLEST <= size.max() <= (_LARGEST if kind in OUTDOOR else _LARGEST_INDOOR):
            asset = _finished(Asset(path.stem, kind, path.parent.name, size, 0.0, False, mesh))
            if asset is not None:
                yield asset


def _categories(manifest: Path) -> dict[tuple[str, str], str]:
    """Categories by set and name."""
    if not manifest.is_file():
        return {}
    with manifest.open(encoding="utf-8", newline="") as file:
        return {(row["source"], row["name"]): row["category"] for row in csv.DictReader(file)}


def _finished(asset: Asset) -> Asset | None:
    """The asset with its mesh moved and scaled to its size; None where that does not fit, or the mesh is too large."""
    mesh = asset.mesh
    if not 0 < len(mesh.triangles) <= _MOST_TRIANGLES:
        return None
    low, high = mesh.bounds()
    stretch = asset.size / np.maximum(high - low, 1e-6)
    thin = asset.size < 1e-3 * asset.size.max()  # a flat model has no thickness to stretch
    if np.ptp(np.log(stretch[~thin])) > np.log(_MOST_STRETCH):
        return None
    stretch[thin] = 1.0
    matrix = np.diag([*stretch, 1.0])
    matrix[:3, 3] = -stretch * [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
    mesh = mesh.transformed(matrix).cleaned()
    if not len(mesh.triangles):
        return None
    return Asset(asset.name, asset.kind, asset.catalogue, asset.size, asset.elevation, asset.door, mesh)
