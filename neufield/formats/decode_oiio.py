"""Pictures of more than 8 bits a channel, through OpenImageIO: 16-bit PNG and TIFF, float TIFF, EXR, Radiance, PFM."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import OpenImageIO

from neufield.core.errors import DataError
from neufield.core.lattice import blocks
from neufield.formats.decoding import damaged, decoding, quiet
from neufield.formats.pixels import PNG, Metadata, check_held, check_memory, upright

_KEPT = ("uint8", "uint16")
_FLOATS = ("half", "float", "double")
_MIN_IS_WHITE = 0
_DENSEST = {"hdr": 127 / 8, "pnm": 8, "sgi": 127 / 2}  # pixels, at most, that a byte stands for, in runs or as bits
_REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)  # x and y of red, green, blue and white
_NEAR = 0.005  # of them: writers round to two or three digits
_BAND_PIXELS = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")  # a byte of a name that is not UTF-8


class _Format(NamedTuple):
    """What OpenImageIO calls a format, the suffixes of its files, and how they begin."""

    name: str
    suffixes: tuple[str, ...]
    beginnings: tuple[bytes, ...]


# Only these are read. OpenImageIO has others that invent pixels or open what a name says: null, zfile, term.
_FORMATS = (
    _Format("png", (".png",), (PNG,)),
    _Format("tiff", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    _Format("openexr", (".exr",), (b"v/1\x01",)),
    _Format("hdr", (".hdr",), (b"#?RADIANCE", b"#?RGBE")),
    _Format("jpeg2000", (".jp2", ".j2k", ".j2c"), (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    _Format("jpegxl", (".jxl",), (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    _Format("sgi", (".sgi",), (b"\x01\xda",)),
    _Format(
        "pnm",
        (".pnm", ".pbm", ".pgm", ".ppm", ".pfm"),
        tuple(b"P%c%c" % (kind, space) for kind in b"123456Ff" for space in b"\n\r "),
    ),
)


def format_of(path: Path) -> _Format | None:
    """The format of ``path`` by its beginning, or None for one that is not read here."""
    with decoding(path), path.open("rb") as file:
        head = file.read(16)
    return next((known for known in _FORMATS if head.startswith(known.beginnings)), None)


def may_read(path: Path) -> bool:
    """Whether ``path`` begins as a format that may be read here."""
    return format_of(path) is not None


def is_wanted(path: Path) -> bool:
    """Whether ``path`` stores what Pillow would lose without a word: over 8 bits a channel, or more channels."""
    with opened(path) as file:
        return str(file.spec().format) != "uint8" or not set(file.spec().channelnames) <= {*"RGBAY"}


def decode(path: Path, told: Metadata, orientation: int) -> tuple[np.ndarray, list[str]]:
    """The first picture of ``path``, turned by ``orientation``, and notes; raises DataError for what cannot be read."""
    with opened(path) as file:
        spec = file.spec()
        if spec.deep or spec.depth > 1:
            raise DataError(
                f"{path} holds a volume or deep samples, but one flat picture was expected; flatten it first"
            )
        stored = str(spec.format)
        read_as = "float" if stored in _FLOATS else stored
        samples = spec.width * spec.height * spec.nchannels
        check_held(path, told.width, told.height, _DENSEST.get(file.format_name()))
        check_memory(path, told, 2 * samples * (2 if stored == "uint16" else 1 if stored == "uint8" else 4))
        chosen, notes = choose_channels(path.name, spec.channelnames)
        values = file.read_image(read_as)
        if values is None:
            raise damaged(path, file.geterror())
        if file.seek_subimage(1, 0):
            notes.append(f"{path.name} holds several frames or pages; only the first one is read.")
        primaries = spec.getattribute("chromaticities")
        if primaries is not None and np.abs(np.subtract(primaries, _REC_709)).max() > _NEAR:
            notes.append(f"{path.name} has other primaries than sRGB's, which are not kept; the numbers are.")
    if stored not in (*_KEPT, *_FLOATS):
        notes.append(f"{path.name} stores {stored} samples; they are read as float32 numbers.")
        values = values.astype(np.float32)
    if chosen != list(range(spec.nchannels)):
        values = values[..., chosen]
    if stored in _KEPT and spec.get_int_attribute("tiff:PhotometricInterpretation", -1) == _MIN_IS_WHITE:
        values = np.iinfo(values.dtype).max - values  # OpenImageIO leaves 0 as white
    if values.shape[2] in (2, 4):
        _settle_alpha(values, spec)
    return np.ascontiguousarray(upright(values, orientation)), notes


def _settle_alpha(values: np.ndarray, spec: Any) -> None:
    """Make alpha straight in integers, as PNG has it, and multiplied into the colors of floats, as EXR has it."""
    straight = bool(spec.get_int_attribute("oiio:UnassociatedAlpha", 0))
    tiff = spec.get_int_attribute("tiff:Compression", -1) != -1  # of the other formats of integers, none multiplies
    for top, bottom in blocks(len(values), max(1, _BAND_PIXELS // values.shape[1])):
        colors, alpha = values[top:bottom, :, :-1], values[top:bottom, :, -1:]
        if values.dtype == np.float32:
            if straight:
                colors *= alpha
        elif tiff and not straight:
            most = np.iinfo(values.dtype).max
            whole = np.maximum(alpha, 1).astype(np.uint32)
            colors[...] = np.minimum((colors * np.uint32(most) + whole // 2) // whole, most)


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


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The open file, with alpha left as stored; raises DataError when it does not make sense.

    OpenImageIO takes its reader from the suffix of the name, and what follows a "?" for settings. Where the name is not
    one of the format that the content is of, it gets another one.
    """
    # Not annotated as OpenImageIO.ImageInput: a type checker that keeps the class in its cache keeps it past the end of
    # the interpreter, and nanobind then prints a page about leaks.
    known = format_of(path)
    if known is None:
        raise damaged(path, "its beginning is that of no format known")
    settings = OpenImageIO.ImageSpec()
    settings["oiio:UnassociatedAlpha"] = 1
    chatty = quiet(1) if known.name == "jpeg2000" else contextlib.nullcontext()  # OpenJPH remarks on standard output
    with decoding(path), quiet(), chatty, _named(path, known) as name:
        file = OpenImageIO.ImageInput.open(name, settings)
        if file is None:
            raise damaged(path, OpenImageIO.geterror())
        try:
            if file.format_name() != known.name:
                raise damaged(path, f"it begins as {known.name}, but is read as {file.format_name()}")
            yield file
        finally:
            file.close()


@contextlib.contextmanager
def _named(path: Path, known: _Format) -> Iterator[str]:
    """A name for ``path`` that is one of its format: a link to it, or a copy where there are no links."""
    name = str(path.absolute())
    if path.suffix.lower() in known.suffixes and "?" not in name and not _SURROGATE.search(name):
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="neufield-") as folder:
        other = Path(folder) / f"picture{known.suffixes[0]}"
        try:
            other.symlink_to(path.absolute())
        except OSError:
            shutil.copyfile(path, other)
        yield str(other)
