"""Build objects from solids, and scenes from objects, for N scenes at once. World frame: metres, z up."""

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
        """Return poses at offsets (N, K, 3) in the objects' frames, rotated about the vertical by angles (N, K)."""
        origin = self.origin + (self.rotation @ offset.to(self.origin.device)[..., None])[..., 0]
        return Pose(origin, self.rotation if turn is None else self.rotation @ yaw(turn))

    def many(self, offsets: Tensor, turn: Tensor) -> Pose:
        """Return (N, K * M) poses from M offsets (N, K, M, 3) and angles (N, K, M) in each object's frame."""
        origin = self.origin[:, :, None] + (self.rotation[:, :, None] @ offsets[..., None])[..., 0]
        rotation = self.rotation[:, :, None] @ yaw(turn)
        return Pose(origin.flatten(1, 2), rotation.flatten(1, 2))


def vec(x: Number, y: Number, z: Number) -> Tensor:
    """Return vectors (…, 3) from numbers and tensors."""
    like = next((c for c in (x, y, z) if isinstance(c, Tensor)), torch.zeros(()))
    parts = [c if isinstance(c, Tensor) else torch.full_like(like, float(c)) for c in (x, y, z)]
    return torch.stack(torch.broadcast_tensors(*parts), -1)


CENTRE = vec(0.0, 0.0, 0.0)


def yaw(angle: Tensor) -> Tensor:
    """Return rotation matrices (…, 3, 3) about z from angles (…) [rad]."""
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [vec(c, -s, zero), vec(s, c, zero), vec(zero, zero, torch.ones_like(angle))]
    return torch.stack(rows, -2)


def orthonormal_basis(direction: Tensor) -> Tensor:
    """Return matrices (…, 3, 3) with orthonormal rows, the last in the direction (…, 3)."""
    z = torch.nn.functional.normalize(direction, dim=-1)
    steep = z[..., 2:].abs() > 0.9
    up = torch.where(steep, vec(1.0, 0.0, z[..., 0] * 0), vec(0.0, 0.0, z[..., 0] * 0 + 1))
    x = torch.nn.functional.normalize(torch.linalg.cross(up, z), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x), z], -2)


class Builder(Painter):
    """Collects the solids of N scenes.

    Attributes:
        mirror: A point on the mirror of each scene and its normal, (N, 3) each; None = no mirror.
    """

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        super().__init__(count, generator, device)
        self._parts: list[Solids] = []
        self._one = torch.zeros(count, 1, device=device)
        self.mirror: tuple[Tensor, Tensor] | None = None

    def pose(self, x: Number, y: Number, z: Number, turn: Number = 0.0) -> Pose:
        """Return poses of upright objects.

        Args:
            x: Position [m], (N, K) or one number for all objects.
            y: Position [m], (N, K) or one number for all objects.
            z: Position [m], (N, K) or one number for all objects.
            turn: Rotation about the vertical [rad], (N, K) or one number for all objects.
        """
        values = [torch.as_tensor(c, device=self.device) for c in (x, y, z, turn)]
        *origin, angle, _ = torch.broadcast_tensors(*values, self._one)
        return Pose(torch.stack(origin, -1), yaw(angle))

    def solids(
        self,
        shape: Shape,
        pose: Pose,
        look: Tensor,
        parts: Sequence[tuple[Tensor, Tensor]],
        where: Tensor | None = None,
    ) -> None:
        """Add solids of one shape to objects.

        Args:
            shape: Shape of the solids.
            pose: Poses of the objects.
            look: Appearance of the objects, (N, K, WIDTH), see ``surfaces``.
            parts: Offset and half size of each solid in the object's frame [m], (N, K, 3) each.
            where: Which objects exist, (N, K) bool; None = all.
        """
        k = pose.origin.shape[1]
        full = (self.count, k, 3)
        offset = torch.stack([p[0].to(self.device).expand(full) for p in parts], 2)  # (N, K, M, 3)
        half = torch.stack([p[1].to(self.device).expand(full) for p in parts], 2)
        turn = pose.rotation[:, :, None]
        centre = pose.origin[:, :, None] + (turn @ offset[..., None])[..., 0]
        axes = turn.transpose(-1, -2) * half.clamp(min=1e-4)[..., None]
        self._add(shape, centre, axes, look, where, half.amin(-1) > 0)

    def rods(
        self,
        start: Tensor,
        end: Tensor,
        radius: Number,
        look: Tensor,
        where: Tensor | None = None,
        square: bool = False,
    ) -> None:
        """Add cylinders or square bars between two points.

        Args:
            start: First ends in the world [m], (N, K, M, 3).
            end: Second ends in the world [m], (N, K, M, 3).
            radius: Radius [m], (N, K, M) or one number.
            look: Appearance, (N, K, WIDTH), see ``surfaces``.
            where: Which objects exist, (N, K) bool; None = all.
            square: Whether to add bars instead of cylinders.
        """
        half = (end - start) / 2
        radius = radius if isinstance(radius, Tensor) else torch.full_like(half[..., 0], radius)
        scale = vec(radius, radius, half.norm(dim=-1).clamp(min=1e-4))
        axes = orthonormal_basis(half + 1e-6) * scale[..., None]
        self._add(Shape.BOX if square else Shape.CYLINDER, start + half, axes, look, where, radius > 0)

    def _add(
        self, shape: Shape, centre: Tensor, axes: Tensor, look: Tensor, where: Tensor | None, exists: Tensor
    ) -> None:
        n, k, m = centre.shape[:3]
        if where is not None:
            exists = exists & where[..., None]
        kind = torch.where(exists.expand(n, k, m), int(shape), -1)
        looks = look[:, :, None].expand(n, k, m, WIDTH)
        self._parts.append(Solids(kind.flatten(1), centre.flatten(1, 2), axes.flatten(1, 2), looks.flatten(1, 2)))

    def build(self) -> Solids:
        """Return all solids. Existing solids come first, and P is the largest number of solids of a scene."""
        joined = [
            torch.cat([getattr(p, field) for p in self._parts], 1) for field in ("shape", "centre", "axes", "look")
        ]
        shape, centre, axes, look = joined
        width = max(1, int((shape >= 0).sum(1).max()))
        order = (shape < 0).long().argsort(dim=1, stable=True)[:, :width]
        rows = torch.arange(self.count, device=self.device)[:, None]
        return Solids(shape[rows, order], centre[rows, order], axes[rows, order], look[rows, order])

    def hang_mirror(self, pose: Pose, width: Tensor, height: Tensor, where: Tensor) -> None:
        """Add one mirror to each scene in the x-z plane of the pose (N, 1), facing its y axis."""
        look = self.look("neutral", 1, material=Material.MIRROR)
        self.solids(Shape.BOX, pose, look, [(CENTRE, vec(width / 2, 0.012, height / 2))], where)
        frame = self.look("wood", 1)
        border = 0.03
        edges = [
            (vec(s * (width / 2 + border), 0.0, 0.0), vec(border, 0.025, height / 2 + 2 * border)) for s in (-1, 1)
        ]
        edges += [(vec(0.0, 0.0, s * (height / 2 + border)), vec(width / 2, 0.025, border)) for s in (-1, 1)]
        self.solids(Shape.BOX, pose, frame, edges, where)
        normal = pose.rotation[:, 0, :, 1]
        self.mirror = (pose.origin[:, 0] + 0.012 * normal, normal)
