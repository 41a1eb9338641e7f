"""Pictures as signals: points are (row, column) in the unit box, pixel (i, j) at ((i + 0.5) / H, (j + 0.5) / W)."""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from neufield.core.errors import DataError
from neufield.core.interfaces import Signal
from neufield.core.lattice import blocks, points_at
from neufield.core.metrics import SsimBands, psnr
from neufield.core.records import Batch
from neufield.core.shapes import check_choice, check_positive
from neufield.signals.encode import suffix_for, write_image
from neufield.signals.pixels import ImageFacts, Pixels, check_finite, check_size, facts_of, transfer_of
from neufield.signals.raster import BLOCK, Predict, as_written, evaluate, floats, render, storage
from neufield.signals.read import read_image

__all__ = ["Image", "ImageFacts", "render", "suffix_for", "write_image"]


@functools.singledispatch
def pixels_of(source: Any) -> Pixels:
    """The picture in a file, or an array (H, W) or (H, W, C) as if it had been read from one (not copied)."""
    return read_image(source)


@pixels_of.register
def _(source: np.ndarray) -> Pixels:
    values = source[..., None] if source.ndim == 2 else source
    if values.dtype in (np.float16, np.float64):
        values = values.astype(np.float32)
    if values.ndim != 3 or not 1 <= values.shape[2] <= 4 or values.dtype not in (np.uint8, np.uint16, np.float32):
        raise DataError(
            f"the array is {source.dtype} {source.shape}, but uint8, uint16 or floating point of shape (H, W) or "
            f"(H, W, 1 to 4) was expected; convert it first"
        )
    check_size("the array", *values.shape[:2])
    check_finite("the array", values)
    return Pixels(np.ascontiguousarray(values), transfer_of(values), (), source.nbytes)


class Image(Signal):
    """A picture to fit: stored samples stay uint8, uint16 or float32 in memory and become floats a batch at a time.

    Targets are ``stored value / 255`` or ``/ 65535``, floats as they are. ``sampling`` "centers" cuts the pixels, in
    reading order, into as many runs as samples and takes one of each run at every step, each run in turn from a start
    drawn anew each round: every pixel equally often, and neighbours in the batch are neighbours in memory. At least as
    many samples as pixels means every pixel once. "continuous" draws points uniformly, with bilinear targets (clamped
    at the borders).
    """

    dim = 2

    def __init__(self, source: str | Path | np.ndarray, sampling: str = "centers") -> None:
        check_choice("sampling", sampling, ("centers", "continuous"))
        pixels = pixels_of(source)
        self.source = source
        self.sampling = sampling
        self.facts = facts_of(pixels.values, pixels.transfer, pixels.profile)
        self.source_bytes = pixels.source_bytes
        self.notes = pixels.notes
        self.name = _name_of(source)
        self.shape = (self.facts.height, self.facts.width)
        self.channels = self.facts.channels
        self._flat = storage(pixels.values)

    @property
    def pixels(self) -> np.ndarray:
        """The picture (H, W, C) as stored; shares the signal's memory."""
        values = self._flat.numpy().view(self.facts.dtype)
        return values.reshape(*self.shape, self.channels)

    def sample(self, n: int, generator: torch.Generator, step: int = 0) -> Batch:
        """``x (n, 2)`` and ``target (n, C)``, float32 on the CPU; depends on ``generator`` and ``step`` alone."""
        check_positive(n=n)
        if self.sampling == "continuous":
            x = torch.rand(n, 2, generator=generator, device=generator.device).cpu()
            return Batch(x, self._bilinear(x))
        index = _turn(math.prod(self.shape), n, step, generator.initial_seed())
        return Batch(points_at(index, self.shape), self._at(index))

    def lattice(self, shape: Sequence[int]) -> Float[Tensor, "h w c"]:
        """The picture as float32 (h, w, C): exact in its own shape, antialiased in any other ``shape`` (h, w)."""
        height, width = shape
        check_positive(height=height, width=width)
        if (height, width) == self.shape:
            return self._rows(0, height)
        narrow = [
            F.interpolate(_planes(self._rows(top, bottom)), (bottom - top, width), mode="bilinear", antialias=True)
            for top, bottom in blocks(self.shape[0], self._band())
        ]
        resized = F.interpolate(torch.cat(narrow, dim=2), (height, width), mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).contiguous()

    def score(self, predict: Predict, limit: int | None = None, device: torch.device | str = "cpu") -> dict[str, float]:
        """``mse``, ``psnr`` (dB) and, on the whole picture, ``ssim`` of ``predict (N, 2) -> (N, C)``.

        Measured on the picture as it would be written: integers clipped and rounded, floats as they are; ``facts.peak``
        is the peak. With ``limit`` only ``mse`` and ``psnr``, on at most ``limit`` evenly spaced pixels. ``predict`` is
        asked on ``device``, at most 65,536 points at a time.
        """
        if limit is not None:
            check_positive(limit=limit)
            mse = self._subset_error(predict, limit, device)
            return {"psnr": psnr(mse, self.facts.peak), "mse": mse}
        total = 0.0
        bands = SsimBands(*self.shape, self.channels, self.facts.peak)
        for values, target in self._compare(predict, device):
            total += float((values - target).double().square().sum())
            bands.add(values, target)
        mse = total / self._flat.numel()
        return {"psnr": psnr(mse, self.facts.peak), "mse": mse, "ssim": bands.value()}

    def write(self, path: str | Path, values: Shaped[np.ndarray, "h w c"]) -> None:
        """Write ``values`` (h, w, C), of this picture's storage dtype; the suffix of ``path`` names the format."""
        write_image(path, values, self.facts)

    def _at(self, index: Tensor) -> Tensor:
        """Float values (N, C) of the flat pixels ``index (N,)``."""
        return self._float(self._flat.index_select(0, index))

    def _rows(self, top: int, bottom: int) -> Tensor:
        width = self.shape[1]
        return self._float(self._flat[top * width : bottom * width]).view(bottom - top, width, self.channels)

    def _float(self, values: Tensor) -> Tensor:
        return floats(values, self.facts)

    def _band(self) -> int:
        return max(1, BLOCK // self.shape[1])

    def _bilinear(self, x: Tensor) -> Tensor:
        """Values (N, C) at points ``x (N, 2)``, linear between the four nearest pixel centres."""
        height, width = self.shape
        top, bottom, down = _neighbors(x[:, 0], height)
        left, right, across = _neighbors(x[:, 1], width)
        above, below = self._at(top * width + left), self._at(bottom * width + left)
        above += (self._at(top * width + right) - above) * across
        below += (self._at(bottom * width + right) - below) * across
        return above + (below - above) * down

    def _compare(self, predict: Predict, device: torch.device | str) -> Iterator[tuple[Tensor, Tensor]]:
        """Bands (R, W, C) of the prediction as written and of the picture, top to bottom."""
        width = self.shape[1]
        for top, bottom in blocks(self.shape[0], self._band()):
            index = torch.arange(top * width, bottom * width)
            parts = [
                evaluate(predict, points_at(part, self.shape), self.channels, device) for part in index.split(BLOCK)
            ]
            values = as_written(torch.cat(parts), self.facts)
            yield values.view(bottom - top, width, self.channels), self._rows(top, bottom)

    def _subset_error(self, predict: Predict, limit: int, device: torch.device | str) -> float:
        """Mean squared error over at most ``limit`` pixels in evenly spaced rows and columns."""
        height, width = self.shape
        rows = max(1, min(height, limit, round(math.sqrt(limit * height / width))))
        columns = min(width, limit // rows)
        rows = min(height, limit // columns)
        row = ((torch.arange(rows) + 0.5) * (height / rows)).long()
        column = ((torch.arange(columns) + 0.5) * (width / columns)).long()
        index = (row[:, None] * width + column).flatten()
        total = 0.0
        for part in index.split(BLOCK):
            values = evaluate(predict, points_at(part, self.shape), self.channels, device)
            total += float((as_written(values, self.facts) - self._at(part)).double().square().sum())
        return total / (len(index) * self.channels)


def _turn(count: int, n: int, step: int, seed: int) -> Tensor:
    """Which of ``count`` pixels ``step`` takes: one of each of ``n`` runs, no pixel twice in a round of all."""
    if n >= count:
        return torch.arange(count)
    edges = torch.arange(n + 1) * count // n
    first, length = edges[:-1], edges.diff()
    turn, step = divmod(step, -(-count // n))
    # The start depends on seed and round alone, so that a resumed run needs no memory of the round it is in.
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + turn) % 2**63)
    start = torch.randint(2**31, (n,), generator=generator)
    return first + (start + step) % length


def _neighbors(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells (N,) with their centres before and after ``place (N,)`` in [0, 1], and how far between it lies (N, 1)."""
    place = place * size - 0.5
    before = place.floor()
    share = (place - before)[:, None]
    cell = before.long()
    return cell.clamp(min=0), (cell + 1).clamp(max=size - 1), share


def _planes(values: Tensor) -> Tensor:
    return values.permute(2, 0, 1)[None]


@functools.singledispatch
def _name_of(source: Any) -> str:
    return Path(source).name


@_name_of.register
def _(source: np.ndarray) -> str:
    return "array"
