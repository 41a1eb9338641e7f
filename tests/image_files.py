"""Pictures, picture files made by hand, and a field that knows a picture: for the tests of images."""

import dataclasses
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO
import torch
from torch import Tensor

from neufield.core.signal_info import SignalInfo
from neufield.signals import Image


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(7).random(shape)
    return values.astype(dtype) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


def write_oiio(path: Path, values: np.ndarray, kind: str, names: tuple[str, ...], orientation: int = 1) -> Path:
    spec = OpenImageIO.ImageSpec(values.shape[1], values.shape[0], values.shape[2], kind)
    spec.channelnames = names
    spec.alpha_channel = names.index("A") if "A" in names else -1
    spec["oiio:UnassociatedAlpha"] = 1
    spec["Orientation"] = orientation
    file = OpenImageIO.ImageOutput.create(str(path))
    assert file.open(str(path), spec)
    assert file.write_image(np.ascontiguousarray(values))
    assert file.close()
    return path


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bytes(width: int, height: int, depth: int = 8, rows: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    data = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


NAMES = {1: ("Y",), 2: ("Y", "A"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}
STEPS = {"uint8": 255, "uint16": 65535, "float32": 1}


def picture(height: int, width: int, channels: int, dtype: str = "uint8", seed: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)
    return values if dtype == "float32" else np.round(values * np.iinfo(dtype).max).astype(dtype)


def lookup(values: np.ndarray) -> Callable[[Tensor], Tensor]:
    """A field that knows the picture: the float value of the pixel a point lies in."""
    height, width, _ = values.shape
    table = torch.from_numpy(values.astype(np.float32) / STEPS[values.dtype.name])

    def predict(x: Tensor) -> Tensor:
        place = (x.double() * torch.tensor([height, width])).long()
        return table[place[:, 0], place[:, 1]]

    return predict


def info_of(shape: tuple[int, int], channels: int, name: str = "p.png") -> SignalInfo:
    """What a field's file says of a picture of that shape."""
    return dataclasses.replace(Image(picture(*shape, channels)).info, name=name)
