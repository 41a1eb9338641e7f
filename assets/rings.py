"""Writes a small scene to try a radiance field on: ``python assets/rings.py scenes/rings``. Needs numpy and imageio.

Three rings linked about a striped ball: 48 photographs to train on and 8 to judge by, 160 x 160 with alpha, in
Blender's dialect.
"""

import json
import math
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np

SIDE, OVERSAMPLING, ANGLE, DISTANCE = 160, 2, 0.7, 3.6
LIGHT = np.array([0.5, 0.3, 0.81])
COLORS = np.array([[0.85, 0.25, 0.15], [0.95, 0.70, 0.20], [0.15, 0.50, 0.65]])
# Borromean rings: three ellipses about the origin, each with its long, its short and its normal axis.
AXES = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
LONG, SHORT, THICKNESS, BALL = 1.0, 0.55, 0.1, 0.34


def distances(points: np.ndarray) -> np.ndarray:
    """About how far ``points`` (N, 3) are from the ball and the three rings: (N, 4), negative inside."""
    found = [np.linalg.norm(points, axis=1) - BALL]
    for long, short, normal in AXES:
        angle = np.arctan2(points[:, short] / SHORT, points[:, long] / LONG)
        for _ in range(3):  # Newton's steps to the nearest point of the ellipse
            c, s = np.cos(angle), np.sin(angle)
            x, y = LONG * c - points[:, long], SHORT * s - points[:, short]
            slope = -x * LONG * s + y * SHORT * c
            bend = (LONG * s) ** 2 + (SHORT * c) ** 2 - x * LONG * c - y * SHORT * s
            angle = angle - slope / np.maximum(bend, 0.05)
        x, y = LONG * np.cos(angle) - points[:, long], SHORT * np.sin(angle) - points[:, short]
        found.append(np.sqrt(x**2 + y**2 + points[:, normal] ** 2) - THICKNESS)
    return np.stack(found, axis=1)


def photograph(pose: np.ndarray) -> np.ndarray:
    """What a camera with this camera-to-world ``pose`` sees: (160, 160, 4) uint8."""
    side = SIDE * OVERSAMPLING
    focal = 0.5 * side / math.tan(0.5 * ANGLE)
    rows, columns = np.mgrid[0:side, 0:side].reshape(2, -1) + 0.5
    local = np.stack([(columns - side / 2) / focal, (side / 2 - rows) / focal, -np.ones(side * side)], axis=1)
    directions = local @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    eye = pose[:3, 3]
    passes = eye - (directions @ eye)[:, None] * directions  # where a ray is nearest to the origin
    (going,) = np.nonzero(np.linalg.norm(passes, axis=1) < LONG + THICKNESS)
    way = np.full(side * side, np.inf)
    way[going] = DISTANCE - 1.4
    for _ in range(70):
        nearest = distances(eye + way[going, None] * directions[going]).min(axis=1)
        way[going] += 0.8 * nearest
        going = going[(nearest > 1e-3) & (way[going] < DISTANCE + 1.4)]
    hit = way < DISTANCE + 1.4
    rgba = np.zeros((side * side, 4))
    rgba[hit] = np.concatenate([shade(eye + way[hit, None] * directions[hit]), np.ones((hit.sum(), 1))], axis=1)
    blocks = rgba.reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING, 4).mean(axis=(1, 3))
    blocks[..., :3] /= np.maximum(blocks[..., 3:], 1e-6)
    return (np.clip(blocks, 0, 1) * 255).round().astype(np.uint8)


def shade(points: np.ndarray) -> np.ndarray:
    """The colors of surface ``points`` (N, 3) in sRGB."""
    part = distances(points).argmin(axis=1)
    steps = 1e-3 * np.eye(3)
    normal = np.stack([distances(points + h).min(axis=1) - distances(points - h).min(axis=1) for h in steps], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    stripes = 0.5 + 0.5 * np.tanh(6 * np.sin(30 * points[:, 2] + 3 * np.arctan2(points[:, 1], points[:, 0])))
    ball = 0.12 + 0.8 * stripes[:, None] * np.array([1.0, 0.97, 0.9])
    base = np.where(part[:, None] == 0, ball, COLORS[np.maximum(part, 1) - 1])
    open_sky = np.clip(distances(points + 0.2 * normal).min(axis=1) / 0.2, 0, 1)  # dark where something else is near
    light = (0.35 + 0.75 * np.maximum(normal @ LIGHT, 0)) * (0.4 + 0.6 * open_sky)
    return (base * light[:, None]) ** (1 / 1.6)


def looking_at_the_origin(azimuth: float, height: float) -> np.ndarray:
    """A camera's pose, camera-to-world: it looks along -z, with x to the right and y up."""
    back = np.array([math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)])
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = DISTANCE * back
    return pose


def write(folder: Path) -> None:
    """Write the scene into ``folder``."""
    for split, count, first in (("train", 48, 0.0), ("test", 8, 0.3)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        frames = []
        for i in range(count):
            pose = looking_at_the_origin(2.39996 * i + first, math.asin(0.9 - 1.2 * (i + 0.5) / count))
            iio.imwrite(folder / split / f"r_{i}.png", photograph(pose))
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": pose.tolist()})
        scene = json.dumps({"camera_angle_x": ANGLE, "frames": frames}, indent=1)
        (folder / f"transforms_{split}.json").write_text(scene, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
