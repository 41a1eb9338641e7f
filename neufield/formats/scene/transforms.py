"""What all readers of transforms.json share: frames with a path and a camera-to-world matrix in OpenGL axes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from neufield.core.cameras import Camera
from neufield.core.errors import DataError
from neufield.core.json_files import Keys
from neufield.formats.scene.lens import read_intrinsics
from neufield.formats.scene.pictures import find_picture, held_out, image_folders, name_of, natural, picture_size
from neufield.formats.scene.pose import pose_of
from neufield.formats.scene.read_log import ReadLog
from neufield.formats.scene.records import Depth, Frame, Mask, Split


class DialectRules(NamedTuple):
    """Where the readers of transforms.json part ways.

    ``split_of(text)`` is the split of a frame by the path that the file gives it, None to hold frames out;
    ``mask_of(frame, picture, text)`` and ``depth_of(frame)`` look for what goes with a photograph.
    """

    mask_of: Callable[[Keys, Path], Mask | None]
    depth_of: Callable[[Keys], Depth | None]
    split_of: Callable[[str], Split] | None
    fov_first: bool = False
    model_first: bool = False


def read_frames(
    whole: Keys, root: Path, habits: DialectRules, holdout: int, images: str | None, notes: ReadLog
) -> list[Frame]:
    """The frames of ``whole`` whose photographs exist, as written."""
    entries = [Keys(entry, f"{whole.where}, frame {index}") for index, entry in enumerate(whole.rows("frames"))]
    texts = [entry.text("file_path") for entry in entries]
    note_order(texts, notes)
    splits = [habits.split_of(text) for text in texts] if habits.split_of else hold_out(texts, holdout, notes)
    frames, absent = [], []
    for entry, text, split in zip(entries, texts, splits, strict=True):
        picture = _find(root, text, images, notes)
        if picture is None:
            absent.append(text)
            continue
        frames.append(_frame(entry, whole, root, picture, split, habits, notes))
    report_absent(absent, len(entries), whole.where, root, notes)
    used = {key: None for entry in entries for key in entry.values if key in entry.asked}
    text = f"Keys that were read: {', '.join(key for key in whole.values if key in whole.asked)}"
    notes.add("info", "read", f"{text}; of frames: {', '.join(used)}.")
    for key in whole.leftover():
        notes.add("info", key, f"The key '{key}' was ignored.")
    left_out = set(absent)
    for entry, text in zip(entries, texts, strict=True):
        for key in entry.leftover() if text not in left_out else ():
            notes.add("info", key, f"The key '{key}' of frames was ignored.", text)
    return frames


def _find(root: Path, text: str, images: str | None, notes: ReadLog) -> Path | None:
    if images is None:
        return find_picture(root, text, notes)
    return find_picture(image_folders(root, images)[0], text.replace("\\", "/").rpartition("/")[2], notes)


def _frame(
    entry: Keys, whole: Keys, root: Path, picture: Path, split: Split, habits: DialectRules, notes: ReadLog
) -> Frame:
    name = name_of(picture, root)
    size = picture_size(picture, notes)
    lens = read_intrinsics(entry, whole, size, habits.fov_first, habits.model_first, notes, name)
    return Frame(
        name,
        picture,
        Camera(_pose(entry, notes, name), *lens),
        split,
        mask=habits.mask_of(entry, picture),
        depth=habits.depth_of(entry),
        time=entry.number("time") if entry.has("time") else None,
    )


def _pose(entry: Keys, notes: ReadLog, name: str) -> Tensor:
    key = "transform_matrix"
    if not entry.has(key) and entry.has("transform_matrix_start"):
        key = "transform_matrix_start"
        notes.add("warning", key, "The camera moved during the exposure; where it began is used.", name)
    matrix = entry.array(key, (4, 4), (3, 4))
    if matrix.shape == (4, 4) and not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-6):
        raise DataError(
            f"{entry.where}: the last row of '{key}' is {matrix[3].tolist()}, but 0 0 0 1 was expected; "
            f"write camera-to-world matrices row by row"
        )
    return pose_of(matrix[:3], entry.where)


def hold_out(texts: Sequence[str], every: int, notes: ReadLog) -> list[Split]:
    """Every ``every``-th of the naturally sorted names is for testing, present or not, the others for training."""
    order = sorted(range(len(texts)), key=lambda index: natural(texts[index]))
    chosen = {order[place] for place, out in enumerate(held_out(len(texts), every)) if out}
    if chosen:
        text = f"The file has no split; one frame in {every} of the naturally sorted names is for testing."
        notes.add("info", "split", text)
    return ["test" if index in chosen else "train" for index in range(len(texts))]


def note_order(texts: Sequence[str], notes: ReadLog) -> None:
    """Say where the three orders that readers use are not the same."""
    if sorted(texts) != sorted(texts, key=natural):
        text = "Names sort differently as text (nerfstudio) and by their numbers (instant-ngp, and here to hold out)."
        notes.add("info", "order", text)
    elif list(texts) != sorted(texts, key=natural):
        notes.add("info", "order", "The frames are not sorted by name; they stay in the file's order.")


def report_absent(absent: Sequence[str], total: int, where: str, root: Path, notes: ReadLog) -> None:
    """Note what is not there; an error if nothing is."""
    notes.absent += absent
    if not absent:
        return
    if len(absent) == total:
        raise DataError(
            f"{where} lists {total} photographs, none of which exists (the first is {absent[0]}, looked for in "
            f"{root}); put them there, or give the folder they are in"
        )
    for text in absent:
        notes.add("warning", "file_path", "The photograph does not exist and was left out.", text)


def name_in(entry: Keys, key: str, notes: ReadLog) -> str | None:
    """The name that ``key`` has, None where it is absent or empty: some writers leave it empty for none."""
    if not entry.has(key):
        return None
    if entry.values[key] == "":
        notes.add("info", key, f"'{key}' is empty, which counts as absent.")
        return None
    return entry.text(key)


def mask_at(root: Path, entry: Keys, notes: ReadLog) -> Mask | None:
    """The mask as nerfstudio has it: black is ignored."""
    name = name_in(entry, "mask_path", notes)
    if name is None:
        return None
    path = find_picture(root, name, notes)
    if path is None:
        notes.add("warning", "mask_path", "The mask does not exist and was left out.", name)
        return None
    return Mask(path, "black")


def depth_at(root: Path, key: str, unit: float, entry: Keys, notes: ReadLog) -> Depth | None:
    """The depth picture that ``key`` names."""
    name = name_in(entry, key, notes)
    if name is None:
        return None
    path = find_picture(root, name, notes)
    if path is None:
        notes.add("warning", key, "The picture of depths does not exist and was left out.", name)
        return None
    return Depth(path, unit)
