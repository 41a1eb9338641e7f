"""Frames out of a video file: evenly spaced, or of each stretch of it the sharpest."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from neufield.core.errors import DataError
from neufield.core.extras import extra
from neufield.core.shapes import check_positive
from neufield.signals.pixels import first_line

_LOOKED_AT = 480  # pixels of the longer side at which frames are compared: beyond that it is the noise that counts


def count_frames(path: str | Path) -> int:
    """How many frames the first video stream of ``path`` holds; none is decoded."""
    with _open(Path(path)) as file:
        return sum(packet.size > 0 for packet in file.demux(file.streams.video[0]))


def evenly_spaced_frames(path: str | Path, count: int) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """``count`` frames, the middle one of each of as many equal stretches, with their places in the video.

    All of them where the video has fewer. Upright: the rotation that the file asks for is applied.
    """
    path = Path(path)
    wanted = {(first + last) // 2 for first, last in _stretches(count_frames(path), count)}
    for place, frame in enumerate(_frames(path)):
        if place in wanted:
            yield place, _pixels(frame)


def sharpest_frames(path: str | Path, count: int) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """As :func:`evenly_spaced_frames`, but of each stretch the frame whose brightness has the largest gradients."""
    path = Path(path)
    ends = {last: first for first, last in _stretches(count_frames(path), count)}
    best, most, at = None, -1.0, 0
    for place, frame in enumerate(_frames(path)):
        sharpness = _sharpness(frame)
        if sharpness > most:
            best, most, at = frame, sharpness, place
        if place in ends and best is not None:
            yield at, _pixels(best)
            best, most = None, -1.0
    if best is not None:  # the file ended before its last packet did
        yield at, _pixels(best)


def _stretches(total: int, count: int) -> Sequence[tuple[int, int]]:
    """The first and last frame of each of ``count`` stretches, together all ``total``."""
    check_positive(count=count)
    count = min(count, total)
    return [(i * total // count, (i + 1) * total // count - 1) for i in range(count)]


def _open(path: Path) -> Any:
    av = extra("av", "video", "reading a video")
    if not path.is_file():
        raise DataError(f"there is no video {path}; check the path")
    try:
        file = av.open(str(path))
    except (av.FFmpegError, OSError) as problem:
        raise DataError(
            f"{path} is no video that can be read ({first_line(problem)}); give an mp4, mov, webm, mkv or avi"
        ) from None
    if not file.streams.video:
        file.close()
        raise DataError(f"{path} holds no pictures; give a video")
    return file


def _frames(path: Path) -> Iterator[Any]:
    """The decoded frames in the order in which they are shown; what follows a damaged place is lost."""
    av = extra("av", "video", "reading a video")
    count = 0
    with _open(path) as file:
        file.streams.video[0].thread_type = "AUTO"
        try:
            for frame in file.decode(file.streams.video[0]):
                count += 1
                yield frame
        except av.FFmpegError as problem:
            if not count:
                raise DataError(f"{path} cannot be decoded ({first_line(problem)}); convert it to mp4") from None


def _pixels(frame: Any) -> np.ndarray:
    """Upright RGB; a file's rotation is in degrees counter-clockwise."""
    values = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(values, round(frame.rotation / 90)))


def _sharpness(frame: Any) -> float:
    """Mean squared difference of neighbouring pixels' brightness, at one size for all frames."""
    shrink = min(1.0, _LOOKED_AT / max(frame.width, frame.height))
    size = (max(2, round(frame.width * shrink)), max(2, round(frame.height * shrink)))
    grey = frame.reformat(width=size[0], height=size[1], format="gray").to_ndarray().astype(np.float32)
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())
