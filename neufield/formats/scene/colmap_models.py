"""COLMAP's camera models and its world-to-camera poses, as our cameras and back."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neufield.core.errors import DataError
from neufield.formats.scene.lens import Intrinsics

# Name and number of parameters, by the number that binary files have for the model.
MODELS = (
    ("SIMPLE_PINHOLE", 3), ("PINHOLE", 4), ("SIMPLE_RADIAL", 4), ("RADIAL", 5), ("OPENCV", 8), ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12), ("FOV", 5), ("SIMPLE_RADIAL_FISHEYE", 4), ("RADIAL_FISHEYE", 5), ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
)  # fmt: skip
_PARAMETERS = dict(MODELS)
_HINT = "undistort the photographs with COLMAP's image_undistorter first"


class Stored(NamedTuple):
    """A camera as COLMAP has it."""

    model: str
    width: int
    height: int
    values: tuple[float, ...]


class ImageRecord(NamedTuple):
    """An image as COLMAP has it: quaternion (w, x, y, z) and translation of world to camera, and what it sees.

    ``pixels (K, 2)`` belong to the points whose numbers are ``seen (K,)``; a number below 0 is no point.
    """

    number: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str
    pixels: np.ndarray
    seen: np.ndarray


def intrinsics_of(stored: Stored, where: str) -> Intrinsics:
    """COLMAP's parameters as ours."""
    model, width, height, values = stored
    if model not in _PARAMETERS:
        raise DataError(f"{where}: the camera model {model} is unknown; {_HINT}")
    if len(values) != _PARAMETERS[model] or not np.isfinite(values).all():
        raise DataError(
            f"{where}: {model} needs {_PARAMETERS[model]} finite parameters, not {len(values)}; export it again"
        )
    if model in ("FOV", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE"):
        raise DataError(f"{where}: the camera model {model} is not read; {_HINT}")
    if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        values = (values[0], *values)
    fx, fy, cx, cy, *bend = values
    if min(fx, fy) <= 0 or min(width, height) < 1:
        raise DataError(f"{where}: the focal length and the size must be above 0; export the reconstruction again")
    if model == "FULL_OPENCV" and any(bend[5:]):
        raise DataError(f"{where}: the camera model FULL_OPENCV with k4, k5 or k6 is not read; {_HINT}")
    k1, k2, *more = [*bend, *[0.0] * 6][:6]
    if "FISHEYE" in model:
        return Intrinsics(width, height, fx, fy, cx, cy, "fisheye", (k1, k2, more[0], more[1], 0.0, 0.0))
    p1, p2, k3 = more[:3]
    bent = any((k1, k2, k3, p1, p2))
    return Intrinsics(width, height, fx, fy, cx, cy, "opencv" if bent else "pinhole", (k1, k2, k3, 0.0, p1, p2))


def stored_camera(camera: Intrinsics) -> Stored:
    """Our parameters as COLMAP's, in the smallest model that holds them; k4 of a lens that is no fisheye is dropped."""
    k1, k2, k3, k4, p1, p2 = camera.distortion
    straight = (camera.fx, camera.fy, camera.cx, camera.cy)
    size = (camera.width, camera.height)
    if camera.lens == "fisheye":
        return Stored("OPENCV_FISHEYE", *size, (*straight, k1, k2, k3, k4))
    if k3:
        return Stored("FULL_OPENCV", *size, (*straight, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0))
    if any((k1, k2, p1, p2)):
        return Stored("OPENCV", *size, (*straight, k1, k2, p1, p2))
    return Stored("PINHOLE", *size, straight)


def to_world(quaternion: Sequence[float], translation: Sequence[float]) -> np.ndarray:
    """Camera to world (4, 4) in OpenGL axes, of COLMAP's world to camera in OpenCV axes."""
    w, x, y, z = np.asarray(quaternion) / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3] = rotation.T * [1, -1, -1]
    pose[:3, 3] = -rotation.T @ translation
    return pose


def from_world(pose: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Quaternion and translation of a camera-to-world ``pose`` (4, 4): the inverse of :func:`to_world`."""
    left, _, right = np.linalg.svd(pose[:3, :3] * [1, -1, -1])
    rotation = (left @ right).T  # the nearest rotation
    translation = -rotation @ pose[:3, 3]
    # The largest of the four is found first, so that none is divided by something small.
    r = rotation
    squares = np.array([1 + np.trace(r), *(1 + 2 * np.diag(r) - np.trace(r))])
    products = np.array(
        [
            [squares[0], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], squares[1], r[1, 0] + r[0, 1], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[1, 0] + r[0, 1], squares[2], r[2, 1] + r[1, 2]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[2, 1] + r[1, 2], squares[3]],
        ]
    )
    quaternion = products[squares.argmax()]
    quaternion = quaternion / np.linalg.norm(quaternion)
    quaternion = quaternion if quaternion[0] >= 0 else -quaternion
    return tuple(map(float, quaternion)), tuple(map(float, translation))
