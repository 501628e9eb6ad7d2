"""Furnished rooms: walls with doors and windows, furniture along them and in the middle, clutter, lamps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ...data.scene_batch import Material
from .builder import Builder, Library, Model
from .scene import Light, Scene

KINDS = ("living", "bedroom", "kitchen", "office", "bathroom", "corridor", "hall", "store")
_SHARES = (0.24, 0.14, 0.16, 0.16, 0.06, 0.08, 0.08, 0.08)
_CATEGORIES = {
    "living": ("Living room", "Living room", "Living room", "Miscellaneous", "Office", "Lights"),
    "bedroom": ("Bedroom", "Bedroom", "Living room", "Miscellaneous", "Lights"),
    "kitchen": ("Kitchen", "Kitchen", "Kitchen", "Living room"),
    "office": ("Office", "Office", "Living room", "Miscellaneous", "Lights"),
    "bathroom": ("Bathroom", "Bathroom", "Bathroom", "Bedroom"),
    "corridor": ("Living room", "Miscellaneous", "furniture", "Lights"),
    "hall": ("furniture", "clutter", "Miscellaneous", "other", "person"),
    "store": (),
}
_OUT = ((0, -1), (1, 0), (0, 1), (-1, 0))  # of the walls at y = 0, x = width, y = length, x = 0
_YAWS = (math.pi, -math.pi / 2, 0.0, math.pi / 2)  # of furniture that stands with its back to them
_TRIANGLES = 110_000  # of a room, about
_NOT_STANDING = ("plug", "switch", "socket", "dimmer", "ring", "speech", "rug", "carpet", "hanger", "fence", "portrait",
                 "curtain", "board_", "walkway", "truss", "wall", "barrier", "ladder_", "handle", "wire")  # fmt: skip


@dataclass
class Occupied:
    """A piece of the floor plan that is taken: centre, size and height of what stands there [m]."""

    x: float
    y: float
    wide: float
    deep: float
    high: float


@dataclass
class Room:
    """A finished room and where cameras may be in it. tops: places of clutter, to look at closely, (n, 3) [m]."""

    scene: Scene
    kind: str
    size: tuple[float, float, float]
    taken: list[Occupied] = field(default_factory=list)
    tops: list[np.ndarray] = field(default_factory=list)

    def free(self, point: np.ndarray, gap: float = 0.15) -> bool:
        """Whether a camera may be at a point: inside the room and outside the furniture."""
        if not all(0.12 < p < s - 0.12 for p, s in zip(point, self.size, strict=True)):
            return False
        x, y, z = point
        return all(
            abs(x - t.x) > t.wide / 2 + gap or abs(y - t.y) > t.deep / 2 + gap or z > t.high + 0.12 for t in self.taken
        )


class _Stock:
    """The models of a library by what they are good for."""

    def __init__(self, library: Library) -> None:
        models = [m for m in library.models if m.kind != "Characters"]
        names = [m.name.lower() for m in models]
        good = [not any(k in n for k in _NOT_STANDING) for n in names]
        self.small = [
            m for m, ok in zip(models, good, strict=True)
            if ok and m.size.max() < 0.55 and m.size.min() > 0.004 and m.elevation < 0.3 and len(m.triangles) < 7000
        ]  # fmt: skip
        self.large = [
            m for m, ok in zip(models, good, strict=True)
            if ok and m.tops is not None and 0.3 < m.size[:2].max() and m.size.max() < 3.4 and m.elevation < 0.25
            and not m.door and m.kind != "Lights" and len(m.triangles) < 18000
        ]  # fmt: skip
        self.hung = [m for m in models if m.elevation >= 0.5 and not m.door and m.size.max() < 2.5]
        self.doors = [m for m in models if m.door and "oor" in m.name and m.size[2] > 1.7]
        self.lamps = [m for m in models if m.kind == "Lights" and m.elevation < 0.1]

    def by_name(self, models: list[Model], *words: str) -> list[Model]:
        return [m for m in models if any(w in m.name.lower() for w in words)]


class RoomMaker:
    """Makes rooms from a library."""

    def __init__(self, library: Library) -> None:
        self.library, self.stock = library, _Stock(library)

    def make(self, rng: np.random.Generator, kind: str | None = None) -> Room:
        """A random room."""
        kind = kind or str(rng.choice(KINDS, p=np.array(_SHARES) / sum(_SHARES)))
        return _Work(self, rng, kind).room


class _Work:
    """One room while it is made."""

    def __init__(self, maker: RoomMaker, rng: np.random.Generator, kind: str) -> None:
        self.stock, self.rng, self.kind = maker.stock, rng, kind
        self.b = Builder(maker.library, rng)
        self.b.chaos = float(rng.choice([0.0, 0.3, 1.0], p=[0.82, 0.1, 0.08]))
        self.room = Room(self.b.scene, kind, self._size())
        self.openings: list[tuple[int, float, float]] = []  # wall, from, to
        self.glow: list[tuple[np.ndarray, float]] = []  # light that comes in
        self.triangles = 0
        self._shell()
        if kind == "kitchen":
            self._kitchen_row()
        if kind in ("office", "hall") and rng.random() < 0.6:
            self._desks()
        if kind in ("living", "kitchen", "hall") and rng.random() < 0.7:
            self._table()
        if kind in ("store", "office", "hall", "living") and rng.random() < (0.9 if kind == "store" else 0.35):
            self._shelves(int(rng.integers(1, 5)))
        self._furnish()
        self._floor_clutter()
        self._lights()

    def _size(self) -> tuple[float, float, float]:
        r = self.rng
        height = float(r.uniform(2.2, 3.1))
        if self.kind == "corridor":
            return float(r.uniform(1.2, 2.4)), float(r.uniform(5, 14)), height
        if self.kind == "hall":
            return float(r.uniform(6, 14)), float(r.uniform(6, 16)), float(r.uniform(2.7, 6))
        if self.kind == "bathroom":
            return float(r.uniform(1.8, 3.5)), float(r.uniform(1.8, 3.5)), height
        return float(r.uniform(2.6, 5.5)), float(r.uniform(2.8, 6.5)), height

    # Walls

    def _shell(self) -> None:
        r, b = self.rng, self.b
        width, length, height = self.room.size
        floor = ("floor", "floor", "floor", "rug") if self.kind in ("living", "bedroom") else ("floor",)
        b.quad((0, 0, 0), (width, 0, 0), (0, length, 0), b.surface(*floor))
        ceiling = b.surface("ceiling")
        b.quad((0, 0, height), (0, length, 0), (width, 0, 0), ceiling)
        wall = b.surface("wall")
        sides = [wall if r.random() < 0.75 else b.surface("wall") for _ in range(4)]
        self.frame = b.surface("wood", "plain")
        skirting = b.surface("wood", "plain") if r.random() < 0.6 else None
        corners = np.array([(0, 0, 0), (width, 0, 0), (width, length, 0), (0, length, 0)], float)
        for w in range(4):
            corner, along = corners[w], corners[(w + 1) % 4] - corners[w]
            self._wall(w, corner, along, sides[w], skirting)
        scene = b.scene
        scene.low, scene.high = np.zeros(3), np.array(self.room.size)
        if r.random() < 0.35:  # a part of a wall, or a pillar
            wide = float(r.uniform(0.3, 0.55) * width) if r.random() < 0.6 else 0.4
            x = wide / 2 if r.random() < 0.5 else width - wide / 2
            y, thick = float(r.uniform(0.25, 0.75) * length), float(r.uniform(0.06, 0.15))
            b.box((x, y, height / 2), (wide / 2, thick, height / 2), 0.0, sides[0])
            self.room.taken.append(Occupied(x, y, wide, 2 * thick, height))
        if self.kind != "corridor" and r.random() < 0.5:  # a rug
            x, y = r.uniform(0.25, 0.75) * width, r.uniform(0.25, 0.75) * length
            half = min(r.uniform(0.5, 1.4), x, width - x), min(r.uniform(0.4, 1.2), y, length - y)
            b.box((x, y, 0.005), (*half, 0.005), 0.0, [b.flat("rug", "fabric") if r.random() < 0.6 else b.surface("rug"), self.frame, self.frame])

    def _wall(self, w: int, corner: np.ndarray, along: np.ndarray, side: int, skirting: int | None) -> None:
        r, b = self.rng, self.b
        height = self.room.size[2]
        length = float(np.linalg.norm(along))
        a, out = along / length, np.array([*_OUT[w], 0.0])
        holes: list[tuple[float, float, float, float, str]] = []
        if r.random() < (0.4 if self.kind != "corridor" else 0.15):
            wide = min(length * 0.8, r.uniform(0.6, 2.6))
            x0, z0 = r.uniform(0, length - wide), r.choice([0.05, r.uniform(0.7, 1.1)])
            holes.append((x0, x0 + wide, z0, min(height - 0.15, z0 + r.uniform(0.9, 1.9)), "window"))
        elif r.random() < 0.5:
            wide = min(length * 0.8, r.uniform(0.75, 1.4))
            x0 = r.uniform(0, length - wide)
            holes.append((x0, x0 + wide, 0.0, min(height - 0.1, 2.1), "door"))
        xs = sorted({0.0, length, *(x for h in holes for x in h[:2])})
        zs = sorted({0.0, height, *(z for h in holes for z in h[2:4])})
        up = np.array([0, 0, 1.0])
        for x0, x1 in zip(xs, xs[1:], strict=False):
            for z0, z1 in zip(zs, zs[1:], strict=False):
                if not any(x0 >= h[0] and x1 <= h[1] and z0 >= h[2] and z1 <= h[3] for h in holes):
                    b.quad(corner + a * x0 + up * z0, a * (x1 - x0), up * (z1 - z0), side)
        for x0, x1, z0, z1, what in holes:
            self.openings.append((w, x0, x1))
            thick = float(r.uniform(0.08, 0.3))
            start = corner + a * x0 + up * z0
            for edge, first in ((up * (z1 - z0), start), (up * (z1 - z0), start + a * (x1 - x0))):
                b.quad(first, out * thick, edge, self.frame)
            for first in (start, start + up * (z1 - z0)):
                b.quad(first, a * (x1 - x0), out * thick, self.frame)
            if what == "window":
                self._window(start, a * (x1 - x0), up * (z1 - z0), out, thick)
            else:
                self._doorway(start, a * (x1 - x0), up * (z1 - z0), out, thick)
        if skirting is not None and not holes:
            b.box(corner + along / 2 - out * 0.008 + up * 0.045, (length / 2, 0.008, 0.045), math.atan2(a[1], a[0]), skirting)
        self._pictures(w, corner, a, length, out, [h[:2] for h in holes])
        self._hang(w, corner, a, length, out, [h[:2] for h in holes])

    def _window(self, start: np.ndarray, wide: np.ndarray, high: np.ndarray, out: np.ndarray, thick: float) -> None:
        """A window: its frame, mostly a pane, sometimes curtains or a house across the street."""
        r, b = self.rng, self.b
        width, height = np.linalg.norm(wide), np.linalg.norm(high)
        a, yaw = wide / width, math.atan2(wide[1], wide[0])
        bars = int(r.integers(0, 4))
        for k in range(bars + 2):
            middle = start + a * width * min(max(k / (bars + 1), 0.02 / width), 1 - 0.02 / width) + high / 2 + out * thick * 0.6
            b.box(middle, (0.022, 0.022, height / 2), yaw, self.frame)
        for z in (0.02, 1 - 0.02):
            b.box(start + wide / 2 + high * z + out * thick * 0.6, (width / 2, 0.022, 0.022), yaw, self.frame)
        if r.random() < 0.75:
            b.quad(start + out * thick * 0.6, wide, high, b.glass())
        b.box(start + wide / 2 - out * 0.06, (width / 2 + 0.05, 0.09, 0.015), yaw, self.frame)
        if r.random() < 0.3:
            far = r.uniform(3, 12)
            side = b.surface("wall", "photo", scale=4)
            b.quad(start - wide / width * 12 + out * far - np.array([0, 0, 6.0]), a * 30, np.array([0, 0, r.uniform(6, 16)]), side)
        if r.random() < 0.45:
            cloth = b.surface("fabric", "rug", "wall", gloss=0.0)
            lower = max(0.03, start[2] - r.choice([0.1, 3.0]))
            upper = min(self.room.size[2] - 0.04, start[2] + height + 0.12)
            for end, way in ((start - a * 0.15, 1), (start + wide + a * 0.15, -1)):
                self._curtain(np.array([end[0], end[1], lower]) - out * 0.09, a * way * r.uniform(0.2, min(0.7, 0.5 * width)), upper - lower, out, cloth)
        self.glow.append((start + wide / 2 + high / 2 - out * 0.25, float(r.uniform(0.5, 4) * min(2.5, width * height))))
        if b.scene.sun is None and r.random() < 0.5:
            direction = out + np.array([*r.normal(0, 0.5, 2), r.uniform(0.25, 1.2)])
            colour = r.uniform(1, 6) * np.array([1, r.uniform(0.85, 1), r.uniform(0.65, 1)])
            b.scene.sun = direction / np.linalg.norm(direction), colour

    def _curtain(self, start: np.ndarray, wide: np.ndarray, high: float, out: np.ndarray, cloth: int) -> None:
        steps = max(8, int(np.linalg.norm(wide) / 0.02))
        t = np.linspace(0, 1, steps)
        waves = np.linalg.norm(wide) / self.rng.uniform(0.07, 0.14)
        swing = 0.035 * np.sin(2 * math.pi * waves * t + self.rng.uniform(0, 6))
        line = start + t[:, None] * wide + swing[:, None] * out
        slope = np.gradient(line, axis=0)
        normal = np.cross(slope, (0, 0, 1.0))
        position = np.concatenate([line, line + [0, 0, high]])
        i = np.arange(steps - 1)
        triangles = np.concatenate([np.stack([i, i + 1, i + steps + 1], 1), np.stack([i, i + steps + 1, i + steps], 1)])
        uv = np.stack([np.tile(t, 2), np.repeat([1.0, 0.0], steps)], 1)
        self.b.scene.add(position, np.tile(normal, (2, 1)), uv, cloth, triangles)

    def _doorway(self, start: np.ndarray, wide: np.ndarray, high: np.ndarray, out: np.ndarray, thick: float) -> None:
        """An opening to a piece of another room."""
        r, b = self.rng, self.b
        deep, height = float(r.uniform(1, 5)), self.room.size[2]
        a = wide / np.linalg.norm(wide)
        left, right = start - a * r.uniform(0.3, 2) + out * thick, start + wide + a * r.uniform(0.3, 2) + out * thick
        side = b.surface("wall")
        up = np.array([0, 0, height])
        b.quad(left + out * deep, right - left, up, side)
        b.quad(left, out * deep, up, side)
        b.quad(right, out * deep, up, side)
        b.quad(left, right - left, out * deep, b.surface("floor"))
        b.quad(left + up, right - left, out * deep, b.surface("ceiling"))
        if r.random() < 0.6:
            m = self.stock.large[r.integers(len(self.stock.large))]
            if m.size[:2].max() < deep and m.size[2] < height:
                self._put(m, (left + right) / 2 + out * deep * 0.6, float(r.uniform(0, 6)))
        self.glow.append(((left + right) / 2 + out * deep / 2 + up * 0.85, float(r.uniform(0.5, 3))))
        if r.random() < 0.5:  # the door, open
            angle = r.uniform(0.2, 1.7)
            way = a * math.cos(angle) - out * math.sin(angle)
            span = float(np.linalg.norm(wide))
            b.box(start + way * span / 2 + high / 2, (span / 2, 0.02, high[2] / 2 - 0.02), math.atan2(way[1], way[0]), self.frame)

    def _pictures(
        self, w: int, corner: np.ndarray, a: np.ndarray, length: float, out: np.ndarray, holes: list[tuple[float, float]]
    ) -> None:
        r, b = self.rng, self.b
        height = self.room.size[2]
        for _ in range(r.integers(0, 5) if length > 2 else r.integers(0, 3)):
            mirror = r.random() < 0.1
            wide, high = r.uniform(0.15, 1.1), r.uniform(0.15, 0.9)
            if mirror:
                wide, high = r.uniform(0.4, 1.4), r.uniform(0.5, 1.7)
            if wide > length - 0.1:
                continue
            x0 = r.uniform(0.05, length - wide - 0.05)
            z0 = r.uniform(0.3 if mirror else 0.85, max(0.9, height - high - 0.15))
            if z0 + high > height - 0.05 or any(x0 - 0.15 < h1 and x0 + wide + 0.15 > h0 for h0, h1 in holes):
                continue
            holes.append((x0, x0 + wide))
            thick = float(r.choice([0.003, r.uniform(0.012, 0.05)]))
            start = corner + a * x0 - out * thick + np.array([0, 0, z0])
            if thick > 0.01:
                middle = start + a * wide / 2 + out * (thick / 2 + 0.002) + np.array([0, 0, high / 2])
                b.box(middle, (wide / 2 + 0.025, thick / 2, high / 2 + 0.025), math.atan2(a[1], a[0]), b.surface("wood", "plain", scale=0.5))
            up = np.array([0, 0, high])
            if mirror:
                b.add_mirror(start + a * wide, -a * wide, up)
            else:
                b.quad(start, a * wide, up, b.flat("picture", "picture", "paper", "photo", "rug"))

    def _hang(
        self, w: int, corner: np.ndarray, a: np.ndarray, length: float, out: np.ndarray, holes: list[tuple[float, float]]
    ) -> None:
        r = self.rng
        for _ in range(r.integers(0, 3)):
            stock = self.stock.doors if r.random() < 0.4 and self.stock.doors else self.stock.hung
            m = stock[r.integers(len(stock))]
            wide, deep, high = m.size
            if m.elevation + high > self.room.size[2] or wide > length - 0.2:
                continue
            x = r.uniform(wide / 2, length - wide / 2)
            if any(x - wide / 2 - 0.05 < h1 and x + wide / 2 + 0.05 > h0 for h0, h1 in holes):
                continue
            holes.append((x - wide / 2, x + wide / 2))
            if m.door:
                self.openings.append((w, x - wide / 2, x + wide / 2))
            at = corner + a * x - out * (deep / 2 * (0.2 if m.door else 1) + 0.004)
            self.b.place(m, np.array([at[0], at[1], m.elevation]), _YAWS[w])

    # Furniture

    def _put(self, m: Model, at: np.ndarray, yaw: float, scale: np.ndarray | None = None, rows: np.ndarray | None = None) -> None:
        """Place a model and fill its upper sides with things."""
        scale = np.ones(3) if scale is None else scale
        self.b.place(m, np.array([at[0], at[1], m.elevation]), yaw, scale, rows)
        self.triangles += len(m.triangles)
        if m.tops is not None:
            self._fill(m, at, yaw, scale)

    def _fits(self, x: float, y: float, wide: float, deep: float, gap: float = 0.0) -> bool:
        width, length, _ = self.room.size
        if x - wide / 2 < 0 or x + wide / 2 > width or y - deep / 2 < 0 or y + deep / 2 > length:
            return False
        return all(
            abs(x - t.x) > (wide + t.wide) / 2 * 0.97 + gap or abs(y - t.y) > (deep + t.deep) / 2 * 0.97 + gap
            for t in self.room.taken
        )

    def _try(self, m: Model, x: float, y: float, yaw: float, scale: np.ndarray, rows: np.ndarray | None = None) -> bool:
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        size = m.size * scale
        wide, deep = c * size[0] + s * size[1], s * size[0] + c * size[1]
        if size[2] + m.elevation > self.room.size[2] - 0.03 or not self._fits(x, y, wide, deep):
            return False
        self.room.taken.append(Occupied(x, y, wide, deep, float(size[2] + m.elevation)))
        self._put(m, np.array([x, y]), yaw, scale, rows)
        return True

    def _at_wall(self, w: int, along: float, wide: float, deep: float, gap: float) -> tuple[float, float]:
        """The centre of something of this size with its back to a wall; along: 0..1."""
        width, length, _ = self.room.size
        span = (length if w % 2 else width) - wide
        s = wide / 2 + along * max(span, 0.0)
        return ((s, deep / 2 + gap), (width - deep / 2 - gap, s), (s, length - deep / 2 - gap), (deep / 2 + gap, s))[w]

    def _pool(self) -> list[Model]:
        kinds = _CATEGORIES[self.kind]
        if not kinds or self.rng.random() < 0.12:
            return self.stock.large
        kind = kinds[self.rng.integers(len(kinds))]
        found = [m for m in self.stock.large if m.kind == kind]
        return found or self.stock.large

    def _furnish(self) -> None:
        r = self.rng
        width, length, _ = self.room.size
        area = width * length
        want = int(np.clip(area * r.uniform(0.8, 2.4), 6, 34))
        for _ in range(want * 4):
            if want <= 0 or self.triangles > _TRIANGLES:
                break
            pool = self._pool()
            m = pool[r.integers(len(pool))]
            scale = r.uniform(0.9, 1.12, 3)
            for _ in range(10):
                wall = r.random() < (0.95 if self.kind == "corridor" else 0.72)
                w = int(r.integers(4))
                yaw = _YAWS[w] if wall or r.random() < 0.6 else r.uniform(0, 6.3)
                yaw += r.normal(0, 0.02) if r.random() < 0.75 else r.normal(0, 0.3)
                size = m.size * scale
                if wall:
                    c, s = abs(math.cos(yaw - _YAWS[w])), abs(math.sin(yaw - _YAWS[w]))
                    wide, deep = c * size[0] + s * size[1], s * size[0] + c * size[1]
                    x, y = self._at_wall(w, r.random(), wide, deep, 0.015 + r.exponential(0.02))
                else:
                    x, y = r.uniform(0, width), r.uniform(0, length)
                if self._try(m, x, y, yaw, scale):
                    want -= 1
                    break

    def _kitchen_row(self) -> None:
        """Base cabinets side by side along one or two walls, with cupboards above."""
        r = self.rng
        base = [m for m in self.stock.large if m.kind == "Kitchen" and 0.7 < m.size[2] < 1.15 and 0.3 < m.size[0] < 1.3 and 0.45 < m.size[1] < 0.85]
        upper = [m for m in self.stock.hung if m.kind == "Kitchen" and m.size[1] < 0.5]
        if not base:
            return
        first = int(r.integers(4))
        for w in (first, (first + 1) % 4)[: r.integers(1, 3)]:
            span = self.room.size[w % 2]
            x = r.uniform(0, 0.4)
            rows: dict[int, np.ndarray] = {}
            while x < span - 0.3:
                m = base[r.integers(len(base))]
                if x + m.size[0] > span:
                    break
                at = self._at_wall(w, (x) / max(span - m.size[0], 1e-3), m.size[0], m.size[1], 0.005)
                if id(m) not in rows:
                    rows[id(m)] = self.b.materials_of(m)
                self._try(m, *at, _YAWS[w], np.array([1, 1, 0.9 / m.size[2]]) if r.random() < 0.7 else np.ones(3), rows[id(m)])
                if upper and r.random() < 0.5:
                    u = upper[r.integers(len(upper))]
                    if u.elevation + u.size[2] < self.room.size[2] and x + u.size[0] < span and u.elevation > 1.2:
                        at = self._at_wall(w, x / max(span - u.size[0], 1e-3), u.size[0], u.size[1], 0.005)
                        self.b.place(u, np.array([*at, u.elevation]), _YAWS[w])
                x += m.size[0] + r.choice([0.0, 0.005, 0.3], p=[0.5, 0.4, 0.1])

    def _table(self) -> None:
        """A table with chairs around it."""
        r = self.rng
        tables = [m for m in self.stock.by_name(self.stock.large, "table", "desk", "mesa") if 0.65 < m.size[2] < 0.85]
        chairs = [m for m in self.stock.by_name(self.stock.large, "chair", "stool") if m.size[:2].max() < 0.8]
        if not tables or not chairs:
            return
        width, length, _ = self.room.size
        table, chair = tables[r.integers(len(tables))], chairs[r.integers(len(chairs))]
        x, y = r.uniform(0.3, 0.7) * width, r.uniform(0.3, 0.7) * length
        yaw = float(r.choice([0, math.pi / 2])) + r.normal(0, 0.1)
        if not self._try(table, x, y, yaw, np.ones(3)):
            return
        rows = self.b.materials_of(chair)
        for side in range(4):
            along = table.size[side % 2]
            for k in range(max(1, int(along / 0.7))):
                if r.random() < 0.25:
                    continue
                t = (k + 0.5) / max(1, int(along / 0.7)) - 0.5
                reach = table.size[1 - side % 2] / 2 + r.uniform(-0.1, 0.35) + chair.size[1] / 2 * 0.6
                local = np.array([t * along, -reach]) if side % 2 == 0 else np.array([-reach, t * along])
                turn = (0.0, -math.pi / 2)[side % 2] + (math.pi if side >= 2 else 0)
                if side >= 2:
                    local = -local
                c, s = math.cos(yaw), math.sin(yaw)
                at = np.array([x + c * local[0] - s * local[1], y + s * local[0] + c * local[1]])
                face = yaw + turn + math.pi + r.normal(0, 0.2)
                if 0.3 < at[0] < width - 0.3 and 0.3 < at[1] < length - 0.3:
                    self.room.taken.append(Occupied(*at, chair.size[0], chair.size[1], chair.size[2]))
                    self._put(chair, at, face, None, rows)

    def _desks(self) -> None:
        """Rows of the same desk with chairs, as in an office."""
        r = self.rng
        desks = [m for m in self.stock.by_name(self.stock.large, "desk", "table") if 0.6 < m.size[2] < 0.9 and m.size[0] > 0.9]
        chairs = [m for m in self.stock.by_name(self.stock.large, "chair") if m.size[:2].max() < 0.9]
        if not desks or not chairs:
            return
        desk, chair = desks[r.integers(len(desks))], chairs[r.integers(len(chairs))]
        rows, seat = self.b.materials_of(desk), self.b.materials_of(chair)
        width, length, _ = self.room.size
        y = desk.size[1] / 2 + 0.05
        while y < length - 1.2 and self.triangles < _TRIANGLES * 0.7:
            x = desk.size[0] / 2 + 0.05
            while x < width - desk.size[0] / 2:
                if r.random() < 0.8 and self._try(desk, x, y, math.pi, np.ones(3), rows) and r.random() < 0.8:
                    self._try(chair, x + r.normal(0, 0.1), y + desk.size[1] / 2 + chair.size[1] * 0.6, r.normal(0, 0.4), np.ones(3), seat)
                x += desk.size[0] + 0.03
            y += desk.size[1] + r.uniform(1.2, 2.2)

    def _shelves(self, count: int) -> None:
        """Racks made of boards, filled with books, boxes and things."""
        r, b = self.rng, self.b
        for _ in range(count):
            wide, deep, high = r.uniform(0.6, 1.6), r.uniform(0.25, 0.5), r.uniform(0.9, min(2.3, self.room.size[2] - 0.1))
            w = int(r.integers(4))
            if wide > self.room.size[w % 2]:
                continue
            x, y = self._at_wall(w, r.random(), wide, deep, 0.01)
            across = (wide, deep) if w % 2 == 0 else (deep, wide)
            if not self._fits(x, y, *across):
                continue
            self.room.taken.append(Occupied(x, y, *across, high))
            yaw = _YAWS[w]
            c, s = math.cos(yaw), math.sin(yaw)

            def at(lx: float, ly: float, z: float, x: float = x, y: float = y, c: float = c, s: float = s) -> np.ndarray:
                return np.array([x + c * lx - s * ly, y + s * lx + c * ly, z])

            board = b.surface("wood", "plain", "metal")
            t = r.uniform(0.008, 0.02)
            for side in (-1, 1):
                b.box(at(side * (wide / 2 - t), 0, high / 2), (t, deep / 2, high / 2), yaw, board)
            if r.random() < 0.6:
                b.box(at(0, deep / 2 - 0.004, high / 2), (wide / 2, 0.004, high / 2), yaw, board)
            levels = int(r.integers(2, 7))
            for k in range(levels + 1):
                z = 0.05 + k * (high - 0.05) / levels
                b.box(at(0, 0, z - t), (wide / 2, deep / 2, t), yaw, board)
                space = min((high - 0.05) / levels - 2 * t, self.room.size[2] - z - 0.05)
                if space > 0.08 and self.triangles < _TRIANGLES * 1.2:
                    self._row(lambda u, at=at, z=z, d=deep: at(u, r.uniform(-0.2, 0.1) * d, z), wide - 4 * t, deep, min(space, 0.5), yaw)

    def _row(self, at, wide: float, deep: float, space: float, yaw: float) -> None:  # noqa: ANN001
        """Things side by side on a board."""
        r, b = self.rng, self.b
        u, kind = -wide / 2, r.random()
        while u < wide / 2 - 0.03:
            if kind < 0.45:  # books
                high = space * r.uniform(0.45, 0.95)
                for _ in range(r.integers(2, 14)):
                    t = r.uniform(0.008, 0.05)
                    if u + t > wide / 2:
                        break
                    tall = min(space * 0.97, high * r.uniform(0.85, 1.1), 0.36)
                    point = at(u + t / 2)
                    b.box(point + [0, 0, tall / 2], (t / 2, min(deep * 0.45, tall * 0.38), tall / 2), yaw, b.flat("package", "paper", "fabric", "plain"))
                    u += t + 0.001
                self.room.tops.append(at(min(u, wide / 2)))
            else:
                point = at(min(u + 0.08, wide / 2 - 0.06))
                self.room.tops.append(point)
                u += self._thing(point, space, 0.5 * deep) + 0.02
            u += r.exponential(0.06)

    def _thing(self, at: np.ndarray, space: float, reach: float) -> float:
        """One small thing that stands at a point [m] and is at most ``space`` high; its width."""
        r, b = self.rng, self.b
        yaw = r.uniform(0, 2 * math.pi)
        q = r.random()
        if q < 0.55 and self.triangles < _TRIANGLES * 1.4:
            for _ in range(6):
                m = self.stock.small[r.integers(len(self.stock.small))]
                if m.size[2] < space and m.size[:2].max() < 2 * max(reach, 0.12):
                    self.b.place(m, at + [0, 0, 0.001], yaw, r.uniform(0.85, 1.2, 3))
                    self.triangles += len(m.triangles)
                    return float(m.size[:2].max())
        high = min(space * 0.95, r.uniform(0.03, 0.32))
        wide = min(r.uniform(0.025, 0.13), max(reach, 0.03))
        if q < 0.68:  # a pile of books
            z = 0.0
            for _ in range(r.integers(1, 6)):
                t = r.uniform(0.01, 0.05)
                if z + t > space:
                    break
                half = r.uniform(0.06, 0.13), r.uniform(0.08, 0.16), t / 2
                b.box(at + [0, 0, z + t / 2], half, yaw + r.normal(0, 0.2), [b.flat("package", "picture", "paper"), b.flat("plain", "paper"), b.flat("plain", "paper")])
                z += t
            return 0.2
        if q < 0.84:  # a box
            b.box(at + [0, 0, high / 2], (wide, min(r.uniform(0.03, 0.14), max(reach, 0.03)), high / 2), yaw, [b.flat("package", "plain", "wood"), b.flat("package", "package", "plain"), b.flat("package", "plain")])
        elif q < 0.96:  # a vessel
            radius = wide * r.uniform(0.35, 0.8)
            shape = np.cumsum(r.normal(0, 0.25, 5))
            rim = np.clip(1 + shape - shape.mean(), 0.25, 1.5)
            profile = [(0.0, 0.0), (rim[0] * radius, 0.0)] + [(q * radius, high * (i + 1) / 5) for i, q in enumerate(rim)]
            if r.random() < 0.5:
                profile += [(rim[-1] * radius * 0.92, high), (rim[-1] * radius * 0.85, high * 0.1), (0.0, high * 0.1)]
            else:
                profile += [(0.0, high)]
            material = b.glass() if r.random() < 0.12 else b.metal() if r.random() < 0.15 else b.flat("package", "plain", "plain", "wood", "fabric")
            b.lathe(at, np.array(profile), material)
        else:  # a ball
            radius = min(wide * 0.8, space / 2)
            angle = np.linspace(0, math.pi, 12)
            b.lathe(at + [0, 0, radius], radius * np.stack([np.sin(angle), -np.cos(angle)], 1), b.flat("plain", "fabric", "wood", "package"))
        return 2 * wide

    def _fill(self, m: Model, at: np.ndarray, yaw: float, scale: np.ndarray) -> None:
        """Things on the upper sides of a model."""
        r = self.rng
        heights, spaces = m.tops
        n = heights.shape[1]
        width, deep, _ = m.size * scale
        many = int(r.integers(0, 3) if width * deep < 0.15 else r.integers(2, 16) if r.random() < 0.8 else 0)
        c, s = math.cos(yaw), math.sin(yaw)
        placed: list[tuple[float, float, float]] = []
        for _ in range(many * 5):
            if len(placed) >= many:
                break
            layer, (i, j) = r.integers(len(heights)), r.integers(1, n - 1, 2)
            patch = heights[layer, i - 1 : i + 2, j - 1 : j + 2]
            if not np.isfinite(patch).all() or np.ptp(patch) > 0.02 or not 0.15 < patch[1, 1] * scale[2] < 2.2:
                continue
            x, y = ((j + 0.5) / n - 0.5) * width, ((i + 0.5) / n - 0.5) * deep
            z = float(patch.max() * scale[2] + m.elevation)
            space = min(float(spaces[layer, i, j] * scale[2]) - 0.01, self.room.size[2] - z - 0.05, 0.6)
            if space < 0.05 or any(abs(x - a) < 0.12 and abs(y - b) < 0.12 and abs(z - d) < 0.1 for a, b, d in placed):
                continue
            placed.append((x, y, z))
            point = np.array([at[0] + c * x - s * y, at[1] + s * x + c * y, z])
            edge = min(width / 2 - abs(x), deep / 2 - abs(y))
            self._thing(point, space, max(0.04, edge))
            self.room.tops.append(point)

    def _floor_clutter(self) -> None:
        r = self.rng
        width, length, _ = self.room.size
        for _ in range(r.integers(0, 9)):
            x, y = r.uniform(0.2, width - 0.2), r.uniform(0.2, length - 0.2)
            if self._fits(x, y, 0.3, 0.3):
                self._thing(np.array([x, y, 0.0]), 0.6, 0.2)

    # Light

    def _lights(self) -> None:
        r, scene = self.rng, self.b.scene
        width, length, height = self.room.size
        area = width * length
        count = int(r.integers(1, 4)) if area < 30 else int(r.integers(2, 4))
        lights: list[Light] = []
        for _ in range(count):
            at = np.array([r.uniform(0.15, 0.85) * width, r.uniform(0.15, 0.85) * length, height - r.uniform(0.06, 0.5)])
            colour = np.array([1, r.uniform(0.8, 1), r.uniform(0.55, 1.05)]) * r.uniform(1, 5) * max(1, area / 14)
            lights.append(Light(at, colour, float(r.uniform(0.03, 0.25))))
            self._fixture(at)
        for at, power in self.glow:
            colour = np.array([r.uniform(0.8, 1), r.uniform(0.9, 1), 1]) * power
            lights.append(Light(np.asarray(at), colour, float(r.uniform(0.2, 0.5))))
        if r.random() < 0.25 and self.glow:  # by day, without lamps
            lights = lights[count:]
        lights.sort(key=lambda light: -light.colour.mean())
        scene.lights = lights[:6]
        level = sum(light.colour.mean() for light in scene.lights) / (1 + area / 10)
        scene.ambient = np.array([1, r.uniform(0.92, 1.05), r.uniform(0.85, 1.15)]) * r.uniform(0.05, 0.16) * level
        scene.panorama = int(r.integers(len(self.b.library.panoramas)))
        scene.turn = float(r.random())
        scene.sky = np.full(3, r.uniform(1, 5) * max(0.3, level * 0.25))

    def _fixture(self, at: np.ndarray) -> None:
        """A lamp under the ceiling: a globe, a plate or a tube."""
        r, b = self.rng, self.b
        height = self.room.size[2]
        kind = r.integers(4)
        bright = b.glowing(float(r.uniform(2, 12)))
        if kind == 0:
            radius = r.uniform(0.06, 0.15)
            angle = np.linspace(0, math.pi, 10)
            b.lathe(at + [0, 0, radius + 0.06], radius * np.stack([np.sin(angle), -np.cos(angle)], 1), bright)
            b.box([at[0], at[1], (height + at[2]) / 2 + radius], (0.004, 0.004, (height - at[2]) / 2), 0.0, self.frame)
        elif kind == 1:
            b.lathe([at[0], at[1], height - 0.06], np.array([(0, 0), (0.15, 0), (0.17, 0.03), (0.17, 0.06)]), bright)
        elif kind == 2:
            b.box([at[0], at[1], height - 0.02], (0.6, 0.08, 0.015), float(r.choice([0, math.pi / 2])), bright)
        else:
            b.box([at[0], at[1], height - 0.01], (0.3, 0.3, 0.01), 0.0, bright)
