"""What a picture is before it is a signal: its samples as stored, and the facts a field needs to write it back."""

import base64
import dataclasses
import struct
import zlib
from pathlib import Path

import numpy as np

from neufield.core.errors import DataError
from neufield.core.memory import check_budget
from neufield.formats.decoding import damaged

PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type
MOST_PIXELS = 2_000_000_000
STEPS = {"uint8": 255, "uint16": 65535, "float32": 1}
_UNDO = {6: 8, 8: 6}
_UNKNOWN_DENSEST = 2730  # pixels in a byte, LZW's: what is denser is of one color
_UNKNOWN_FLOOR = 1 << 26  # so many may be had for nothing: twice a blank 8K frame, which WebP has in a hundred bytes
_DEFLATE = 1032  # bytes, at most, that one byte of a deflate stream stands for (zlib's documentation)


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a file says of its picture beside the samples.

    ``width`` and ``height`` are those of the rows as stored, ``orientation`` (EXIF tag 274, 1 to 8) says which way up
    they are meant to be seen. ``space`` is "GRAY", "RGB" or "CMYK", ``profile`` the ICC profile of its numbers, b""
    where they are sRGB. ``notes`` are sentences about what could not be understood.
    """

    width: int
    height: int
    orientation: int
    space: str
    profile: bytes
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pixels:
    """A decoded picture.

    ``values`` (H, W, C) uint8, uint16 or float32 in the file's own encoding, C = 1 gray, 2 gray + alpha, 3 RGB, 4 RGBA,
    alpha not multiplied into the colors of integers, and multiplied into those of floats, as EXR has them.
    ``transfer`` is "srgb" for integers and "linear" for floats. ``notes`` are sentences for the user. ``source_bytes``
    is the size of the file, ``profile`` the ICC profile of the values, b"" where they are sRGB.
    """

    values: np.ndarray
    transfer: str
    notes: tuple[str, ...]
    source_bytes: int
    profile: bytes = b""


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """All that a fitted field must remember to become a picture again; plain numbers and words, for JSON.

    ``dtype`` is "uint8", "uint16" or "float32". ``peak`` is what PSNR and SSIM call the largest value: 1.0 for integers
    and for floats within [0, 1], else the maximum (the largest magnitude where the maximum is not above 0).
    ``profile`` is the ICC profile of the colors in base 64, "" for sRGB.
    """

    height: int
    width: int
    channels: int
    dtype: str
    transfer: str
    peak: float
    profile: str = ""

    @property
    def icc(self) -> bytes:
        """The ICC profile, b"" for sRGB."""
        return base64.b64decode(self.profile)

    @property
    def steps(self) -> int:
        """The stored value that stands for 1.0: 255, 65535, or 1 for floats."""
        return STEPS[self.dtype]


def is_possible(facts: ImageFacts) -> bool:
    """Whether there are such pictures; what a file says of one may be anything."""
    try:
        base64.b64decode(facts.profile, validate=True)
    except ValueError:
        return False
    known = facts.dtype in STEPS and facts.transfer in ("srgb", "linear")
    return known and 1 <= facts.channels <= 4 and min(facts.height, facts.width) >= 1 and facts.peak > 0


def facts_of(values: np.ndarray, transfer: str, profile: bytes = b"") -> ImageFacts:
    """The facts of stored ``values`` (H, W, C)."""
    peak = 1.0
    if values.dtype == np.float32:
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            peak = high if high > 0 else -low
    height, width, channels = values.shape
    packed = base64.b64encode(profile).decode("ascii")
    return ImageFacts(height, width, channels, values.dtype.name, transfer, peak, packed)


def transfer_of(values: np.ndarray) -> str:
    """Integers are stored sRGB-encoded, floats as linear light: the habit of the formats that hold them."""
    return "linear" if values.dtype == np.float32 else "srgb"


def eight_bit(values: np.ndarray) -> np.ndarray:
    """Integers (H, W, C) as uint8: 16 bits are rounded."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8)


def check_size(name: str, height: int, width: int) -> None:
    """Refuse pictures without pixels, of one pixel, and beyond what any camera makes."""
    if height < 1 or width < 1:
        raise DataError(f"{name} has {width} x {height} pixels, but a picture needs at least two; give another file")
    if height * width == 1:
        raise DataError(f"{name} is a single pixel, which leaves nothing to fit; give a picture of at least two pixels")
    if height * width > MOST_PIXELS:
        raise DataError(
            f"{name} claims to be {width} x {height} pixels, but at most {MOST_PIXELS // 10**9} gigapixels are read; "
            f"check that it is not damaged, or cut it into parts"
        )


def check_png_size(path: Path, head: bytes) -> None:
    """Refuse a PNG, whose first 33 bytes are ``head``, of a size that so short a file cannot hold."""
    width, height, bits, kind = struct.unpack(">IIBB", head[16:26])
    check_size(str(path), height, width)
    rows = height * (1 + (width * bits * _PNG_CHANNELS.get(kind, 1) + 7) // 8)
    size = path.stat().st_size
    if rows > size * _DEFLATE:
        raise _too_many(path, width, height, size)


def check_held(path: Path, width: int, height: int, densest: float | None) -> None:
    """Refuse a picture of more pixels than its file can hold, ``densest`` in a byte; None where nobody knows."""
    size = path.stat().st_size
    most = _UNKNOWN_FLOOR + _UNKNOWN_DENSEST * size if densest is None else densest * size
    if width * height > most:
        raise _too_many(path, width, height, size)


def _too_many(path: Path, width: int, height: int, size: int) -> DataError:
    return damaged(path, f"it says {width} x {height} pixels, but {size:,} bytes cannot hold as many")


def check_memory(path: Path, told: Metadata, needed: int) -> None:
    """Refuse, before anything is decoded, a picture that needs more bytes than there are."""
    check_budget(needed, f"reading {path} ({told.width} x {told.height} pixels)", "give a smaller copy of it")


def check_finite(name: str, values: np.ndarray) -> None:
    """Refuse float ``values`` (H, W, C) with a NaN or an infinity, saying how many and where the first is."""
    if values.dtype != np.float32:
        return
    wrong = ~np.isfinite(values)
    count = int(np.count_nonzero(wrong))
    if count:
        row, column, channel = np.unravel_index(int(wrong.argmax()), wrong.shape)
        raise DataError(
            f"{name} holds {count} values that are NaN or infinite, the first at row {row}, column {column}, "
            f"channel {channel}, but every value must be a finite number; replace them before fitting"
        )


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """A view of stored ``values`` (H, W, C) as meant to be seen; ``orientation`` is EXIF tag 274, 1 to 8."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def undone(orientation: int) -> int:
    """The orientation that turns a picture of ``orientation`` back."""
    return _UNDO.get(orientation, orientation)


def png_problem(path: Path) -> str:
    """What is wrong with the chunks of a PNG, their lengths and checksums; "" when they are whole.

    Pillow checks this while it reads. libpng inside OpenImageIO prints a line of its own to the terminal, so we look
    first.
    """
    left = path.stat().st_size - 8
    with path.open("rb") as file:
        file.seek(8)
        kind = b""
        while kind != b"IEND":
            length = int.from_bytes(file.read(4), "big")
            left -= length + 12
            if left < 0:
                return "it ends in the middle of its data"
            body = file.read(length + 4)
            kind = body[:4]
            if zlib.crc32(body) != int.from_bytes(file.read(4), "big"):
                return "a checksum does not match"
    return ""
