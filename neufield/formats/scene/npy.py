"""NumPy files without pickles: data that could run code is refused, and what is too large before it is read."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.errors import DataError
from neufield.core.memory import check_budget
from neufield.formats.decoding import decoding

_VERDICT = "not a NumPy file that can be read"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BOMB = 256 << 20  # bytes: smaller arrays may be as empty as they like
_DENSEST = 200  # times: photographs, even of a toy before white, become 50 times shorter at most; zeros 1,032 times


def load_array(path: Path) -> np.ndarray:
    """The float64 array in an .npy file."""
    with decoding(path, _VERDICT), path.open("rb") as file:
        size, count, dtype = _described(path, file, path.stat().st_size)
        if dtype.kind not in "fiu":
            raise DataError(f"{path} holds {dtype}, but numbers were expected; save a plain array")
        check_budget(size + 8 * count, f"reading {path}", "check that it is the right file")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file), np.float64)


def load_arrays(path: Path, wanted: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Those of the ``wanted`` arrays that are in an .npz file, and the names of all that is there."""
    with decoding(path, _VERDICT), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        found = {key: archive.getinfo(members[key]) for key in wanted if key in members}
        total = 0
        for info in found.values():
            with archive.open(info) as member:
                total += _described(path, member, info.file_size)[0]
        if total > max(_BOMB, _DENSEST * path.stat().st_size):
            raise DataError(
                f"{path} unpacks to {total / path.stat().st_size:,.0f} times its size, {total:,} bytes, as no "
                "photographs do; check where it comes from"
            )
        check_budget(total, f"reading {path}", "write fewer or smaller images")
        arrays = {}
        for key, info in found.items():
            with archive.open(info) as member:
                arrays[key] = np.lib.format.read_array(member)
        return arrays, list(members)


def _described(path: Path, file: Any, size: int) -> tuple[int, int, np.dtype]:
    """Bytes, numbers and their type of the array whose header is read from ``file``, of so many bytes in all."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise DataError(f"{path} is a NumPy file of version {version}, which is for named columns; save plain arrays")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise DataError(f"{path} holds Python objects; save plain arrays of numbers instead")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > size - file.tell():
        raise ValueError(f"an array of {' x '.join(map(str, shape))} was announced, but the file ends before")
    return count * dtype.itemsize, count, dtype
