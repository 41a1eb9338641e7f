"""LLFF's ``poses_bounds.npy``: a row for each picture in ``images``, by the order of their names as text."""

import math
from pathlib import Path

import numpy as np

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.formats.scene.image_writer import ImageWriter
from neufield.formats.scene.lens import note_size
from neufield.formats.scene.npy import load_array
from neufield.formats.scene.options import Options
from neufield.formats.scene.pictures import held_out, image_folders, name_of, natural, picture_size, pictures_in
from neufield.formats.scene.pose import pose_of
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Frame, Scene
from neufield.formats.scene.unsupported import beyond, by_letters, lost_lens, lost_split

_COLUMNS = 17
_NARROW = 0.5  # the cosine of 60 degrees


def read(file: Path, options: Options, notes: ReadLog) -> Scene:
    """Rows of 3 x 5 ``[down, right, backward | position | height, width, focal]``, near and far; world as stored.

    Near and far are depths along the viewing axis. Neither the scaling to bounds of 0.75 nor the recentring of the
    original loader is done here.
    """
    rows = _rows(file)
    pictures = _pictures(file, len(rows), options, notes)
    if [p.name for p in pictures] != [p.name for p in sorted(pictures, key=lambda p: natural(p.name))]:
        text = "No names are stored; rows belong to the pictures sorted as text, not by their numbers."
        notes.add("warning", "order", text)
    out = held_out(len(rows), options.holdout)
    frames = []
    for row, picture, test in zip(rows, pictures, out, strict=True):
        name = name_of(picture, file.parent)
        size = picture_size(picture, notes)
        matrix = row[:15].reshape(3, 5)
        height, width, focal = map(float, matrix[:, 4])
        note_size((width, height), size, "hwf", notes, name)
        axes = np.stack([matrix[:, 1], -matrix[:, 0], matrix[:, 2], matrix[:, 3]], axis=1)
        pose = pose_of(axes, f"{file}, {name},")
        fx, fy = focal * size[0] / width, focal * size[1] / height
        camera = Camera(pose, *size, fx, fy, size[0] / 2, size[1] / 2)
        near, far = map(float, row[15:])
        frames.append(Frame(name, picture, camera, "test" if test else "train", near=near, far=far))
    if any(out):
        notes.add(
            "info",
            "split",
            f"One picture in {options.holdout}, from the first, is for testing, as LLFF's readers have it.",
        )
    notes.add("info", "half pixel", "The principal point is taken to be the middle of the picture; none is stored.")
    return Scene(tuple(frames), "llff", forward_facing=_forward_facing(frames, notes))


def _rows(file: Path) -> np.ndarray:
    rows = load_array(file)
    if rows.ndim != 2 or rows.shape[1] != _COLUMNS or not len(rows):
        shape = " x ".join(map(str, rows.shape))
        raise DataError(
            f"{file} has the shape {shape}, but rows of {_COLUMNS} numbers were expected; run LLFF's imgs2poses"
        )
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise DataError(f"{file}: row {wrong[0]} holds a NaN or an infinity; remove it and its picture")
    wrong = np.flatnonzero((rows[:, [4, 9, 14]] <= 0).any(axis=1))
    if len(wrong):
        raise DataError(f"{file}: row {wrong[0]} has a height, width or focal length that is not above 0; correct it")
    return rows


def _pictures(file: Path, count: int, options: Options, notes: ReadLog) -> list[Path]:
    """The pictures of the first folder that has as many as there are rows."""
    folders = image_folders(file.parent, options.images)
    if not folders:
        raise DataError(
            f"there is no folder images, images_4 or the like beside {file}; put the photographs into images"
        )
    held = {folder: pictures_in(folder) for folder in folders}
    chosen = next((folder for folder in folders if len(held[folder]) == count), None)
    if chosen is None:
        found = ", ".join(f"{folder.name} holds {len(held[folder])} pictures" for folder in folders)
        raise DataError(
            f"{file} has {count} poses, but {found}; the pictures must be those that were posed, no more or less"
        )
    if len(folders) > 1:
        notes.add("info", "images", f"The pictures in {chosen.name} are read; images='...' (--images) names others.")
    return held[chosen]


def _forward_facing(frames: list[Frame], notes: ReadLog) -> bool:
    axes = np.stack([frame.camera.to_world[:3, 2].numpy() for frame in frames])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True).clip(1e-300)
    mean = axes.mean(axis=0)
    cosine = float((axes @ mean).min() / max(np.linalg.norm(mean), 1e-300))
    angle = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
    facing = cosine > _NARROW
    verdict = "the scene is forward-facing" if facing else "the scene is not forward-facing"
    notes.add("info", "forward-facing", f"Cameras look up to {angle:.0f} degrees off their mean direction; {verdict}.")
    return facing


def unsupported(scene: Scene, copy: bool) -> list[str]:
    """What this file cannot hold."""
    return [*beyond(scene, ("bounds",)), *lost_split(scene, by_letters(scene)), *lost_lens(scene)]


def write(scene: Scene, folder: Path, image_writer: ImageWriter) -> None:
    """Rows in the order of the pictures' names; the pictures must be in ``folder/images``, or be copied there."""
    rows, names = [], []
    for frame in by_letters(scene):
        if frame.near is None or frame.far is None:
            raise DataError(f"{frame.name} has no near and far, which every row of LLFF needs; set them first")
        camera = frame.camera
        name = image_writer.picture(frame, "images")
        if "/" in name:
            raise DataError(
                f"{frame.name} is not in {folder / 'images'}, where LLFF looks for pictures; pass copy_images=True"
            )
        right, up, backward, position = camera.to_world[:3].numpy().T
        size = np.array([camera.height, camera.width, camera.fx])
        matrix = np.stack([-up, right, backward, position, size], axis=1)
        rows.append([*matrix.ravel(), frame.near, frame.far])
        names.append(name)
    found = [path.name for path in pictures_in(folder / "images")]
    if names != found:
        raise DataError(
            f"{folder / 'images'} holds {len(found)} pictures, but the {len(names)} of the scene were expected alone, "
            f"under names of their own; write into an empty folder"
        )
    table = np.array(rows, np.float64)
    write_atomically(folder / "poses_bounds.npy", lambda temporary: np.save(temporary, table))
