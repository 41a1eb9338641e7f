"""Pictures where people would rather look: original, reconstruction and error side by side, and the learning curve."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from neufield.signals.image import Image

_PANEL = 512
_CROP = 64
_GAP = 12
_LABEL = 26
_INK = (32, 32, 36)
_PAPER = (250, 250, 250)
_BLUE = (36, 99, 235)
# Dark to light through purple and orange, readable in grey as well.
_RAMP = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
_FULL_SCALES = (1, 2, 4, 8, 16, 32, 64, 128, 255)  # of the error panel's brightest colour, in 1/255 of the peak


def comparison(image: Image, values: np.ndarray, psnr: float) -> Pillow.Image:
    """Original | reconstruction | error, and below them the worst 64-pixel window, enlarged."""
    top, left, side = _worst_window(image, values)
    original = _display(image.pixels, image)
    fitted = _display(values, image)
    error, full_scale = _heat(image.pixels, values, image)
    rows = []
    for box in (None, (left, top, left + side, top + side)):
        rows.append([_panel(picture, box) for picture in (original, fitted, error)])
    labels = ["original", f"neufield, {psnr:.2f} dB", f"error, brightest = {full_scale}/255"]
    width = max(rows[0][0].width, rows[1][0].width)
    height = sum(row[0].height for row in rows)
    sheet = Pillow.new("RGB", (3 * width + 4 * _GAP, height + _LABEL + 3 * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    frame = ImageDraw.Draw(rows[0][0])
    scale = rows[0][0].width / original.width
    frame.rectangle([left * scale, top * scale, (left + side) * scale, (top + side) * scale], outline=(255, 255, 0))
    for column, label in enumerate(labels):
        x = _GAP + column * (width + _GAP)
        draw.text((x, 6), label, fill=_INK, font=ImageFont.load_default(15))
        sheet.paste(rows[0][column], (x, _LABEL + _GAP // 2))
        sheet.paste(rows[1][column], (x, _LABEL + _GAP // 2 + rows[0][0].height + _GAP))
    return sheet


def curve(history: Sequence[Mapping[str, float]]) -> Pillow.Image:
    """PSNR of every evaluation against training seconds."""
    points = [(row["seconds"], row["psnr"]) for row in history if math.isfinite(row.get("psnr", math.nan))]
    sheet = Pillow.new("RGB", (720, 420), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    left, right, top, bottom = 60, 700, 40, 370
    draw.text((left, 12), "PSNR (dB) against training time (s)", fill=_INK, font=ImageFont.load_default(15))
    x_end = max([x for x, _ in points], default=1.0)
    ys = [y for _, y in points] or [0.0]
    y_ticks = _ticks(min(ys), max(ys))
    low, high = min([*y_ticks, *ys]), max([*y_ticks, *ys])

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / x_end * (right - left), bottom - (y - low) / max(high - low, 1e-9) * (bottom - top)

    for tick in y_ticks:
        y = place(0, tick)[1]
        draw.line([left, y, right, y], fill=(225, 225, 228))
        draw.text((left - 8, y), f"{tick:g}", fill=_INK, font=font, anchor="rm")
    for tick in _ticks(0, x_end):
        if tick <= x_end:
            x = place(tick, low)[0]
            draw.line([x, bottom, x, bottom + 4], fill=_INK)
            draw.text((x, bottom + 8), f"{tick:g}", fill=_INK, font=font, anchor="mt")
    draw.line([left, bottom, right, bottom], fill=_INK)
    places = [place(x, y) for x, y in points]
    if len(places) > 1:
        draw.line(places, fill=_BLUE, width=2, joint="curve")
    for x, y in places:
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=_BLUE)
    if places:
        draw.text((places[-1][0], places[-1][1] - 8), f"{points[-1][1]:.2f}", fill=_BLUE, font=font, anchor="rb")
    return sheet


def _ticks(low: float, high: float) -> list[float]:
    span = max(high - low, 1e-6)
    step = 10 ** math.floor(math.log10(span))
    step *= min((m for m in (0.1, 0.2, 0.5, 1.0) if span / (m * step) <= 6), default=1.0)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _display(values: np.ndarray, image: Image) -> Pillow.Image:
    """8-bit RGB for the eye: linear light is divided by the peak and brought to sRGB's curve, alpha shows on grey."""
    small = values[:: _stride(values), :: _stride(values)].astype(np.float32) / image.facts.steps
    if image.facts.transfer == "linear":
        scale = max(float(np.percentile(small[..., :3], 99.5)), 1e-9)
        small = np.clip(small / scale, 0, 1)
        small = np.where(small <= 0.0031308, 12.92 * small, 1.055 * small ** (1 / 2.4) - 0.055)
    if small.shape[-1] in (2, 4):
        alpha = small[..., -1:]
        small = small[..., :-1] * alpha + 0.5 * (1 - alpha)
    if small.shape[-1] == 1:
        small = small.repeat(3, axis=-1)
    return Pillow.fromarray((np.clip(small, 0, 1) * 255).round().astype(np.uint8))


def _heat(original: np.ndarray, values: np.ndarray, image: Image) -> tuple[Pillow.Image, int]:
    """The largest error of each pixel's channels in colour, and the error of the brightest colour in 1/255."""
    stride = _stride(values)
    a, b = (v[::stride, ::stride].astype(np.float32) for v in (original, values))
    error = np.abs(a - b).max(-1) / image.facts.steps / image.facts.peak
    high = float(np.percentile(error, 99.5)) * 255
    full_scale = next((scale for scale in _FULL_SCALES if scale >= high), _FULL_SCALES[-1])
    level = np.clip(error * 255 / full_scale, 0, 1) * (len(_RAMP) - 1)
    below = np.minimum(level.astype(int), len(_RAMP) - 2)
    share = (level - below)[..., None]
    return Pillow.fromarray((_RAMP[below] * (1 - share) + _RAMP[below + 1] * share).astype(np.uint8)), full_scale


def _worst_window(image: Image, values: np.ndarray) -> tuple[int, int, int]:
    """Top, left and side, in displayed pixels, of the window with the largest mean error."""
    stride = _stride(values)
    a, b = (v[::stride, ::stride].astype(np.float32) for v in (image.pixels, values))
    error = torch.from_numpy(np.abs(a - b).mean(-1))[None, None]
    side = min(_CROP, *error.shape[-2:])
    means = torch.nn.functional.avg_pool2d(error, side, stride=max(1, side // 2))[0, 0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return row * max(1, side // 2), column * max(1, side // 2), side


def _panel(picture: Pillow.Image, box: tuple[int, int, int, int] | None) -> Pillow.Image:
    if box is None:
        scale = min(1.0, _PANEL / picture.width)
        return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    return picture.crop(box).resize(
        (_PANEL, _PANEL) if picture.width >= _PANEL else (picture.width,) * 2, Pillow.Resampling.NEAREST
    )


def _stride(values: np.ndarray) -> int:
    """Large pictures are shown thinned, so that no float copy of a whole one is made."""
    return max(1, max(values.shape[:2]) // 1536)
