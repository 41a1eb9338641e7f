"""HEIC and HEIF, the photographs of telephones, through pillow-heif."""

from pathlib import Path
from typing import Any

import numpy as np

from neufield.core.extras import available, extra
from neufield.signals.pixels import Pixels, check_size, damaged, transfer_of

_EXTRA = ("pillow_heif", "heif")
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_STILL_AVIF = b"avif"  # among the brands that go with it, where the first is mif1


def knows(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (64 bytes) is one of these; AVIF, of the same family, is Pillow's."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS and _STILL_AVIF not in head[8:64]


def installed() -> bool:
    """Whether the package that decodes them is there."""
    return available(_EXTRA[0])


def decode(path: Path) -> Pixels:
    """Read the primary picture of ``path``, upright: the format's own turns are part of its decoding.

    10 and 12 bits become uint16. Raises DataError for what is damaged, BackendError without pillow-heif.
    """
    file = _open(path)
    check_size(str(path), file.size[1], file.size[0])
    try:
        values = np.asarray(file)
    except Exception as problem:  # each of libheif's decoders fails in its own way
        raise damaged(path, problem) from None
    values = values if values.ndim == 3 else values[..., None]
    return Pixels(np.ascontiguousarray(values), transfer_of(values), (), path.stat().st_size)


def size(path: Path) -> tuple[int, int]:
    """Width and height, upright, without decoding; fails as :func:`decode` does."""
    width, height = _open(path).size
    return width, height


def _open(path: Path) -> Any:
    heif = extra(*_EXTRA, f"reading {path.name}")
    try:
        return heif.open_heif(path, convert_hdr_to_8bit=False)
    except Exception as problem:
        raise damaged(path, problem) from None
