"""What lies beside the samples: which way up, in which colors, with which alpha. One reader for ``fit`` and scenes."""

import io
import struct
from pathlib import Path

import numpy as np
import OpenImageIO
import pytest
from image_files import NAMES, noise, png_bytes, png_chunk, write_oiio
from PIL import Image as Pil
from PIL import ImageCms
from PIL.ImageCms import ImageCmsProfile, createProfile

from neufield.core.errors import DataError
from neufield.formats import color
from neufield.formats.encode import write_image
from neufield.formats.metadata import read_metadata
from neufield.formats.pixels import facts_of, upright
from neufield.formats.read import read_image, read_stored
from neufield.formats.scene.pictures import picture_size, stored_samples
from neufield.formats.scene.read_log import ReadLog
from neufield.signals.image import Image

_P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_EXIF = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0%c\0\0\0\0\0\0"
_XMP = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/>'


def turned_file(path: Path, way: str, orientation: int, values: np.ndarray) -> Path:
    """``values`` as stored, with the orientation told in one of the ways that are known."""
    picture = Pil.fromarray(values)
    if way == "png, exif behind the pixels":
        picture.save(path := path.with_suffix(".png"))
        data = path.read_bytes()
        path.write_bytes(data[:-12] + png_chunk(b"eXIf", _EXIF % orientation) + data[-12:])
    elif way == "png, xmp behind the pixels":
        picture.save(path := path.with_suffix(".png"))
        data = path.read_bytes()
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP.format(orientation).encode()
        path.write_bytes(data[:-12] + png_chunk(b"iTXt", text) + data[-12:])
    elif way in ("jpg", "webp", "tif", "png", "avif"):
        exif = Pil.Exif()
        exif[274] = orientation
        settings = {"jpg": {"quality": 100}, "webp": {"lossless": True}, "avif": {"quality": 100}}.get(way, {})
        picture.save(path := path.with_suffix(f".{way}"), exif=exif, **settings)
    elif way == "jpg, xmp":
        picture.save(path := path.with_suffix(".jpg"), quality=100, xmp=_XMP.format(orientation).encode())
    else:
        deep = (values.astype(np.uint16) * 257) if way.endswith("16") else values.astype(np.float32)
        kind = "uint16" if way.endswith("16") else "float"
        write_oiio(path := path.with_suffix(f".{way[:3]}"), deep, kind, NAMES[3], orientation)
    return path


WAYS = (
    "png, exif behind the pixels", "png, xmp behind the pixels", "jpg", "jpg, xmp", "webp", "avif", "tif", "png",
    "png 16", "tif 16", "tif float", "exr float",
)  # fmt: skip


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("way", WAYS)
def test_one_function_decides_which_way_up(tmp_path: Path, way: str, orientation: int) -> None:
    smooth = np.stack(np.meshgrid(np.linspace(20, 230, 24), np.linspace(20, 230, 16)), axis=-1)
    values = np.concatenate([smooth, smooth[..., :1]], axis=2).astype(np.uint8)
    path = turned_file(tmp_path / "a", way, orientation, values)
    notes = ReadLog()
    seen, stored = read_image(path).values, read_stored(path).values
    np.testing.assert_array_equal(seen, upright(stored, orientation))
    assert read_metadata(path).orientation == orientation
    assert picture_size(path, notes) == (24, 16) == stored.shape[1::-1]
    assert [note.key for note in notes.finished()] == ["exif"]
    eight = stored.astype(np.float64) / (257 if stored.dtype == np.uint16 else 1)
    assert np.abs(eight - values).max() < 10  # of 255: JPEG and AVIF, at their best quality; a turn is off by 100
    np.testing.assert_array_equal(stored_samples(path), stored)


def test_a_damaged_exif_block_is_a_note(tmp_path: Path) -> None:
    Pil.fromarray(noise(4, 5, 3)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-12] + png_chunk(b"eXIf", b"nonsense") + data[-12:])
    pixels = read_image(tmp_path / "a.png")
    assert pixels.values.shape == (4, 5, 3)
    assert "EXIF block of a.png is damaged" in pixels.notes[0]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["exif_after_idat_180.png", "xmp_orientation_180.jpg"])
def test_photographs_turned_by_180_degrees(shared_cases: Path, name: str) -> None:
    path, notes = shared_cases / name, ReadLog()
    np.testing.assert_array_equal(read_image(path).values[::-1, ::-1], stored_samples(path))
    assert picture_size(path, notes) == (100, 80)
    assert ["rows as stored" in note.text for note in notes.finished()] == [True]


def with_profile(path: Path, values: np.ndarray, profile: bytes) -> Path:
    Pil.fromarray(values).save(path, icc_profile=profile)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_profile_is_kept_and_written_by_every_writer(tmp_path: Path, suffix: str, channels: int) -> None:
    if (suffix, channels) == (".webp", 1):
        channels = 4
    profile = color.from_gamma(1 / 1.8, _P3, "GRAY" if channels == 1 else "RGB")
    values = noise(16, 16, channels)
    path = with_profile(tmp_path / "in.png", values[..., 0] if channels == 1 else values, profile)
    image = Image(path)
    assert image.facts.icc == profile
    assert any("color profile 'gamma 1.8'; it is kept" in note for note in image.notes)
    write_image(tmp_path / f"out{suffix}", image.pixels, image.facts)
    with Pil.open(tmp_path / f"out{suffix}") as written:
        assert written.info["icc_profile"] == profile
    if suffix != ".jpg":
        np.testing.assert_array_equal(read_image(tmp_path / f"out{suffix}").values, values)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm"])
def test_a_format_without_profiles_is_refused(tmp_path: Path, suffix: str) -> None:
    facts = facts_of(noise(4, 4, 3), "srgb", color.from_gamma(1.0, None, "RGB"))
    with pytest.raises(DataError, match=r"does not hold the color profile .* write a.png"):
        write_image(tmp_path / f"a{suffix}", noise(4, 4, 3), facts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_profile_of_a_16_bit_picture(tmp_path: Path, suffix: str) -> None:
    profile = color.from_gamma(1 / 1.8, _P3, "RGB")
    values = noise(8, 8, 3, dtype="uint16")
    write_image(tmp_path / f"a{suffix}", values, facts_of(values, "srgb", profile))
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.profile == profile
    np.testing.assert_array_equal(pixels.values, values)


def test_a_profile_that_says_srgb_is_no_profile(tmp_path: Path) -> None:
    path = with_profile(tmp_path / "a.png", noise(4, 5, 3), ImageCmsProfile(createProfile("sRGB")).tobytes())
    pixels = read_image(path)
    assert (pixels.profile, pixels.notes) == (b"", ())


@pytest.mark.parametrize(
    "profile", [b"nonsense" * 40, color.from_gamma(0.6, None, "GRAY"), bytes(color.MOST_BYTES + 1)]
)
def test_a_profile_that_makes_no_sense_is_a_note(tmp_path: Path, profile: bytes) -> None:
    pixels = read_image(with_profile(tmp_path / "a.jpg", noise(4, 5, 3), profile))
    assert pixels.profile == b""
    assert "makes no sense and was ignored" in pixels.notes[0]


def test_the_gamma_of_a_png_becomes_a_profile(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    rows = b"\0" + ramp.tobytes()
    (tmp_path / "linear.png").write_bytes(png_bytes(256, 1, rows=rows, extra=png_chunk(b"gAMA", b"\0\1\x86\xa0")))
    (tmp_path / "usual.png").write_bytes(png_bytes(256, 1, rows=rows, extra=png_chunk(b"gAMA", b"\0\0\xb1\x8f")))
    assert read_image(tmp_path / "usual.png").profile == b""
    pixels = read_image(tmp_path / "linear.png")
    assert "'gamma 1'; it is kept" in pixels.notes[0]
    light = ramp / 255
    encoded = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    difference = color.to_srgb(pixels.values, pixels.profile)[0, :, 0] - encoded
    assert np.abs(difference).max() < 0.51  # of 255: rounding, and the fixed point of the profile


def test_chromaticities_become_the_profile_that_has_them() -> None:
    """sRGB's own primaries with another curve: only the curve changes."""
    values = noise(20, 20, 3)
    light = (values / 255) ** 1.8
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    moved = color.to_srgb(values, color.from_gamma(1 / 1.8, None, "RGB"))
    # 1.8 is 461/256 in the profile, and Little CMS has colorants in 1/65536: a step of 255 in the darkest, no more
    assert np.abs(moved - expected).max() <= 1
    wide = color.to_srgb(values, color.from_gamma(1 / 1.8, _P3, "RGB"))
    green = np.array([[[60, 200, 60]]], np.uint8)
    assert np.abs(wide.astype(int) - moved).max() > 10
    assert color.to_srgb(green, color.from_gamma(1 / 1.8, _P3, "RGB"))[0, 0, 1] > green[0, 0, 1]  # P3's is further out


@pytest.mark.parametrize(("gamma", "xy"), [(0.0, None), (300.0, None), (None, (0.3, 0.3) * 4), (None, (0.0,) * 8)])
def test_numbers_of_no_display_are_refused(gamma: float | None, xy: tuple[float, ...] | None) -> None:
    with pytest.raises(DataError):
        color.from_gamma(gamma, xy, "RGB")


def lab(path: Path) -> np.ndarray:
    """L*, a*, b* of a file's colors as Pillow and Little CMS see them, by its profile where it has one."""
    with Pil.open(path) as picture:
        profile = picture.info.get("icc_profile")
        source = ImageCms.getOpenProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("sRGB")
        seen = ImageCms.buildTransform(source, ImageCms.createProfile("LAB"), "RGB", "LAB")
        stored = np.asarray(ImageCms.applyTransform(picture.convert("RGB"), seen)).astype(np.float64)
    return np.stack([stored[..., 0] / 2.55, *np.moveaxis((stored[..., 1:] + 128) % 256 - 128, 2, 0)], axis=-1)


def error_1976(a: Path, b: Path) -> float:
    """The mean CIE 1976 color difference."""
    return float(np.linalg.norm(lab(a) - lab(b), axis=-1).mean())


@pytest.mark.shared
def test_the_colors_of_display_p3_survive(shared_cases: Path, tmp_path: Path) -> None:
    case = shared_cases / "display_p3.png"
    image = Image(case)
    assert "'Display P3'; it is kept" in image.notes[0]
    write_image(tmp_path / "kept.png", image.pixels, image.facts)
    Pil.fromarray(image.pixels).save(tmp_path / "forgotten.png")
    Pil.fromarray(stored_samples(case)).save(tmp_path / "converted.png")
    assert error_1976(case, tmp_path / "kept.png") == 0
    assert error_1976(case, tmp_path / "forgotten.png") > 10  # 13 in the issue: what this test is to see
    # A scene's views are sRGB: what is in its gamut stays, and this case is mostly colors that are not (6.0 measured).
    assert error_1976(case, tmp_path / "converted.png") < 7


@pytest.mark.shared
def test_gama_1_survives(shared_cases: Path, tmp_path: Path) -> None:
    image = Image(shared_cases / "gama_1.png")
    write_image(tmp_path / "a.png", image.pixels, image.facts)
    assert Image(tmp_path / "a.png").facts == image.facts
    assert Image(tmp_path / "a.png").facts.icc


@pytest.mark.parametrize("bits", [8, 16])
def test_associated_alpha_becomes_straight(tmp_path: Path, bits: int) -> None:
    """Half gray at half opacity, colors stored multiplied, is read as half gray: case of the cases' README."""
    tifffile = pytest.importorskip("tifffile")
    most, kind = 2**bits - 1, {8: np.uint8, 16: np.uint16}[bits]
    values = np.full((4, 5, 4), most // 2, kind)
    values[..., :3] = most // 4
    values[0, 0] = 0
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["assocalpha"])
    image = Image(tmp_path / "a.tif")
    np.testing.assert_allclose(image.pixels[1:] / most, 0.5, atol=1.5 / 255)  # half of 255 is no integer
    assert not image.pixels[0, 0].any()
    write_image(tmp_path / "b.tif", image.pixels, image.facts)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [int(kind) for kind in file.pages[0].extrasamples] == [2]  # unassociated
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").values, image.pixels)


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_alpha_of_floats_is_as_in_exr(tmp_path: Path, kind: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.full((4, 5, 4), 0.5, np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=[kind])
    image = Image(tmp_path / "a.tif")
    assert set(image.pixels[..., :3].ravel()) == {0.5 if kind == "assocalpha" else 0.25}
    for suffix in (".tif", ".exr"):
        write_image(tmp_path / f"b{suffix}", image.pixels, image.facts)
        np.testing.assert_array_equal(read_image(tmp_path / f"b{suffix}").values, image.pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("extra", [1, 2])
def test_bands_that_are_dropped_are_named(tmp_path: Path, dtype: type, extra: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = noise(4, 5, 3 + extra, dtype=np.dtype(dtype).name)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"] * extra, planarconfig=1
    )
    pixels = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels.values, values[..., :3])
    assert pixels.notes == (f"a.tif has {3 + extra} channels; only R, G, B are read.",)


def printers_profile() -> bytes:
    """An ICC profile of a printer whose only ink that can be seen is black: a table (mft1) of 2^4 colors in L*a*b*."""
    table = b"".join(bytes([0 if place % 2 else 255, 128, 128]) for place in range(16))  # black varies fastest
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = struct.pack(">4s4x4B", b"mft1", 4, 3, 2, 0) + identity + ramp * 4 + table + ramp * 3
    tags = {b"desc": color._description("one ink"), b"wtpt": color._xyz(color._D50), b"A2B0": lut}
    profile = bytearray(color._profile(b"CMYK", tags))
    profile[12:16], profile[20:24] = b"prtr", b"Lab "
    return bytes(profile)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_srgb_by_its_profile(tmp_path: Path, suffix: str) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, 8:, 0] = 255  # cyan, of which this printer has none
    inks[8:, :, 3] = 255
    picture = Pil.frombytes("CMYK", (16, 16), inks.tobytes())
    picture.save(tmp_path / f"a{suffix}", icc_profile=printers_profile(), quality=100)
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.notes == (f"a{suffix} is CMYK; it was converted to sRGB by its profile, 'one ink'.",)
    assert pixels.profile == b""
    assert pixels.values[:8].min() > 250
    assert pixels.values[8:].max() < 5
    picture.save(tmp_path / f"b{suffix}")
    plain = read_image(tmp_path / f"b{suffix}")
    assert "without a color profile" in plain.notes[0]
    assert plain.values[0, 15, 0] < 5  # cyan has no red


@pytest.mark.parametrize("wide", [False, True])
def test_other_primaries_of_an_exr_are_a_note(tmp_path: Path, wide: bool) -> None:
    spec = OpenImageIO.ImageSpec(6, 5, 3, "float")
    usual = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
    aces = (0.7347, 0.2653, 0, 1, 0.0001, -0.077, 0.3217, 0.3377)
    spec.attribute("chromaticities", "float[8]", aces if wide else usual)
    file = OpenImageIO.ImageOutput.create(str(tmp_path / "a.exr"))
    assert file.open(str(tmp_path / "a.exr"), spec)
    assert file.write_image(noise(5, 6, 3, dtype="float32"))
    assert file.close()
    assert ["other primaries" in note for note in read_image(tmp_path / "a.exr").notes] == [True] * wide
