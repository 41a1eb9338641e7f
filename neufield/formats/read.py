"""``read_image``: any picture file as its stored samples. The content chooses the decoder, never the name."""

import difflib
from pathlib import Path
from types import ModuleType

import numpy as np

from neufield.core.errors import DataError
from neufield.formats import color, decode_heif, decode_oiio, decode_pillow
from neufield.formats.decoding import damaged
from neufield.formats.metadata import read_metadata
from neufield.formats.pixels import (
    PNG,
    Metadata,
    Pixels,
    check_finite,
    check_png_size,
    check_size,
    png_problem,
    transfer_of,
)

__all__ = ["Pixels", "read_image", "read_stored"]

_SHALLOW = (b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")


def read_image(path: str | Path) -> Pixels:
    """The picture in ``path`` in its own encoding: uint8 and uint16 stay integers, floats are float32.

    Reads what Pillow decodes itself, 16-bit PNG and TIFF, float TIFF, EXR, Radiance HDR and PFM, and HEIC. Palettes
    become RGB or RGBA, 1-bit becomes gray, CMYK becomes RGB, the EXIF orientation is applied. Raises DataError, in one
    sentence, for a file that is missing, damaged, no picture, empty, one pixel, over two gigapixels or the memory, or
    not finite.
    """
    return _read(Path(path), turn=True)


def read_stored(path: str | Path) -> Pixels:
    """Read as :func:`read_image` does, but in the rows as stored: an orientation is not applied."""
    return _read(Path(path), turn=False)


def _read(path: Path, turn: bool) -> Pixels:
    head = _beginning(path)
    decoder = _decoder(path, head)
    told = read_metadata(path)
    check_size(str(path), told.height, told.width)
    values, notes = decoder.decode(path, told, told.orientation if turn else 1)
    check_finite(str(path), values)
    profile, said = _kept_profile(path, told, values)
    return Pixels(values, transfer_of(values), (*told.notes, *notes, *said), path.stat().st_size, profile)


def _decoder(path: Path, head: bytes) -> ModuleType:
    """Who decodes the file: Pillow makes 16-bit color 8-bit without a word, so what is deep is OpenImageIO's."""
    if head.startswith(PNG):
        if len(head) < 33:
            raise damaged(path, "its header is cut short")
        check_png_size(path, head)
        if head[24] != 16:
            return decode_pillow
        problem = png_problem(path)
        if problem:
            raise damaged(path, problem)
        return decode_oiio
    if decode_heif.knows(head):
        return decode_heif
    deep = decode_oiio.may_read(path)
    if deep and (decode_oiio.is_wanted(path) or not decode_pillow.knows(path)):
        return decode_oiio
    if deep or head.startswith(_SHALLOW) or decode_pillow.knows(path):
        return decode_pillow
    raise DataError(
        f"{path} is not a picture that neufield knows (it begins with {head[:8]!r}), but PNG, JPEG, TIFF, EXR, "
        f"HDR, WebP, GIF, BMP or another common format was expected; convert it to PNG"
    )


def _kept_profile(path: Path, told: Metadata, values: np.ndarray) -> tuple[bytes, list[str]]:
    """The profile that the values keep, and what to say of it."""
    if not told.profile or told.space == "CMYK":  # whose decoder has made it sRGB
        return b"", []
    named = f"{path.name} has the color profile '{color.name_of(told.profile)}'"
    if values.dtype == np.float32:
        return b"", [f"{named}, which is not kept: floating-point numbers are read and written as linear sRGB."]
    return told.profile, [f"{named}; it is kept, and written into the pictures of the field."]


def _beginning(path: Path) -> bytes:
    """The first bytes of a file that exists and is not empty."""
    if path.is_dir():
        raise DataError(f"{path} is a folder, but one picture file was expected; name a file inside it")
    if not path.exists():
        raise DataError(f"there is no file {path}{_neighbor(path)}")
    if not path.is_file():
        raise DataError(f"{path} is a device or a pipe, but a picture file was expected; save it to a file first")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror or problem}; check its permissions") from None
    if not head:
        raise DataError(f"{path} is empty (0 bytes), but a picture file was expected; get a fresh copy of the file")
    return head


def _neighbor(path: Path) -> str:
    """Where a missing file may have been meant to be."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f", nor a folder {path.parent}; check the path"
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean '{path.with_name(close[0])}'?" if close else "; check the path"
