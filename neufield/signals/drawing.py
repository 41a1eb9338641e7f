"""A field drawn as stored samples on a lattice, block by block, so that no float copy of a large one ever exists."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neufield.core.errors import NonFiniteError
from neufield.core.lattice import blocks, points_at
from neufield.signals.stored import stored

BLOCK = 65_536
Predict = Callable[[Tensor], Tensor]


def evaluate(predict: Predict, x: Float[Tensor, "n d"], channels: int) -> Float[Tensor, "n c"]:
    """``predict`` at points ``x (N, d)``: float32 (N, channels) on the CPU, without a graph."""
    with torch.no_grad():
        values = predict(x)
    if values.shape != (len(x), channels):
        raise ValueError(f"the field gave {tuple(values.shape)}, but ({len(x)}, {channels}) was asked for")
    return values.detach().to("cpu", torch.float32)


def draw(
    predict: Predict,
    shape: Sequence[int],
    channels: int,
    dtype: str = "float32",
    lower: Sequence[float] | None = None,
    upper: Sequence[float] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Shaped[np.ndarray, "*shape c"]:
    """``predict (N, d) -> (N, C)`` on a cell-centered lattice of ``shape``, as stored in ``dtype``: (*shape, C).

    ``lower`` and ``upper`` (d,) are the corners of the part of the unit box that the lattice fills, by default all of
    it. ``progress(done, total)`` hears the points finished after each block of at most 65,536. Raises NonFiniteError
    when the field gives NaN or infinity.
    """
    origin = torch.tensor(lower or [0.0] * len(shape), dtype=torch.float64)
    extent = torch.tensor(upper or [1.0] * len(shape), dtype=torch.float64) - origin
    total, row = math.prod(shape), math.prod(shape[1:])
    values = np.empty((total, channels), dtype)
    for start, stop in blocks(total, BLOCK):
        x = points_at(torch.arange(start, stop), shape)
        block = evaluate(predict, (x * extent + origin).float(), channels)
        if not bool(torch.isfinite(block).all()):
            count = int((~torch.isfinite(block)).any(dim=-1).sum())
            raise NonFiniteError(
                f"the field is NaN or infinite at {count} of the {stop - start} samples from row {start // row} on; "
                f"its training diverged, so fit it again with a smaller learning rate"
            )
        values[start:stop] = stored(block, dtype).numpy()
        if progress is not None:
            progress(stop, total)
    return values.reshape(*shape, channels)
