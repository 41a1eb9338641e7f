"""What a picture's file says of its samples beside them: how many, which way up, and in which colors.

``fit`` turns what it reads, a scene does not: here is the only place that knows of it, for both. No pixel is decoded.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from neufield.core.errors import DataError
from neufield.formats import color, decode_heif, decode_oiio, decode_pillow
from neufield.formats.decoding import damaged, decoding, first_line
from neufield.formats.pixels import PNG, Metadata

_ORIENTATION, _WIDTH, _HEIGHT = 274, 256, 257
_TOLD = (b"eXIf", b"iTXt", b"zTXt", b"tEXt", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_GRAY = ("1", "L", "LA", "La", "I", "F")


def read_metadata(path: Path) -> Metadata:
    """What the file says of its first picture; raises DataError where it makes no sense."""
    with decoding(path), path.open("rb", buffering=0) as file:
        head = file.read(64)
        file.seek(len(PNG))
        if head.startswith(PNG):
            return _of_png(path, file)
    if decode_heif.knows(head):
        with decode_heif.opened(path) as heif:
            return _metadata(path, heif.size, 1, heif.info, _space(heif.mode), [])
    try:
        with decode_pillow.opened(path, []) as picture:
            return _of_pillow(path, picture, _stored_size(picture), _space(picture.mode))
    except DataError:
        if not decode_oiio.may_read(path):
            raise
    with decode_oiio.opened(path) as file:
        spec = file.spec()
        profile = spec.getattribute("ICCProfile")
        info = {"icc_profile": None if profile is None else bytes(profile)}
        orientation = spec.get_int_attribute("Orientation", 1)
        space = "GRAY" if spec.nchannels <= 2 else "RGB"
        return _metadata(path, (spec.width, spec.height), orientation, info, space, [])


def _of_png(path: Path, file: io.FileIO) -> Metadata:
    """Read chunks anywhere in the file: those behind the pixels Pillow would find only by decoding all of these."""
    header = file.read(25)
    if len(header) < 25:
        raise damaged(path, "its header is cut short")
    width, height, _, kind = struct.unpack(">IIBB", header[8:18])
    told = [_chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0")]
    while len(start := file.read(8)) == 8 and start[4:] != b"IEND":
        length = int.from_bytes(start[:4], "big") + 4
        if start[4:] in _TOLD:
            told.append(start + file.read(length))
        else:
            file.seek(length, io.SEEK_CUR)
    told += [_chunk(b"IDAT", zlib.compress(b"\0\0")), _chunk(b"IEND", b"")]
    with decode_pillow.opened(path, [], io.BytesIO(PNG + b"".join(told))) as picture:  # a pixel that tells the same
        return _of_pillow(path, picture, (width, height), "RGB" if kind & 2 else "GRAY")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _of_pillow(path: Path, picture: Image.Image, size: tuple[int, int], space: str) -> Metadata:
    notes = []
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block is no reason to refuse the picture
        notes.append(f"The EXIF block of {path.name} is damaged and was ignored.")
        orientation = 1
    return _metadata(path, size, orientation, picture.info, space, notes)


def _stored_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height in the rows as stored; a TIFF's ``size`` is that of the turned picture."""
    tags = getattr(picture, "tag_v2", {})
    return tags.get(_WIDTH, picture.width), tags.get(_HEIGHT, picture.height)


def _space(mode: str) -> str:
    if mode == "CMYK":
        return mode
    return "GRAY" if mode.partition(";")[0] in _GRAY else "RGB"


def _metadata(
    path: Path, size: tuple[int, int], orientation: object, info: Mapping[Any, Any], space: str, notes: list[str]
) -> Metadata:
    turned = orientation if isinstance(orientation, int) and orientation in range(2, 9) else 1
    try:
        profile = _profile(info, space)
    except Exception as problem:  # each library in its own way; without its profile a picture is still one
        notes.append(f"What {path.name} says of its colors makes no sense and was ignored ({first_line(problem)}).")
        profile = b""
    return Metadata(*size, turned, space, profile, tuple(notes))


def _profile(info: Mapping[Any, Any], space: str) -> bytes:
    """The profile in the file, or one that says what its gAMA and cHRM say; b"" where that is what all others mean."""
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        if len(profile) > color.MOST_BYTES:
            raise DataError(f"a profile of {len(profile):,} bytes, where {color.MOST_BYTES:,} are the most")
        if color.space_of(profile) != space:
            raise DataError(f"a profile for {color.space_of(profile)} in a picture of {space}")
        return b"" if space != "CMYK" and color.is_srgb(profile) else profile
    if "srgb" in info or not {"gamma", "chromaticity"} & info.keys():
        return b""
    return color.from_gamma(info.get("gamma"), info.get("chromaticity"), space)
