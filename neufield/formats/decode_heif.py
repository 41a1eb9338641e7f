"""HEIC and HEIF, the photographs of telephones, through pillow-heif."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.extras import available, extra
from neufield.formats.decoding import decoding
from neufield.formats.pixels import Metadata, check_memory, upright

_EXTRA = ("pillow_heif", "heif")
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_STILL_AVIF = b"avif"  # among the brands that go with it, where the first is mif1


def knows(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (64 bytes) is one of these; AVIF, of the same family, is Pillow's."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS and _STILL_AVIF not in head[8:64]


def installed() -> bool:
    """Whether the package that decodes them is there."""
    return available(_EXTRA[0])


def decode(path: Path, told: Metadata, orientation: int) -> tuple[np.ndarray, list[str]]:
    """The primary picture of ``path``, upright, and notes: the format's own turns are part of its decoding.

    10 and 12 bits become uint16. Raises DataError for what is damaged, BackendError without pillow-heif.
    """
    check_memory(path, told, 2 * told.width * told.height * 8)  # libheif's and ours, of up to 4 channels of 16 bits
    with opened(path) as file:
        values = np.asarray(file)
    values = values if values.ndim == 3 else values[..., None]
    return np.ascontiguousarray(upright(values, orientation)), []


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The open file, of which only the header is read at first; fails as :func:`decode` does, also in the block."""
    heif = extra(*_EXTRA, f"reading {path.name}")
    with decoding(path):
        yield heif.open_heif(path, convert_hdr_to_8bit=False)
