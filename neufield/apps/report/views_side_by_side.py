"""One picture of a comparison on a scene: test views as each preset sees them, and the learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from neufield.apps import comparison_page, curves
from neufield.apps.curves import INK, PAPER, Rows
from neufield.apps.nerf.views import file_of
from neufield.apps.run_folder import RunFolder
from neufield.apps.side_by_side import side_by_side
from neufield.formats.scene import Frame
from neufield.metrics import PSNR, psnr
from neufield.signals.image import Image
from neufield.signals.posed_images import read_photograph

_MORE = 3  # whole views below the one that is enlarged
_GAP, _LABEL = 12, 24


def views_side_by_side(
    frames: Sequence[Frame], folders: Mapping[str, RunFolder], histories: Mapping[str, Sequence[Rows]]
) -> Pillow.Image:
    """The view of ``frames`` in which presets differ most, as pictures are compared; below it a few more, whole.

    All on white. ``folders`` are those of runs that were judged by these frames, by their presets' names.
    """
    truths = {frame.name: _on_white(read_photograph(frame).numpy()) for frame in frames}
    seen = {frame.name: {name: _render(folder, frame) for name, folder in folders.items()} for frame in frames}
    scores = {frame: {name: _psnr(truths[frame], v) for name, v in drawn.items()} for frame, drawn in seen.items()}

    def telling(frame: str) -> float:
        values = list(scores[frame].values())
        return float(np.std(values)) if len(values) > 1 else -values[0]

    first, *others = sorted(scores, key=telling, reverse=True)
    page = side_by_side(Image(truths[first]), seen[first], histories)
    rows = [_row(frame, truths[frame], seen[frame], scores[frame], page.width) for frame in others[:_MORE]]
    sheet = Pillow.new("RGB", (page.width, page.height + sum(row.height for row in rows)), PAPER)
    top = 0
    for part in (page, *rows):
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _row(
    frame: str, truth: np.ndarray, drawn: Mapping[str, np.ndarray], scores: Mapping[str, float], width: int
) -> Pillow.Image:
    """The photograph and every preset's view of a frame, whole."""
    columns = 1 + len(drawn)
    side = (width - (columns + 1) * _GAP) // columns
    pictures = [Pillow.fromarray(values) for values in (truth, *drawn.values())]
    height = max(1, round(pictures[0].height * side / pictures[0].width))
    labels = [frame, *(f"{name}: {PSNR.text(scores[name])}" for name in drawn)]
    sheet = Pillow.new("RGB", (width, height + _LABEL + _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, ink = _GAP + i * (side + _GAP), curves.color(i - 1) if i else INK
        draw.text((x, _LABEL // 2), label, fill=ink, font=comparison_page.font_for(label, side, 15), anchor="lm")
        sheet.paste(picture.resize((side, height), Pillow.Resampling.LANCZOS), (x, _LABEL))
    return sheet


def _render(folder: RunFolder, frame: Frame) -> np.ndarray:
    with Pillow.open(folder.path / "renders" / file_of(frame)) as picture:
        return _on_white(np.asarray(picture.convert("RGBA")))


def _on_white(rgba: np.ndarray) -> np.ndarray:
    """(h, w, 4) uint8 with straight alpha to (h, w, 3) uint8."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _psnr(truth: np.ndarray, drawn: np.ndarray) -> float:
    return psnr(float(np.square((truth.astype(np.float64) - drawn) / 255).mean()))
