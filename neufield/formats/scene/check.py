"""``check_scene``: what is wrong, or odd, with posed photographs, before hours are spent on them."""

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neufield.core.cameras import Camera
from neufield.core.errors import DataError, some
from neufield.formats.scene.fold import beyond_circle, beyond_fold, fold_radius
from neufield.formats.scene.pictures import picture_size
from neufield.formats.scene.read_log import Note, ReadLog
from neufield.formats.scene.records import Frame, Points, Scene

_BENT = 1e10  # coefficients of a lens
_RIGID = 1e-3
_BAD_PIXELS = 2.0
_LOST_PIXELS, _LOST_SHARE = 20.0, 0.05  # and of the picture's longer side: no reconstruction is as bad as that
_RARELY_MASKED = 0.5
_MASKS_LOOKED_AT = 8


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite is far off, and told so
def check_scene(scene: Scene) -> tuple[Note, ...]:
    """Note what is odd in a scene; raises DataError for what no field could be fitted to.

    Fatal are: fewer than two photographs, poses that are not finite or not rigid, focal lengths that are not above 0,
    pictures of another size than their camera, all pictures absent, and sparse points that are seen far from where the
    cameras put them: then poses and pictures do not belong together.
    """
    notes = ReadLog()
    _check_count(scene)
    for frame in scene.frames:
        _check_pose(frame)
        _check_lens(frame)
    _check_pictures(scene.frames, notes)
    _check_sight(scene.frames, notes)
    _check_names(scene.frames, notes)
    _check_box(scene, notes)
    _check_half_pixel(scene.frames, notes)
    _check_masks(scene.frames, notes)
    if scene.points:
        _check_points(scene, scene.points, notes)
    return notes.finished()


def _check_count(scene: Scene) -> None:
    if not scene.frames:
        raise DataError("the scene has no cameras, but at least two photographs with poses were expected; add some")
    if len(scene.frames) == 1 and scene.absent:
        listed = len(scene.absent) + 1
        raise DataError(
            f"of the {listed} photographs that the scene lists only {scene.frames[0].name} exists, and two are the "
            f"least; put the others there: {some(scene.absent)}"
        )
    if len(scene.frames) == 1:
        raise DataError(
            "the scene has one photograph, from which no depth can be learned; add photographs of other views"
        )


def _check_pose(frame: Frame) -> None:
    pose = frame.camera.to_world.numpy()
    if not np.isfinite(pose).all():
        raise DataError(f"the pose of {frame.name} holds a NaN or an infinity; correct it or remove the frame")
    rotation = pose[:3, :3]
    error = float(np.nan_to_num(np.abs(rotation.T @ rotation - np.eye(3)), nan=np.inf).max())
    if error > _RIGID or not np.allclose(pose[3], [0, 0, 0, 1]):
        raise DataError(
            f"the pose of {frame.name} is not rigid (its axes are off by {error:.2g}); divide its rotation by its "
            f"scale, or check that the matrix is camera to world, row by row"
        )
    if np.linalg.det(rotation) < 0:
        raise DataError(f"the pose of {frame.name} mirrors the world; negate one column of its rotation")


def _check_lens(frame: Frame) -> None:
    camera = frame.camera
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion)
    if not np.isfinite(numbers).all() or min(camera.fx, camera.fy) <= 0 or np.abs(camera.distortion).max() > _BENT:
        raise DataError(
            f"the focal length, center or distortion of {frame.name} makes no sense; correct the scene file"
        )


def _check_sight(frames: Sequence[Frame], notes: ReadLog) -> None:
    """Say how much of a picture lies beyond what its lens maps to, or beyond a fisheye's circle."""
    known: dict[tuple[object, ...], list[str]] = {}
    for frame in frames:
        camera = frame.camera
        lens = (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, camera.distortion)
        seen = (*lens, camera.lens, frame.circle)
        if seen not in known:
            known[seen] = _blind(frame)
        for text in known[seen]:
            notes.add("warning", "lens", text, frame.name)


def _blind(frame: Frame) -> list[str]:
    texts = []
    folded = beyond_fold(frame.camera)
    if folded is not None:
        text = f"{_percent(folded)} of the picture lies where the lens folds back, {_pixels(frame.camera)} pixels and "
        texts.append(f"{text}more off its center: {int(folded.sum()):,} pixels are masked.")
    if frame.circle is not None:
        outside = beyond_circle(frame.camera, frame.circle)
        texts.append(f"{_percent(outside)} of the picture lies beyond 'fisheye_crop_radius' and is masked.")
    return texts


def _percent(where: torch.Tensor) -> str:
    return f"{100 * float(where.double().mean()):.0f} %"


def _pixels(camera: Camera) -> str:
    return f"{fold_radius(camera) * min(camera.fx, camera.fy):.0f}"


@functools.singledispatch
def _size(image: Any, notes: ReadLog) -> tuple[int, int] | None:
    """Width and height, or None where there is no picture."""
    return picture_size(Path(image), notes) if Path(image).is_file() else None


@_size.register
def _(image: np.ndarray, notes: ReadLog) -> tuple[int, int] | None:
    return image.shape[1], image.shape[0]


def _check_pictures(frames: Sequence[Frame], notes: ReadLog) -> None:
    sizes = {id(frame): _size(frame.image, notes) for frame in frames}
    if not any(sizes.values()):
        raise DataError(
            f"none of the {len(frames)} photographs exists (the first is {frames[0].image}); put them there"
        )
    for frame in frames:
        size = sizes[id(frame)]
        if size is None:
            notes.add("warning", "absent", "The photograph does not exist.", frame.name)
        elif size != (frame.camera.width, frame.camera.height):
            raise DataError(
                f"{frame.name} is {size[0]} x {size[1]} pixels, but its camera is for {frame.camera.width} x "
                f"{frame.camera.height}; give camera.resized({size[0]}, {size[1]}) or the right picture"
            )
    different = Counter((frame.camera.width, frame.camera.height) for frame in frames)
    if len(different) > 1:
        sizes_said = ", ".join(f"{count} of {w} x {h}" for (w, h), count in different.most_common(3))
        notes.add("info", "sizes", f"The photographs have {len(different)} sizes: {sizes_said}.")


def _check_names(frames: Sequence[Frame], notes: ReadLog) -> None:
    twice = [name for name, count in Counter(frame.name for frame in frames).items() if count > 1]
    for name in twice:
        notes.add("warning", "names", "The same photograph is there more than once.", name)
    places = np.stack([frame.camera.to_world[:3, 3].numpy() for frame in frames])
    if not (np.ptp(places, axis=0) > 1e-9).any():
        notes.add("warning", "poses", "All cameras stand at one place, from which no depth can be learned.")


def _check_box(scene: Scene, notes: ReadLog) -> None:
    if scene.box is None:
        return
    lower, upper = (corner.numpy() for corner in scene.box)
    outside = []
    for frame in scene.frames:
        place = frame.camera.to_world[:3, 3].numpy()
        if (place < lower).any() or (place > upper).any():
            outside.append(frame.name)
    if len(outside) == len(scene.frames):
        notes.add("info", "box", "All cameras stand outside the box of the scene.")
    else:
        for name in outside:
            notes.add("warning", "box", "The camera stands outside the box of the scene, others inside.", name)


def _check_half_pixel(frames: Sequence[Frame], notes: ReadLog) -> None:
    """A center of (W - 1) / 2 is that of a writer whose pixel centers are whole numbers."""
    for frame in frames:
        camera = frame.camera
        if abs(camera.cx - (camera.width - 1) / 2) < 1e-6 and abs(camera.cy - (camera.height - 1) / 2) < 1e-6:
            text = (
                "The principal point is half a pixel off the middle, as if pixel centers were whole numbers; add 0.5."
            )
            notes.add("warning", "half pixel", text, frame.name)


def _check_masks(frames: Sequence[Frame], notes: ReadLog) -> None:
    """Most of a photograph counts; a few masks, evenly spaced, are looked at."""
    masked = [frame for frame in frames if frame.mask]
    shares = []
    for frame in masked[:: max(1, -(-len(masked) // _MASKS_LOOKED_AT))]:
        if frame.mask is None or not frame.mask.path.is_file():
            notes.add("warning", "mask", "The mask does not exist.", frame.name)
            continue
        counts = frame.mask.read()
        for text in frame.mask.doubts():
            notes.add("warning", "mask", text, frame.name)
        if counts.shape != (frame.camera.height, frame.camera.width):
            height, width = counts.shape
            notes.add("warning", "mask", f"The mask is {width} x {height} pixels, unlike its photograph.", frame.name)
        shares.append(float(counts.mean()))
    if shares and float(np.mean(shares)) < _RARELY_MASKED:
        text = f"Masks leave {100 * float(np.mean(shares)):.0f} % of the pixels; if that is wrong, their polarity is."
        notes.add("warning", "mask", text)


def _check_points(scene: Scene, points: Points, notes: ReadLog) -> None:
    xyz = points.xyz.numpy()
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.all():
        notes.add("warning", "points", f"{int((~finite).sum())} of {len(xyz)} points are not finite.")
    if points.observations is None:
        return _check_visible(scene, xyz[finite], notes)
    frame, point, pixel = (
        column.numpy() for column in (points.observations.frame, points.observations.point, points.observations.pixel)
    )
    if not len(frame):
        return None
    errors = np.full(len(frame), np.nan)
    for index, each in enumerate(scene.frames):
        mine = np.flatnonzero((frame == index) & finite[point])
        seen, before = (t.numpy() for t in each.camera.project(torch.from_numpy(xyz[point[mine]])))
        errors[mine] = np.where(before, np.linalg.norm(seen - pixel[mine], axis=1), np.inf)
    known = errors[~np.isnan(errors)]
    if not len(known):
        return None
    middle, worst = (float(np.quantile(known, q, method="nearest")) for q in (0.5, 0.95))
    longest = max(max(each.camera.width, each.camera.height) for each in scene.frames)
    if middle > max(_LOST_PIXELS, _LOST_SHARE * longest):
        off = f"{middle:.0f} pixels and more" if np.isfinite(middle) else "by cameras that look away"
        raise DataError(
            f"the poses contradict the photographs: half of the sparse points are seen {off} from where the poses put "
            "them; give the photographs that were posed, or pose these again"
        )
    text = f"Points are seen {middle:.2f} pixels (median) and {worst:.2f} (95 %) from where their cameras put them."
    notes.add("warning" if middle > _BAD_PIXELS else "info", "reprojection", text)
    return None


def _check_visible(scene: Scene, xyz: np.ndarray, notes: ReadLog) -> None:
    """Count, where there are no sightings, how many points any camera has in its picture."""
    seen = np.zeros(len(xyz), bool)
    for frame in scene.frames:
        pixel, before = (t.numpy() for t in frame.camera.project(torch.from_numpy(xyz)))
        seen |= before & (pixel > 0).all(axis=1) & (pixel < [frame.camera.width, frame.camera.height]).all(axis=1)
    if len(xyz):
        share = 100 * float(seen.mean())
        text = f"{share:.0f} % of the points are in some photograph's view."
        notes.add("warning" if share < 50 else "info", "points", text)
