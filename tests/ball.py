"""A ball whose picture is known from every side, as a scene in Blender's dialect."""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

SIDE, ANGLE = 24, 0.7


def looking_at_origin(azimuth: float, height: float, distance: float = 3.0) -> np.ndarray:
    back = np.array([math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)])
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = distance * back
    return pose


def photograph(pose: np.ndarray, normals: bool = False) -> np.ndarray:
    """A ball of radius 0.6, colored by where it is hit, on a transparent ground; or its normals, 0 on the ground."""
    focal = 0.5 * SIDE / math.tan(0.5 * ANGLE)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    local = np.stack([(columns - SIDE / 2) / focal, -(rows - SIDE / 2) / focal, -np.ones_like(rows)], -1)
    d = local @ pose[:3, :3].T
    d /= np.linalg.norm(d, axis=-1, keepdims=True)
    o = pose[:3, 3]
    b = d @ o
    discriminant = b * b - (o @ o - 0.36)
    hit = o + (-b - np.sqrt(np.maximum(discriminant, 0)))[..., None] * d
    if normals:
        return np.where(discriminant[..., None] > 0, hit / 0.6, 0)
    rgba = np.concatenate([0.5 + 0.5 * np.sin(4 * hit), (discriminant > 0)[..., None]], -1)
    return (np.where(discriminant[..., None] > 0, rgba, 0) * 255 + 0.5).astype(np.uint8)


def write_ball(folder: Path, train: int = 12, test: int = 3, val: int = 0) -> Path:
    """So many views of each split in ``folder``."""
    for split, count, shift in (("train", train, 0.0), ("test", test, 0.4), ("val", val, 0.2)):
        frames = []
        for i in range(count):
            pose = looking_at_origin(2 * math.pi * i / count + shift, 0.5 * math.sin(3 * i + shift))
            (folder / split).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(photograph(pose)).save(folder / split / f"r_{i}.png")
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": pose.tolist()})
        if frames:
            text = json.dumps({"camera_angle_x": ANGLE, "frames": frames})
            (folder / f"transforms_{split}.json").write_text(text)
    return folder
