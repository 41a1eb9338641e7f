"""Films: what is written decodes to what was given; of a video the right frames are taken, and the right way up."""

import math
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from neufield.core.errors import BackendError, DataError
from neufield.formats.encode_video import open_film
from neufield.formats.video import evenly_spaced_frames, find_stream, sharpest_frames

H, W = 48, 64


def ramp(shift: int, height: int = H, width: int = W) -> np.ndarray:
    """Colors that change slowly: red to the right, green downwards, blue from frame to frame."""
    rows, columns = np.mgrid[0:height, 0:width]
    values = [columns * 255 / (width - 1), rows * 255 / (height - 1), np.full((height, width), shift % 256)]
    return np.stack(values, -1).astype(np.uint8)


def write(path: Path, frames: Iterable[np.ndarray], fps: float = 30) -> Path:
    with open_film(path, fps) as add:
        for frame in frames:
            add(frame)
    return path


def read(path: Path, count: int = 1000) -> list[tuple[int, np.ndarray]]:
    return list(evenly_spaced_frames(path, count))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.square(a.astype(float) - b).mean()))


@pytest.mark.parametrize(
    ("name", "even", "tolerance"),
    [
        # At crf 18 x264 rounds in steps of 5 gray levels (qp 18), at worst half a step everywhere, 2.5; 8 bits of Y, Cb
        # and Cr rounded are another 1.1 in blue (1.772 x 255/224 x 0.5); 601 in the place of 709 would be 10.
        ("a.mp4", True, 3.6),
        # VP9's steps at crf 24 are no coarser (q index 24 * 4 -> 0.4 % of the range squared).
        ("a.webm", True, 3.6),
        # 256 colors for this plane of red and green: a cube of 16 x 16 a color, off by 16 / sqrt(12) in either.
        ("a.gif", False, 16 / math.sqrt(12)),
    ],
)
def test_a_film_decodes_to_its_frames(name: str, even: bool, tolerance: float, tmp_path: Path) -> None:
    frames = [ramp(20 * i, 49, 65) for i in range(9)]
    path = write(tmp_path / name, frames)
    assert find_stream(path).frames == 9
    decoded = read(path)
    assert [place for place, _ in decoded] == list(range(9))
    height, width = (48, 64) if even else (49, 65)
    for (_, values), frame in zip(decoded, frames, strict=True):
        assert values.shape == (height, width, 3)
        assert rms(values, frame[:height, :width]) < tolerance
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_film_has_its_rate(tmp_path: Path) -> None:
    import av

    with av.open(str(write(tmp_path / "a.mp4", [ramp(0)] * 5, fps=12.5))) as film:
        assert float(film.streams.video[0].average_rate) == 12.5
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"  # what every player plays
    with Pillow.open(write(tmp_path / "a.gif", [ramp(0), ramp(90)], fps=12.5)) as film:
        assert film.info["duration"] == 80
        assert film.info["loop"] == 0  # for ever


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif"])
def test_what_is_stopped_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"before")

    class StoppedError(Exception):
        pass

    def frames() -> Iterator[np.ndarray]:
        yield ramp(0)
        raise StoppedError

    with pytest.raises(StoppedError):
        write(tmp_path / name, frames())
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_a_wrong_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one of \.mp4, \.webm, \.gif"), open_film(tmp_path / "a.avi", 30):
        pass
    assert not any(tmp_path.iterdir())


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    for name in ("A.MP4", "A.WEBM", "A.GIF"):
        assert find_stream(write(tmp_path / name, [ramp(40 * i) for i in range(3)])).frames == 3


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif"])
def test_films_of_nothing_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one frame"):
        write(tmp_path / name, [])
    if not name.endswith("gif"):
        with pytest.raises(DataError, match="two are the least"):
            write(tmp_path / name, [np.zeros((1, 8, 3), np.uint8)])
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write(tmp_path / "a.mp4", [ramp(0)] * 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BackendError, match=r'needs av, .*pip install "neufield\[video\]"'):
        find_stream(video)
    with pytest.raises(BackendError, match=r'pip install "neufield\[video\]"'), open_film(tmp_path / "b.mp4", 30):
        pass
    write(tmp_path / "a.gif", [ramp(0)] * 2)  # needs none


def test_evenly_spaced_frames_are_the_middles_of_equal_stretches(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [ramp(10 * i) for i in range(20)])
    taken = read(path, 4)
    assert [place for place, _ in taken] == [2, 7, 12, 17]
    for place, values in taken:
        assert np.median(values[..., 2]) == pytest.approx(10 * place, abs=6)  # the next frame's blue is 10 more
    assert [place for place, _ in read(path, 100)] == list(range(20))


def test_the_sharpest_of_each_stretch_is_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sharp = (3, 6, 14)  # one in each of [0, 5), [5, 10), [10, 15)
    frames = []
    for i in range(15):
        coarse = rng.integers(0, 256, (H // 8, W // 8, 3), dtype=np.uint8)
        fine = Pillow.fromarray(coarse).resize((W, H), Pillow.NEAREST if i in sharp else Pillow.BICUBIC)
        frames.append(np.asarray(fine))
    taken = list(sharpest_frames(write(tmp_path / "a.mp4", frames), 3))
    assert tuple(place for place, _ in taken) == sharp
    assert all(values.shape == (H, W, 3) for _, values in taken)


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [ramp(0)] * 3)
    data = path.read_bytes()
    # The matrix of the track's header: (x, y) -> (-y + height, x), a quarter clockwise, as telephones have it.
    before = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    after = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, H << 16, 0, 1 << 30)
    place = data.index(b"tkhd")
    at = data.index(before, place)
    path.write_bytes(data[:at] + after + data[at + len(after) :])
    (_, values), *_ = read(path)
    assert values.shape == (W, H, 3)
    assert values[0, -1, 0] < 30  # what was at the top left, without red, is at the top right,
    assert values[-1, -1, 0] > 225  # and what was at the top right, all red, at the bottom right


@pytest.mark.parametrize(("content", "said"), [(b"no video", "is no video"), (None, "there is no video")])
def test_files_that_are_no_video(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        find_stream(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value)


def test_a_sound_is_no_video(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    with pytest.raises(DataError, match="holds no pictures"):
        find_stream(tmp_path / "a.wav")


def test_a_video_that_is_cut_short_gives_what_it_holds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.webm", [np.random.default_rng(i).integers(0, 256, (H, W, 3), np.uint8) for i in range(9)]
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    taken = list(sharpest_frames(path, 3))
    assert 1 <= len(taken) <= 3


def two_streams(path: Path, first: tuple[int, int, int], second: tuple[int, int, int]) -> Path:
    """A film of two streams, each of so many frames of (height, width), as telephones write with a preview."""
    import av

    with av.open(str(path), "w") as file:
        sizes = {file.add_stream("libx264", rate=30): size for size in (first, second)}
        for stream, (_, height, width) in sizes.items():
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for stream, (count, height, width) in sizes.items():
            for i in range(count):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(ramp(10 * i, height, width), format="rgb24")))
            file.mux(stream.encode())
    return path


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_streams_the_one_with_most_pixels_is_read_and_the_other_named(order: int, tmp_path: Path) -> None:
    film, preview = (9, 48, 64), (12, 24, 32)
    path = two_streams(tmp_path / "a.mp4", *(film, preview)[::order])
    found = find_stream(path)
    assert found.frames == 9
    assert len(found.notes) == 1
    assert "another film of 12 frames of 32 x 24, is not read" in found.notes[0]
    assert [values.shape for _, values in read(path)] == [(48, 64, 3)] * 9
    assert [values.shape for _, values in sharpest_frames(path, 2)] == [(48, 64, 3)] * 2


@pytest.mark.shared
def test_a_cover_before_the_film_is_passed_over_and_named(shared_cases: Path) -> None:
    path = shared_cases / "cover_first.mp4"
    found = find_stream(path)
    assert found.frames == 20
    assert len(found.notes) == 1
    assert "stream 0, a cover picture of 160 x 120, is not read" in found.notes[0]
    assert [values.shape for _, values in read(path)] == [(240, 320, 3)] * 20


@pytest.mark.shared
def test_a_real_video(shared_data: Path) -> None:
    path = shared_data / "video_shared" / "bikes.mp4"
    assert find_stream(path).frames == 250
    taken = list(sharpest_frames(path, 5))
    assert len(taken) == 5
    assert all(50 * i <= place < 50 * (i + 1) for i, (place, _) in enumerate(taken))
    assert taken[0][1].shape == (272, 640, 3)
