"""Every kind of bad picture file: one clear sentence, and nothing on the terminal."""

import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_files import NAMES, noise, png_bytes, write_oiio
from PIL import Image as Pil

from neufield.core.errors import DataError
from neufield.formats.read import read_image


def bad_files(folder: Path) -> None:
    """Every bad input of the table below, by name."""
    noise_picture = Pil.fromarray(noise(64, 64, 3))
    noise_picture.save(folder / "good.jpg")
    noise_picture.save(folder / "good.png")
    for name in ("good.jpg", "good.png"):
        data = (folder / name).read_bytes()
        (folder / f"cut_{name}").write_bytes(data[: len(data) // 2])
        (folder / f"stub_{name}").write_bytes(data[:20])
    for name, kind, dtype in (
        ("a.png", "uint16", "uint16"),
        ("a.tif", "uint16", "uint16"),
        ("a.exr", "float", "float32"),
    ):
        data = write_oiio(folder / name, noise(64, 64, 3, dtype=dtype), kind, NAMES[3]).read_bytes()
        (folder / f"cut_{name}").write_bytes(data[: len(data) // 2])
    data = (folder / "a.png").read_bytes()
    middle = len(data) // 2
    (folder / "flipped.png").write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    (folder / "cut.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20 +X 20\n" + bytes(100))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("To whom it may concern: this is no picture.\n" * 20)
    (folder / "zero.png").write_bytes(png_bytes(0, 5))
    (folder / "zero16.png").write_bytes(png_bytes(7, 0, 16))
    (folder / "zero.pgm").write_bytes(b"P5\n0 0\n255\n")
    (folder / "huge.png").write_bytes(png_bytes(100_000, 100_000))
    (folder / "huge16.png").write_bytes(png_bytes(100_000, 100_000, 16))
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + bytes([2, 1, 0x44, 0]) + b"\x3b"
    (folder / "huge.gif").write_bytes(b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + frame)
    Pil.fromarray(noise(1, 1, 3)).save(folder / "single.png")
    write_oiio(folder / "single.exr", noise(1, 1, 3, dtype="float32"), "float", NAMES[3])
    wrong = noise(4, 6, 3, dtype="float32")
    wrong[2, 3, 1], wrong[3, 0, 0] = np.nan, np.inf
    write_oiio(folder / "nan.exr", wrong, "float", NAMES[3])
    write_oiio(folder / "nan.tif", wrong, "float", NAMES[3])
    (folder / "sound.wav").write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(40))
    (folder / "folder.png").mkdir()


BAD_INPUTS = [
    ("goood.png", "did you mean '.*good.png'"),
    ("zzzzzz", "there is no file"),
    ("nowhere/a.png", "nor a folder"),
    ("folder.png", "is a folder"),
    ("empty.png", r"is empty \(0 bytes\)"),
    ("text.png", "is not a picture .*To whom"),
    ("cut_good.jpg", "damaged or truncated"),
    ("cut_good.png", "damaged or truncated"),
    ("stub_good.jpg", "damaged"),
    ("stub_good.png", "damaged or truncated"),
    ("cut_a.png", "damaged or truncated .*ends in the middle"),
    ("flipped.png", "damaged or truncated .*checksum"),
    ("cut_a.tif", "damaged or truncated"),
    ("cut_a.exr", "damaged or truncated"),
    ("cut.hdr", "damaged or truncated"),
    ("zero.png", "0 x 5 pixels"),
    ("zero16.png", "7 x 0 pixels"),
    ("zero.pgm", "damaged|0 x 0 pixels"),
    ("huge.png", "100000 x 100000 pixels, but at most 2 gigapixels"),
    ("huge16.png", "100000 x 100000 pixels, but at most 2 gigapixels"),
    ("huge.gif", "more than 2 gigapixels"),
    ("single.png", "is a single pixel"),
    ("single.exr", "is a single pixel"),
    ("nan.exr", "holds 2 values .* row 2, column 3, channel 1"),
    ("nan.tif", "holds 2 values .* row 2, column 3, channel 1"),
    ("sound.wav", "damaged|is not a picture"),
]


@pytest.mark.parametrize(("name", "pattern"), BAD_INPUTS)
def test_bad_input_is_one_clear_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, pattern: str
) -> None:
    bad_files(tmp_path)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=pattern) as caught:
            read_image(tmp_path / name)
    message = str(caught.value)
    assert Path(name).name in message
    assert not re.search(r"[.!?] [A-Z]|\n", message), message
    assert ";" in message or "did you mean" in message, "it must say what to do"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Pil.fromarray(noise(4, 4)).save(path)

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # chmod does not stop root, whom containers run tests as
    with pytest.raises(DataError, match=r"cannot read .*Permission denied"):
        read_image(path)
