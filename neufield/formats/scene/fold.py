"""Finds where a lens folds back: pixels that no ray in front of the camera maps to, whatever the polynomial says."""

import math

import numpy as np
import torch
from jaxtyping import Bool

from neufield.core.cameras import Camera
from neufield.core.memory import check_budget

_ODD = np.array([1.0, 3.0, 5.0, 7.0, 9.0])  # d/dr of r (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8), in powers of r^2
_NOTHING = 1e-30
_BYTES = 17  # a pixel: two distances and an answer
_BACKWARDS = math.pi  # radians off the axis: nothing is farther


def fold_radius(camera: Camera) -> float:
    """Up to which distance from the principal point, in focal lengths, the lens maps one to one; inf: everywhere.

    It ends where the radial polynomial has its first maximum. Tangential distortion moves that edge by at most 3 |p|
    r^2, by which the radius is made smaller.
    """
    if camera.lens == "pinhole":
        return math.inf
    slope = _ODD * np.array([1.0, *camera.distortion[:4]])
    slope[np.abs(slope) < _NOTHING] = 0.0  # to divide by it would be an infinity
    roots = np.roots(np.trim_zeros(slope[::-1], "f"))
    real = roots[np.abs(roots.imag) <= 1e-9 * np.abs(roots)].real
    first = math.sqrt(min(real[real > 0], default=math.inf))
    if camera.lens == "fisheye":
        return _bent(min(first, _BACKWARDS), camera)
    if not math.isfinite(first):
        return math.inf
    return _bent(first, camera) - 3 * math.hypot(*camera.distortion[4:]) * first**2


def _bent(r: float, camera: Camera) -> float:
    k1, k2, k3, k4 = camera.distortion[:4]
    s = r * r
    return r * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4))))


def _named(camera: Camera) -> str:
    return f"pictures of {camera.width} x {camera.height}"


def beyond_fold(camera: Camera) -> Bool[torch.Tensor, "h w"] | None:
    """True for the pixels beyond :func:`fold_radius`; None where there are none."""
    limit = fold_radius(camera)
    if math.isinf(limit):
        return None
    check_budget(_BYTES * camera.width * camera.height, f"looking where {_named(camera)} fold", "check their size")
    columns = (torch.arange(camera.width, dtype=torch.float64) + 0.5 - camera.cx) / camera.fx
    rows = (torch.arange(camera.height, dtype=torch.float64) + 0.5 - camera.cy) / camera.fy
    if math.hypot(float(columns.abs().max()), float(rows.abs().max())) <= limit:
        return None
    return columns.square() + rows[:, None].square() > max(limit, 0.0) ** 2


def beyond_circle(camera: Camera, radius: float) -> Bool[torch.Tensor, "h w"]:
    """True for the pixels more than ``radius`` pixels from the middle of the picture, where fisheyes see nothing."""
    check_budget(_BYTES * camera.width * camera.height, f"the circle in {_named(camera)}", "check their size")
    columns = torch.arange(camera.width, dtype=torch.float64) + 0.5 - camera.width / 2
    rows = torch.arange(camera.height, dtype=torch.float64) + 0.5 - camera.height / 2
    return columns.square() + rows[:, None].square() > radius**2
