"""nerfstudio's ``transforms.json``, as its ``NerfstudioDataParser`` reads it and ``ns-process-data`` writes it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neufield.core.errors import DataError
from neufield.core.json_files import Keys, dumped, read_json
from neufield.formats.scene.image_writer import ImageWriter, by_split, save_text
from neufield.formats.scene.options import Options
from neufield.formats.scene.pictures import find_picture
from neufield.formats.scene.ply import read_ply, write_ply
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Frame, Points, Scene, Split
from neufield.formats.scene.transforms import DialectRules, depth_at, mask_at, name_in, read_frames
from neufield.formats.scene.unsupported import beyond

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_MILLIMETER = 1e-3
# What ns-process-data did to COLMAP's frame before it began to write down what it does.
_FORMER = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]]


def read(file: Path, options: Options, notes: ReadLog) -> Scene:
    """Frames, masks and depths, sparse points, and the way back to the frame that the photographs were posed in."""
    whole, root = read_json(file, "a scene"), file.parent
    scale = whole.number("applied_scale") if whole.has("applied_scale") else 1.0
    if scale <= 0:
        raise DataError(f"{file}: 'applied_scale' is {scale:g}, but a factor above 0 was expected; correct it")
    habits = DialectRules(
        lambda entry, picture: mask_at(root, entry, notes),
        lambda entry: depth_at(root, "depth_file_path", _MILLIMETER * scale, entry, notes),
        _split_of(whole, notes),
        model_first=True,
    )
    original = _original_from_world(whole, root, scale, notes)
    points = _points(whole, root, notes)
    frames = _cropped(whole, read_frames(whole, root, habits, options.holdout, options.images, notes), notes)
    if any(frame.depth for frame in frames):
        notes.add("info", "depth_file_path", "Depths are read as millimeters, nerfstudio's own default.")
    return Scene(tuple(frames), "nerfstudio", points=points, original_from_world=original)


def _cropped(whole: Keys, frames: list[Frame], notes: ReadLog) -> list[Frame]:
    """Frames with the circle of ``fisheye_crop_radius``, in pixels of the size that the file states."""
    key = "fisheye_crop_radius"
    if not whole.has(key):
        return frames
    radius = whole.number(key)
    if radius <= 0:
        raise DataError(
            f"{whole.where}: '{key}' is {radius:g}, but a radius above 0 was expected; correct or remove it"
        )
    if any(frame.camera.lens != "fisheye" for frame in frames):
        notes.add("warning", key, "It is for fisheye lenses, as in nerfstudio; for the others it is ignored.")
    stated = whole.number("w") if whole.has("w") else None

    def cropped(frame: Frame) -> Frame:
        if frame.camera.lens != "fisheye":
            return frame
        return replace(frame, circle=radius * frame.camera.width / (stated or frame.camera.width))

    return [cropped(frame) for frame in frames]


def _split_of(whole: Keys, notes: ReadLog) -> Callable[[str], Split] | None:
    """The splits that the file's own lists give, if it has any."""
    if not whole.has(*(f"{split}_filenames" for split in _SPLITS)):
        return None
    listed: dict[str, Split] = {}
    for split in _SPLITS:
        names = whole.values.get(f"{split}_filenames") or []
        for name in map(_plain, names):
            if listed.setdefault(name, split) != split:
                notes.add("warning", f"{split}_filenames", f"{name} is already in {listed[name]}, where it stays.")
    texts = {_plain(entry.get("file_path", "")) for entry in whole.values.get("frames", ()) if isinstance(entry, dict)}
    for name in listed:
        if name not in texts:
            notes.add("warning", f"{listed[name]}_filenames", "A listed photograph has no frame.", name)

    def split_of(text: str) -> Split:
        split = listed.get(_plain(text), "")
        if not split:
            notes.add("warning", "split", "A frame is in none of the file's lists and belongs to no split.", text)
        return split

    return split_of


def _plain(text: Any) -> str:
    return Path(str(text).replace("\\", "/")).as_posix()


def _original_from_world(whole: Keys, root: Path, scale: float, notes: ReadLog) -> Tensor:
    applied = np.eye(4)
    if whole.has("applied_transform"):
        applied[:3] = whole.array("applied_transform", (3, 4), (4, 4))[:3]
        if abs(np.linalg.det(applied[:3, :3])) < 1e-12:
            raise DataError(f"{whole.where}: 'applied_transform' cannot be undone; write a rotation or remove the key")
    elif (root / "colmap" / "sparse" / "0").is_dir():
        applied[:3] = _FORMER
        text = "It is absent beside colmap/sparse/0: the file is of the first generation, whose transform is assumed."
        notes.add("warning", "applied_transform", text)
    applied[:3] *= scale
    return torch.from_numpy(np.linalg.inv(applied))


def _points(whole: Keys, root: Path, notes: ReadLog) -> Points | None:
    name = name_in(whole, "ply_file_path", notes)
    if name is None:
        return None
    path = find_picture(root, name, notes)
    if path is None:
        notes.add("warning", "ply_file_path", f"There is no {name}; the scene has no points.")
        return None
    notes.add(
        "info", "ply_file_path", "Points are read in the world of the poses, where nerfstudio since 1.0 has them."
    )
    return read_ply(path)


def unsupported(scene: Scene, copy: bool) -> list[str]:
    """What this file cannot hold."""
    lost = beyond(scene, ("masks", "depths", "time", "points", "original", "circle"))
    if _circle(scene) is None and any(frame.circle is not None for frame in scene.frames):
        lost.append("the circles of the fisheyes, of which nerfstudio has one for all frames of one size")
    if 0 < sum(frame.mask is not None for frame in scene.frames) < len(scene.frames):
        lost.append("the masks, which nerfstudio wants for all frames or for none")
    if any(frame.depth is not None for frame in scene.frames) and not _keeps_depths(scene):
        lost.append("the depths, which nerfstudio wants in millimeters and for all frames or for none")
    return lost


def write(scene: Scene, folder: Path, image_writer: ImageWriter) -> None:
    """One file, ``sparse_pc.ply`` beside it, and intrinsics for the whole file where all frames share them."""
    lenses = {frame.camera.lens == "fisheye" for frame in scene.frames}
    if len(lenses) > 1:
        raise DataError(
            "some lenses are fisheyes and some are not, but nerfstudio has one model for all; split the scene"
        )
    document: dict[str, Any] = {"camera_model": "OPENCV_FISHEYE" if lenses.pop() else "OPENCV"}
    cameras = [_camera_keys(frame) for frame in scene.frames]
    shared = all(camera == cameras[0] for camera in cameras)
    if shared:
        document |= cameras[0]
    circle = _circle(scene)
    if circle is not None and shared:
        document["fisheye_crop_radius"] = circle
    rotation, scale = _applied(scene)
    if not np.array_equal(rotation, np.eye(4)) or scale != 1:
        document["applied_transform"] = rotation[:3].tolist()
        document["applied_scale"] = scale
    if scene.points:
        write_ply(folder / "sparse_pc.ply", scene.points)
        document["ply_file_path"] = "sparse_pc.ply"
    masked = all(frame.mask for frame in scene.frames)
    deep = _keeps_depths(scene)
    document["frames"] = entries = []
    paths: dict[int, str] = {}
    for index, (frame, camera) in enumerate(zip(scene.frames, cameras, strict=True)):
        paths[index] = image_writer.picture(frame)
        entry: dict[str, Any] = {"file_path": paths[index]} | ({} if shared else camera)
        if masked:
            entry["mask_path"] = image_writer.mask(frame)
        if deep:
            entry["depth_file_path"] = image_writer.depth(frame)
        if frame.time is not None:
            entry["time"] = frame.time
        entries.append(entry | {"transform_matrix": frame.camera.to_world.tolist()})
    for split in _SPLITS if by_split(scene) else ():
        document[f"{split}_filenames"] = [paths[i] for i, frame in enumerate(scene.frames) if frame.split == split]
    save_text(folder / "transforms.json", dumped(document))


def _circle(scene: Scene) -> float | None:
    """The one circle of all frames, if they have one."""
    found = {(frame.circle, *_camera_keys(frame).values()) for frame in scene.frames}
    return next(iter(found))[0] if len(found) == 1 else None


def _keeps_depths(scene: Scene) -> bool:
    unit = _MILLIMETER * _applied(scene)[1]
    return all(frame.depth is not None and abs(frame.depth.unit / unit - 1) < 1e-9 for frame in scene.frames)


def _applied(scene: Scene) -> tuple[np.ndarray, float]:
    """``applied_transform`` as (4, 4), and ``applied_scale``: the world is scale * (transform of the original)."""
    applied = np.linalg.inv(scene.original_from_world.numpy())
    scale = float(np.cbrt(abs(np.linalg.det(applied[:3, :3]))))
    scale = 1.0 if abs(scale - 1) < 1e-12 else scale
    applied[:3] /= scale
    return applied, scale


def _camera_keys(frame: Frame) -> dict[str, float]:
    camera = frame.camera
    keys = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, "w": camera.width}
    return keys | {"h": camera.height} | dict(zip(("k1", "k2", "k3", "k4", "p1", "p2"), camera.distortion, strict=True))
