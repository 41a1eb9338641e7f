"""Blender's (nerf-synthetic) ``transforms_{train,val,test}.json``: one angle of view, three files, PNG with alpha."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neufield.core.errors import DataError
from neufield.core.json_files import Keys, dumped, read_json
from neufield.formats.scene.image_writer import ImageWriter, by_split, copied_names, save_text
from neufield.formats.scene.options import Options
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Frame, Scene, Split
from neufield.formats.scene.transforms import DialectRules, mask_at, read_frames
from neufield.formats.scene.unsupported import beyond, lost_lens

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def find(path: Path) -> list[Path]:
    """The files of a scene in the folder ``path``, or the one file of them that it is."""
    if path.is_file():
        return [path] if path.suffix == ".json" else []
    return [file for file in (path / f"transforms_{split}.json" for split in _SPLITS) if file.is_file()]


def split_of(file: Path) -> Split:
    """The split that a file is of, by its name."""
    return next((split for split in _SPLITS if file.stem.endswith(f"_{split}")), "train")


def read(files: Sequence[Path], options: Options, notes: ReadLog) -> Scene:
    """The focal length is W / (2 tan(camera_angle_x / 2)), square pixels, the principal point in the middle."""
    frames: list[Frame] = []
    root = files[0].parent
    for file in files:
        whole = read_json(file, "a scene")
        frames += read_frames(whole, root, _habits(root, split_of(file), notes), 0, options.images, notes)
    absent = [f"transforms_{split}.json" for split in _SPLITS if split not in {split_of(file) for file in files}]
    if absent:
        notes.add("info", "split", f"There is no {' and no '.join(absent)}, or it was not asked for.")
    text = "Rays go through pixel centers (i + 0.5, j + 0.5); the original NeRF shot them through the corners (i, j)."
    notes.add("info", "half pixel", text)
    return Scene(tuple(frames), "blender")


def _habits(root: Path, split: Split, notes: ReadLog) -> DialectRules:
    def depth_of(entry: Keys) -> None:
        return None

    return DialectRules(lambda entry, picture: mask_at(root, entry, notes), depth_of, lambda text: split)


def unsupported(scene: Scene, copy: bool) -> list[str]:
    """What these files cannot hold."""
    lost = [*beyond(scene, ("time",)), *lost_lens(scene)]
    suffixes = sum(not name.endswith(".png") for name in copied_names(scene))
    if suffixes:
        lost.append(f"the names that do not end in .png, which Blender's readers add ({suffixes} frames)")
    unsplit = sum(frame.split == "" for frame in scene.frames)
    if unsplit:
        lost.append(f"the frames without a split ({unsplit} frames)")
    for split, frames in by_split(scene).items():
        angles = [_angle(frame) for frame in frames]
        if max(angles) - min(angles) > 1e-9:
            lost.append(f"the different focal lengths of {split} frames")
    return lost


def write(scene: Scene, folder: Path, image_writer: ImageWriter) -> None:
    """One file for each split."""
    if not any(frame.split for frame in scene.frames):
        raise DataError("no frame has a split, but Blender's files are one for each; give every frame a split first")
    for split in _SPLITS:
        other = folder / f"transforms_{split}.json"
        if split not in by_split(scene) and other.exists():
            raise DataError(f"{other} is there, but the scene has no {split} frames; write into an empty folder")
    for split, frames in by_split(scene).items():
        entries = [_entry(frame, image_writer) for frame in frames]
        document = {"camera_angle_x": _angle(frames[0]), "frames": entries}
        save_text(folder / f"transforms_{split}.json", dumped(document))


def _entry(frame: Frame, image_writer: ImageWriter) -> dict[str, Any]:
    path = image_writer.picture(frame)
    entry: dict[str, Any] = {"file_path": ("" if path.startswith(".") else "./") + path.removesuffix(".png")}
    if frame.time is not None:
        entry["time"] = frame.time
    return entry | {"transform_matrix": frame.camera.to_world.tolist()}


def _angle(frame: Frame) -> float:
    return 2 * math.atan(0.5 * frame.camera.width / frame.camera.fx)
