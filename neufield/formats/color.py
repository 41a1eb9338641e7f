"""Color profiles (ICC): which pictures need one, what a PNG's gAMA and cHRM say as one, and the way to sRGB."""

import functools
import io
import struct
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from neufield.core.errors import DataError

MOST_BYTES = 1 << 20
"""The largest profile that is kept: a table of a printer or scanner has a few hundred kilobytes, a display's one."""
# x and y of white, red, green and blue, as PNG's cHRM has them
_SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_SRGB_GAMMA = 1 / 2.2
_TOLERANCE = 0.05  # libpng's PNG_GAMMA_THRESHOLD: gammas closer than this are alike
_NEAR = 0.005  # of chromaticities: writers round to two or three digits
_D50 = (0.9642, 1.0, 0.8249)  # white of ICC's connection space
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_RAMP = np.arange(256, dtype=np.uint8)
_UNSEEN = 1  # of 255: profiles of sRGB differ by so much from one another


def name_of(profile: bytes) -> str:
    """What the profile calls itself."""
    words = ImageCms.getProfileDescription(_opened(profile)).split()
    return " ".join(words) or "without a name"


def space_of(profile: bytes) -> str:
    """What its numbers are: "GRAY", "RGB", "CMYK" ..."""
    return _opened(profile).profile.xcolor_space.strip()


@functools.lru_cache(maxsize=64)  # photographs of one camera have one profile, and it takes 10 ms
def is_srgb(profile: bytes) -> bool:
    """Whether the profile says what a picture without one means: no color moves by more than can be seen."""
    if space_of(profile) == "GRAY":
        values = _RAMP[None, :, None]
    else:
        cube = np.stack(np.meshgrid(*[_RAMP[::51]] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
        values = np.concatenate([cube, _RAMP[None, :, None].repeat(3, axis=2)], axis=1)
    moved = to_srgb(values, profile).astype(int) - values
    return int(np.abs(moved).max()) <= _UNSEEN


def to_srgb(values: UInt8[np.ndarray, "h w c"], profile: bytes) -> UInt8[np.ndarray, "h w c"]:
    """The same colors in sRGB (relative colorimetric); those beyond its gamut are clipped, alpha stays."""
    if values.shape[2] <= 2:
        curve = ImageCms.applyTransform(Image.fromarray(_RAMP[None]), transform_to_srgb(profile, "L"))
        moved = np.asarray(curve)[0, :, :1][values[..., 0]]
    else:
        colors = Image.fromarray(np.ascontiguousarray(values[..., :3]))
        moved = np.asarray(ImageCms.applyTransform(colors, transform_to_srgb(profile, "RGB")))
    return np.concatenate([moved, values[..., moved.shape[2] :]], axis=2)


def transform_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """What Pillow applies to pictures of ``mode`` ("L", "RGB", "CMYK") to make them sRGB of mode "RGB"."""
    # What Little CMS makes of a gray curve to be faster is off by up to 9 of 255; ours is applied to a table anyhow.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    target, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    return ImageCms.buildTransform(_opened(profile), target, mode, "RGB", intent, flags)


def from_gamma(gamma: float | None, chromaticities: Sequence[float] | None, space: str) -> bytes:
    """A profile of ``space`` that says what a PNG's ``gamma`` and ``chromaticities`` say; b"" where that is sRGB.

    Raises DataError for numbers that no display has.
    """
    gamma = _SRGB_GAMMA if gamma is None else gamma
    xy = np.array(_SRGB if chromaticities is None or space == "GRAY" else chromaticities, np.float64).reshape(4, 2)
    if abs(gamma / _SRGB_GAMMA - 1) < _TOLERANCE and np.abs(xy.ravel() - _SRGB).max() < _NEAR:
        return b""
    if not 1 / 255 < gamma < 255 or (xy[:, 1] <= 0).any():
        raise DataError(f"a gamma of {gamma:g} and chromaticities of {xy.ravel().round(4).tolist()} are no display's")
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(256 / gamma))
    tags = {b"desc": _description(f"gamma {1 / gamma:.3g}"), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": _xyz(_D50)}
    if space == "GRAY":
        return _profile(b"GRAY", {**tags, b"kTRC": curve})
    tags |= {key: _xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _colorants(xy).T, strict=True)}
    return _profile(b"RGB ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def _colorants(xy: np.ndarray) -> np.ndarray:
    """Columns: XYZ of the three primaries, adapted (Bradford) from their white to D50."""
    xyz = np.concatenate([xy, 1 - xy.sum(axis=1, keepdims=True)], axis=1) / xy[:, 1:]
    white, primaries = xyz[0], xyz[1:].T
    try:
        primaries = primaries * np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError:
        raise DataError(f"chromaticities of {xy.ravel().round(4).tolist()} lie on a line") from None
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ (cones[:, None] * (_BRADFORD @ primaries))


def _xyz(numbers: Sequence[float] | np.ndarray) -> bytes:
    fixed = [max(-(2**31), min(2**31 - 1, round(float(number) * 65536))) for number in numbers]
    return struct.pack(">4s4x3i", b"XYZ ", *fixed)


def _description(text: str) -> bytes:
    """A textDescriptionType, in ASCII alone."""
    letters = text.encode("ascii") + b"\0"
    return struct.pack(">4s4xI", b"desc", len(letters)) + letters + bytes(78)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4, of a display."""
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for key, data in tags.items():
        table += struct.pack(">4sII", key, offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x3i48x", offset + len(body), 0x02400000, b"mntr", space, b"XYZ ", 2000, 1, 1, 0, 0, 0,
        b"acsp", *(round(number * 65536) for number in _D50),
    )  # fmt: skip
    return header + table + body


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))
