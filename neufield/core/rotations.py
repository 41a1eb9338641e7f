"""Rotations for camera paths: (..., 3, 3) matrices of float64 and unit quaternions (..., 4) in the order x, y, z, w."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

Vector = tuple[float, float, float]


def look_at(origin: Sequence[float] | Tensor, target: Sequence[float] | Tensor, up: Sequence[float] | Tensor) -> Tensor:
    """Camera to world (4, 4), float64, of a camera at ``origin`` that looks at ``target``; ``up`` (3,) is upwards."""
    place, goal, above = (torch.as_tensor(v, dtype=torch.float64) for v in (origin, target, up))
    backward = normalize(place - goal, dim=0)
    right = torch.linalg.cross(above, backward)
    if not right.norm() > 1e-9 * above.norm():
        raise ValueError(f"a camera at {place.tolist()} cannot look at {goal.tolist()} with {above.tolist()} upwards")
    right = normalize(right, dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.stack([right, torch.linalg.cross(backward, right), backward, place], dim=1)
    return pose


def to_quaternions(rotations: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 4"]:
    """The unit quaternions, w >= 0, of the rotations nearest to these matrices (Bar-Itzhack 2000, method 3)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotations.double().unbind(-2))
    rows = (
        (xx - yy - zz, yx + xy, zx + xz, zy - yz),
        (yx + xy, yy - xx - zz, zy + yz, xz - zx),
        (zx + xz, zy + yz, zz - xx - yy, yx - xy),
        (zy - yz, xz - zx, yx - xy, xx + yy + zz),
    )
    symmetric = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    quaternions = torch.linalg.eigh(symmetric).eigenvectors[..., -1]
    return torch.where(quaternions[..., 3:] < 0, -quaternions, quaternions)


def to_matrices(quaternions: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    """Rotation matrices of quaternions of any length but zero."""
    x, y, z, w = normalize(quaternions.double(), dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def angles(a: Float[Tensor, "*n 4"], b: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """The angle between unit quaternions, in radians, 0 to pi."""
    b = torch.where((a * b).sum(-1, keepdim=True) < 0, -b, b)
    # Not acos, which loses half the digits of a small angle.
    return 4 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


def slerp(a: Float[Tensor, "*n 4"], b: Float[Tensor, "*n 4"], t: Float[Tensor, "*n"]) -> Float[Tensor, "*n 4"]:
    """Turn from ``a`` at t = 0 to ``b`` at 1 the short way, at constant angular speed."""
    b = torch.where((a * b).sum(-1, keepdim=True) < 0, -b, b)
    half = angles(a, b) / 2
    straight = half < 1e-6  # there sin(t x) / sin(x) is t to the last bit of float64
    safe = torch.where(straight, math.pi / 2, half)
    weight_a = torch.where(straight, 1 - t, torch.sin((1 - t) * half) / torch.sin(safe))
    weight_b = torch.where(straight, t, torch.sin(t * half) / torch.sin(safe))
    return normalize(weight_a[..., None] * a + weight_b[..., None] * b, dim=-1)
