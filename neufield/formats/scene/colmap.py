"""COLMAP's sparse reconstructions, ``sparse/0/{cameras,images,points3D}.{bin,txt}``, in binary or text."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.formats.scene import colmap_bin, colmap_text
from neufield.formats.scene.colmap_models import ImageRecord, Stored, from_world, intrinsics_of, stored_camera, to_world
from neufield.formats.scene.image_writer import ImageWriter
from neufield.formats.scene.lens import Intrinsics, note_size
from neufield.formats.scene.options import Options
from neufield.formats.scene.pictures import find_picture, image_folders, natural, picture_size
from neufield.formats.scene.pose import pose_of
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Frame, Observations, Points, Scene
from neufield.formats.scene.transforms import hold_out, report_absent
from neufield.formats.scene.unsupported import beyond, lost_split, naturally

_FORMS: Mapping[str, ModuleType] = {"bin": colmap_bin, "txt": colmap_text}
_PLACES = ("sparse", "colmap/sparse", "")  # where reconstructions are: here, or numbered, or as hloc numbers them


class Model(NamedTuple):
    """The cameras ``file`` of a reconstruction, and those of ``others`` beside it."""

    file: Path
    others: Sequence[Path] = ()


def find(path: Path, forms: Sequence[str]) -> Model | None:
    """The reconstruction that the folder ``path`` is or holds, or that the file ``path`` is part of.

    Of several in one place it is the one with the most photographs.
    """
    if path.is_file():
        cameras = path.with_name(f"cameras{path.suffix}")
        known = path.stem in ("cameras", "images", "points3D") and path.suffix[1:] in forms
        return Model(cameras, _beside(cameras, forms)) if known and cameras.is_file() else None
    named = _cameras(path, forms)
    if named is not None:
        return Model(named, _beside(named, forms))
    for place in _PLACES:
        found = _models(path / place, forms)
        if found:
            best = found[0] if len(found) == 1 else max(found, key=_count)
            return Model(best, [file for file in found if file != best])
    return None


def _cameras(folder: Path, forms: Sequence[str]) -> Path | None:
    return next((file for file in (folder / f"cameras.{form}" for form in forms) if file.is_file()), None)


def _models(folder: Path, forms: Sequence[str]) -> list[Path]:
    """The cameras files in ``folder``, in its numbered folders, and in those that hloc numbers within ``models``."""
    if not folder.is_dir():
        return []
    numbered = sorted((p for p in folder.iterdir() if p.is_dir() and p.name.isdigit()), key=lambda p: natural(p.name))
    here = [*numbered, folder]
    within = [p for place in here for p in sorted((place / "models").glob("[0-9]*"), key=lambda p: natural(p.name))]
    return [file for file in (_cameras(place, forms) for place in (*here, *within)) if file is not None]


def _beside(file: Path, forms: Sequence[str]) -> list[Path]:
    """The other reconstructions where ``file`` is one of several."""
    if not file.parent.name.isdigit():
        return []
    return [other for other in _models(file.parent.parent, forms) if other.parent != file.parent]


def _count(cameras: Path) -> int:
    """How many photographs a reconstruction has, as its file of images says; 0 where there is none."""
    images = cameras.with_name(f"images{cameras.suffix}")
    return _FORMS[cameras.suffix[1:]].count_images(images) if images.is_file() else 0


def read(model: Model, options: Options, notes: ReadLog) -> Scene:
    """Frames sorted by name, and the points with who saw them; a binary file goes before a text file beside it."""
    file = model.file
    form = _FORMS[file.suffix[1:]]
    images, sparse = (file.with_name(f"{name}{file.suffix}") for name in ("images", "points3D"))
    if not images.is_file():
        raise DataError(f"there is no {images.name} beside {file}; export the whole reconstruction")
    if file.suffix == ".bin" and file.with_suffix(".txt").is_file():
        notes.add("info", "txt", "The text files beside the binary ones were not read.")
    if model.others:
        sizes = ", ".join(f"{other.parent} ({_count(other)})" for other in model.others)
        text = f"Of {len(model.others) + 1} reconstructions {file.parent} ({_count(file)} photographs) is read"
        notes.add("warning", "sparse", f"{text}, not {sizes}; each can be given by its own folder.")
    cameras = {key: intrinsics_of(stored, f"{file}, camera {key}") for key, stored in form.read_cameras(file).items()}
    photographs = sorted(form.read_images(images), key=lambda photo: natural(photo.name))
    if not photographs:
        raise DataError(f"{images} holds no photograph; the reconstruction is empty, so run COLMAP again")
    folder = _pictures(file, photographs, options, notes)
    splits = hold_out([photo.name for photo in photographs], options.holdout, notes)
    frames, kept, absent = [], [], []
    for photo, split in zip(photographs, splits, strict=True):
        picture = find_picture(folder, photo.name, notes)
        if picture is None:
            absent.append(photo.name)
            continue
        if photo.camera not in cameras:
            raise DataError(
                f"{images}: {photo.name} has the camera {photo.camera}, which {file.name} lacks; export again"
            )
        frames.append(Frame(photo.name, picture, _camera(photo, cameras[photo.camera], picture, images, notes), split))
        kept.append(photo)
    report_absent(absent, len(photographs), str(images), folder, notes)
    cloud = form.read_points(sparse) if sparse.is_file() else None
    if cloud is None:
        notes.add("info", "points3D", f"There is no {sparse.name}; the scene has no points.")
    points = _points(cloud, kept, frames, cameras) if cloud and len(cloud[0]) else None
    dialect = "colmap" if form is colmap_bin else "colmap-text"
    return Scene(tuple(frames), dialect, points=points)


def _camera(photo: ImageRecord, lens: Intrinsics, picture: Path, images: Path, notes: ReadLog) -> Camera:
    numbers = np.array([*photo.quaternion, *photo.translation])
    if not np.isfinite(numbers).all() or not np.linalg.norm(numbers[:4]) > 1e-12:
        raise DataError(
            f"{images}: the pose of {photo.name} is not finite or not a rotation; remove it from the reconstruction"
        )
    size = picture_size(picture, notes)
    note_size((lens.width, lens.height), size, "camera", notes, photo.name)
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = to_world(photo.quaternion, photo.translation)
    return Camera(pose_of(np.nan_to_num(matrix[:3], nan=np.inf), f"{images}: {photo.name}"), *lens).resized(*size)


def _pictures(file: Path, photographs: Sequence[ImageRecord], options: Options, notes: ReadLog) -> Path:
    """The folder that the names are relative to: the one with the first picture that exists."""
    above = [file.parent]
    while above[-1].name in ("sparse", "colmap", "models") or above[-1].name.isdigit():
        above.append(above[-1].parent)
    if options.images is None:
        folders = [folder for root in above for folder in image_folders(root, None)]
    else:
        folders = [root / options.images for root in above if (root / options.images).is_dir()]
    if not folders and options.images is not None:
        raise DataError(f"there is no folder {options.images} above {file}; name a folder of photographs")
    if options.images is None:
        folders += above[::-1]  # names may be relative to the scene itself
    for folder in folders:
        if any(Path(os.path.normpath(folder / photo.name)).is_file() for photo in photographs):
            if folder.name != "images":
                notes.add("info", "images", f"The photographs are read from {folder.name}.")
            return folder
    return folders[0]


def _points(
    cloud: colmap_bin.Cloud, kept: Sequence[ImageRecord], frames: Sequence[Frame], cameras: Mapping[int, Intrinsics]
) -> Points:
    numbers, places, colors = cloud
    order = np.argsort(numbers)
    ordered = numbers[order]
    frame, point, pixel = [], [], []
    for index, photo in enumerate(kept):
        place = np.searchsorted(ordered, photo.seen).clip(max=max(len(order) - 1, 0))
        real = (photo.seen >= 0) & (len(order) > 0)
        real[real] &= ordered[place[real]] == photo.seen[real]
        camera, lens = frames[index].camera, cameras[photo.camera]
        frame.append(np.full(int(real.sum()), index, np.int64))
        point.append(order[place[real]])
        pixel.append(photo.pixels[real] * [camera.width / lens.width, camera.height / lens.height])
    observations = Observations(*(torch.from_numpy(np.concatenate(column)) for column in (frame, point, pixel)))
    return Points(torch.from_numpy(places), torch.from_numpy(colors), observations)


def unsupported(scene: Scene, copy: bool) -> list[str]:
    """What these files cannot hold."""
    lost = [*beyond(scene, ("points", "sightings")), *lost_split(scene, naturally(scene))]
    cameras = [frame.camera for frame in scene.frames]
    count = sum(camera.lens == "opencv" and camera.distortion[3] != 0 for camera in cameras)
    if count:
        lost.append(f"k4 of the lens ({count} frames)")
    if any(_bent(camera) for camera in cameras):
        lost.append("what of the poses is no rotation, a scale or a shear")
    return lost


def _bent(camera: Camera) -> bool:
    rotation = camera.to_world[:3, :3]
    return float((rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max()) > 1e-5


def write(scene: Scene, folder: Path, image_writer: ImageWriter, form: str) -> None:
    """``sparse/0`` in the ``form`` "bin" or "txt"; names are relative to ``images``, wherever the pictures are."""
    target = folder / "sparse" / "0"
    if form == "txt" and (target / "cameras.bin").exists():
        raise DataError(f"{target} holds binary files, which readers take before text; write into an empty folder")
    numbers: dict[Stored, int] = {}
    photographs: list[ImageRecord] = []
    tracks: list[list[tuple[int, int]]] = [[] for _ in range(len(scene.points.xyz) if scene.points else 0)]
    for index, frame in enumerate(scene.frames):
        camera = frame.camera
        plain = Intrinsics(
            camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.lens, camera.distortion
        )
        number = numbers.setdefault(stored_camera(plain), len(numbers) + 1)
        pixels, seen = _seen(scene, index)
        for row, point in enumerate(seen):
            tracks[point].append((index + 1, row))
        pose = from_world(camera.to_world.numpy())
        name = image_writer.picture(frame, "images")
        photographs.append(ImageRecord(index + 1, *pose, number, name, pixels, seen + 1))
    module = _FORMS[form]
    module.write_cameras(target / f"cameras.{form}", {number: stored for stored, number in numbers.items()})
    module.write_images(target / f"images.{form}", photographs)
    xyz, rgb = (scene.points.xyz, scene.points.rgb) if scene.points else (torch.zeros(0, 3), torch.zeros(0, 3))
    cloud = (np.arange(1, len(xyz) + 1), xyz.numpy(), rgb.numpy())
    module.write_points(target / f"points3D.{form}", cloud, tracks)


def _seen(scene: Scene, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (K, 2) and points (K,) that a frame sees."""
    if scene.points is None or scene.points.observations is None:
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    observations = scene.points.observations
    mine = observations.frame == index
    return observations.pixel[mine].numpy(), observations.point[mine].numpy()
