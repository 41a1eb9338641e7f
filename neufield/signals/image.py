"""Pictures as signals: points are (row, column) in the unit box, pixel (i, j) at ((i + 0.5) / H, (j + 0.5) / W)."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from neufield.core.domain import Axis, Domain
from neufield.core.errors import ConfigError, DataError
from neufield.formats.pixels import ImageFacts, Pixels, check_finite, check_size, facts_of, transfer_of
from neufield.formats.read import read_image
from neufield.signals.drawing import Predict, draw
from neufield.signals.lattice import Lattice

Window = tuple[float, float, float, float]


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


class Image(Lattice):
    """A picture to fit, from a file or an array: a :class:`Lattice` of its pixels, with ``facts`` of how it is stored.

    ``sampling`` "centers" takes pixels, "continuous" points anywhere, with bilinear targets (clamped at the borders).
    """

    def __init__(self, source: str | Path | np.ndarray, sampling: str = "centers") -> None:
        pixels = pixels_of(source)
        self.source = source
        self.facts = facts_of(pixels.values, pixels.transfer, pixels.profile)
        height, width = self.facts.height, self.facts.width
        super().__init__(
            pixels.values,
            Domain(
                (
                    Axis("row", 0.0, float(height), "px", cells=height),
                    Axis("column", 0.0, float(width), "px", cells=width),
                )
            ),
            kind="image",
            name=_name_of(source),
            sampling=sampling,
            peak=self.facts.peak,
            source_bytes=pixels.source_bytes,
            facts={"transfer": self.facts.transfer, "profile": self.facts.profile},
            notes=pixels.notes,
        )

    @property
    def pixels(self) -> Shaped[np.ndarray, "h w c"]:
        """The picture as stored; shares the signal's memory."""
        return self.values


def render(
    predict: Predict,
    facts: ImageFacts,
    shape: tuple[int, int] | None = None,
    window: Window | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Shaped[np.ndarray, "h w c"]:
    """A picture of a field: ``predict (N, 2) -> (N, C)`` on a cell-centered lattice, in the storage dtype (h, w, C).

    ``window`` (x0, y0, x1, y1) is the part of the unit box to show, x to the right and y down; ``shape`` (h, w) its
    size in pixels, by default what that part has in the original. ``progress(done, total)`` hears the points finished
    after each block of at most 65,536. Raises ConfigError for an impossible window or shape, NonFiniteError when the
    field gives NaN or infinity.
    """
    x0, y0, x1, y1 = _checked(window or (0.0, 0.0, 1.0, 1.0))
    height, width = shape or (max(1, round(facts.height * (y1 - y0))), max(1, round(facts.width * (x1 - x0))))
    if height < 1 or width < 1:
        raise ConfigError(f"the picture would be {height} rows by {width} columns, but both must be at least 1")
    return draw(predict, (height, width), facts.channels, facts.dtype, (y0, x0), (y1, x1), progress)


def _checked(window: Window) -> Window:
    x0, y0, x1, y1 = window
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ConfigError(
            f"the window {window} is not (x0, y0, x1, y1) with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1; "
            f"the whole picture is (0, 0, 1, 1)"
        )
    return window


@functools.singledispatch
def _name_of(source: Any) -> str:
    return Path(source).name


@_name_of.register
def _(source: np.ndarray) -> str:
    return "array"
