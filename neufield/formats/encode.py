"""Stored samples -> a picture file whose suffix names the format; a format that would lose samples is refused."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import OpenImageIO
from jaxtyping import Shaped
from PIL import Image

from neufield.core.errors import DataError
from neufield.core.files import atomic_path
from neufield.core.lattice import blocks
from neufield.formats.decode_oiio import opened
from neufield.formats.decoding import first_line, quiet
from neufield.formats.pixels import ImageFacts, png_problem

_CHANNEL_NAMES = {1: ("Y",), 2: ("Y", "A"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
_CHECKED_PIXELS = 1 << 20
_WORDS = {1: "gray", 2: "gray and alpha", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class _Format:
    """What a format holds without loss (JPEG's own apart), and how Pillow is to write its 8-bit kind."""

    dtypes: tuple[str, ...]
    channels: tuple[int, ...] = (1, 2, 3, 4)
    options: dict[str, object] = dataclasses.field(default_factory=dict)
    profiles: bool = True


_JPEG = _Format(("uint8",), (1, 3), {"quality": 95, "subsampling": 0})
_TIFF = _Format(("uint8", "uint16", "float32"))
_FORMATS = {
    ".png": _Format(("uint8", "uint16")),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".exr": _Format(("float32",)),
    ".hdr": _Format(("float32",), (3,)),
    ".webp": _Format(("uint8",), (3, 4), {"lossless": True, "exact": True}),
    ".bmp": _Format(("uint8",), (1, 3), profiles=False),
    ".pgm": _Format(("uint8", "uint16"), (1,), profiles=False),
    ".ppm": _Format(("uint8", "uint16"), (3,), profiles=False),
}


def suffix_for(facts: ImageFacts) -> str:
    """The suffix of a format that stores such a picture exactly: ".png" for integers, ".exr" for floats."""
    return ".exr" if facts.dtype == "float32" else ".png"


def write_image(path: str | Path, values: Shaped[np.ndarray, "h w c"], facts: ImageFacts) -> None:
    """Write ``values`` (h, w, C), in the storage dtype of ``facts``, to ``path`` atomically; any h and w.

    The suffix chooses the format. Radiance .hdr keeps 8 bits of mantissa and nothing below 0; JPEG has quality 95.
    Raises ValueError when ``values`` do not match ``facts``, DataError when the format cannot hold them or the disk
    does not take them.
    """
    path = Path(path)
    if values.ndim != 3 or values.shape[2] != facts.channels or values.dtype.name != facts.dtype:
        raise ValueError(
            f"values are {values.dtype.name} {values.shape}, but {facts.dtype} (h, w, {facts.channels}) was expected"
        )
    kind = _format_for(path, facts)
    with atomic_path(path) as temporary:
        if facts.dtype == "uint8" and kind is not _TIFF:  # Pillow's libtiff reports a full disk on the terminal
            _write_pillow(temporary, values, kind.options, facts.icc)
        else:
            _write_oiio(temporary, values, path, facts.icc)


def _format_for(path: Path, facts: ImageFacts) -> _Format:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"cannot write {path}: the suffix must be one of {', '.join(_FORMATS)}; "
            f"{path.with_suffix(suffix_for(facts)).name} would do"
        )
    if facts.dtype not in kind.dtypes or facts.channels not in kind.channels:
        raise DataError(
            f"cannot write {path}: {path.suffix} does not hold {facts.dtype} {_WORDS[facts.channels]} pictures; "
            f"write {path.with_suffix(suffix_for(facts)).name} instead"
        )
    if facts.profile and not kind.profiles:
        raise DataError(
            f"cannot write {path}: {path.suffix} does not hold the color profile that the picture's numbers are in; "
            f"write {path.with_suffix(suffix_for(facts)).name} instead"
        )
    return kind


def _write_pillow(path: Path, values: np.ndarray, options: dict[str, object], profile: bytes) -> None:
    """Through memory: Pillow's own writes to a file do not all notice when the disk fills up."""
    picture = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    encoded = io.BytesIO()
    settings = {**options, "icc_profile": profile} if profile else options
    picture.save(encoded, Image.registered_extensions()[path.suffix.lower()], **settings)
    path.write_bytes(encoded.getvalue())  # not getbuffer(): a failed write's traceback would keep its view open


def _write_oiio(path: Path, values: np.ndarray, target: Path, profile: bytes) -> None:
    height, width, channels = values.shape
    spec = OpenImageIO.ImageSpec(width, height, channels, "float" if values.dtype == np.float32 else values.dtype.name)
    spec.channelnames = _CHANNEL_NAMES[channels]
    spec.alpha_channel = channels - 1 if channels in (2, 4) else -1
    spec["oiio:UnassociatedAlpha"] = int(values.dtype != np.float32)  # as decode_oiio has alpha
    if profile:
        spec.attribute("ICCProfile", f"uint8[{len(profile)}]", np.frombuffer(profile, np.uint8))
    spec["DateTime"] = ""  # the same picture is the same file tomorrow
    spec["tiff:predictor"] = 1 if values.dtype == np.float32 else 2  # few readers know the floating-point predictor
    with quiet():  # the sentence below says it
        file = OpenImageIO.ImageOutput.create(str(path))
        if file is None or not (file.open(str(path), spec) and file.write_image(np.ascontiguousarray(values))):
            raise DataError(f"cannot write {target}: {first_line(file.geterror() if file else OpenImageIO.geterror())}")
        closed = file.close()
    if not closed or not _complete(path, values):
        raise DataError(f"cannot write {target}: the file came out incomplete; is the disk full?")


def _complete(path: Path, values: np.ndarray) -> bool:
    """Whether a written file reads back: OpenImageIO does not always notice when the disk fills up under it.

    Seen by writing under every limit on the file size: a PNG, and a TIFF cut in its directory, count as a success.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        return png_problem(path) == ""
    try:
        with opened(path) as file:
            kind = file.spec().format
            for top, bottom in blocks(values.shape[0], max(1, _CHECKED_PIXELS // values.shape[1])):
                band = file.read_scanlines(top, bottom, 0, 0, values.shape[2], kind)
                if band is None or (suffix != ".hdr" and not np.array_equal(band, values[top:bottom], equal_nan=True)):
                    return False
    except DataError:
        return False
    return True
