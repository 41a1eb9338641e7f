"""World to pixels: where a camera sees points, distortion included."""

import numpy as np
from jaxtyping import Bool, Float64

from neufield.core.cameras import Camera


def project(
    camera: Camera, xyz: Float64[np.ndarray, "n 3"]
) -> tuple[Float64[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """Pixels (x, y) of points, the centre of the first pixel at (0.5, 0.5), and which points lie before the camera."""
    pose = camera.to_world.numpy()
    local = (xyz - pose[:3, 3]) @ np.linalg.inv(pose[:3, :3]).T * [1, -1, -1]
    before = local[:, 2] > 0
    depth = np.where(before, local[:, 2], 1.0)
    u, v = local[:, 0] / depth, local[:, 1] / depth
    u, v = _BENDS[camera.lens](u, v, camera.distortion)
    return np.stack([camera.fx * u + camera.cx, camera.fy * v + camera.cy], axis=1), before


def _straight(u: np.ndarray, v: np.ndarray, k: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    return u, v


def _opencv(u: np.ndarray, v: np.ndarray, k: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    k1, k2, k3, k4, p1, p2 = k
    r = u * u + v * v
    radial = 1 + r * (k1 + r * (k2 + r * (k3 + r * k4)))
    return (
        u * radial + 2 * p1 * u * v + p2 * (r + 2 * u * u),
        v * radial + p1 * (r + 2 * v * v) + 2 * p2 * u * v,
    )


def _fisheye(u: np.ndarray, v: np.ndarray, k: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    k1, k2, k3, k4, _, _ = k
    r = np.hypot(u, v)
    theta = np.arctan(r)
    t = theta * theta
    bent = theta * (1 + t * (k1 + t * (k2 + t * (k3 + t * k4))))
    scale = np.where(r > 1e-12, bent / np.maximum(r, 1e-12), 1.0)
    return u * scale, v * scale


_BENDS = {"pinhole": _straight, "opencv": _opencv, "fisheye": _fisheye}
