"""Files that lie, and libraries that fail in their own ways: one sentence, no memory, no line of theirs."""

import io
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_files import NAMES, noise, png_bytes, write_oiio
from PIL import Image as Pil

from neufield.core.errors import DataError
from neufield.core.memory import budget_of
from neufield.formats import meshes
from neufield.formats.decoding import decoding, quiet
from neufield.formats.metadata import read_metadata
from neufield.formats.read import read_image
from neufield.formats.scene import npy
from neufield.formats.scene.ply import read_ply
from neufield.formats.scene.read import read_scene
from neufield.formats.video import find_stream


@pytest.mark.parametrize(
    "problem",
    [struct.error("short"), RecursionError("deep"), MemoryError(), zlib.error("bad"), NotImplementedError("lzma"),
     SystemError("tile"), KeyError(274), OSError("truncated"), PermissionError(13, "denied"), Exception()],
    ids=lambda problem: type(problem).__name__,
)  # fmt: skip
def test_whatever_a_library_raises_is_one_sentence(problem: Exception) -> None:
    with pytest.raises(DataError, match=r"^(cannot read )?a.png.*; ") as caught, decoding(Path("a.png")):
        raise problem
    assert caught.value.__suppress_context__


def test_a_complaint_is_one_line_of_printable_letters() -> None:
    with pytest.raises(DataError) as caught, decoding(Path("a.png")):
        raise ValueError("\x1b[31mred\n" + "x" * 1000)
    assert str(caught.value) == "a.png is damaged or truncated (?[31mred); get a fresh copy of the file"


def test_our_own_errors_pass() -> None:
    with pytest.raises(DataError, match=r"^mine$"), decoding(Path("a.png")):
        raise DataError("mine")


def test_what_a_c_library_prints_does_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"TIFFReadDirectory: Warning, Unknown field")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


@pytest.mark.parametrize("spoiled", ["tiff_lzw", "tiff_adobe_deflate", "deep"])
def test_libtiff_does_not_print_beside_our_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], spoiled: str
) -> None:
    path = tmp_path / "a.tif"
    if spoiled == "deep":
        tifffile.imwrite(path, noise(32, 32, 3, dtype="uint16"), photometric="rgb", compression="zlib")
    else:
        Pil.fromarray(noise(32, 32, 3)).save(path, compression=spoiled)
    data = bytearray(path.read_bytes())
    data[200:400] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged or truncated"):
        read_image(path)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.parametrize("name", ["a.null", "x.null?RES=9999x9999", "a.term", "a.zfile", "a?b.tif", "a.exr", "a"])
def test_no_name_chooses_the_reader(tmp_path: Path, name: str) -> None:
    values = noise(5, 6, 3, dtype="uint16")
    write_oiio(tmp_path / "whole.tif", values, "uint16", NAMES[3]).rename(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).values, values)
    told = read_metadata(tmp_path / name)
    assert (told.width, told.height) == (6, 5)
    (tmp_path / name).write_bytes(b"no picture at all, only words")
    for read in (read_image, read_metadata):
        with pytest.raises(DataError):
            read(tmp_path / name)


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    values = noise(5, 6, 3, dtype="uint16")
    path = tmp_path / os.fsdecode(b"caf\xe9.tif")
    write_oiio(tmp_path / "whole.tif", values, "uint16", NAMES[3]).rename(path)
    np.testing.assert_array_equal(read_image(path).values, values)


def test_postscript_is_no_picture(tmp_path: Path) -> None:
    """Pillow would have Ghostscript run it."""
    Pil.fromarray(noise(5, 6, 3)).save(tmp_path / "a.eps")
    with pytest.raises(DataError, match="is not a picture that neufield knows"):
        read_image(tmp_path / "a.eps")


def peak_while(work: Callable[[], object]) -> int:
    """Bytes that the process had more at its highest, by the kernel's own count."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _high_water()
    work()
    return _high_water() - before


def _high_water() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.mark.parametrize(("width", "height"), [(1, 1_999_999_999), (1_999_999_999, 1), (40_000, 40_000)])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_of_69_bytes_does_not_hold_two_gigapixels(tmp_path: Path, width: int, height: int, depth: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(width, height, depth, rows=bytes(4)))
    assert path.stat().st_size < 80

    def refused() -> None:
        with pytest.raises(DataError, match="bytes cannot hold as many"):
            read_image(path)

    start = time.process_time()
    assert peak_while(refused) < 16 << 20
    assert time.process_time() - start < 1
    assert read_metadata(path).height == height  # of a header alone; nothing is taken


@pytest.mark.parametrize("kind", ["png", "gif", "jpg", "webp", "bmp", "tif", "pcx", "sgi", "tga", "jp2", "avif"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_a_blank_page_is_read(tmp_path: Path, kind: str, mode: str) -> None:
    """As few bytes for as many pixels as a format has in earnest: what says more is refused."""
    page, path = Pil.new(mode, (3000, 2000), 1), tmp_path / f"a.{kind}"
    tight = {"jpg": {"progressive": True, "quality": 10}, "tga": {"compression": "tga_rle"}, "avif": {"speed": 10}}
    tight |= {"tif": {"compression": "group4" if mode == "1" else "tiff_lzw"}, "jp2": {"irreversible": True}}
    if mode == "1" and kind not in ("png", "gif", "bmp", "tif", "pcx"):
        page = page.convert("L")
    page.save(path, **tight.get(kind, {}))
    assert read_image(path).values.shape[:2] == (2000, 3000)


def claims(path: Path, kind: str) -> Path:
    """A file of a few kilobytes that says 30,000 x 30,000 pixels."""
    small = Pil.fromarray(noise(32, 32, 3))
    small = small.quantize(16) if kind in ("gif", "pcx") else small
    small.save(path := path.with_suffix(f".{kind}"), **({"compression": "tiff_lzw"} if kind == "tif" else {}))
    data, size = bytearray(path.read_bytes()), 30_000
    if kind == "bmp":
        data[18:26] = struct.pack("<ii", size, size)
    elif kind == "gif":
        at = data.index(b",\0\0\0\0") + 5
        data[6:10] = data[at : at + 4] = struct.pack("<HH", size, size)
    elif kind == "jpg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", size, size)
    elif kind == "pcx":
        data[8:12] = struct.pack("<HH", size - 1, size - 1)
    elif kind == "ppm":
        data[:8] = b"P6\n%d %d" % (size, size)
    elif kind == "webp":
        at = data.index(b"VP8")
        extended = struct.pack("<4sIB3x3s3s", b"VP8X", 10, 2, *[(16_000).to_bytes(3, "little")] * 2)
        data = data[:at] + extended + data[at:]
        data[4:8] = struct.pack("<I", len(data) - 8)
    elif kind == "tif":
        for tag in (256, 257, 278):
            at = data.index(struct.pack("<HHI", tag, 3, 1)) + 8
            data[at : at + 2] = struct.pack("<H", size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "pcx", "ppm", "tif", "webp"])
def test_a_size_that_so_short_a_file_cannot_hold_is_refused(tmp_path: Path, kind: str) -> None:
    path = claims(tmp_path / "a", kind)

    def refused() -> None:
        with pytest.raises(
            DataError,
            match=r"30000 x 30000 pixels, but .* cannot hold|16001 x 16001 pixels, but|claims a 2574 MB image",
        ):
            read_image(path)

    assert peak_while(refused) < 16 << 20


def test_a_picture_larger_than_the_memory_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for name, kind in (("a.png", "uint8"), ("a.webp", "uint8"), ("b.png", "uint16"), ("b.exr", "float32")):
        write = write_oiio if kind != "uint8" else lambda path, values, *_: Pil.fromarray(values).save(path)
        write(tmp_path / name, noise(64, 64, 3, dtype=kind), kind.replace("float32", "float"), NAMES[3])
        read_image(tmp_path / name)
        with budget_of("20kB"), pytest.raises(DataError, match=r"64 x 64 pixels\) needs .* --memory-budget"):
            read_image(tmp_path / name)


def npz(path: Path, compression: int = zipfile.ZIP_DEFLATED, **arrays: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, values in arrays.items():
            file = io.BytesIO()
            np.save(file, values)
            archive.writestr(f"{name}.npy", file.getvalue())
    return path


def scene(path: Path, images: np.ndarray, **settings: int) -> Path:
    return npz(path, **settings, images=images, poses=np.eye(4)[None].repeat(len(images), 0), focal=np.float64(10))


def test_an_npz_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "_BOMB", 1 << 22)  # 256 MB would take a second to write
    path = scene(tmp_path / "a.npz", np.zeros((4, 1024, 1024, 3), np.uint8))

    def refused() -> None:
        with pytest.raises(DataError, match=r"unpacks to \d+ times its size, 12,583,"):
            read_scene(path)

    assert peak_while(refused) < 4 << 20


def test_an_npz_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    path = scene(tmp_path / "a.npz", noise(3, 64, 64, 3))
    assert len(read_scene(path).frames) == 3
    with budget_of("20kB"), pytest.raises(DataError, match=r"needs 37\.3 kB, .* --memory-budget"):
        read_scene(path)


def spoiled_npz(path: Path, how: str) -> Path:
    kinds = {"lzma": zipfile.ZIP_LZMA, "bzip2": zipfile.ZIP_BZIP2}
    scene(path, noise(3, 8, 8, 3), compression=kinds.get(how, zipfile.ZIP_DEFLATED))
    data = bytearray(path.read_bytes())
    if how == "encrypted":
        for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                data[at + place] |= 1
    elif how in ("deflate", "lzma", "bzip2"):
        data[60:90] = bytes(30)
    elif how == "unknown":
        for mark, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                data[at + place] = 77
    elif how == "cut":
        data = data[:-30]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", ["encrypted", "deflate", "lzma", "bzip2", "unknown", "cut"])
def test_a_spoiled_npz_is_one_sentence(tmp_path: Path, how: str) -> None:
    with pytest.raises(DataError, match="is not a NumPy file that can be read") as caught:
        read_scene(spoiled_npz(tmp_path / "a.npz", how))
    assert "\n" not in str(caught.value)


HEADERS = {
    "cut": b"{'descr': '<f8', 'fortran_o",
    "nested": b"(" * 9000,
    "negative": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 17)}",
    "large": b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 17)}",
    "no shape": b"{'descr': '<f8'}",
    "words": b"{'descr': '<U3', 'fortran_order': False, 'shape': (2,)}",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
    "columns": b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_spoiled_header_of_an_npy_is_one_sentence(tmp_path: Path, kind: str) -> None:
    header = HEADERS[kind]
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(64))
    with pytest.raises(DataError, match=r"a\.npy (is not a NumPy file|holds Python objects|holds .*, but numbers)"):
        npy.load_array(tmp_path / "a.npy")


PLY = "ply\nformat {} 1.0\nelement vertex {}\n{}end_header\n"
XYZ = "property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize(
    ("count", "properties", "said"),
    [
        ("-1", XYZ, "does not say how many|counts nothing"),
        ("9" * 5000, XYZ, "does not say how many|counts nothing"),
        ("\u00b2", XYZ, "does not say how many|counts nothing"),
        ("99999999999", XYZ, "is cut short|cut off"),
        ("2", XYZ + "property float x\n", "twice"),
        ("2", XYZ + "property list uchar float q\n", "property"),
        ("2", XYZ + "property\n", "property|damaged"),
        ("2", XYZ + "property float float q\n", "property"),
    ],
)
def test_a_spoiled_ply_is_one_sentence(tmp_path: Path, kind: str, count: str, properties: str, said: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(PLY.format(kind, count, properties).encode() + b"1 2 3 4\n1 2 3 4\n" + bytes(64))
    with pytest.raises(DataError, match=said):
        read_ply(path)
    if kind != "ascii":
        with pytest.raises(DataError, match=said):
            meshes.read_mesh(path)


def test_points_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    header = PLY.format("binary_little_endian", 1, XYZ).encode()
    (tmp_path / "b.ply").write_bytes(header + struct.pack("<I", 0x7F800001) * 3)  # NaNs that signal
    with pytest.raises(DataError, match="NaN"):
        read_ply(tmp_path / "b.ply")
    assert meshes.read_mesh(tmp_path / "b.ply").vertices.isnan().all()
    (tmp_path / "a.ply").write_text(PLY.format("ascii", 1, XYZ) + "1 nan 3\n")
    with pytest.raises(DataError, match="NaN"):
        read_ply(tmp_path / "a.ply")


@pytest.mark.parametrize("line", ["f 1 2 9999999999999999999999", "f 1 2 x", "v 1 2 " + "x" * 1000, "f 1/2 2"])
def test_a_spoiled_obj_is_one_sentence(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.obj").write_text(f"v 0 0 0\nv 0 0 1\nv 0 1 0\nf 1 2 3\n{line}\n")
    if line == "f 1/2 2":
        assert len(meshes.read_mesh(tmp_path / "a.obj").faces) == 1
        return
    with pytest.raises(DataError, match="damaged") as caught:
        meshes.read_mesh(tmp_path / "a.obj")
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_a_playlist_is_no_film(tmp_path: Path) -> None:
    """FFmpeg would open what it names."""
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:10,\nhttp://localhost:1/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(DataError, match="no video that can be read"):
        find_stream(tmp_path / "a.m3u8")
