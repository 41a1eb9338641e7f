"""Frames out of a video file: evenly spaced, or of each stretch of it the sharpest."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from neufield.core.errors import DataError
from neufield.core.extras import extra
from neufield.core.memory import check_budget
from neufield.core.shapes import check_positive
from neufield.formats.decoding import decoding

FILMS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")
"""Suffixes of what is taken for a film; what is one is decided by its content."""
# FFmpeg has more, some of which open what a file names (playlists) or what its own name matches (picture sequences).
_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,gif,mxf,h264,hevc,ivf,dv,yuv4mpegpipe,wav,mp3,flac,aac"
_FRAME_BYTES = 32  # a pixel: the frames that a decoder looks back at and ahead, and one as RGB
_LOOKED_AT = 480  # pixels of the longer side at which frames are compared: beyond that it is the noise that counts


@dataclasses.dataclass(frozen=True)
class Stream:
    """The one of a file's video streams that counts: its ``index`` among them, and what was passed over, in words."""

    index: int
    frames: int
    notes: tuple[str, ...] = ()


def find_stream(path: str | Path) -> Stream:
    """The video stream of ``path`` with the most pixels in all, cover pictures aside; none is decoded."""
    path = Path(path)
    with _decoding(path), _open(path) as file:
        streams = list(file.streams.video)
        counts = {stream.index: 0 for stream in streams}
        for packet in file.demux(streams):
            counts[packet.stream.index] += packet.size > 0
        frames = [counts[stream.index] for stream in streams]
        sizes = [(0, 0) if stream.codec_context is None else (stream.width, stream.height) for stream in streams]
        covers = [_is_cover(stream, count) for stream, count in zip(streams, frames, strict=True)]

    def order(index: int) -> tuple[bool, int]:
        width, height = sizes[index]
        return not covers[index], frames[index] * width * height

    best = max(range(len(streams)), key=order)
    if 0 in sizes[best]:
        raise DataError(f"{path} holds no pictures that can be decoded; convert it to mp4")
    notes = []
    for index, (width, height) in enumerate(sizes):
        if index != best:
            what = "a cover picture" if covers[index] else f"another film of {frames[index]} frames"
            notes.append(
                f"{path.name}: stream {index}, {what} of {width} x {height}, is not read; stream {best} of "
                f"{frames[best]} frames of {sizes[best][0]} x {sizes[best][1]} is"
            )
    return Stream(best, frames[best], tuple(notes))


def _is_cover(stream: Any, frames: int) -> bool:
    """A picture that belongs to the file, as a record's sleeve does: it says so, or is alone in its stream."""
    return frames <= 1 or bool(stream.disposition & stream.disposition.attached_pic)


def evenly_spaced_frames(path: str | Path, count: int) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """``count`` frames, the middle one of each of as many equal stretches, with their places in the video.

    All of them where the video has fewer. Upright: the rotation that the file asks for is applied.
    """
    path = Path(path)
    stream = find_stream(path)
    wanted = {(first + last) // 2 for first, last in _stretches(stream.frames, count)}
    for place, frame in enumerate(_frames(path, stream)):
        if place in wanted:
            yield place, _pixels(path, frame)


def sharpest_frames(path: str | Path, count: int) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """Choose from each stretch of :func:`evenly_spaced_frames` the frame whose brightness has the largest gradients."""
    path = Path(path)
    stream = find_stream(path)
    ends = {last: first for first, last in _stretches(stream.frames, count)}
    best, most, at = None, -1.0, 0
    for place, frame in enumerate(_frames(path, stream)):
        sharpness = _sharpness(path, frame)
        if sharpness > most:
            best, most, at = frame, sharpness, place
        if place in ends and best is not None:
            yield at, _pixels(path, best)
            best, most = None, -1.0
    if best is not None:  # the file ended before its last packet did
        yield at, _pixels(path, best)


def _stretches(total: int, count: int) -> Sequence[tuple[int, int]]:
    """The first and last frame of each of ``count`` stretches, together all ``total``."""
    check_positive(count=count)
    count = min(count, total)
    return [(i * total // count, (i + 1) * total // count - 1) for i in range(count)]


def _open(path: Path) -> Any:
    av = extra("av", "video", "reading a video")
    if not path.is_file():
        raise DataError(f"there is no video {path}; check the path")
    with _decoding(path):  # "file:", so that no name is taken for an address or a pattern
        file = av.open(f"file:{path}", options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"})
    if not file.streams.video:
        file.close()
        raise DataError(f"{path} holds no pictures; give a video")
    return file


def _frames(path: Path, stream: Stream) -> Iterator[Any]:
    """The decoded frames in the order in which they are shown; what follows a damaged place is lost."""
    av = extra("av", "video", "reading a video")
    count = 0
    with _open(path) as file:
        video = file.streams.video[stream.index]
        video.thread_type = "AUTO"
        with _decoding(path):  # a stream whose kind is not known has no size
            needed = _FRAME_BYTES * video.width * video.height
        check_budget(needed, f"reading {path} ({video.width} x {video.height})", "give a smaller film")
        with _decoding(path):
            try:
                for frame in file.decode(video):
                    count += 1
                    yield frame
            except av.FFmpegError:
                if not count:
                    raise


def _decoding(path: Path) -> contextlib.AbstractContextManager[None]:
    """What FFmpeg raises, and what Python makes of its answers, is one sentence."""
    return decoding(path, "no video that can be read", "give an mp4, mov, webm, mkv or avi")


def _pixels(path: Path, frame: Any) -> np.ndarray:
    """Upright RGB; a file's rotation is in degrees counter-clockwise."""
    with _decoding(path):
        values = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(values, round(frame.rotation / 90)))


def _sharpness(path: Path, frame: Any) -> float:
    """Mean squared difference of neighboring pixels' brightness, at one size for all frames."""
    shrink = min(1.0, _LOOKED_AT / max(frame.width, frame.height))
    size = (max(2, round(frame.width * shrink)), max(2, round(frame.height * shrink)))
    with _decoding(path):
        gray = frame.reformat(width=size[0], height=size[1], format="gray").to_ndarray().astype(np.float32)
    return float(np.square(np.diff(gray, axis=0)).mean() + np.square(np.diff(gray, axis=1)).mean())
