"""Reading between the numbers of a lattice, by its definition."""

import itertools

from torch import Tensor


def slow(table: Tensor, point: list[float]) -> list[float]:
    """Every number of the lattice times its hat, 1 at (i + 0.5) / N and 0 a cell further."""
    *shape, channels = table.shape
    total = [0.0] * channels
    for cell in itertools.product(*map(range, shape)):
        weight = 1.0
        for i, n, at in zip(cell, shape, point, strict=True):
            held = min(max(at, 0.5 / n), (n - 0.5) / n)  # beyond the outermost numbers all goes on as it ended
            weight *= max(0.0, 1 - abs(held * n - 0.5 - i))
        for channel, value in enumerate(table[cell].tolist()):
            total[channel] += weight * value
    return total
