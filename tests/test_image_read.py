"""Every kind of picture file, with exact values."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_files import NAMES, noise, png_bytes, png_chunk, write_oiio
from PIL import Image as Pil

from neufield.formats.read import read_image


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [(suffix, channels) for suffix in (".png", ".tif") for channels in (1, 2, 3, 4)]
    + [(".webp", 3), (".webp", 4), (".bmp", 1), (".bmp", 3)],
)
def test_8_bit_files(tmp_path: Path, channels: int, suffix: str) -> None:
    values = noise(9, 13, channels)
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Pil.fromarray(values[..., 0] if channels == 1 else values).save(path, **options)
    pixels = read_image(path)
    assert pixels.values.dtype == np.uint8
    np.testing.assert_array_equal(pixels.values, values)
    assert (pixels.transfer, pixels.notes, pixels.source_bytes) == ("srgb", (), path.stat().st_size)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_files_keep_their_16_bits(tmp_path: Path, channels: int, suffix: str) -> None:
    values = noise(9, 13, channels, dtype="uint16")
    values[0, 0] = 1  # a value that 8 bits cannot hold, and an alpha that premultiplying would show
    path = write_oiio(tmp_path / f"a{suffix}", values, "uint16", NAMES[channels])
    pixels = read_image(path)
    assert pixels.values.dtype == np.uint16
    np.testing.assert_array_equal(pixels.values, values)
    assert (pixels.transfer, pixels.notes) == ("srgb", ())


def test_16_bit_png_made_by_hand(tmp_path: Path) -> None:
    """Not through OpenImageIO's own writer: big-endian samples, and a transparent gray level becomes alpha."""
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(">HH", 1, 300) + b"\0" + struct.pack(">HH", 65535, 256)
    path.write_bytes(png_bytes(2, 2, 16, rows))
    np.testing.assert_array_equal(read_image(path).values[..., 0], [[1, 300], [65535, 256]])
    path.write_bytes(png_bytes(2, 2, 16, rows, png_chunk(b"tRNS", struct.pack(">H", 300))))
    np.testing.assert_array_equal(read_image(path).values[0], [[1, 65535], [300, 0]])


def test_16_bit_tiff_where_zero_is_white(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = noise(5, 6, dtype="uint16")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[..., 0], 65535 - values)


def test_8_bit_tiff_where_zero_is_white(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = noise(5, 6)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[..., 0], 255 - values)


@pytest.mark.parametrize(
    ("suffix", "kind", "channels"),
    [(".tif", "float", 1), (".tif", "float", 3), (".tif", "half", 3), (".tif", "double", 4)]
    + [(".exr", kind, channels) for kind in ("half", "float") for channels in (1, 2, 3, 4)],
)
def test_float_files_are_linear_float32(tmp_path: Path, suffix: str, kind: str, channels: int) -> None:
    values = noise(9, 13, channels, dtype="float32") * 3 - 0.5
    values = values.astype({"half": np.float16, "float": np.float32, "double": np.float64}[kind])
    path = write_oiio(tmp_path / f"a{suffix}", values, kind, NAMES[channels])
    pixels = read_image(path)
    assert pixels.values.dtype == np.float32
    expected = values.astype(np.float32)
    if suffix == ".tif" and channels == 4:  # written as straight alpha; a float picture has it as EXR does
        expected[..., :3] *= expected[..., 3:]
    np.testing.assert_array_equal(pixels.values, expected)
    assert (pixels.transfer, pixels.notes) == ("linear", ())


def test_radiance_bytes_decode_to_the_values_of_the_format(tmp_path: Path) -> None:
    """A pixel (r, g, b, e) is (r, g, b) * 2^(e - 136); rows from the bottom are turned up."""
    texels = bytes([128, 64, 32, 129, 10, 20, 30, 131, 1, 2, 3, 129, 4, 5, 6, 129])
    path = tmp_path / "a.hdr"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 2\n" + texels)
    expected = np.array(
        [[[1, 0.5, 0.25], [10 / 32, 20 / 32, 30 / 32]], [[1 / 128, 2 / 128, 3 / 128], [4 / 128, 5 / 128, 6 / 128]]]
    )
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels.values, expected.astype(np.float32))
    assert pixels.transfer == "linear"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n+Y 2 +X 2\n" + texels)
    np.testing.assert_array_equal(read_image(path).values, expected[::-1].astype(np.float32))


def test_portable_float_map(tmp_path: Path) -> None:
    values = np.arange(12, dtype="<f4").reshape(2, 2, 3)
    (tmp_path / "a.pfm").write_bytes(b"PF\n2 2\n-1.0\n" + values[::-1].tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.pfm").values, values)


@pytest.mark.parametrize(
    ("names", "chosen", "note"),
    [
        (("A", "B", "G", "R"), (3, 2, 1, 0), False),
        (("R", "G", "B", "Z"), (0, 1, 2), True),
        (("A", "Y"), (1, 0), False),
        (("Y", "Z"), (0,), True),
        (("Z",), (0,), True),
        (("u", "v"), (0, 1), True),
        (("k1", "k2", "k3", "k4", "k5"), (0, 1, 2), True),
    ],
)
def test_exr_channels(tmp_path: Path, names: tuple[str, ...], chosen: tuple[int, ...], note: bool) -> None:
    values = noise(4, 5, len(names), dtype="float32")
    pixels = read_image(write_oiio(tmp_path / "a.exr", values, "float", names))
    np.testing.assert_array_equal(pixels.values, values[..., list(chosen)])
    assert len(pixels.notes) == note
    assert all("channels" in sentence for sentence in pixels.notes)


def test_signed_samples_become_float_with_a_note(tmp_path: Path) -> None:
    values = np.array([[-5, 300], [7, 0]], dtype=np.int16)[..., None]
    pixels = read_image(write_oiio(tmp_path / "a.tif", values, "int16", ("Y",)))
    np.testing.assert_array_equal(pixels.values, values.astype(np.float32))
    assert "int16" in pixels.notes[0]


def test_palette(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    colors = np.array([[255, 0, 0], [0, 128, 0], [3, 4, 5]], dtype=np.uint8)
    picture = Pil.fromarray(values, "P")
    picture.putpalette(colors.tobytes())
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").values, colors[values])
    picture.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values, colors[values])
    picture.save(tmp_path / "b.png", transparency=bytes([255, 100, 0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's remark about bytes transparency must not reach the terminal
        pixels = read_image(tmp_path / "b.png")
    opaque = np.array([255, 100, 0], dtype=np.uint8)[values]
    np.testing.assert_array_equal(pixels.values, np.dstack((colors[values], opaque)))


def test_one_transparent_color_becomes_alpha(tmp_path: Path) -> None:
    values = np.array([[7, 8], [9, 7]], dtype=np.uint8)
    Pil.fromarray(values).save(tmp_path / "a.png", transparency=7)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png").values, np.dstack((values, np.where(values == 7, 0, 255)))
    )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_is_grey(tmp_path: Path, suffix: str) -> None:
    bits = noise(6, 7) > 128
    Pil.fromarray(bits).save(tmp_path / f"a{suffix}")
    pixels = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(pixels.values[..., 0], bits * np.uint8(255))
    assert pixels.values.shape == (6, 7, 1)


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk_is_rgb_with_a_note(tmp_path: Path, suffix: str) -> None:
    ink = np.zeros((16, 16, 4), dtype=np.uint8)
    ink[..., 0] = 255
    Pil.fromarray(ink, "CMYK").save(tmp_path / f"a{suffix}")
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.values.shape == (16, 16, 3)
    np.testing.assert_allclose(pixels.values[8, 8], [0, 255, 255], atol=2)  # cyan; JPEG may be off by a little
    assert "CMYK" in pixels.notes[0]


EXIF_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: np.rot90(seen, 2),
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: np.rot90(seen, 1),  # the camera was turned so that the viewer must rotate clockwise
    7: lambda seen: np.rot90(seen, 2).swapaxes(0, 1),
    8: lambda seen: np.rot90(seen, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    seen = np.kron(np.array([[[10, 20, 200]], [[90, 90, 20]], [[250, 130, 90]]]), np.ones((16, 32, 1)))
    seen[:, 16:] = 255 - seen[:, 16:]
    seen = seen.astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    exif = Pil.Exif()
    exif[274] = orientation
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    Pil.fromarray(np.ascontiguousarray(EXIF_TURNS[orientation](seen))).save(path, exif=exif, **options)
    values = read_image(path).values
    assert values.shape == seen.shape
    assert np.abs(values.astype(int) - seen).max() <= (3 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_of_16_bit_files(tmp_path: Path, orientation: int, suffix: str) -> None:
    seen = noise(4, 7, 3, dtype="uint16")
    stored = EXIF_TURNS[orientation](seen)
    path = write_oiio(tmp_path / f"a{suffix}", stored, "uint16", NAMES[3], orientation)
    np.testing.assert_array_equal(read_image(path).values, seen)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_several_frames_give_the_first_and_a_note(tmp_path: Path, suffix: str) -> None:
    frames = [np.full((8, 9, 3), level, dtype=np.uint8) for level in (51, 102, 204)]
    first, *others = [Pil.fromarray(frame) for frame in frames]
    options = {"lossless": True} if suffix == ".webp" else {}
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, **options)
    pixels = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(pixels.values, frames[0])
    assert [("only the first one" in note) for note in pixels.notes] == [True]


def test_several_pages_of_16_bits(tmp_path: Path) -> None:
    pages = [noise(8, 9, dtype="uint16"), noise(8, 9, dtype="uint16") // 2]
    first, other = (Pil.fromarray(page) for page in pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[other])
    pixels = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels.values[..., 0], pages[0])
    assert "only the first one" in pixels.notes[0]


def test_content_not_name_chooses_the_reader(tmp_path: Path) -> None:
    deep = noise(5, 6, 3, dtype="uint16")
    write_oiio(tmp_path / "a.png", deep, "uint16", NAMES[3]).rename(tmp_path / "deep.jpg")
    Pil.fromarray(noise(5, 6, 3)).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "flat.exr")
    write_oiio(tmp_path / "c.exr", noise(5, 6, 1, dtype="float32"), "float", ("Y",)).rename(tmp_path / "nothing")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.jpg").values, deep)
    np.testing.assert_array_equal(read_image(tmp_path / "flat.exr").values, noise(5, 6, 3))
    np.testing.assert_array_equal(read_image(str(tmp_path / "nothing")).values, noise(5, 6, 1, dtype="float32"))


def test_pillow_limits_and_warning_filters_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pil, "MAX_IMAGE_PIXELS", 10)  # so that this little picture is a "decompression bomb" to Pillow
    Pil.fromarray(noise(50, 50)).save(tmp_path / "a.png")
    Pil.fromarray(noise(50, 50)).save(tmp_path / "a.gif")
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").values[..., 0], noise(50, 50))
        assert read_image(tmp_path / "a.gif").values.shape == (50, 50, 3)
    assert Pil.MAX_IMAGE_PIXELS == 10
    assert warnings.filters == filters


def test_pillow_remarks_become_notes(tmp_path: Path) -> None:
    exif = Pil.Exif()
    exif[274] = 6
    block = exif.tobytes()
    Pil.fromarray(noise(16, 32, 3)).save(tmp_path / "a.jpg", exif=block[:-8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_image(tmp_path / "a.jpg")
    assert any("EXIF" in note for note in pixels.notes)


@pytest.mark.shared
def test_memorial_hdr(shared_data: Path) -> None:
    expected = np.load(shared_data / "hdr_memorial" / "memorial_hdr.npz")["image"]
    pixels = read_image(shared_data / "hdr_memorial" / "memorial.hdr")
    np.testing.assert_array_equal(pixels.values, expected)
    assert pixels.transfer == "linear"


@pytest.mark.shared
def test_albert_exr(shared_data: Path) -> None:
    expected = np.load(shared_data / "images_shared" / "albert_exr_lum.npz")["image"].astype(np.float32)
    pixels = read_image(shared_data / "images_shared" / "albert.exr")
    assert pixels.values.shape == (1024, 1024, 4)
    for channel in range(3):
        # the reference was rounded to float16: half a step of its 11-bit mantissa
        np.testing.assert_allclose(pixels.values[..., channel], expected, rtol=2**-11, atol=1e-7)
    np.testing.assert_array_equal(pixels.values[..., 3], 1)


@pytest.mark.shared
def test_large_grey_jpeg(shared_data: Path) -> None:
    pixels = read_image(shared_data / "images_shared" / "albert.jpg")
    assert pixels.values.shape == (4333, 3250, 1)
    assert pixels.values.dtype == np.uint8
    assert 0 < pixels.values.mean() < 255
