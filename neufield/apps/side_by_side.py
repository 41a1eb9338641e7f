"""One picture of a comparison: where the presets differ most, for all of them at once, and their learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw

from neufield.apps import comparison_page, curves
from neufield.apps.curves import INK, PAPER, Rows
from neufield.metrics import psnr
from neufield.signals.image import Image
from neufield.signals.preview import stride_of

_TILES = {4: 288, 5: 240, 6: 192}  # pixels of an enlarged crop's side, by the number of columns
_SIDES = (48, 24, 16, 12, 8, 4)  # of a crop, in displayed pixels; each goes into a tile a whole number of times
_GAP = 12
_LABEL = 24
_OVERVIEW = 288
_FRAME = (255, 220, 0)


def side_by_side(
    image: Image, reconstructions: Mapping[str, np.ndarray], histories: Mapping[str, Sequence[Rows]]
) -> Pillow.Image:
    """The whole picture and the curves; below, the same crop of the original and of each of ``reconstructions``.

    A reconstruction (H, W, C) is in the picture's storage dtype. Under each crop is its error, on one scale for all.
    """
    errors = {name: comparison_page.errors(image.pixels, values, image) for name, values in reconstructions.items()}
    top, left, side = most_telling(list(errors.values()))
    window = np.s_[top : top + side, left : left + side]
    full_scale = comparison_page.full_scale_of(np.stack([error[window] for error in errors.values()]))
    original = comparison_page.display(image.pixels, image)
    box = (left, top, left + side, top + side)
    rows = -(-(len(errors) + 1) // max(_TILES))
    columns = max(min(_TILES), -(-(len(errors) + 1) // rows))
    size = _TILES[columns]
    tiles = [
        _tile("original", f"errors below: brightest = {full_scale}/255", _enlarged(original.crop(box), size), None, INK)
    ]
    for i, (name, values) in enumerate(reconstructions.items()):
        here = f"{image.headline.text(_psnr(image, values, window))} here"
        crop = _enlarged(comparison_page.display(values, image).crop(box), size)
        heat = _enlarged(comparison_page.heat(errors[name][window], full_scale), size)
        tiles.append(_tile(name, here, crop, heat, curves.color(i)))
    width = columns * (size + _GAP) + _GAP
    chart = curves.curves(histories, image.headline, width - _OVERVIEW - 2 * _GAP)
    return _sheet(_overview(original, box), chart, tiles, width)


def most_telling(errors: Sequence[np.ndarray]) -> tuple[int, int, int]:
    """Top, left and side of the window in which the errors (h, w) of several fields differ most.

    That is where the standard deviation, over the fields, of the root of a window's mean squared error is largest; of
    one field alone, where that error is.
    """
    stack = torch.from_numpy(np.stack(errors))[:, None]
    least = min(stack.shape[-2:])
    side = next((side for side in _SIDES if side <= least // 3), least)
    step = max(1, side // 2)
    level = torch.nn.functional.avg_pool2d(stack.square(), side, stride=step)[:, 0].sqrt()
    telling = level.std(dim=0) if len(errors) > 1 else level[0]
    row, column = divmod(int(telling.argmax()), telling.shape[1])
    return row * step, column * step, side


def _psnr(image: Image, values: np.ndarray, window: tuple[slice, slice]) -> float:
    """The PSNR of the displayed pixels of a window."""
    stride = stride_of(values)
    a, b = (v[::stride, ::stride][window].astype(np.float64) / image.facts.steps for v in (image.pixels, values))
    return psnr(float(np.square(a - b).mean()), image.facts.peak)


def _enlarged(picture: Pillow.Image, size: int) -> Pillow.Image:
    return picture.resize((size, size), Pillow.Resampling.NEAREST)


def _tile(
    name: str, note: str, crop: Pillow.Image, heat: Pillow.Image | None, ink: tuple[int, int, int]
) -> Pillow.Image:
    """A name, a crop, what is to be said of it, and its error."""
    size = crop.width
    tile = Pillow.new("RGB", (size, 2 * size + 2 * _LABEL), PAPER)
    draw = ImageDraw.Draw(tile)
    draw.text((0, _LABEL // 2), name, fill=ink, font=comparison_page.font_for(name, size, 16), anchor="lm")
    tile.paste(crop, (0, _LABEL))
    draw.text(
        (0, _LABEL + size + _LABEL // 2), note, fill=INK, font=comparison_page.font_for(note, size, 13), anchor="lm"
    )
    if heat is not None:
        tile.paste(heat, (0, size + 2 * _LABEL))
    return tile


def _overview(original: Pillow.Image, box: tuple[int, int, int, int]) -> Pillow.Image:
    """The whole picture with the crop's frame."""
    scale = min(_OVERVIEW / original.width, 1.5 * _OVERVIEW / original.height)
    whole = original.resize((max(1, round(original.width * scale)), max(1, round(original.height * scale))))
    ImageDraw.Draw(whole).rectangle([edge * scale for edge in box], outline=_FRAME, width=2)
    return whole


def _sheet(overview: Pillow.Image, chart: Pillow.Image, tiles: Sequence[Pillow.Image], width: int) -> Pillow.Image:
    tile_width, tile_height = tiles[0].width + _GAP, tiles[0].height + _GAP
    columns = width // tile_width
    band = max(overview.height + _GAP, chart.height)
    sheet = Pillow.new("RGB", (width, band + -(-len(tiles) // columns) * tile_height + _GAP), PAPER)
    sheet.paste(overview, (_GAP, _GAP))
    sheet.paste(chart, (_OVERVIEW + 2 * _GAP, 0))
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        sheet.paste(tile, (_GAP + column * tile_width, band + _GAP + row * tile_height))
    return sheet
