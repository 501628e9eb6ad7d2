"""Combine solids to objects and objects to scenes, for N scenes at once. World frame: metres, z up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scene_batch import Material
from .casting import Shape, Solids
from .surfaces import WIDTH, Painter

Number = Tensor | float


@dataclass(frozen=True)
class Pose:
    """Poses of K objects in each of N scenes: origin (N, K, 3), rotation (N, K, 3, 3) from object to world."""

    origin: Tensor
    rotation: Tensor

    def at(self, offset: Tensor, turn: Tensor | None = None) -> Pose:
        """Poses at offsets (N, K, 3) in the objects' frames, turned about the vertical by angles (N, K)."""
        origin = self.origin + (self.rotation @ offset.to(self.origin.device)[..., None])[..., 0]
        return Pose(origin, self.rotation if turn is None else self.rotation @ yaw(turn))

    def many(self, offsets: Tensor, turn: Tensor) -> Pose:
        """(N, K * M) poses from M offsets (N, K, M, 3) and turns (N, K, M) in each object's frame."""
        origin = self.origin[:, :, None] + (self.rotation[:, :, None] @ offsets[..., None])[..., 0]
        rotation = self.rotation[:, :, None] @ yaw(turn)
        return Pose(origin.flatten(1, 2), rotation.flatten(1, 2))


def vec(x: Number, y: Number, z: Number) -> Tensor:
    """(…, 3) of numbers and tensors."""
    like = next((c for c in (x, y, z) if isinstance(c, Tensor)), torch.zeros(()))
    parts = [c if isinstance(c, Tensor) else torch.full_like(like, float(c)) for c in (x, y, z)]
    return torch.stack(torch.broadcast_tensors(*parts), -1)


CENTRE = vec(0.0, 0.0, 0.0)


def yaw(angle: Tensor) -> Tensor:
    """(…, 3, 3) rotation about z [rad]."""
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [vec(c, -s, zero), vec(s, c, zero), vec(zero, zero, torch.ones_like(angle))]
    return torch.stack(rows, -2)


def across(direction: Tensor) -> Tensor:
    """(…, 3, 3) whose rows are orthonormal, the last along the direction (…, 3)."""
    z = torch.nn.functional.normalize(direction, dim=-1)
    steep = z[..., 2:].abs() > 0.9
    up = torch.where(steep, vec(1.0, 0.0, z[..., 0] * 0), vec(0.0, 0.0, z[..., 0] * 0 + 1))
    x = torch.nn.functional.normalize(torch.linalg.cross(up, z), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x), z], -2)


class Builder(Painter):
    """Collects the solids of N scenes."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        super().__init__(count, generator, device)
        self._parts: list[Solids] = []
        self._one = torch.zeros(count, 1, device=device)
        self.mirror: tuple[Tensor, Tensor] | None = None  # a point on it and its normal, (N, 3) each

    def pose(self, x: Number, y: Number, z: Number, turn: Number = 0.0) -> Pose:
        """Upright objects at x, y, z, turned about the vertical [rad]: (N, K) each, or one number for all."""
        here = [torch.as_tensor(c, device=self.device) for c in (x, y, z, turn)]
        *origin, angle, _ = torch.broadcast_tensors(*here, self._one)
        return Pose(torch.stack(origin, -1), yaw(angle))

    def solids(
        self,
        shape: Shape,
        pose: Pose,
        look: Tensor,
        parts: Sequence[tuple[Tensor, Tensor]],
        where: Tensor | None = None,
    ) -> None:
        """Add solids of one shape and look (N, K, WIDTH): parts are offset and half size, (N, K, 3) each, of the
        objects' frames. where (N, K): which objects there are.
        """
        k = pose.origin.shape[1]
        full = (self.count, k, 3)
        offset = torch.stack([p[0].to(self.device).expand(full) for p in parts], 2)  # (N, K, M, 3)
        half = torch.stack([p[1].to(self.device).expand(full) for p in parts], 2)
        turn = pose.rotation[:, :, None]
        centre = pose.origin[:, :, None] + (turn @ offset[..., None])[..., 0]
        axes = turn.transpose(-1, -2) * half.clamp(min=1e-4)[..., None]
        self._keep(shape, centre, axes, look, where, half.amin(-1) > 0)

    def rods(
        self,
        start: Tensor,
        end: Tensor,
        radius: Number,
        look: Tensor,
        where: Tensor | None = None,
        square: bool = False,
    ) -> None:
        """Add cylinders, or bars, from start to end (N, K, M, 3) in the world; radius [m] (N, K, M) or one number."""
        along = (end - start) / 2
        radius = radius if isinstance(radius, Tensor) else torch.full_like(along[..., 0], radius)
        scale = vec(radius, radius, along.norm(dim=-1).clamp(min=1e-4))
        axes = across(along + 1e-6) * scale[..., None]
        self._keep(Shape.BOX if square else Shape.CYLINDER, start + along, axes, look, where, radius > 0)

    def _keep(
        self, shape: Shape, centre: Tensor, axes: Tensor, look: Tensor, where: Tensor | None, real: Tensor
    ) -> None:
        n, k, m = centre.shape[:3]
        if where is not None:
            real = real & where[..., None]
        kind = torch.where(real.expand(n, k, m), int(shape), -1)
        looks = look[:, :, None].expand(n, k, m, WIDTH)
        self._parts.append(Solids(kind.flatten(1), centre.flatten(1, 2), axes.flatten(1, 2), looks.flatten(1, 2)))

    def build(self) -> Solids:
        """All solids; in each scene existing ones come first, and the size fits the scene with the most solids."""
        joined = [
            torch.cat([getattr(p, field) for p in self._parts], 1) for field in ("shape", "centre", "axes", "look")
        ]
        shape, centre, axes, look = joined
        width = max(1, int((shape >= 0).sum(1).max()))
        order = (shape < 0).long().argsort(dim=1, stable=True)[:, :width]
        rows = torch.arange(self.count, device=self.device)[:, None]
        return Solids(shape[rows, order], centre[rows, order], axes[rows, order], look[rows, order])

    def hang_mirror(self, pose: Pose, width: Tensor, height: Tensor, where: Tensor) -> None:
        """Add one mirror per scene in the x-z plane of the pose (N, 1), facing its y."""
        look = self.look("neutral", 1, material=Material.MIRROR)
        self.solids(Shape.BOX, pose, look, [(CENTRE, vec(width / 2, 0.012, height / 2))], where)
        frame = self.look("wood", 1)
        b = 0.03
        edges = [(vec(s * (width / 2 + b), 0.0, 0.0), vec(b, 0.025, height / 2 + 2 * b)) for s in (-1, 1)]
        edges += [(vec(0.0, 0.0, s * (height / 2 + b)), vec(width / 2, 0.025, b)) for s in (-1, 1)]
        self.solids(Shape.BOX, pose, frame, edges, where)
        normal = pose.rotation[:, 0, :, 1]
        self.mirror = (pose.origin[:, 0] + 0.012 * normal, normal)
