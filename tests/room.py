"""A corner of a room, papered with noise, as a camera of known pose and lens sees it: photographs with a truth."""

import math

import numpy as np
import torch
from PIL import Image as Pillow

from neufield.core.cameras import Camera

WIDTH, HEIGHT, FOCAL = 200, 150, 190.0
_CELLS, _SIDE = 400, 4.0  # of the paper, which repeats beyond its side


def _paper(seed: int) -> np.ndarray:
    """Noise of several grains, (cells, cells, 3) in [0, 255]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((_CELLS, _CELLS, 3))
    for grain in (3, 8, 25):
        coarse = Pillow.fromarray(rng.integers(0, 256, (_CELLS // grain, _CELLS // grain, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize((_CELLS, _CELLS), Pillow.Resampling.BICUBIC), float)
    return np.clip((total / 3 - 127) * 2 + 127, 0, 255)


_PAPERS = tuple(_paper(seed) for seed in range(3))


def camera(place: int, count: int, roll: float = 0.0, width: int = WIDTH, height: int = HEIGHT) -> Camera:
    """The ``place``-th of ``count`` on an arc around the corner at the origin, all looking near it.

    ``roll`` turns the camera, counter-clockwise seen from behind it, by degrees.
    """
    azimuth = math.radians(20 + 50 * place / (count - 1))
    origin = np.array([3.2 * math.cos(azimuth), 3.2 * math.sin(azimuth), 1.1 + 0.4 * math.sin(2.1 * place)])
    back = origin - [0.5, 0.5, 0.7]
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    pose = np.eye(4)
    pose[:3] = np.stack([c * right + s * up, c * up - s * right, back, origin], axis=1)
    return Camera(torch.from_numpy(pose), width, height, FOCAL, FOCAL, width / 2, height / 2)


def photograph(seen_by: Camera) -> np.ndarray:
    """(H, W, 3) uint8; four rays a pixel."""
    rows, columns = (np.mgrid[0 : 2 * seen_by.height, 0 : 2 * seen_by.width] + 0.5) / 2
    local = np.stack([(columns - seen_by.cx) / seen_by.fx, -(rows - seen_by.cy) / seen_by.fy, -np.ones_like(rows)], -1)
    pose = seen_by.to_world.numpy()
    directions, origin = local @ pose[:3, :3].T, pose[:3, 3]
    picture, nearest = np.zeros((*rows.shape, 3)), np.full(rows.shape, np.inf)
    for axis, paper in enumerate(_PAPERS):  # the planes x = 0, y = 0, z = 0
        with np.errstate(divide="ignore"):
            distance = -origin[axis] / directions[..., axis]
        hit = (distance > 0) & (distance < nearest)
        nearest = np.where(hit, distance, nearest)
        point = origin + np.where(hit, distance, 0)[..., None] * directions
        cells = (np.delete(point, axis, axis=-1) * (_CELLS / _SIDE)).astype(int) % _CELLS
        picture[hit] = paper[cells[..., 0], cells[..., 1]][hit]
    fine = picture.reshape(seen_by.height, 2, seen_by.width, 2, 3).mean(axis=(1, 3))
    return (fine + 0.5).astype(np.uint8)
