"""Pictures of at most 8 bits a channel, through Pillow: JPEG, PNG, GIF, WebP, BMP, AVIF, TIFF and the rest it knows."""

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from neufield.core.errors import DataError
from neufield.formats.color import name_of, transform_to_srgb
from neufield.formats.decoding import decoding, first_line, quiet
from neufield.formats.pixels import MOST_PIXELS, Metadata, check_held, check_memory, undone, upright

_BAND_PIXELS = 1 << 22
# Of what Pillow opens, what holds pixels itself: EPS would be run by Ghostscript, WMF drawn by the system, and the rest
# left out has no decoder.
_FORMATS = (
    "AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF", "HEIF", "ICNS", "ICO", "IM",
    "IMT", "JPEG", "JPEG2000", "MCIDAS", "MPO", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI", "SGI",
    "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM",
)  # fmt: skip
# Pixels, at most, that a byte of the file stands for: a run, bits, blocks of 4 x 4, LZW's longest word in 12 bits, a
# JPEG's block of 8 x 8 in one bit. Other formats have no such limit, or PNG, which was checked by then.
_DENSEST = {
    "BMP": 255 / 2, "DDS": 2, "GIF": 4094 * 8 / 12, "IM": 8, "JPEG": 512, "MPO": 512, "PCX": 63 * 8 / 2, "PPM": 8,
    "PSD": 128 * 8 / 2, "QOI": 62, "SGI": 127 / 2, "TGA": 128 / 2,
}  # fmt: skip
_CLEAR = {"1": "LA", "L": "LA", "P": "RGBA", "PA": "RGBA", "RGB": "RGBA"}
_SOLID = {"1": "L", "P": "RGB", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
_DTYPES = {"L": "uint8", "LA": "uint8", "RGB": "uint8", "RGBA": "uint8", "F": "float32", "I": "float32"}
_DTYPES |= {"I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16", "I;16N": "uint16"}
_PILLOW_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # a pixel; 4 in other modes
_POINTER = 8  # of Pillow's to each row
# Pillow's size limit and Python's warning filters belong to the whole process: change them only while holding this.
_LOCK = threading.Lock()

Convert = Callable[[Image.Image], Image.Image]


class _UnknownError(DataError):
    """Pillow does not know the format."""


def knows(path: Path) -> bool:
    """Whether Pillow recognizes the beginning of the file."""
    try:
        with opened(path, []):
            return True
    except _UnknownError:
        return False
    except DataError:
        return True  # decode() says what is wrong


@contextlib.contextmanager
def opened(path: Path, notes: list[str], content: io.BytesIO | None = None) -> Iterator[Image.Image]:
    """The picture in ``path``, or in ``content`` that stands for it, of which only the header is read at first.

    Pillow may open up to ``MOST_PIXELS``; what it would print goes to ``notes``. Raises DataError, also for what the
    block meets while it decodes.
    """
    with decoding(path), _limits(notes):
        if content is None:
            _check_webp_size(path)
        try:
            with Image.open(content or path) as picture:
                if picture.format not in _FORMATS:
                    raise UnidentifiedImageError
                with quiet() if picture.format == "TIFF" else contextlib.nullcontext():  # libtiff prints
                    yield picture
        except UnidentifiedImageError:
            raise _UnknownError(
                f"{path} is damaged, or a variant of its format that neufield cannot read; "
                f"open it in an image editor and save it as PNG"
            ) from None
        except Image.DecompressionBombError:
            raise DataError(
                f"{path} claims to have more than {MOST_PIXELS // 10**9} gigapixels, the most that are read; "
                f"check that it is not damaged, or cut it into parts"
            ) from None


def decode(path: Path, told: Metadata, orientation: int) -> tuple[np.ndarray, list[str]]:
    """The first frame of ``path``, turned by ``orientation``, and notes; raises DataError for what cannot be read."""
    notes: list[str] = []
    with opened(path, notes) as picture:
        solid = _SOLID.get(picture.mode, picture.mode)
        mode = _CLEAR.get(picture.mode, solid) if picture.has_transparency_data else solid
        if mode not in _DTYPES:
            raise DataError(f"{path} stores its colors as {mode}, which is not read; convert it to RGB")
        check_held(path, told.width, told.height, _DENSEST.get(picture.format or ""))
        _check_memory(path, told, picture.mode, mode)
        picture.load()
        convert = _conversion(path, told, mode, picture.mode, notes)
        if mode == "I":
            notes.append(f"{path.name} stores 32-bit integers; they are read as float32 numbers.")
        if picture.format == "TIFF":  # Pillow has turned it already
            orientation = 1 if orientation == told.orientation else undone(told.orientation)
        values = _copy(picture, mode, convert, orientation)
        if getattr(picture, "is_animated", False):
            notes.append(f"{path.name} holds several frames or pages; only the first one is read.")
    return values, notes


def _check_webp_size(path: Path) -> None:
    """Refuse a WebP larger than so short a file can hold: its decoder takes the memory as soon as it is opened."""
    with path.open("rb") as file:
        head = file.read(30)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 30:
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        check_held(path, width, height, None)


def _check_memory(path: Path, told: Metadata, stored: str, mode: str) -> None:
    """Pillow's own picture, a pointer to each of its rows, and our copy."""
    ours = np.dtype(_DTYPES[mode]).itemsize * (4 if mode in _CLEAR.values() or mode == "RGB" else 1)
    check_memory(path, told, told.height * (_POINTER + told.width * (_PILLOW_BYTES.get(stored, 4) + ours)))


def _conversion(path: Path, told: Metadata, mode: str, stored: str, notes: list[str]) -> Convert:
    """What makes a band of ``stored`` one of ``mode``."""
    if stored == "CMYK" and told.profile:
        notes.append(f"{path.name} is CMYK; it was converted to sRGB by its profile, '{name_of(told.profile)}'.")
        transform = transform_to_srgb(told.profile, stored)
        return lambda band: ImageCms.applyTransform(band, transform) or band
    if stored == "CMYK":
        notes.append(f"{path.name} is CMYK; it was converted to RGB without a color profile.")
    return lambda band: band if mode == stored else band.convert(mode)


def _copy(picture: Image.Image, mode: str, convert: Convert, orientation: int) -> np.ndarray:
    """The picture as one turned array (H, W, C), converted band by band: a whole converted copy never exists."""
    dtype = np.dtype(_DTYPES[mode])
    channels = len(picture.getbands()) if mode == picture.mode else len(Image.new(mode, (1, 1)).getbands())
    height, width = (picture.width, picture.height) if orientation >= 5 else (picture.height, picture.width)
    values = np.empty((height, width, channels), dtype)
    stored = upright(values, undone(orientation))
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        band = convert(picture.crop((0, top, picture.width, bottom)))
        stored[top:bottom] = np.asarray(band).reshape(bottom - top, picture.width, channels)
    return values


@contextlib.contextmanager
def _limits(notes: list[str]) -> Iterator[None]:
    """Let Pillow open up to ``MOST_PIXELS`` and turn what it would print into ``notes``."""
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log, silent = logging.getLogger("PIL"), logging.NullHandler()
        log.addHandler(silent)  # without any handler, Python prints what is logged
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow refuses twice this number
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
            log.removeHandler(silent)
    said = {first_line(warning.message): None for warning in caught if warning.category is UserWarning}
    notes.extend(f"The decoder remarked: {remark}." for remark in said)
