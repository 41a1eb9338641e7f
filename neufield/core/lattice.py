"""Cell-centred lattices: N cells along an axis have their samples at (i + 0.5) / N, axis 0 slowest ('ij')."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def points_at(index: Tensor, shape: Sequence[int]) -> Tensor:
    """Coordinates (N, d) in (0, 1) of the flat, row-major cells ``index (N,)`` of a lattice of ``shape``."""
    columns, rest = [], index.double()  # which divides faster than integers, and as exactly below 2^53
    for size in reversed(shape[1:]):
        above = (rest / size).floor_()
        columns.append(torch.sub(rest, above, alpha=size).add_(0.5).div_(size))
        rest = above
    columns.append(rest.add(0.5).div_(shape[0]))
    return torch.stack(columns[::-1], dim=-1).float()


def lattice(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """All coordinates (*shape, d) of the lattice."""
    index = torch.arange(math.prod(shape), device=device)
    return points_at(index, shape).view(*shape, len(shape))


def blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Consecutive [start, stop) ranges of at most ``size`` covering ``count``."""
    for start in range(0, count, size):
        yield start, min(start + size, count)
