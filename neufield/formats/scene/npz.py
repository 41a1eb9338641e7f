"""tiny-NeRF's npz: ``images`` (N, H, W, 3), ``poses`` (N, 4, 4), one ``focal``; everything in one file."""

from pathlib import Path

import numpy as np

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.formats.scene.image_writer import ImageWriter
from neufield.formats.scene.npy import load_arrays
from neufield.formats.scene.options import Options
from neufield.formats.scene.pictures import held_out
from neufield.formats.scene.pose import pose_of
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Frame, Scene
from neufield.formats.scene.unsupported import beyond, lost_lens, lost_split

_KEYS = ("images", "poses", "focal")


def read(file: Path, options: Options, notes: ReadLog) -> Scene:
    """Frames whose ``image`` is uint8 (H, W, C), named by their number."""
    arrays, names = load_arrays(file, _KEYS)
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise DataError(
            f"{file} has no {' and no '.join(missing)}, but {', '.join(_KEYS)} were expected; "
            f"it holds {', '.join(names) or 'nothing'}"
        )
    for key in sorted(set(names) - set(_KEYS)):
        notes.add("info", key, f"The array '{key}' was ignored.")
    images = _images(file, arrays["images"], notes)
    poses = _numbers(file, "poses", arrays["poses"])
    focal = _numbers(file, "focal", arrays["focal"])
    count, height, width = images.shape[:3]
    if poses.shape not in ((count, 4, 4), (count, 3, 4)):
        shape = " x ".join(map(str, poses.shape))
        raise DataError(f"{file} has {count} images, but poses of the shape {shape}; {count} x 4 x 4 were expected")
    if focal.size != 1 or float(focal.ravel()[0]) <= 0:
        raise DataError(f"{file}: 'focal' must be one number of pixels above 0, not {focal.tolist()}; correct it")
    f = float(focal.ravel()[0])
    frames = []
    for index, out in enumerate(held_out(count, options.holdout)):
        camera = Camera(
            pose_of(poses[index, :3], f"{file}, image {index},"), width, height, f, f, width / 2, height / 2
        )
        name = f"{index:0{max(4, len(str(count)))}d}"
        frames.append(Frame(name, images[index], camera, "test" if out else "train"))
    text = "Rays go through pixel centers (i + 0.5, j + 0.5); tiny-NeRF shot them through the corners (i, j)."
    notes.add("info", "half pixel", text)
    if options.holdout:
        notes.add(
            "info", "split", f"The file has no split; one image in {options.holdout}, from the first, is for testing."
        )
    return Scene(tuple(frames), "tiny-nerf")


def _images(file: Path, images: np.ndarray, notes: ReadLog) -> np.ndarray:
    shape = " x ".join(map(str, images.shape))
    if images.ndim != 4 or images.shape[3] not in (1, 3, 4) or 0 in images.shape:
        raise DataError(f"{file}: 'images' has the shape {shape}, but N x H x W x 3 was expected; save them so")
    if images.dtype == np.uint8:
        return images
    eight_bit, worst = np.empty(images.shape, np.uint8), 0.0
    for index, image in enumerate(images):  # one at a time: float64 of all would be eight times theirs
        values = _numbers(file, "images", image)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise DataError(
                f"{file}: 'images' runs from {low:g} to {high:g}, but uint8, or floats in [0, 1] were expected; scale "
                "them"
            )
        eight_bit[index] = steps = np.rint(values * 255)
        worst = max(worst, float(np.abs(values * 255 - steps).max()))
    if worst > 1e-3:
        notes.add("info", "images", f"Images were rounded to 8 bits, by up to {worst:.2f} of 255 steps.")
    return eight_bit


def _numbers(file: Path, key: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise DataError(f"{file}: '{key}' is {values.dtype}, but numbers were expected; save plain arrays")
    if not np.isfinite(values).all():
        raise DataError(f"{file}: '{key}' holds a NaN or an infinity; remove what is wrong and save it again")
    return values.astype(np.float64)


def unsupported(scene: Scene, copy: bool) -> list[str]:
    """What this file cannot hold."""
    lost = [*beyond(scene, ()), *lost_split(scene, scene.frames), *lost_lens(scene)]
    if len({frame.camera.fx for frame in scene.frames}) > 1:
        lost.append("the different focal lengths")
    if any(
        frame.name != f"{index:0{max(4, len(str(len(scene.frames))))}d}" for index, frame in enumerate(scene.frames)
    ):
        lost.append("the names of the photographs")
    return lost


def write(scene: Scene, folder: Path, image_writer: ImageWriter) -> None:
    """``scene.npz``, with uint8 images and float64 poses."""
    images = [frame.samples() for frame in scene.frames]
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or any(image.dtype != np.uint8 for image in images):
        raise DataError(
            "the photographs differ in size or are not 8-bit, but tiny-NeRF's file is one array; resize them first"
        )
    arrays = {
        "images": np.stack(images),
        "poses": np.stack([frame.camera.to_world.numpy() for frame in scene.frames]),
        "focal": np.float64(scene.frames[0].camera.fx),
    }

    def save(temporary: Path) -> None:
        np.savez_compressed(temporary, **arrays)

    write_atomically(folder / "scene.npz", save)
