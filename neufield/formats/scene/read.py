"""``read_scene``: the one reader of posed photographs. What lies there chooses the dialect, unless one is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neufield.core.errors import DataError, command, nearest
from neufield.core.json_files import read_json
from neufield.formats.scene import blender, colmap, llff, nerfstudio, ngp, npz
from neufield.formats.scene.options import Options
from neufield.formats.scene.pictures import image_folders, pictures_in
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Scene
from neufield.formats.video import FILMS

_NERFSTUDIO = {
    "camera_model", "applied_transform", "applied_scale", "ply_file_path", "orientation_override", "train_filenames",
    "val_filenames", "test_filenames", "fisheye_crop_radius", "auto_scale_poses_override", "mask_path",
    "depth_file_path", "colmap_im_id", "distortion_params",
}  # fmt: skip
_NGP = {
    "aabb_scale", "aabb", "scale", "offset", "render_aabb", "is_fisheye", "integer_depth_scale", "enable_depth_loading",
    "n_extra_learnable_dims", "from_mitsuba", "normal_mts_args", "white_transparent", "black_transparent",
    "fix_premult", "sharpness", "depth_path", "x_fov", "importance_sampling",
}  # fmt: skip


class _Dialect(NamedTuple):
    """``find`` gives what of a path is its own, or something false; ``read`` reads it."""

    find: Callable[[Path], Any]
    read: Callable[[Any, Options, ReadLog], Scene]
    looks_for: str


def _transforms(path: Path) -> Path | None:
    file = path if path.is_file() and path.suffix == ".json" else path / "transforms.json"
    return file if file.is_file() else None


def _poses_bounds(path: Path) -> Path | None:
    file = path if path.is_file() and path.suffix == ".npy" else path / "poses_bounds.npy"
    return file if file.is_file() else None


def _archive(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix == ".npz" else None
    found = sorted(path.glob("*.npz")) if path.is_dir() else []
    return found[0] if len(found) == 1 else None


_DIALECTS = {
    "blender": _Dialect(blender.find, blender.read, "transforms_train.json"),
    "nerfstudio": _Dialect(_transforms, nerfstudio.read, "transforms.json"),
    "instant-ngp": _Dialect(_transforms, ngp.read, "transforms.json"),
    "llff": _Dialect(_poses_bounds, llff.read, "poses_bounds.npy"),
    "colmap": _Dialect(lambda path: colmap.find(path, ("bin", "txt")), colmap.read, "sparse/0/cameras.bin"),
    "colmap-text": _Dialect(lambda path: colmap.find(path, ("txt",)), colmap.read, "sparse/0/cameras.txt"),
    "tiny-nerf": _Dialect(_archive, npz.read, "one .npz file"),
}
_AUTO = ("blender", "transforms", "llff", "colmap", "tiny-nerf")


def read_scene(path: str | Path, dialect: str = "auto", holdout: int = 8, images: str | None = None) -> Scene:
    """The posed photographs in ``path``, a folder or the file in it that holds the poses.

    Args:
        path: of the scene.
        dialect: "auto", or one of "blender", "nerfstudio", "instant-ngp", "llff", "colmap", "colmap-text", "tiny-nerf".
        holdout: where the file has no split, one frame in so many, from the first, is "test"; 0 for none.
        images: the folder of photographs to use instead of the file's own, such as "images_4"; intrinsics follow.

    Poses stay in the file's own world and scale, in OpenGL axes, float64; intrinsics are in pixels of the pictures on
    disk. Photographs that do not exist are left out with a note. Raises DataError, in one sentence, for a scene that
    is missing, damaged or makes no sense.
    """
    path = Path(path)
    options = Options(holdout, images)
    if holdout < 0:
        raise ValueError(
            f"holdout is {holdout}, but it must be 0 (none) or the distance between test frames, such as 8"
        )
    if dialect != "auto" and dialect not in _DIALECTS:
        raise DataError(f"the dialect '{dialect}' is unknown{nearest(dialect, [*_DIALECTS, 'auto'])}")
    if not path.exists():
        raise DataError(f"there is no file or folder {path}; check the path")
    notes = ReadLog()
    name = dialect if dialect != "auto" else _detect(path, notes)
    found = _DIALECTS[name].find(path)
    if not found:
        raise DataError(
            f"{path} holds no {_DIALECTS[name].looks_for}, which {name} needs; name another folder or dialect"
        )
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what that gives is refused
            scene = _DIALECTS[name].read(found, options, notes)
    except OSError as problem:
        raise DataError(f"cannot read {problem.filename or path}: {problem.strerror or problem}; check it") from None
    return replace(scene, absent=tuple(notes.absent), notes=notes.finished())


def _detect(path: Path, notes: ReadLog) -> str:
    """The first dialect whose files are there; the others are noted."""
    found = {name: _finder(name)(path) for name in _AUTO}
    found = {name: file for name, file in found.items() if file}
    if path.is_file() and path.suffix == ".json":
        splits = path.stem in ("transforms_train", "transforms_val", "transforms_test")
        found = {"blender": [path]} if splits else {"transforms": path}
    if not found:
        _check_posed(path)
        looked = ", ".join(dict.fromkeys(entry.looks_for for entry in _DIALECTS.values()))
        raise DataError(
            f"{path} is no scene of posed photographs: none of {looked} is there; name the folder that holds one"
        )
    name = next(iter(found))
    for other in list(found)[1:]:
        text = f"Files of {other} are there too and were not read; dialect='...' (--dialect) chooses."
        notes.add("info", "dialect", text)
    return _flavour(found[name], notes) if name == "transforms" else name


def _check_posed(path: Path) -> None:
    """Raise for photographs or a film without poses, and say how to find these."""
    folders = [path, *image_folders(path, None)] if path.is_dir() else []
    held = {folder: len(pictures_in(folder)) for folder in folders}
    source = max(held, key=lambda folder: held[folder], default=path)
    if held.get(source):
        what = f"{source} holds {held[source]} photograph{'s' * (held[source] > 1)}"
    elif path.is_file() and path.suffix.lower() in FILMS:
        what = f"{path} is a film"
    else:
        return
    process = command("neufield", "nerf", "process", source, "--out", f"scenes/{path.stem or 'mine'}")
    raise DataError(f"{what} without poses, which train needs; find them with {process} first")


def _finder(name: str) -> Callable[[Path], Any]:
    return _transforms if name == "transforms" else _DIALECTS[name].find


def _flavour(file: Path, notes: ReadLog) -> str:
    """Whose transforms.json it is, by the keys that only one of two programs knows."""
    whole = read_json(file, "a scene")
    frames = whole.rows("frames")
    keys = set(whole.values) | {key for frame in frames if isinstance(frame, dict) for key in frame}
    if keys & _NERFSTUDIO:
        if keys & _NGP:
            here, there = (", ".join(sorted(keys & known)) for known in (_NERFSTUDIO, _NGP))
            text = f"Keys of two dialects, {here} of nerfstudio and {there} of instant-ngp; it is read as nerfstudio's."
            notes.add("warning", "dialect", text)
        return "nerfstudio"
    if not keys & _NGP:
        notes.add("info", "dialect", "No key tells the dialect; it is read as instant-ngp's.")
    return "instant-ngp"
