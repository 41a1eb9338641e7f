"""Pictures where people would rather look: original, reconstruction and error side by side."""

import math

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from neufield.apps.curves import INK, PAPER
from neufield.signals.image import Image
from neufield.signals.preview import stride_of, to_screen

_PANEL = 512
_CROP = 64
_GAP = 12
_LABEL = 26
_LETTERS = 15
# Dark to light through purple and orange, readable in gray as well.
_RAMP = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
_FULL_SCALES = (1, 2, 4, 8, 16, 32, 64, 128, 255)  # of the error panel's brightest color, in 1/255 of the peak


def comparison(image: Image, values: np.ndarray, quality: str) -> Pillow.Image:
    """Original | reconstruction | error, and below them the worst 64-pixel window, enlarged."""
    top, left, side = _worst_window(image, values)
    original = display(image.pixels, image)
    fitted = display(values, image)
    error = errors(image.pixels, values, image)
    full_scale = full_scale_of(error)
    heated = heat(error, full_scale)
    labels = ["original", f"neufield, {quality}", f"error, brightest = {full_scale}/255"]
    font = ImageFont.load_default(_LETTERS)
    width = max(min(_PANEL, original.width), *(math.ceil(font.getlength(label)) for label in labels))
    box = (left, top, left + side, top + side)
    panels = (original, fitted, heated)
    rows = [
        [_whole(picture) for picture in panels],
        [picture.crop(box).resize((width, width), Pillow.Resampling.NEAREST) for picture in panels],
    ]
    height = sum(row[0].height for row in rows)
    sheet = Pillow.new("RGB", (3 * width + 4 * _GAP, height + _LABEL + 3 * _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    frame = ImageDraw.Draw(rows[0][0])
    scale = rows[0][0].width / original.width
    frame.rectangle([left * scale, top * scale, (left + side) * scale, (top + side) * scale], outline=(255, 255, 0))
    for column, label in enumerate(labels):
        x = _GAP + column * (width + _GAP)
        draw.text((x, 6), label, fill=INK, font=font)
        sheet.paste(rows[0][column], (x, _LABEL + _GAP // 2))
        sheet.paste(rows[1][column], (x, _LABEL + _GAP // 2 + rows[0][0].height + _GAP))
    return sheet


def display(values: np.ndarray, image: Image) -> Pillow.Image:
    """See :func:`~neufield.signals.preview.to_screen`."""
    return Pillow.fromarray(to_screen(values, image.facts))


def errors(original: np.ndarray, values: np.ndarray, image: Image) -> np.ndarray:
    """The largest error (h, w) of each displayed pixel's channels, in 1/255 of the peak."""
    stride = stride_of(values)
    a, b = (v[::stride, ::stride].astype(np.float32) for v in (original, values))
    return np.abs(a - b).max(-1) / image.facts.steps / image.facts.peak * 255


def full_scale_of(error: np.ndarray) -> int:
    """The round number of 1/255 that nearly all of ``error`` is below."""
    high = float(np.percentile(error, 99.5))
    return next((scale for scale in _FULL_SCALES if scale >= high), _FULL_SCALES[-1])


def heat(error: np.ndarray, full_scale: int) -> Pillow.Image:
    """``error (h, w)`` in color, the brightest for ``full_scale`` and beyond."""
    level = np.clip(error / full_scale, 0, 1) * (len(_RAMP) - 1)
    below = np.minimum(level.astype(int), len(_RAMP) - 2)
    share = (level - below)[..., None]
    return Pillow.fromarray((_RAMP[below] * (1 - share) + _RAMP[below + 1] * share).astype(np.uint8))


def _worst_window(image: Image, values: np.ndarray) -> tuple[int, int, int]:
    """Top, left and side, in displayed pixels, of the window with the largest mean error."""
    stride = stride_of(values)
    a, b = (v[::stride, ::stride].astype(np.float32) for v in (image.pixels, values))
    error = torch.from_numpy(np.abs(a - b).mean(-1))[None, None]
    side = min(_CROP, *error.shape[-2:])
    means = torch.nn.functional.avg_pool2d(error, side, stride=max(1, side // 2))[0, 0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return row * max(1, side // 2), column * max(1, side // 2), side


def font_for(text: str, width: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of at most ``size`` in which ``text`` is no wider than ``width`` pixels; the smallest is 8."""
    sizes = (ImageFont.load_default(smaller) for smaller in range(size, 8, -1))
    return next((font for font in sizes if font.getlength(text) <= width), ImageFont.load_default(8))


def _whole(picture: Pillow.Image) -> Pillow.Image:
    scale = min(1.0, _PANEL / picture.width)
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
