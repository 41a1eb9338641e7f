"""Pictures of more than 8 bits a channel, through OpenImageIO: 16-bit PNG and TIFF, float TIFF, EXR, Radiance, PFM."""

import zlib
from pathlib import Path

import numpy as np
import OpenImageIO as oiio

from neufield.core.errors import DataError
from neufield.signals.pixels import (
    Pixels,
    check_size,
    first_line,
    transfer_of,
    upright,
)

_KEPT = ("uint8", "uint16")
_FLOATS = ("half", "float", "double")
_MIN_IS_WHITE = 0


def stores_deep(path: Path) -> bool:
    """Whether ``path`` stores more than 8 bits a channel; raises DataError when it cannot be opened."""
    file = _open(path)
    deep = str(file.spec().format) != "uint8"
    file.close()
    return deep


def decode(path: Path) -> Pixels:
    """Read the first picture of ``path``, upright; raises DataError for what cannot be read."""
    file = _open(path)
    spec = file.spec()
    if spec.deep or spec.depth > 1:
        raise DataError(f"{path} holds a volume or deep samples, but one flat picture was expected; flatten it first")
    check_size(str(path), spec.height, spec.width)
    chosen, notes = choose_channels(path.name, spec.channelnames)
    stored = str(spec.format)
    values = file.read_image("float" if stored in _FLOATS else stored)
    if values is None:
        raise _damaged(path, file.geterror())
    if file.seek_subimage(1, 0):
        notes.append(f"{path.name} holds several frames or pages; only the first one is read.")
    file.close()
    if stored not in (*_KEPT, *_FLOATS):
        notes.append(f"{path.name} stores {stored} samples; they are read as float32 numbers.")
        values = values.astype(np.float32)
    if chosen != list(range(spec.nchannels)):
        values = values[..., chosen]
    if stored in _KEPT and spec.get_int_attribute("tiff:PhotometricInterpretation", -1) == _MIN_IS_WHITE:
        values = np.iinfo(values.dtype).max - values  # OpenImageIO leaves 0 as white
    values = np.ascontiguousarray(upright(values, spec.get_int_attribute("Orientation", 1)))
    return Pixels(values, transfer_of(values), tuple(notes), path.stat().st_size)


def choose_channels(name: str, names: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Which channels are read, as R, G, B(, A) or Y(, A), else the first three in the file; and notes if any is odd."""
    place = {channel.lower(): index for index, channel in enumerate(names)}
    alpha = [place["a"]] if "a" in place else []
    if {"r", "g", "b"} <= place.keys():
        chosen = [place["r"], place["g"], place["b"], *alpha]
    elif "y" in place:
        chosen = [place["y"], *alpha]
    else:
        chosen = list(range(min(3, len(names))))
        read = ", ".join(names[:3])
        return chosen, [f"{name} has the channels {', '.join(names)}, none of them R, G, B or Y; {read} are read."]
    if len(chosen) < len(names):
        read = ", ".join(names[index] for index in chosen)
        return chosen, [f"{name} has {len(names)} channels; only {read} are read."]
    return chosen, []


def check_png_chunks(path: Path) -> None:
    """Refuse a PNG whose chunks are cut short or do not match their checksums.

    Pillow checks this itself. libpng, inside OpenImageIO, would print a line of its own to the terminal first.
    """
    left = path.stat().st_size - 8
    with path.open("rb") as file:
        file.seek(8)
        kind = b""
        while kind != b"IEND":
            length = int.from_bytes(file.read(4), "big")
            left -= length + 12
            if left < 0:
                raise _damaged(path, "it ends in the middle of its data")
            body = file.read(length + 4)
            kind = body[:4]
            if zlib.crc32(body) != int.from_bytes(file.read(4), "big"):
                raise _damaged(path, "a checksum does not match")


def _open(path: Path) -> oiio.ImageInput:
    """The open file, with alpha left as stored."""
    settings = oiio.ImageSpec()
    settings["oiio:UnassociatedAlpha"] = 1
    file = oiio.ImageInput.open(str(path), settings)
    if file is None:
        raise _damaged(path, oiio.geterror())
    return file


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path} is damaged or truncated ({first_line(problem)}); get a fresh copy of the file")
