"""Frames -> a film whose suffix names the format: .mp4 (H.264), .webm (VP9) or .gif."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from neufield.core.errors import DataError
from neufield.core.extras import extra
from neufield.core.files import atomic_path
from neufield.core.shapes import check_positive
from neufield.formats.decoding import first_line


class _Kind(NamedTuple):
    """A container's name and options, and a codec's."""

    name: str
    container: Mapping[str, str]
    codec: str
    quality: Mapping[str, str]


# A constant quality at which rendered views look like their PNGs; "b:v" 0 is how libvpx is told so. An mp4 that begins
# with its index plays while it loads.
_KINDS: Mapping[str, _Kind] = {
    ".mp4": _Kind("mp4", {"movflags": "+faststart"}, "libx264", {"crf": "18"}),
    ".webm": _Kind("webm", {}, "libvpx-vp9", {"crf": "24", "b:v": "0", "row-mt": "1"}),
}
FILMS = (*_KINDS, ".gif")
"""The suffixes that :func:`open_film` knows."""
_BT709 = 1  # of primaries, transfer and matrix alike; players differ in what they take an untagged film for
_LIMITED = 1
_NO_FRAME = "cannot write {}: a film has at least one frame, but none was given"

Add = Callable[[UInt8[np.ndarray, "h w 3"]], None]


@contextlib.contextmanager
def open_film(path: str | Path, fps: float) -> Iterator[Add]:
    """Yield what adds a frame (h, w, 3), sRGB, all of one size; the film is at ``path`` when the block succeeds.

    It is written beside ``path`` and renamed. Colors are 4:2:0, so that every player plays it: two by two pixels share
    one. For that a last odd row or column is left out in .mp4 and .webm. A GIF has 256 colors a frame, whole
    hundredths of a second, and one longer frame for equal ones.

    Raises DataError for another suffix, for no frames and for what the disk does not take, BackendError where a package
    is missing.
    """
    path = Path(path)
    check_positive(fps=fps)
    suffix = path.suffix.lower()
    if suffix not in FILMS:
        raise DataError(f"cannot write {path}: the suffix must be one of {', '.join(FILMS)}")
    writer = _gif(path, fps) if suffix == ".gif" else _coded(path, fps, _KINDS[suffix])
    with writer as add:
        yield add


@contextlib.contextmanager
def _coded(path: Path, fps: float, kind: _Kind) -> Iterator[Add]:
    av = extra("av", "video", f"writing {path.name}")
    rate = Fraction(fps).limit_denominator(1001)  # 30000/1001 is a rate too
    with atomic_path(path) as temporary:
        try:
            with av.open(str(temporary), "w", format=kind.name, options=dict(kind.container)) as file:
                stream = file.add_stream(kind.codec, rate=rate, options=dict(kind.quality))

                def add(values: np.ndarray) -> None:
                    even = values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2]
                    if not even.size:
                        raise DataError(f"cannot write {path}: frames are a pixel high or wide, but two are the least")
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
                    if not stream.codec_context.is_open:
                        _prepare(stream, frame)
                    file.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))

                yield add
                if not stream.codec_context.is_open:
                    raise DataError(_NO_FRAME.format(path))
                file.mux(stream.encode())
        except av.FFmpegError as problem:
            raise DataError(f"cannot write {path}: {first_line(problem)}") from None


def _prepare(stream: Any, frame: Any) -> None:
    """The first frame says the size."""
    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED


@contextlib.contextmanager
def _gif(path: Path, fps: float) -> Iterator[Add]:
    """Frames wait in memory, a byte a pixel: the header is of all of them."""
    frames: list[Image.Image] = []
    yield lambda values: frames.append(Image.fromarray(values).quantize(256))
    if not frames:
        raise DataError(_NO_FRAME.format(path))
    with atomic_path(path) as temporary:
        hundredths = max(2, round(100 / fps))  # below two, browsers take ten
        frames[0].save(temporary, "GIF", save_all=True, append_images=frames[1:], duration=10 * hundredths, loop=0)
