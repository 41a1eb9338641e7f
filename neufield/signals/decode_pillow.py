"""Pictures of at most 8 bits a channel, through Pillow: JPEG, PNG, GIF, WebP, BMP, AVIF, TIFF and the rest it knows."""

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from neufield.core.errors import DataError
from neufield.signals.pixels import (
    MOST_PIXELS,
    Pixels,
    as_stored,
    check_size,
    damaged,
    first_line,
    transfer_of,
)

_ORIENTATION = 274
_BAND_PIXELS = 1 << 22
_CLEAR = {"1": "LA", "L": "LA", "P": "RGBA", "PA": "RGBA", "RGB": "RGBA"}
_SOLID = {"1": "L", "P": "RGB", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}
_DTYPES = {"L": "uint8", "LA": "uint8", "RGB": "uint8", "RGBA": "uint8", "F": "float32", "I": "float32"}
_DTYPES |= {"I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16", "I;16N": "uint16"}
# Pillow's size limit and Python's warning filters belong to the whole process: change them only while holding this.
_LOCK = threading.Lock()


def knows(path: Path) -> bool:
    """Whether Pillow recognises the beginning of the file."""
    with _pillow([]):
        try:
            Image.open(path).close()
        except UnidentifiedImageError:
            return False
        except Image.DecompressionBombError:
            return True  # decode() refuses it
    return True


def decode(path: Path) -> Pixels:
    """Read the first frame of ``path``, upright; raises DataError for what cannot be read."""
    notes: list[str] = []
    with _pillow(notes):
        try:
            with Image.open(path) as picture:
                values = _decode(picture, path, notes)
        except (DataError, MemoryError):
            raise
        except UnidentifiedImageError:
            raise DataError(
                f"{path} is damaged, or a variant of its format that neufield cannot read; "
                f"open it in an image editor and save it as PNG"
            ) from None
        except Image.DecompressionBombError:
            raise DataError(
                f"{path} claims to have more than {MOST_PIXELS // 10**9} gigapixels, the most that are read; "
                f"check that it is not damaged, or cut it into parts"
            ) from None
        except Exception as problem:  # each of Pillow's decoders fails in its own way
            raise damaged(path, problem) from None
    return Pixels(values, transfer_of(values), tuple(notes), path.stat().st_size)


def _decode(picture: Image.Image, path: Path, notes: list[str]) -> np.ndarray:
    check_size(str(path), picture.height, picture.width)
    picture.load()
    solid = _SOLID.get(picture.mode, picture.mode)
    mode = _CLEAR.get(picture.mode, solid) if picture.has_transparency_data else solid
    if mode not in _DTYPES:
        raise DataError(f"{path} stores its colours as {mode}, which is not read; convert it to RGB")
    if picture.mode == "CMYK":
        notes.append(f"{path.name} is CMYK; it was converted to RGB without a colour profile.")
    if mode == "I":
        notes.append(f"{path.name} stores 32-bit integers; they are read as float32 numbers.")
    values = _copy(picture, mode, _orientation(picture, path, notes))
    if getattr(picture, "is_animated", False):
        notes.append(f"{path.name} holds several frames or pages; only the first one is read.")
    return values


def _copy(picture: Image.Image, mode: str, orientation: int) -> np.ndarray:
    """The picture as one upright array (H, W, C), converted band by band: a whole converted copy never exists."""
    dtype = np.dtype(_DTYPES[mode])
    channels = len(picture.getbands()) if mode == picture.mode else len(Image.new(mode, (1, 1)).getbands())
    height, width = (picture.width, picture.height) if orientation >= 5 else (picture.height, picture.width)
    values = np.empty((height, width, channels), dtype)
    stored = as_stored(values, orientation)
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        band = picture.crop((0, top, picture.width, bottom))
        stored[top:bottom] = np.asarray(band if mode == picture.mode else band.convert(mode)).reshape(
            bottom - top, picture.width, channels
        )
    return values


def _orientation(picture: Image.Image, path: Path, notes: list[str]) -> int:
    """EXIF orientation 1 to 8 that is still to be applied (Pillow turns a TIFF itself while loading)."""
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block is no reason to refuse the picture
        notes.append(f"The EXIF block of {path.name} is damaged and was ignored.")
        return 1
    return orientation if orientation in range(1, 9) else 1


@contextlib.contextmanager
def _pillow(notes: list[str]) -> Iterator[None]:
    """Let Pillow open up to ``MOST_PIXELS`` and turn what it would print into ``notes``."""
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow refuses twice this number
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
    said = {first_line(warning.message): None for warning in caught if warning.category is UserWarning}
    notes.extend(f"The decoder remarked: {remark}." for remark in said)
