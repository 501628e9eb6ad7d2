"""Read binary glTF 2.0 files (GLB)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from .mesh import Mesh, MeshMaterial, decode_image, joined

_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES = 4
_GAMMA = 2.2


def read_glb(data: bytes) -> Mesh:
    """Read the mesh of all nodes of the scene, in glTF's coordinates: metres, y up, front towards +z.

    Raises:
        ValueError: If the file is not a GLB file or contains no triangles.
    """
    if data[:4] != b"glTF":
        raise ValueError("not a GLB file")
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size])
    reader = _Reader(document, data[28 + size :])
    scene = document["scenes"][document.get("scene", 0)]
    parts = [part for node in scene["nodes"] for part in reader.parts(node, np.eye(4))]
    if not parts:
        raise ValueError("no triangles")
    return joined(parts)


class _Reader:
    def __init__(self, document: dict[str, Any], binary: bytes) -> None:
        self._document, self._binary = document, binary
        self._images: dict[int, np.ndarray | None] = {}

    def parts(self, node: int, parent: np.ndarray) -> list[Mesh]:
        """Return the meshes of a node and its children, in the coordinates of the scene."""
        values = self._document["nodes"][node]
        matrix = parent @ _matrix(values)
        found = [part for child in values.get("children", []) for part in self.parts(child, matrix)]
        if "mesh" in values:
            primitives = self._document["meshes"][values["mesh"]]["primitives"]
            found += [self._mesh(p).transformed(matrix) for p in primitives if p.get("mode", _TRIANGLES) == _TRIANGLES]
        return found

    def _mesh(self, primitive: dict[str, Any]) -> Mesh:
        attributes = primitive["attributes"]
        position = self._array(attributes["POSITION"])
        count = len(position)

        def optional(name: str, width: int) -> np.ndarray:
            return self._array(attributes[name]) if name in attributes else np.zeros((count, width), np.float32)

        index = self._array(primitive["indices"]).ravel() if "indices" in primitive else np.arange(count)
        material = self._material(primitive.get("material"))
        return Mesh(
            position.astype(np.float32),
            optional("NORMAL", 3).astype(np.float32),
            optional("TEXCOORD_0", 2).astype(np.float32),
            np.zeros(count, np.int32),
            index.reshape(-1, 3).astype(np.int32),
            [material],
        )

    def _array(self, accessor: int) -> np.ndarray:
        """Return the values of an accessor, (count, width)."""
        values = self._document["accessors"][accessor]
        view = self._document["bufferViews"][values["bufferView"]]
        kind, width = np.dtype(_TYPES[values["componentType"]]), _WIDTHS[values["type"]]
        start = view.get("byteOffset", 0) + values.get("byteOffset", 0)
        stride = view.get("byteStride", kind.itemsize * width)
        shape, strides = (values["count"], width), (stride, kind.itemsize)
        array = np.ndarray(shape, kind, self._binary, start, strides)
        if values.get("normalized"):
            return array.astype(np.float32) / (2 ** (8 * kind.itemsize - (kind.kind == "i")) - 1)
        return array

    def _material(self, index: int | None) -> MeshMaterial:
        values = self._document["materials"][index] if index is not None else {}
        surface = values.get("pbrMetallicRoughness", {})
        red, green, blue, opacity = surface.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
        texture = self._texture(surface["baseColorTexture"]["index"]) if "baseColorTexture" in surface else None
        if texture is not None:
            colour = (1.0, 1.0, 1.0)
        else:  # colour factors are linear
            colour = (red ** (1 / _GAMMA), green ** (1 / _GAMMA), blue ** (1 / _GAMMA))
        opacity = opacity if values.get("alphaMode") == "BLEND" else 1.0
        return MeshMaterial(values.get("name", ""), colour, texture, opacity, 0.0)

    def _texture(self, index: int) -> np.ndarray | None:
        source = self._document["textures"][index]["source"]
        if source not in self._images:
            view = self._document["bufferViews"][self._document["images"][source]["bufferView"]]
            start = view.get("byteOffset", 0)
            self._images[source] = decode_image(self._binary[start : start + view["byteLength"]])
        return self._images[source]


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """Return the transform of a node, (4, 4)."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= node.get("scale", (1.0, 1.0, 1.0))
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix
