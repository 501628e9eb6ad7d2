"""Furnished scenes: labels are exact, frames depend only on the seed, and assets are held out."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("moderngl", reason="furnished scenes need the extra `scenes`")

import torch

from depth_completion_ros.bag.folders import read_folder
from depth_completion_ros.cli import main
from depth_completion_ros.errors import ConfigurationError
from depth_completion_ros.geometry import back_project, moved, project_points
from depth_completion_ros.training.furnished import library as library_module
from depth_completion_ros.training.furnished.assets import read_catalogue
from depth_completion_ros.training.furnished.builder import Builder
from depth_completion_ros.training.furnished.camera import Camera, View, look_at
from depth_completion_ros.training.furnished.drawing import open_context
from depth_completion_ros.training.furnished.glb import read_glb
from depth_completion_ros.training.furnished.library import Library, library_directory
from depth_completion_ros.training.furnished.make import render_views
from depth_completion_ros.training.furnished.obj import read_obj
from depth_completion_ros.training.furnished.photo import photograph
from depth_completion_ros.training.furnished.renderer import Renderer
from depth_completion_ros.training.furnished.rooms import SHARES, RoomMaker
from depth_completion_ros.training.furnished.scene import Light
from depth_completion_ros.training.furnished.support import support_surfaces
from depth_completion_ros.training.pool import PoolInfo, ScenePool, frame_path, prepare_pool, write_frame
from depth_completion_ros.training.recipe import read_recipe, read_splits
from depth_completion_ros.training.scene_batch import Material
from depth_completion_ros.training.sources import open_pools, open_sources

HEIGHT, WIDTH = 96, 128
TABLE = (1.2, 0.8, 0.75)  # width, depth, height [m]


def opengl() -> str:
    """Return why OpenGL is not available; empty if it is available."""
    try:
        open_context().release()
    except ConfigurationError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(reason := opengl()), reason=reason or "there is OpenGL")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Use one thread of llvmpipe and few procedural textures, so that the tests are fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LP_NUM_THREADS", "1")
        patch.setattr(library_module, "_DRAWN", dict.fromkeys(library_module._DRAWN, 2))
        yield


def box_obj(low: tuple[float, ...], high: tuple[float, ...], first: int) -> str:
    """Return a box in the OBJ format. first: number of its first vertex."""
    corners = [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    faces = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    lines = [f"v {x} {y} {z}" for x, y, z in corners]
    lines += ["f " + " ".join(str(first + k) for k in face) for face in faces]
    return "\n".join(lines) + "\n"


# A table in inches, with y up: a top of wood on two legs of metal, and a pane on it.
TABLE_OBJ = (
    "mtllib table.mtl\nusemtl wood\n"
    + box_obj((-24, 28, -16), (24, 30, 16), 1)
    + "usemtl chrome\n"
    + box_obj((-20, 0, -2), (-18, 28, 2), 9)
    + box_obj((18, 0, -2), (20, 28, 2), 17)
)
TABLE_MTL = "newmtl wood\nKd 0.6 0.4 0.2\nnewmtl chrome\nKd 0.8 0.8 0.8\nKs 1 1 1\n"
CUP_OBJ = "mtllib cup.mtl\nusemtl clear glass\n" + box_obj((-2, 0, -2), (2, 5, 2), 1)
CUP_MTL = "newmtl clear glass\nKd 0.9 0.9 0.9\nd 0.3\n"


def write_catalogue(path: Path, name: str) -> None:
    """Write a furniture catalogue with a table and a cup."""
    models = {"table": (TABLE_OBJ, TABLE_MTL, TABLE), "cup": (CUP_OBJ, CUP_MTL, (0.08, 0.08, 0.1))}
    lines = [f"name={name}", "license=CC BY 3.0"]
    with zipfile.ZipFile(path, "w") as archive:
        for number, (model, (obj, mtl, size)) in enumerate(models.items(), 1):
            archive.writestr(f"{model}/{model}.obj", obj)
            archive.writestr(f"{model}/{model}.mtl", mtl)
            values = {
                "name": model.title(),
                "category": "Kitchen",
                "model": f"/{model}/{model}.obj",
                "doorOrWindow": "false",
                "creator": f"{name} & Friends",
                **dict(zip(("width", "depth", "height"), (100 * s for s in size), strict=True)),
            }
            lines += [f"{key}#{number}={value}" for key, value in values.items()]
        archive.writestr("PluginFurnitureCatalog.properties", "\n".join(lines))


@pytest.fixture(scope="module")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two catalogues, of which one is held out."""
    folder = tmp_path_factory.mktemp("furniture")
    for name in ("Carpenter", "KatorLegaz"):
        write_catalogue(folder / f"{name}.sh3f", name)
    return folder


@pytest.fixture(scope="module")
def library(furniture: Path, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(library_directory([furniture], tmp_path_factory.mktemp("cache"), "train", ["KatorLegaz"]))


@pytest.fixture(scope="module")
def renderer(library: Library) -> Renderer:
    return Renderer(library.textures, library.panoramas, HEIGHT, WIDTH)


@pytest.fixture
def build(library: Library) -> Builder:
    """Return the builder of an empty scene with one lamp."""
    builder = Builder(library, np.random.default_rng(0))
    builder.scene.lights = [Light(np.array([0.3, -1.0, 2.0]), np.full(3, 4.0))]
    builder.scene.low, builder.scene.high = np.full(3, -5.0), np.full(3, 5.0)
    return builder


def level_camera(fx: float = 100.0, fy: float = 110.0, cx: float = 60.0, cy: float = 50.0) -> Camera:
    """Return a camera at the origin that looks along +y."""
    return Camera(np.zeros(3), look_at(np.zeros(3), np.array([0.0, 1.0, 0.0])), (fx, fy, cx, cy))


def seen(renderer: Renderer, build: Builder, camera: Camera) -> View:
    renderer.show(build.scene)
    return renderer.render(camera)


def rays(camera: Camera) -> np.ndarray:
    """Return the directions of pixels in the world, with length 1 along the optical axis, (H, W, 3)."""
    fx, fy, cx, cy = camera.intrinsics
    x, y = np.meshgrid((np.arange(WIDTH) - cx) / fx, (np.arange(HEIGHT) - cy) / fy)
    return np.stack([x, y, np.ones_like(x)], -1) @ camera.rotation


def test_depth_of_a_tilted_plane_is_exact(renderer: Renderer, build: Builder) -> None:
    """Depth at each pixel's centre and the normal are exact for a tilted camera with a roll."""
    build.quad((-20, -20, -1.5), (40, 0, 0), (0, 40, 0), build.flat("floor"))
    camera = Camera(np.array([0.2, 0.1, 0.4]), look_at(np.zeros(3), np.array([1.0, 2.0, -3.0]), 0.2), (90, 95, 66, 44))
    view = seen(renderer, build, camera)
    expected = (-1.5 - camera.eye[2]) / rays(camera)[..., 2]
    np.testing.assert_allclose(view.depth, expected, rtol=2e-5)
    normal = camera.rotation @ np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(view.normals, np.broadcast_to(normal, view.normals.shape), atol=0.02)
    assert (view.material == Material.MATTE).mean() > 0.99 or (view.material != Material.SKY).all()


def test_a_box_is_projected_according_to_the_intrinsics(renderer: Renderer, build: Builder) -> None:
    """Its front covers exactly the pixels of the pinhole projection."""
    build.box((0.1, 2.0, -0.05), (0.4, 0.25, 0.3), 0.0, build.flat("wood"))
    camera = level_camera()
    fx, fy, cx, cy = camera.intrinsics
    view = seen(renderer, build, camera)
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    x, z = (u - cx) / fx * 1.75, -(v - cy) / fy * 1.75  # on the plane of the front
    inside = (np.abs(x - 0.1) < 0.4) & (np.abs(z + 0.05) < 0.3)
    front = np.abs(view.depth - 1.75) < 1e-4
    assert (front == inside).mean() > 0.998  # pixels on the edge may belong to either side
    assert (view.depth[~inside & ~front] == 0).mean() > 0.9  # except for the sides of the box
    assert (view.material[view.depth == 0] == Material.SKY).all()


def test_glass_shows_the_surface_behind_it(renderer: Renderer, build: Builder) -> None:
    """A pane has a label and its own depth, and the image and ``behind`` show the wall behind it."""
    wall = build.scene.material((0.9, 0.1, 0.1))
    build.quad((-3, 3, -3), (6, 0, 0), (0, 0, 6), wall)
    bare = seen(renderer, build, level_camera())
    build.quad((-3, 1.5, -3), (3, 0, 0), (0, 0, 6), build.glass())
    view = seen(renderer, build, level_camera())
    pane = view.material == Material.GLASS
    np.testing.assert_array_equal(pane, np.arange(WIDTH)[None].repeat(HEIGHT, 0) < 60)
    np.testing.assert_allclose(view.depth, np.where(pane, 1.5, 3.0), rtol=1e-5)
    np.testing.assert_allclose(view.behind, 3.0, rtol=1e-5)
    through, around = view.light[pane], bare.light[pane]
    assert (through[:, 0] > 2 * through[:, 1]).mean() > 0.9  # still red
    assert 0.3 < through.mean() / around.mean() < 1.1


def test_depth_behind_a_mirror_includes_the_reflected_ray(renderer: Renderer, build: Builder) -> None:
    """``behind`` is the distance to the mirror plus the distance to the reflected surface, a wall behind the camera."""
    build.quad((3, -2, -3), (-6, 0, 0), (0, 0, 6), build.scene.material((0.1, 0.9, 0.1)))
    build.flat_mirror((-1, 2, -1), (2, 0, 0), (0, 0, 2))
    view = seen(renderer, build, level_camera())
    mirror = view.material == Material.MIRROR
    assert 0.3 < mirror.mean() < 1
    np.testing.assert_allclose(view.depth[mirror], 2.0, rtol=1e-5)
    np.testing.assert_allclose(view.behind[mirror], 2.0 + 4.0, rtol=1e-5)
    inner = cv2.erode(mirror.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (view.light[inner, 1] > 2 * view.light[inner, 0]).all()  # the green wall


def test_surfaces_are_dark_where_the_lamp_is_hidden(renderer: Renderer, build: Builder) -> None:
    """The floor under a board is darker than the floor beside it."""
    build.quad((-4, 0, -1), (8, 0, 0), (0, 8, 0), build.scene.material((0.8, 0.8, 0.8)))
    build.scene.lights = [Light(np.array([0.0, 3.0, 3.0]), np.full(3, 10.0))]
    build.scene.ambient = build.scene.sky = np.full(3, 0.01)
    open_floor = seen(renderer, build, level_camera(fx=80, fy=80, cy=20)).light
    build.box((0.0, 3.0, 0.5), (0.5, 0.5, 0.02), 0.0, build.scene.material((0.5, 0.5, 0.5)))
    shaded = seen(renderer, build, level_camera(fx=80, fy=80, cy=20))
    below, beside = (47, 60), (47, 113)  # row and column of the floor below the board, and two metres from there
    assert shaded.depth[below] == pytest.approx(3.0, abs=0.1)
    assert shaded.light[below].mean() < 0.4 * open_floor[below].mean()
    assert shaded.light[beside].mean() > 0.8 * open_floor[beside].mean()


@pytest.mark.parametrize("kind", SHARES)
def test_rooms_of_every_kind_can_be_rendered(kind: str, library: Library, renderer: Renderer) -> None:
    """Labels have the ranges of a ``SceneBatch``, even if the library has few models."""
    rng = np.random.default_rng(3)
    room = RoomMaker(library).make(rng, kind)
    renderer.show(room.scene)
    width, length, height = room.size
    eye = np.array([0.3, 0.3, min(1.5, height - 0.3)])
    camera = Camera(eye, look_at(eye, np.array([width, length, 0.5])), (90.0, 90.0, 63.5, 47.5))
    view = renderer.render(camera)
    assert np.isfinite(view.light).all()
    there = view.depth > 0
    assert there.mean() > 0.5
    np.testing.assert_array_equal(there, view.material != Material.SKY)
    np.testing.assert_allclose(np.linalg.norm(view.normals[there], axis=1), 1, atol=0.02)
    towards = (view.normals * (rays(camera) @ camera.rotation.T)).sum(-1)
    assert (towards[there] < 0.05).mean() > 0.99
    clear = np.isin(view.material, (Material.GLASS, Material.MIRROR))
    np.testing.assert_array_equal(view.behind[~clear], view.depth[~clear])
    assert view.reflectance.min() >= 0 and view.reflectance.max() <= 1


def test_the_same_seed_gives_the_same_frames(library: Library, renderer: Renderer) -> None:
    first, again, other = (
        render_views(RoomMaker(library), renderer, seeds, 1)[0] for seeds in ([5, 0], [5, 0], [6, 0])
    )
    for name in ("image", "depth", "behind", "normals", "reflectance", "material", "intrinsics"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.depth, other.depth)


def test_the_command_writes_a_pool_that_training_reads(
    furniture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pool has the requested frames, and a second call with more frames keeps the existing frames."""
    pool, arguments = tmp_path / "pool", ["--furniture", str(furniture), "--cache", str(tmp_path / "cache")]
    arguments += ["--out", str(pool), "--size", f"{WIDTH}x{HEIGHT}"]
    assert main(["scenes", "furnished", *arguments, "--frames", "2"]) == 0
    before = {path.name: path.stat().st_mtime_ns for path in pool.glob("*.npz")}
    sheet = tmp_path / "sheet.jpg"
    assert main(["scenes", "furnished", *arguments, "--frames", "3", "--sheet", str(sheet)]) == 0
    assert {name: (pool / name).stat().st_mtime_ns for name in before} == before
    assert cv2.imread(str(sheet)).shape == (2 * 120, 3 * 160, 3)
    opened = ScenePool(pool)
    assert len(opened) == 3
    assert any("Carpenter" in line and "Friends" in line for line in opened.info.credits)
    assert not any("KatorLegaz" in line for line in opened.info.credits)
    changes = ["sources={synthetic: 0.5, clean: 0.5}", "crop=64", "hiding={points: 1.0}"]
    recipe, splits, cpu = read_recipe("planes", changes), read_splits(), torch.device("cpu")
    sources, contents = open_sources(recipe, splits, [], [pool], tmp_path, cpu)
    choices, noise = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    for source in sources.values():
        batch = source(2, choices, noise)
        assert batch.image.shape == (2, 3, 64, 64) and (batch.target > 0).any()
    assert "3 furnished rooms" in contents[0] and "Carpenter" in contents[1]  # as the model card lists them
    with pytest.raises(ConfigurationError, match="give it with --scenes"):
        open_pools([pool], "validation")


def test_sequences_have_poses_that_fit_their_true_depth(furniture: Path, tmp_path: Path) -> None:
    arguments = ["--furniture", str(furniture), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "moving")]
    arguments += ["--sequences", "1", "--frames", "5", "--rate", "5", "--size", f"{WIDTH}x{HEIGHT}", "--seed", "3"]
    assert main(["scenes", "sequences", *arguments]) == 0
    first, *_, last = [recorded for recorded in read_folder(tmp_path / "moving" / "0000")]
    assert [f.frame.stamp_ns for f in (first, last)] == [1_000_000_000, 1_800_000_000]
    motion = np.linalg.inv(last.frame.camera_pose) @ first.frame.camera_pose
    assert 0.1 < np.linalg.norm(motion[:3, 3]) < 0.5, "0.3 m/s"
    points = back_project(first.ground_truth, first.frame.intrinsics)
    seen = project_points(moved(points, motion), last.frame.intrinsics)
    both = np.isfinite(seen) & np.isfinite(last.ground_truth)
    assert both.mean() > 0.3
    assert np.median(np.abs(seen - last.ground_truth)[both]) < 0.01, "the rest is hidden, or at edges"
    measured = np.isfinite(first.frame.depth) & np.isfinite(first.ground_truth)
    assert measured.mean() > 0.3
    assert np.median(np.abs(first.frame.depth - first.ground_truth)[measured]) < 0.05, "noise of the sensor"


def test_held_out_catalogues_are_used_only_for_validation(furniture: Path, tmp_path: Path) -> None:
    catalogues = {
        split: {
            model.catalogue for model in Library(library_directory([furniture], tmp_path, split, ["KatorLegaz"])).models
        }
        for split in ("train", "validation")
    }
    assert catalogues == {"train": {"Carpenter"}, "validation": {"KatorLegaz"}}
    with pytest.raises(ConfigurationError, match="sweethome3d-furniture"):
        library_directory([furniture], tmp_path, "validation", [])


def test_models_of_catalogues_have_their_real_size(furniture: Path) -> None:
    """Inches become metres, y up becomes z up, and objects can stand on the table's top."""
    table, cup = read_catalogue(furniture / "Carpenter.sh3f")
    low, high = table.mesh.bounds()
    np.testing.assert_allclose(high - low, TABLE, rtol=1e-5)
    np.testing.assert_allclose(low[2], 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(table.mesh.normal, axis=1), 1, atol=0.02)
    assert [m.name for m in table.mesh.materials] == ["wood", "chrome"]
    assert cup.mesh.materials[0].opacity == 0.3
    heights, room = support_surfaces(table.mesh.position, table.mesh.triangles, table.size)
    np.testing.assert_allclose(heights[0], TABLE[2], rtol=1e-5)
    assert (room[0] > 1).all()
    assert np.isfinite(heights[1:]).mean() < 0.05  # only at the legs


def box_glb(size: tuple[float, float, float]) -> bytes:
    """Return a GLB file of a box. size: width, depth, height [m]."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    corners *= np.array([size[0], size[2], size[1]], np.float32)  # y up
    faces = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    triangles = faces[:, [0, 1, 2, 0, 2, 3]].reshape(-1).astype(np.uint16)
    binary = corners.tobytes() + triangles.tobytes()
    document = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(corners), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": len(triangles), "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": corners.nbytes},
            {"buffer": 0, "byteOffset": corners.nbytes, "byteLength": triangles.nbytes},
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return header + chunks


def test_streets_have_buildings_and_vehicles_and_rooms_have_none(tmp_path: Path) -> None:
    models = {"bus": ("vehicle", (2.7, 12.0, 3.5)), "house": ("building", (10.0, 8.0, 6.0))}
    models |= {"sign": ("street", (0.5, 0.1, 2.0)), "walker": ("person", (0.5, 0.5, 1.7))}
    models |= {"desk": ("furniture", (1.2, 0.7, 0.8)), "ship": ("furniture", (20.0, 5.0, 5.0))}
    folder = tmp_path / "assets" / "models" / "town"
    folder.mkdir(parents=True)
    for name, (_, size) in models.items():
        (folder / f"{name}.glb").write_bytes(box_glb(size))
    lines = ["name,source,category", *(f"{name},town,{category}" for name, (category, _) in models.items())]
    (tmp_path / "assets" / "MANIFEST.csv").write_text("\n".join(lines), encoding="utf-8")
    town = Library(library_directory([tmp_path / "assets"], tmp_path / "cache", "train", []))
    assert {model.name for model in town.models} == set(models) - {"ship"}, "larger than a room"

    def placed(kind: str) -> set[str]:
        """Return the names of the models in a few scenes, which are identified by their sizes."""
        names = set()
        for seed in range(6):
            for part in RoomMaker(town).make(np.random.default_rng(seed), kind).scene.parts:
                extent = np.sort(np.ptp(part.vertices["position"], axis=0))
                names |= {n for n, (_, size) in models.items() if np.allclose(extent, sorted(size), atol=0.06)}
        return names

    assert {"bus", "sign", "walker"} <= placed("street")
    assert "desk" not in placed("street")
    assert "desk" in placed("office")
    assert not {"bus", "house", "sign"} & placed("office")


def test_clearance_of_a_support_surface_ends_at_the_surface_above() -> None:
    """The shelf has two boards, half a metre apart."""
    boards = read_obj(box_obj((-1, -1, 0), (1, 1, 0.02), 1) + box_obj((-1, -1, 0.5), (1, 1, 0.52), 9), lambda name: b"")
    heights, room = support_surfaces(boards.position, boards.triangles, np.array([2.0, 2.0, 0.52]))
    np.testing.assert_allclose(heights[1], 0.02, atol=1e-6)
    np.testing.assert_allclose(room[1], 0.48, atol=1e-6)


def test_glb_files_are_read(tmp_path: Path) -> None:
    """The file has a textured triangle and a node that scales and moves it."""
    position = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    index = np.array([0, 1, 2, 0], np.uint16)
    picture = cv2.imencode(".png", np.full((4, 4, 3), (10, 20, 30), np.uint8))[1].tobytes()
    binary = position.tobytes() + uv.tobytes() + index.tobytes() + picture
    views = [(0, 36), (36, 24), (60, 6), (68, len(picture))]
    document = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [2, 2, 2], "translation": [0, 0, 5]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"name": "m", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 3}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 3, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [{"byteOffset": start, "byteLength": length} for start, length in views],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    data = b"glTF" + struct.pack("<IIII", 2, 28 + len(text) + len(binary), len(text), 0x4E4F534A) + text
    mesh = read_glb(data + struct.pack("<II", len(binary), 0x004E4942) + binary)
    np.testing.assert_allclose(mesh.position, position * 2 + [0, 0, 5])
    np.testing.assert_allclose(mesh.uv, uv)
    assert mesh.triangles.tolist() == [[0, 1, 2]]
    np.testing.assert_array_equal(mesh.materials[0].texture[0, 0], [30, 20, 10])
    with pytest.raises(ValueError, match="GLB"):
        read_glb(b"something else")


def test_obj_files_with_negative_indices_and_quadrilaterals_are_read() -> None:
    """Texture coordinates are converted from the lower to the upper left corner."""
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf -4/-4 -3/-3 -2/-2 -1/-1\n"
    mesh = read_obj(text, lambda name: b"")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    np.testing.assert_allclose(mesh.position[2], [1, 1, 0])
    np.testing.assert_allclose(mesh.uv, [[0, 1], [1, 1], [1, 0], [0, 0]])
    np.testing.assert_allclose(np.abs(mesh.cleaned().normal), np.tile([0, 0, 1], (4, 1)))


def test_most_photographs_are_well_exposed_for_any_light() -> None:
    light = np.random.default_rng(0).uniform(0.2, 1, (48, 64, 3)).astype(np.float32)
    means = [photograph(light * 10.0**k, np.random.default_rng(k + 4)).mean() for k in range(-4, 5)]
    assert sum(40 < mean < 230 for mean in means) >= 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", "wide"], "480x360"),
        (["--frames", "0"], "at least 1"),
        (["--assets", "nowhere"], "no folder"),
        (["--furniture", "nowhere"], "apt install sweethome3d-furniture"),
    ],
)
def test_the_command_reports_errors_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenes", "furnished", "--out", str(tmp_path / "pool"), "--cache", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_command_reports_how_to_install_moderngl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    assert main(["scenes", "furnished", "--out", str(tmp_path)]) == 1
    assert "depth_completion_ros[scenes" in capsys.readouterr().err


def test_intrinsics_of_crops_fit_their_depth_and_normals(
    furniture: Path, library: Library, renderer: Renderer, tmp_path: Path
) -> None:
    """Back-projected points of a crop lie in planes with their normals."""
    prepare_pool(tmp_path, PoolInfo(HEIGHT, WIDTH, "furnished rooms", "train", 0))
    for number, frame in enumerate(render_views(RoomMaker(library), renderer, [1, 0], 2)):
        write_frame(frame_path(tmp_path, number), frame)
    crop = ScenePool(tmp_path).sample(8, 64, 64, torch.Generator().manual_seed(0))
    fx, fy, cx, cy = (k[:, None, None] for k in crop.intrinsics.unbind(1))
    x, y = (torch.arange(64) - cx) / fx, (torch.arange(64)[:, None] - cy) / fy
    points = crop.depth * torch.stack(torch.broadcast_tensors(x, y, torch.ones(())), 1)
    step = points[..., 1:] - points[..., :-1]
    same = (crop.normals[..., 1:] * crop.normals[..., :-1]).sum(1) > 0.9999
    near = (step.norm(dim=1) < 0.1) & (crop.depth[:, 0, :, 1:] > 0)
    off = (step * crop.normals[..., 1:]).sum(1).abs() / step.norm(dim=1).clamp(min=1e-6)
    assert (off[same & near] < 0.06).float().mean() > 0.9
