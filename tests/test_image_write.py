"""From a field to a picture file."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import lookup, picture
from torch import Tensor

from neufield.core.errors import ConfigError, DataError, NonFiniteError
from neufield.core.lattice import lattice
from neufield.formats.encode import suffix_for, write_image
from neufield.formats.pixels import ImageFacts
from neufield.formats.read import read_image
from neufield.signals.image import Image, render


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_render_gives_back_the_stored_samples(dtype: str) -> None:
    values = picture(31, 17, 4, dtype)
    heard: list[tuple[int, int]] = []
    drawn = render(lookup(values), Image(values).facts, progress=lambda done, total: heard.append((done, total)))
    assert drawn.dtype == values.dtype
    np.testing.assert_array_equal(drawn, values)
    assert heard == [(31 * 17, 31 * 17)]


def test_render_of_a_window_shows_that_part() -> None:
    values = picture(20, 40, 3)
    facts = Image(values).facts
    part = render(lookup(values), facts, window=(0.25, 0.5, 0.75, 0.8))  # x is the column, y the row
    np.testing.assert_array_equal(part, values[10:16, 10:30])
    double = render(lookup(values), facts, shape=(40, 80))
    np.testing.assert_array_equal(double, values.repeat(2, axis=0).repeat(2, axis=1))
    corner = render(lookup(values), facts, shape=(1, 3), window=(0.0, 0.0, 0.025, 0.05))
    np.testing.assert_array_equal(corner, values[:1, [0, 0, 0]])


@pytest.mark.parametrize(
    "window", [(0.5, 0.0, 0.5, 1.0), (0.0, 0.6, 1.0, 0.5), (-0.1, 0.0, 1.0, 1.0), (0.0, 0.0, 1.1, 1.0)]
)
def test_impossible_windows_are_refused(window: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigError, match="the whole picture is"):
        render(lookup(picture(4, 4, 1)), Image(picture(4, 4, 1)).facts, window=window)


def test_impossible_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 rows by 4 columns"):
        render(lookup(picture(4, 4, 1)), Image(picture(4, 4, 1)).facts, shape=(0, 4))


def test_rendering_a_diverged_field_is_refused() -> None:
    def predict(x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 0.7, torch.nan, 0.5)

    with pytest.raises(NonFiniteError, match="NaN or infinite at 30 of the 100 samples"):
        render(predict, ImageFacts(10, 10, 1, "uint8", "srgb", 1.0))


def test_rendering_never_holds_a_float_picture() -> None:
    facts = ImageFacts(2000, 2000, 3, "uint8", "srgb", 1.0)
    tracemalloc.start()
    try:
        drawn = render(lambda x: x[:, :1].expand(-1, 3), facts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert drawn.nbytes == 12_000_000
    assert peak < 1.2 * drawn.nbytes, "tracemalloc sees numpy's memory: the result and one block"


EXACT = [
    (suffix, dtype, channels)
    for suffix, dtypes, kinds in [
        (".png", ("uint8", "uint16"), (1, 2, 3, 4)),
        (".tif", ("uint8", "uint16", "float32"), (1, 2, 3, 4)),
        (".exr", ("float32",), (1, 2, 3, 4)),
        (".webp", ("uint8",), (3, 4)),
        (".bmp", ("uint8",), (1, 3)),
        (".pgm", ("uint8", "uint16"), (1,)),
        (".ppm", ("uint8", "uint16"), (3,)),
    ]
    for dtype in dtypes
    for channels in kinds
]


@pytest.mark.parametrize(("suffix", "dtype", "channels"), EXACT)
def test_written_files_read_back_exactly(tmp_path: Path, suffix: str, dtype: str, channels: int) -> None:
    values = picture(13, 21, channels, dtype)
    values[0, :, -1] = 0  # where that is alpha, the colors below it must not be thrown away
    image = Image(values)
    path = tmp_path / f"out{suffix.upper()}"
    write_image(path, values, image.facts)
    pixels = read_image(path)
    assert pixels.values.dtype == values.dtype
    assert pixels.notes == ()
    np.testing.assert_array_equal(pixels.values, values)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    first = path.read_bytes()
    write_image(path, values, image.facts)
    assert path.read_bytes() == first, "the same picture is the same file"


def test_a_picture_of_another_size_can_be_written(tmp_path: Path) -> None:
    small = picture(4, 5, 3)
    write_image(tmp_path / "small.png", small, Image(picture(40, 50, 3)).facts)
    np.testing.assert_array_equal(read_image(tmp_path / "small.png").values, small)


def test_lossy_formats_are_close(tmp_path: Path) -> None:
    smooth = (lattice((40, 60)) * 255).byte().numpy()[..., [0, 1, 0]]
    write_image(tmp_path / "a.jpg", smooth, Image(smooth).facts)
    assert np.abs(read_image(tmp_path / "a.jpg").values.astype(int) - smooth).max() <= 6
    bright = picture(20, 30, 3, "float32") * 100
    write_image(tmp_path / "a.hdr", bright, Image(bright).facts)
    largest = bright.max(axis=-1, keepdims=True)
    assert (np.abs(read_image(tmp_path / "a.hdr").values - bright) <= largest / 127).all()


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "pattern"),
    [
        ("a.jpg", "uint8", 4, "does not hold uint8 RGBA pictures; write a.png"),
        ("a.jpg", "uint16", 3, "does not hold uint16 RGB pictures; write a.png"),
        ("a.png", "float32", 3, "does not hold float32 RGB pictures; write a.exr"),
        ("a.hdr", "float32", 1, "does not hold float32 gray pictures; write a.exr"),
        ("a.exr", "uint8", 3, "does not hold uint8 RGB pictures; write a.png"),
        ("a.xyz", "uint8", 3, "the suffix must be one of .png, .jpg, .* a.png would do"),
        ("a", "float32", 3, "the suffix must be one of .* a.exr would do"),
    ],
)
def test_formats_that_would_lose_samples_are_refused(
    tmp_path: Path, name: str, dtype: str, channels: int, pattern: str
) -> None:
    values = picture(4, 5, channels, dtype)
    with pytest.raises(DataError, match=pattern):
        write_image(tmp_path / name, values, Image(values).facts)
    assert list(tmp_path.iterdir()) == []


def test_values_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(h, w, 3\) was expected"):
        write_image(tmp_path / "a.png", picture(4, 5, 3, "float32"), Image(picture(4, 5, 3)).facts)


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"), [case for case in EXACT if case[2] == 3] + [(".hdr", "float32", 3)]
)
def test_a_full_disk_is_noticed_and_the_old_file_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, dtype: str, channels: int
) -> None:
    resource = pytest.importorskip("resource")
    old, new = picture(30, 30, channels, dtype, seed=1), picture(30, 30, channels, dtype, seed=2)
    path = tmp_path / f"out{suffix}"
    write_image(path, new, Image(new).facts)
    size = path.stat().st_size
    write_image(path, old, Image(old).facts)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (1, 100, 700, size // 3, size // 2, size - 20, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(DataError, match=r"cannot write .*out"):
                write_image(path, new, Image(new).facts)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert capfd.readouterr().err == ""


def test_suffix_for() -> None:
    for dtype, suffix in (("uint8", ".png"), ("uint16", ".png"), ("float32", ".exr")):
        assert suffix_for(ImageFacts(2, 2, 3, dtype, "srgb", 1.0)) == suffix


def test_write_image_needs_only_facts(tmp_path: Path) -> None:
    facts = ImageFacts(6, 7, 1, "uint16", "srgb", 1.0)
    values = picture(3, 3, 1, "uint16")
    write_image(tmp_path / f"a{suffix_for(facts)}", values, facts)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").values, values)


@pytest.mark.shared
def test_high_dynamic_range_from_file_to_file(shared_data: Path, tmp_path: Path) -> None:
    image = Image(shared_data / "hdr_memorial" / "memorial.hdr")
    assert image.facts == ImageFacts(768, 512, 3, "float32", "linear", 274.0)
    values = image.lattice(image.shape).numpy()
    write_image(tmp_path / "copy.hdr", values, image.facts)
    np.testing.assert_array_equal(read_image(tmp_path / "copy.hdr").values, values)
