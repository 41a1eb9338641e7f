"""Pictures of more than 8 bits a channel, through OpenImageIO: 16-bit PNG and TIFF, float TIFF, EXR, Radiance, PFM."""

from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO

from neufield.core.errors import DataError
from neufield.signals.pixels import (
    Pixels,
    check_size,
    damaged,
    transfer_of,
    upright,
)

_KEPT = ("uint8", "uint16")
_FLOATS = ("half", "float", "double")
_MIN_IS_WHITE = 0


def stores_deep(path: Path) -> bool:
    """Whether ``path`` stores more than 8 bits a channel; raises DataError when it cannot be opened."""
    file = open_file(path)
    deep = str(file.spec().format) != "uint8"
    file.close()
    return deep


def decode(path: Path) -> Pixels:
    """Read the first picture of ``path``, upright; raises DataError for what cannot be read."""
    file = open_file(path)
    spec = file.spec()
    if spec.deep or spec.depth > 1:
        raise DataError(f"{path} holds a volume or deep samples, but one flat picture was expected; flatten it first")
    check_size(str(path), spec.height, spec.width)
    chosen, notes = choose_channels(path.name, spec.channelnames)
    stored = str(spec.format)
    values = file.read_image("float" if stored in _FLOATS else stored)
    if values is None:
        raise damaged(path, file.geterror())
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


def open_file(path: Path) -> Any:
    """The open file, with alpha left as stored; raises DataError when it does not make sense."""
    # Not annotated as OpenImageIO.ImageInput: a type checker that keeps the class in its cache keeps it past the end of
    # the interpreter, and nanobind then prints a page about leaks.
    settings = OpenImageIO.ImageSpec()
    settings["oiio:UnassociatedAlpha"] = 1
    file = OpenImageIO.ImageInput.open(str(path), settings)
    if file is None:
        raise damaged(path, OpenImageIO.geterror())
    return file
