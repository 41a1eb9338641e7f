"""Samples as files store them, and the floats that they stand for: converted a few at a time, never as a whole."""

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neufield.formats.pixels import STEPS


class Stored:
    """Samples ``values (*shape, C)`` of uint8, uint16 or float32 in a row of cells; sharing memory where numpy lets it.

    torch gathers few things from uint16, so those travel as int16 of the same bits.
    """

    def __init__(self, values: Shaped[np.ndarray, "*shape c"]) -> None:
        self.shape = values.shape
        self.dtype = values.dtype.name
        values = np.require(values, requirements=("C", "W"))
        bits = values.view(np.int16) if values.dtype == np.uint16 else values
        self._flat = torch.from_numpy(bits.reshape(-1, values.shape[-1]))

    @property
    def values(self) -> Shaped[np.ndarray, "*shape c"]:
        """The samples as stored."""
        return self._flat.numpy().view(self.dtype).reshape(self.shape)

    def at(self, cells: Tensor) -> Float[Tensor, "n c"]:
        """What flat, row-major ``cells (N,)`` stand for, in memory of its own."""
        return self._floats(self._flat.index_select(0, cells))

    def between(self, start: int, stop: int) -> Float[Tensor, "n c"]:
        """What the cells from ``start`` up to ``stop`` stand for, in memory of its own."""
        return self._floats(self._flat[start:stop])

    def _floats(self, flat: Tensor) -> Tensor:
        """Integers are divided by their steps, floats are as they are."""
        numbers = flat.int().bitwise_and_(0xFFFF) if self.dtype == "uint16" else flat
        return numbers.to(torch.float32, copy=True).div_(STEPS[self.dtype])


def stored(values: Float[Tensor, "*any"], dtype: str) -> Float[Tensor, "*any"]:
    """Float ``values`` as stored, still float: for integers clipped to [0, 1], scaled to their steps and rounded."""
    if dtype == "float32":
        return values
    return (values.clamp(0, 1) * STEPS[dtype]).round()


def as_written(values: Float[Tensor, "*any"], dtype: str) -> Float[Tensor, "*any"]:
    """Float ``values`` as they will be after a file was written and read again: still on the scale of the field."""
    return stored(values, dtype) / STEPS[dtype]
