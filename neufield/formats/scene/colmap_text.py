"""COLMAP's text files: the same three tables as the binary ones, with comments."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from neufield.core.errors import DataError
from neufield.formats.scene.colmap_bin import Cloud, check_number
from neufield.formats.scene.colmap_models import ImageRecord, Stored
from neufield.formats.scene.image_writer import save_text


def read_cameras(path: Path) -> dict[int, Stored]:
    """Cameras by their number."""
    cameras = {}
    for line, words in _entries(path):
        try:
            cameras[int(words[0])] = Stored(words[1], _whole(words[2]), _whole(words[3]), tuple(map(float, words[4:])))
        except (IndexError, ValueError, OverflowError):
            raise _odd(path, line, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS") from None
    return cameras


def read_images(path: Path) -> list[ImageRecord]:
    """Photographs in the file's order; names may hold spaces, and the line of points may be empty."""
    photographs = []
    lines = enumerate(_lines(path), 1)
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(None, 9)
        try:
            key, camera, name = int(words[0]), int(words[8]), words[9].strip()
            pose = tuple(map(float, words[1:8]))
            number, seen = next(lines, (number, ""))
            table = np.array(seen.split(), np.float64).reshape(-1, 3)
            points = np.array(seen.split()[2::3]).astype(np.int64) if len(table) else np.zeros(0, np.int64)
        except (IndexError, ValueError, OverflowError):
            raise _odd(
                path, number, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME and a line of X Y POINT3D_ID"
            ) from None
        photographs.append(ImageRecord(key, pose[:4], pose[4:], camera, name, table[:, :2], points))
    return photographs


def count_images(path: Path) -> int:
    """How many photographs the file has: two lines each."""
    return sum(not line.startswith("#") for line in _lines(path)) // 2


def read_points(path: Path) -> Cloud:
    """The sparse points."""
    numbers, places, colors = [], [], []
    for line, words in _entries(path):
        try:
            numbers.append(check_number(int(words[0]), f"{path}, line {line}"))
            places.append([float(word) for word in words[1:4]])
            colors.append([min(max(_whole(word), 0), 255) for word in words[4:7]])
        except (ValueError, OverflowError):
            raise _odd(path, line, "POINT3D_ID X Y Z R G B ERROR TRACK") from None
        if len(words) < 8:
            raise _odd(path, line, "POINT3D_ID X Y Z R G B ERROR TRACK")
    return (
        np.array(numbers, np.int64),
        np.array(places, np.float64).reshape(-1, 3),
        np.array(colors, np.uint8).reshape(-1, 3),
    )


def write_cameras(path: Path, cameras: Mapping[int, Stored]) -> None:
    """``cameras.txt``."""
    rows = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    rows += [f"{number} {c.model} {c.width} {c.height} {_numbers(c.values)}" for number, c in cameras.items()]
    _save(path, rows)


def write_images(path: Path, photographs: Sequence[ImageRecord]) -> None:
    """``images.txt``."""
    rows = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for photo in photographs:
        pose = _numbers((*photo.quaternion, *photo.translation))
        rows.append(f"{photo.number} {pose} {photo.camera} {photo.name}")
        rows.append(" ".join(f"{_numbers(xy)} {point}" for xy, point in zip(photo.pixels, photo.seen, strict=True)))
    _save(path, rows)


def write_points(path: Path, cloud: Cloud, tracks: Sequence[Sequence[tuple[int, int]]]) -> None:
    """``points3D.txt``."""
    rows = ["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)"]
    for number, place, color, track in zip(*cloud, tracks, strict=True):
        where = " ".join(f"{photo} {row}" for photo, row in track)
        rows.append(f"{number} {_numbers(place)} {' '.join(map(str, color))} -1 {where}".rstrip())
    _save(path, rows)


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    """Numbers written as short as they read back to the same bits."""
    return " ".join(repr(float(value)) for value in values)


def _save(path: Path, rows: Sequence[str]) -> None:
    save_text(path, "\n".join(rows) + "\n")


def _entries(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text; export the reconstruction as text again") from None


def _whole(word: str) -> int:
    """An integer, also as 1920.0, which some programs write."""
    value = float(word)
    if not value.is_integer():
        raise ValueError(word)
    return int(value)


def _odd(path: Path, line: int, expected: str) -> DataError:
    return DataError(f"{path}, line {line}, is not {expected}; export the reconstruction as text again")
