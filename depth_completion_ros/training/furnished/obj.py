"""Read Wavefront OBJ files with their materials."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .mesh import Mesh, MeshMaterial, decode_image

_FLIP = np.array([1, -1], np.float32)  # OBJ texture coordinates start at the lower left corner
_NO_MATERIAL = MeshMaterial("", (0.6, 0.6, 0.6), None, 1.0, 0.0)


def read_obj(text: str, load: Callable[[str], bytes]) -> Mesh:
    """Read the mesh of an OBJ file in the units and axes of the file.

    Args:
        text: Content of the file.
        load: Returns the content of another file by name, such as a material library or a texture; b"" if it does not
            exist.

    Raises:
        ValueError: If the file is invalid.
        IndexError: If the file is invalid.
    """
    numbers: dict[str, list[str]] = {"v": [], "vt": [], "vn": []}
    known: dict[str, MeshMaterial] = {}
    names: list[str] = []
    vertices: list[dict[str, int]] = []  # for each material, the corners "v/vt/vn" and their number
    faces: list[list[tuple[int, int, int]]] = []
    current = -1
    for line in text.splitlines():
        key, _, rest = line.strip().partition(" ")
        if key in numbers:
            numbers[key].append(rest)
        elif key == "f":
            if current < 0:
                names.append("")
                vertices.append({})
                faces.append([])
                current = 0
            index = vertices[current]
            corners = rest.split()
            if "-" in rest:
                corners = [_absolute(corner, numbers) for corner in corners]
            found = [index.setdefault(corner, len(index)) for corner in corners]
            faces[current] += [(found[0], found[k], found[k + 1]) for k in range(1, len(found) - 1)]
        elif key == "usemtl":
            name = rest.strip()
            if name not in names:
                names.append(name)
                vertices.append({})
                faces.append([])
            current = names.index(name)
        elif key == "mtllib":
            known |= _read_mtl(load(rest.strip()).decode("latin1"), load)
    corners = [corner for index in vertices for corner in index]
    v, vt, vn = _indices(corners)
    first = np.cumsum([0, *(len(index) for index in vertices)])
    triangles = [np.array(f, np.int32).reshape(-1, 3) + start for f, start in zip(faces, first, strict=False)]
    return Mesh(
        _rows(numbers["v"], 3)[v],
        _optional(numbers["vn"], 3, vn),
        _optional(numbers["vt"], 2, vt) * _FLIP + (0, 1),
        np.repeat(np.arange(len(vertices)), [len(index) for index in vertices]).astype(np.int32),
        np.concatenate(triangles).astype(np.int32),
        [known.get(name, _NO_MATERIAL) for name in names],
    )


def _absolute(corner: str, numbers: dict[str, list[str]]) -> str:
    """Return a corner in which positive indices replace negative indices, which count from the end."""
    parts = zip(corner.split("/"), ("v", "vt", "vn"), strict=False)
    return "/".join(str(len(numbers[key]) + 1 + int(part)) if part.startswith("-") else part for part, key in parts)


def _indices(corners: list[str]) -> np.ndarray:
    """Return the indices of position, texture coordinates and normal, (3, n); -1 = none."""
    parts = [[*corner.split("/"), "", ""][:3] for corner in corners]
    return np.array([[int(part or 0) - 1 for part in corner] for corner in parts], np.int64).reshape(-1, 3).T


def _rows(lines: list[str], width: int) -> np.ndarray:
    """Return the first ``width`` numbers of each line, (n, width) float32."""
    return np.array([line.split()[:width] for line in lines], np.float32).reshape(-1, width)


def _optional(lines: list[str], width: int, index: np.ndarray) -> np.ndarray:
    """Return the rows with these indices; zeros for the index -1."""
    return np.concatenate([_rows(lines, width), np.zeros((1, width), np.float32)])[index]


def _read_mtl(text: str, load: Callable[[str], bytes]) -> dict[str, MeshMaterial]:
    """Read the materials of a library by name. A texture replaces the colour."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        key, _, rest = line.strip().partition(" ")
        if key == "newmtl":
            found[rest.strip()] = {}
        elif found:
            found[next(reversed(found))][key] = rest.strip()
    return {name: _material(name, values, load) for name, values in found.items()}


def _material(name: str, values: dict[str, str], load: Callable[[str], bytes]) -> MeshMaterial:
    def numbers(key: str, default: list[float]) -> list[float]:
        try:
            return [float(part) for part in values[key].split()]
        except (KeyError, ValueError):
            return default

    texture = decode_image(load(values["map_Kd"].split()[-1])) if values.get("map_Kd") else None
    red, green, blue = (numbers("Kd", []) + [0.6] * 3)[:3] if texture is None else (1.0, 1.0, 1.0)
    opacity = numbers("d", [1 - numbers("Tr", [0.0])[0]])[0]
    return MeshMaterial(name, (red, green, blue), texture, opacity, float(np.mean(numbers("Ks", [0.0]))))
