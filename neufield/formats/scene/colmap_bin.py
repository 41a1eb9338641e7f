"""COLMAP's binary files: little-endian, counts first. Lengths are checked before anything is allocated."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neufield.core.errors import DataError
from neufield.core.files import write_atomically
from neufield.formats.scene.colmap_models import MODELS, ImageRecord, Stored

_PIXEL = np.dtype([("pixel", "<f8", 2), ("point", "<i8")])
_NUMBER_OF = {name: (number, count) for number, (name, count) in enumerate(MODELS)}
Cloud = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Numbers (P,), positions (P, 3) and colors (P, 3) uint8 of points."""


class _Bytes:
    """A file that is read from front to back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        self.place = 0

    def take(self, layout: str) -> tuple:
        """The next values of the ``struct`` layout."""
        return struct.unpack("<" + layout, self.raw(struct.calcsize("<" + layout)))

    def raw(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count > len(self.data) - self.place:
            raise DataError(f"{self.path} is cut short or not COLMAP's; export the reconstruction again")
        self.place += count
        return self.data[self.place - count : self.place]

    def text(self) -> str:
        """What comes before the next zero byte."""
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise DataError(f"{self.path} is cut short or not COLMAP's; export the reconstruction again")
        return (self.raw(end + 1 - self.place)[:-1]).decode("utf-8", "surrogateescape")


def read_cameras(path: Path) -> dict[int, Stored]:
    """Cameras by their number."""
    file = _Bytes(path)
    cameras = {}
    for _ in range(file.take("Q")[0]):
        number, model, width, height = file.take("iiQQ")
        if not 0 <= model < len(MODELS):
            raise DataError(
                f"{path}: the camera model number {model} is unknown; undistort the photographs with COLMAP first"
            )
        name, count = MODELS[model]
        cameras[number] = Stored(name, width, height, file.take(f"{count}d"))
    return cameras


def read_images(path: Path) -> list[ImageRecord]:
    """Photographs in the file's order."""
    file = _Bytes(path)
    photographs = []
    for _ in range(file.take("Q")[0]):
        number, *pose, camera = file.take("i7di")
        name = file.text()
        table = np.frombuffer(file.raw(file.take("Q")[0] * _PIXEL.itemsize), _PIXEL)
        pixels, seen = table["pixel"].astype(np.float64), table["point"].astype(np.int64)
        photographs.append(ImageRecord(number, tuple(pose[:4]), tuple(pose[4:]), camera, name, pixels, seen))
    return photographs


def count_images(path: Path) -> int:
    """How many photographs the file says it has."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little")


def read_points(path: Path) -> Cloud:
    """The sparse points."""
    file = _Bytes(path)
    numbers, places, colors = [], [], []
    for _ in range(file.take("Q")[0]):
        number, x, y, z, r, g, b, _, length = file.take("Q3d3BdQ")
        file.raw(8 * length)
        numbers.append(check_number(number, str(path)))
        places.append((x, y, z))
        colors.append((r, g, b))
    return (
        np.array(numbers, np.int64),
        np.array(places, np.float64).reshape(-1, 3),
        np.array(colors, np.uint8).reshape(-1, 3),
    )


def check_number(number: int, where: str) -> int:
    """The number of a point, which must be one of 63 bits: more is COLMAP's own mark for none, or damage."""
    if not 0 <= number < 2**63:
        raise DataError(
            f"{where} has a point with the number {number}, but 0 to 2^63 - 1 was expected; "
            "export the reconstruction again"
        )
    return number


def write_cameras(path: Path, cameras: Mapping[int, Stored]) -> None:
    """``cameras.bin``."""
    parts = [struct.pack("<Q", len(cameras))]
    for number, camera in cameras.items():
        model, count = _NUMBER_OF[camera.model]
        parts.append(struct.pack(f"<iiQQ{count}d", number, model, camera.width, camera.height, *camera.values))
    _save(path, parts)


def write_images(path: Path, photographs: Sequence[ImageRecord]) -> None:
    """``images.bin``."""
    parts = [struct.pack("<Q", len(photographs))]
    for photo in photographs:
        pose = (*photo.quaternion, *photo.translation)
        parts.append(struct.pack("<i7di", photo.number, *pose, photo.camera))
        parts.append(photo.name.encode("utf-8", "surrogateescape") + b"\0")
        table = np.empty(len(photo.seen), _PIXEL)
        table["pixel"], table["point"] = photo.pixels, photo.seen
        parts += [struct.pack("<Q", len(table)), table.tobytes()]
    _save(path, parts)


def write_points(path: Path, cloud: Cloud, tracks: Sequence[Sequence[tuple[int, int]]]) -> None:
    """``points3D.bin``; a track is where a point is seen: photograph's number, row of its pixels."""
    parts = [struct.pack("<Q", len(cloud[0]))]
    for number, place, color, track in zip(*cloud, tracks, strict=True):
        parts.append(struct.pack("<Q3d3BdQ", number, *place, *map(int, color), -1.0, len(track)))
        parts += [struct.pack("<ii", *where) for where in track]
    _save(path, parts)


def _save(path: Path, parts: Sequence[bytes]) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(b"".join(parts)))
