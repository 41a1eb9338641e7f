"""Small posed scenes, made by hand: nothing here uses the readers or writers that they test."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pil

IDENTITY = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
MODELS = {
    "SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6, "FOV": 7, "SIMPLE_RADIAL_FISHEYE": 8, "RADIAL_FISHEYE": 9, "THIN_PRISM_FISHEYE": 10,
}  # fmt: skip


def picture(path: Path, width: int = 8, height: int = 6, value: int = 100, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    Pil.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def poses(count: int, seed: int = 0) -> np.ndarray:
    """Rigid camera-to-world matrices (count, 4, 4)."""
    rng = np.random.default_rng(seed)
    result = np.tile(np.eye(4), (count, 1, 1))
    for pose in result:
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        pose[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
        pose[:3, 3] = rng.normal(size=3) * 3
    return result


def transforms(
    folder: Path, names: Sequence[str] = ("images/a.png", "images/b.png"), name: str = "transforms.json", **keys: Any
) -> Path:
    """A transforms.json of ``names``, whose pictures are made where the name has a suffix; keys go to the top."""
    entries = []
    for text, pose in zip(names, poses(len(names)), strict=True):
        if Path(text).suffix in (".png", ".jpg"):
            picture(folder / text)
        entries.append({"file_path": text, "transform_matrix": pose.tolist()})
    return write_json(folder / name, {"frames": entries, **keys})


def write_json(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def edit(path: Path, **keys: Any) -> Path:
    return write_json(path, json.loads(path.read_text()) | keys)


def edit_frame(path: Path, index: int, **keys: Any) -> Path:
    document = json.loads(path.read_text())
    document["frames"][index] |= keys
    return write_json(path, document)


def llff(folder: Path, count: int = 9, stated: tuple[int, int] = (16, 12), images: str = "images") -> np.ndarray:
    """poses_bounds.npy and pictures 00.png ...; gives the OpenGL poses."""
    matrices = poses(count)
    rows = []
    for index, pose in enumerate(matrices):
        picture(folder / images / f"{index:02d}.png")
        right, up, back, place = pose[:3].T
        rows.append([*np.stack([-up, right, back, place, [stated[1], stated[0], 20.0]], 1).ravel(), 1.5, 7.0 + index])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return matrices


def quaternion(angle: float, axis: Sequence[float]) -> list[float]:
    unit = np.array(axis) / np.linalg.norm(axis)
    return [np.cos(angle / 2), *(np.sin(angle / 2) * unit)]


def colmap(
    folder: Path,
    cameras: Sequence[tuple[int, str, int, int, Sequence[float]]],
    images: Sequence[tuple[int, Sequence[float], Sequence[float], int, str, Sequence[tuple[float, float, int]]]],
    points: Sequence[tuple[int, Sequence[float], Sequence[int]]] = (),
    binary: bool = True,
) -> None:
    """sparse/0 as COLMAP writes it, with pictures in images/."""
    target = folder / "sparse" / "0"
    target.mkdir(parents=True, exist_ok=True)
    for _, _, _, _, name, _ in images:
        picture(folder / "images" / name)
    if binary:
        data = struct.pack("<Q", len(cameras))
        for key, model, width, height, values in cameras:
            data += struct.pack("<iiQQ", key, MODELS[model], width, height) + struct.pack(f"<{len(values)}d", *values)
        (target / "cameras.bin").write_bytes(data)
        data = struct.pack("<Q", len(images))
        for key, q, t, camera, name, seen in images:
            data += struct.pack("<i4d3di", key, *q, *t, camera) + name.encode() + b"\0" + struct.pack("<Q", len(seen))
            data += b"".join(struct.pack("<ddq", *row) for row in seen)
        (target / "images.bin").write_bytes(data)
        data = struct.pack("<Q", len(points))
        for key, xyz, rgb in points:
            data += struct.pack("<Q3d3BdQii", key, *xyz, *rgb, 0.5, 1, 1, 0)
        (target / "points3D.bin").write_bytes(data)
        return
    rows = ["# Camera list"] + [f"{k} {m} {w} {h} {' '.join(map(repr, map(float, v)))}" for k, m, w, h, v in cameras]
    (target / "cameras.txt").write_text("\n".join(rows) + "\n")
    rows = ["# Image list"]
    for key, q, t, camera, name, seen in images:
        rows.append(f"{key} {' '.join(repr(float(v)) for v in (*q, *t))} {camera} {name}")
        rows.append(" ".join(f"{x} {y} {point}" for x, y, point in seen))
    (target / "images.txt").write_text("\n".join(rows) + "\n")
    rows = [f"{k} {' '.join(map(str, xyz))} {' '.join(map(str, rgb))} 0.5 1 0" for k, xyz, rgb in points]
    (target / "points3D.txt").write_text("# Points\n" + "\n".join(rows) + "\n")
