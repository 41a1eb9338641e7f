"""``read_image``: any picture file as its stored samples. The content chooses the decoder, never the name."""

import difflib
from pathlib import Path

from neufield.core.errors import DataError
from neufield.signals import decode_heif, decode_oiio, decode_pillow
from neufield.signals.pixels import Pixels, check_finite, check_size, damaged, png_problem

__all__ = ["Pixels", "read_image"]

_PNG = b"\x89PNG\r\n\x1a\n"
_MAYBE_DEEP = (
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"v/1\x01",  # OpenEXR
    b"#?RADIANCE",
    b"#?RGBE",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cJXL ",
    b"\xff\x0a",
    b"\x01\xda",  # SGI
    *(b"P%c%c" % (kind, space) for kind in b"123456Ff" for space in b"\n\r "),  # PNM and PFM
)
_SHALLOW = (b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")


def read_image(path: str | Path) -> Pixels:
    """The picture in ``path`` in its own encoding: uint8 and uint16 stay integers, floats are float32.

    Reads everything Pillow opens, 16-bit PNG and TIFF, float TIFF, EXR, Radiance HDR and PFM, and HEIC. Palettes become
    RGB or RGBA, 1-bit becomes grey, CMYK becomes RGB, the EXIF orientation is applied. Raises DataError, in one
    sentence, for a file that is missing, damaged, no picture, empty, one pixel, over two gigapixels, or not finite.
    """
    path = Path(path)
    head = _beginning(path)
    if head.startswith(_PNG):
        pixels = _read_png(path, head)
    elif decode_heif.knows(head):
        pixels = decode_heif.decode(path)
    elif head.startswith(_MAYBE_DEEP) and (decode_oiio.stores_deep(path) or not decode_pillow.knows(path)):
        pixels = decode_oiio.decode(path)
    elif head.startswith(_SHALLOW + _MAYBE_DEEP) or decode_pillow.knows(path):
        pixels = decode_pillow.decode(path)
    else:
        raise DataError(
            f"{path} is not a picture that neufield knows (it begins with {head[:8]!r}), but PNG, JPEG, TIFF, EXR, "
            f"HDR, WebP, GIF, BMP or another common format was expected; convert it to PNG"
        )
    check_finite(str(path), pixels.values)
    return pixels


def _read_png(path: Path, head: bytes) -> Pixels:
    """Pillow makes 16-bit colour 8-bit without a word, so the header decides."""
    if len(head) < 33:
        raise damaged(path, "its header is cut short")
    check_size(str(path), int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big"))
    if head[24] == 16:
        problem = png_problem(path)
        if problem:
            raise damaged(path, problem)
        return decode_oiio.decode(path)
    return decode_pillow.decode(path)


def _beginning(path: Path) -> bytes:
    """The first bytes of a file that exists and is not empty."""
    if path.is_dir():
        raise DataError(f"{path} is a folder, but one picture file was expected; name a file inside it")
    if not path.exists():
        raise DataError(f"there is no file {path}{_neighbour(path)}")
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


def _neighbour(path: Path) -> str:
    """Where a missing file may have been meant to be."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f", nor a folder {path.parent}; check the path"
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean '{path.with_name(close[0])}'?" if close else "; check the path"
