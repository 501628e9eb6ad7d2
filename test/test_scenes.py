"""Procedural scenes: labels agree with an independent ray caster and with the images."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_completion_ros.errors import ConfigurationError  # noqa: E402
from depth_completion_ros.training.pool import ScenePool  # noqa: E402
from depth_completion_ros.training.scene_batch import Material, SceneBatch  # noqa: E402
from depth_completion_ros.training.scenes import (  # noqa: E402
    KINDS,
    casting,
    render,
    render_pool,
    render_scenes,
    shading,
    surfaces,
)

HEIGHT, WIDTH = 60, 84  # not multiples of the tile size
MIRRORS = 24  # number of rooms; some of them have a visible mirror


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batches() -> dict[str, SceneBatch]:
    return {kind: render_scenes(kind, 6, HEIGHT, WIDTH, generator=generator(3)) for kind in KINDS}


@pytest.fixture(scope="module")
def rooms() -> SceneBatch:
    return render_scenes(("room", "outdoor"), MIRRORS, HEIGHT, WIDTH, generator=generator(8))


def of_material(solids: casting.Solids, scene: int, *materials: Material) -> set[int]:
    return {i for i, m in enumerate(solids.look[scene, :, surfaces.MATERIAL].tolist()) if m in materials}


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[casting.Solids]:
    """Return a list to which rendering appends its solids in the optical frame."""
    seen: list[casting.Solids] = []
    render_chunk = render._render_chunk

    def keep(solids: casting.Solids, *rest: object) -> object:
        seen.append(solids)
        return render_chunk(solids, *rest)

    monkeypatch.setattr(render, "_render_chunk", keep)
    return seen


def reference_depth(
    solids: casting.Solids, scene: int, origin: np.ndarray, direction: np.ndarray, skipped: set[int]
) -> float:
    """Return the nearest entry along a ray with textbook formulas in float64; inf if there is none."""
    best = np.inf
    for i, shape in enumerate(solids.shape[scene].tolist()):
        if shape < 0 or i in skipped:
            continue
        axes, centre = solids.axes[scene, i].double().numpy(), solids.centre[scene, i].double().numpy()
        half = np.linalg.norm(axes, axis=1)
        frame = axes / half[:, None]
        o, d = frame @ (origin - centre), frame @ direction  # metres along the solid's own axes
        entries = []
        flats = {casting.Shape.BOX: (0, 1, 2), casting.Shape.ELLIPSOID: (), casting.Shape.CYLINDER: (2,)}[shape]
        rounds = [k for k in range(3) if k not in flats]
        for k in flats:
            entries += [(side * half[k] - o[k]) / d[k] for side in (-1, 1)]
        if rounds:
            a = sum((d[k] / half[k]) ** 2 for k in rounds)
            b = sum(o[k] * d[k] / half[k] ** 2 for k in rounds)
            c = sum((o[k] / half[k]) ** 2 for k in rounds) - 1
            if b * b > a * c:
                entries += [(-b + side * np.sqrt(b * b - a * c)) / a for side in (-1, 1)]
        on_surface = []
        for t in entries:
            p = o + t * d
            within = all(abs(p[k]) <= half[k] * (1 + 1e-9) + 1e-12 for k in flats)
            if within and (not rounds or sum((p[k] / half[k]) ** 2 for k in rounds) <= 1 + 1e-9):
                on_surface.append(t)
        if on_surface and min(on_surface) > 0:
            best = min(best, min(on_surface))
    return best


def close(depth: float, expected: float) -> bool:
    return bool(np.isclose(depth, expected if np.isfinite(expected) else 0, rtol=3e-4))


@pytest.mark.parametrize("kind", KINDS)
def test_depth_equals_that_of_a_scalar_ray_caster(kind: str, traced: list[casting.Solids]) -> None:
    """The depth behind glass is compared, too."""
    batch = render_scenes(kind, 1, HEIGHT, WIDTH, generator=generator(11))
    (solids,) = traced
    glass = of_material(solids, 0, Material.GLASS)
    fx, fy, cx, cy = batch.intrinsics[0].double().tolist()
    rng = np.random.default_rng(0)
    agreed = 0
    for v, u in zip(rng.integers(0, HEIGHT, 40), rng.integers(0, WIDTH, 40), strict=True):
        direction = np.array(((u - cx) / fx, (v - cy) / fy, 1.0))
        expected = reference_depth(solids, 0, np.zeros(3), direction, set())
        right = close(float(batch.depth[0, 0, v, u]), expected)
        if batch.material[0, 0, v, u] == Material.GLASS:
            behind = reference_depth(solids, 0, np.zeros(3), direction, glass)
            right &= close(float(batch.behind[0, 0, v, u]), behind)
        agreed += right
    assert agreed >= 39  # a ray along an edge may hit either side


def test_depth_behind_a_mirror_includes_the_reflected_ray(traced: list[casting.Solids]) -> None:
    """``behind`` is the depth of the mirror plus the length of the reflected ray, compared with single rays."""
    batch = render_scenes("room", MIRRORS, HEIGHT, WIDTH, generator=generator(8))
    (solids,) = traced
    pixels = (batch.material[:, 0] == Material.MIRROR).nonzero()
    assert len(pixels) > 20
    agreed = 0
    for scene, v, u in pixels[:: len(pixels) // 20].tolist():
        fx, fy, cx, cy = batch.intrinsics[scene].double().tolist()
        direction = np.array(((u - cx) / fx, (v - cy) / fy, 1.0))
        normal = batch.normals[scene, :, v, u].double().numpy()
        depth = float(batch.depth[scene, 0, v, u])
        reflected = direction - 2 * (direction @ normal) * normal
        skipped = of_material(solids, scene, Material.GLASS, Material.MIRROR)
        length = reference_depth(solids, scene, depth * direction + 1e-3 * normal, reflected, skipped)
        agreed += close(float(batch.behind[scene, 0, v, u]), depth + length)
    assert agreed >= 18


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_batch_have_the_documented_sizes_types_and_ranges(
    kind: str, batches: dict[str, SceneBatch]
) -> None:
    batch = batches[kind]
    shape = (6, 1, HEIGHT, WIDTH)
    assert batch.image.shape == batch.normals.shape == (6, 3, HEIGHT, WIDTH)
    assert batch.depth.shape == batch.behind.shape == batch.reflectance.shape == batch.material.shape == shape
    assert batch.material.dtype == torch.uint8
    for field in fields(batch):
        assert torch.isfinite(getattr(batch, field.name).float()).all(), field.name
    for unit in (batch.image, batch.reflectance):
        assert unit.min() >= 0
        assert unit.max() <= 1
    nothing = batch.material == Material.SKY
    assert ((batch.depth == 0) == nothing).all()
    clear = (batch.material == Material.GLASS) | (batch.material == Material.MIRROR)
    assert (batch.behind == batch.depth)[~clear].all()
    assert ((batch.behind >= batch.depth) | (batch.behind == 0))[clear].all()
    field_of_view = 2 * torch.rad2deg(torch.atan(WIDTH / 2 / batch.intrinsics[:, 0]))
    assert ((field_of_view > 44) & (field_of_view < 101)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_normals_are_perpendicular_to_the_surface(kind: str, batches: dict[str, SceneBatch]) -> None:
    """They have unit length, point to the camera, and agree with the surface that follows from depth."""
    batch = batches[kind]
    there = (batch.depth > 0)[:, 0]
    fx, fy, cx, cy = (k[:, None, None] for k in batch.intrinsics.unbind(1))
    x, y = (torch.arange(WIDTH) - cx) / fx, (torch.arange(HEIGHT)[:, None] - cy) / fy
    points = batch.depth * torch.stack(torch.broadcast_tensors(x, y, torch.ones(())), 1)
    normals = batch.normals
    torch.testing.assert_close(normals.norm(dim=1)[there], torch.ones(int(there.sum())), atol=1e-4, rtol=0)
    assert ((normals * points).sum(1)[there] <= 1e-5).all()
    right, left = points[..., 1:-1, 2:], points[..., 1:-1, :-2]
    down, up = points[..., 2:, 1:-1], points[..., :-2, 1:-1]
    drawn = torch.nn.functional.normalize(torch.linalg.cross(down - up, right - left, dim=1), dim=1)
    inner = normals[..., 1:-1, 1:-1]
    beside = [normals[..., 1:-1, 2:], normals[..., 1:-1, :-2], normals[..., 2:, 1:-1], normals[..., :-2, 1:-1]]
    steps = torch.stack([right, left, down, up]) - points[..., 1:-1, 1:-1]
    in_plane = ((steps * inner).sum(2).abs() < 0.1 * steps.norm(dim=2)).all(0)
    smooth = in_plane & ((torch.stack(beside) * inner).sum(2) > 0.999).all(0) & there[:, 1:-1, 1:-1]
    assert smooth.float().mean() > 0.2
    assert ((drawn * inner).sum(1)[smooth] > 0.98).float().mean() > 0.99


def test_the_same_seed_gives_the_same_scenes() -> None:
    first, again = (render_scenes(KINDS, 4, 32, 48, generator=generator(5)) for _ in range(2))
    other = render_scenes(KINDS, 4, 32, 48, generator=generator(6))
    for field in fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.depth, other.depth)


def test_kinds_cover_the_ranges_of_sensors(batches: dict[str, SceneBatch]) -> None:
    """Tabletops are near, streets are far, and all depth is between 0.1 m and 80 m."""
    median = {kind: float(b.depth[b.depth > 0].median()) for kind, b in batches.items()}
    assert median["tabletop"] < 2 < median["hall"] < median["outdoor"] * 2
    everything = torch.cat([b.depth.flatten() for b in batches.values()])
    assert 0.1 < everything[everything > 0].min() < 0.6
    assert 40 < everything.max() <= 80


def test_scenes_contain_every_material(rooms: SceneBatch) -> None:
    assert set(rooms.material.unique().tolist()) == set(Material)
    reflectance = [rooms.reflectance[rooms.material == m].mean() for m in (Material.DARK, Material.MATTE)]
    assert reflectance[0] < 0.1 < reflectance[1]


def test_a_share_of_surfaces_has_patterns_of_other_styles() -> None:
    """About FOREIGN_SHARE of the surfaces have a pattern that does not belong to their style."""
    painter = surfaces.Painter(64, generator(), torch.device("cpu"))
    look = painter.look("wall", 200)
    style = surfaces.STYLES["wall"].patterns
    layers = surfaces.atlas(torch.device("cpu")).names
    own = torch.tensor([float(layer) for name in style for layer in layers[name]])
    strange = ~torch.isin(look[..., surfaces.LAYER], own)
    share = (
        surfaces.FOREIGN_SHARE
        * sum(name not in style for name in surfaces.FOREIGN_PATTERNS)
        / len(surfaces.FOREIGN_PATTERNS)
    )
    assert abs(strange.float().mean() - share) < 0.02


def test_camouflaged_objects_have_the_colours_of_the_ground_and_their_own_material() -> None:
    painter = surfaces.Painter(64, generator(), torch.device("cpu"))
    ground = painter.look("glass", 100, material=Material.GLASS)
    look = painter.look("plastic", 100, like=ground)
    same = (look[..., surfaces.COLOURS] == ground[..., surfaces.COLOURS]).all(-1)
    assert abs(same.float().mean() - surfaces.CAMOUFLAGED) < 0.02
    assert (look[..., surfaces.MATERIAL] != Material.GLASS).all()


def test_most_images_are_well_exposed_and_show_depth_edges() -> None:
    """Brightness changes more at depth edges than elsewhere."""
    batch = render_scenes(KINDS, 12, HEIGHT, WIDTH, generator=generator(2))
    mean = batch.image.mean((1, 2, 3))
    assert ((mean > 0.2) & (mean < 0.85)).float().mean() > 0.7
    grey = batch.image.mean(1)
    step = (grey[..., 1:] - grey[..., :-1]).abs()
    depth = batch.depth[:, 0].clamp(min=0.1).log()
    edge = (depth[..., 1:] - depth[..., :-1]).abs() > 0.1
    assert step[edge].mean() > 2 * step[~edge].mean()


@pytest.mark.parametrize("kind", KINDS)
def test_no_shadow_is_missed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are the same if all solids are tested for every shadow, and not only those near the path of the light."""
    few = render_scenes(kind, 2, HEIGHT, WIDTH, generator=generator(7))
    tried: list[torch.Tensor] = []

    def all_of_them(solids: casting.Solids, casts: torch.Tensor, scene: torch.Tensor, *rest: object) -> torch.Tensor:
        tried.append(casts)
        return casts[scene]

    monkeypatch.setattr(shading, "may_occlude", all_of_them)
    every = render_scenes(kind, 2, HEIGHT, WIDTH, generator=generator(7))
    assert tried
    assert torch.equal(few.image, every.image)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
def test_batches_that_are_rendered_on_a_gpu_are_complete_and_stay_there() -> None:
    batch = render_scenes(KINDS, 20, HEIGHT, WIDTH, generator=torch.Generator("cuda").manual_seed(0))
    for field in fields(batch):
        values = getattr(batch, field.name)
        assert values.is_cuda
        assert torch.isfinite(values.float()).all(), field.name
    assert ((batch.depth == 0) == (batch.material == Material.SKY)).all()
    assert (batch.depth > 0).float().mean() > 0.8


def test_unknown_kind_is_reported() -> None:
    with pytest.raises(ConfigurationError, match="attic"):
        render_scenes(("room", "attic"), 1, 32, 32, generator=generator())


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ScenePool:
    return render_pool(tmp_path_factory.mktemp("pools") / "pool", 5, 48, 64, seed=1, kinds=("room",))


def test_frames_of_a_pool_equal_the_rendered_scenes(pool: ScenePool) -> None:
    """Depth is accurate to 0.1 % here, normals to 2 degrees, and the image up to JPEG compression."""
    scenes = render_scenes("room", 5, 48, 64, generator=generator(1))
    drawn = pool.sample(20, 48, 64, generator(0))
    for i in range(20):
        match = None
        for j in range(5):
            for flipped in (False, True):
                depth = scenes.depth[j].flip(-1) if flipped else scenes.depth[j]
                if torch.allclose(depth, drawn.depth[i], rtol=1e-3, atol=0):
                    match = j, flipped
        assert match is not None
        j, flipped = match

        def as_drawn(values: torch.Tensor, flipped: bool = flipped) -> torch.Tensor:
            return values.flip(-1) if flipped else values

        assert (drawn.image[i] - as_drawn(scenes.image[j])).abs().mean() < 0.03
        torch.testing.assert_close(drawn.behind[i], as_drawn(scenes.behind[j]), atol=0, rtol=1e-3)
        assert torch.equal(drawn.material[i], as_drawn(scenes.material[j]))
        normals = as_drawn(scenes.normals[j]) * torch.tensor((-1.0 if flipped else 1.0, 1.0, 1.0))[:, None, None]
        there = scenes.depth[j, 0] > 0
        there = there.flip(-1) if flipped else there
        assert ((drawn.normals[i] * normals).sum(0)[there] > np.cos(np.radians(2))).all()


def test_intrinsics_of_crops_fit_their_depth_and_normals(pool: ScenePool) -> None:
    """After cropping and flipping, back-projected points lie in planes with their normals."""
    crop = pool.sample(16, 32, 40, generator(4))
    fx, fy, cx, cy = (k[:, None, None] for k in crop.intrinsics.unbind(1))
    x, y = (torch.arange(40) - cx) / fx, (torch.arange(32)[:, None] - cy) / fy
    points = crop.depth * torch.stack(torch.broadcast_tensors(x, y, torch.ones(())), 1)
    step = points[..., 1:] - points[..., :-1]
    normals = crop.normals
    same = (normals[..., 1:] * normals[..., :-1]).sum(1) > 0.9999
    off = (step * normals[..., 1:]).sum(1).abs() / step.norm(dim=1).clamp(min=1e-6)
    assert (off[same] < 0.05).float().mean() > 0.9


def test_pool_errors_name_the_problem(pool: ScenePool, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="48 x 64"):
        pool.sample(1, 64, 64, generator())
    with pytest.raises(ConfigurationError, match="no scene pool"):
        ScenePool(tmp_path)
    with pytest.raises(ConfigurationError, match="exists"):
        render_pool(tmp_path, 1, 32, 32, seed=0)
