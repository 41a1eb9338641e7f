"""Cell-centered lattices: N cells along an axis have their samples at (i + 0.5) / N, axis 0 slowest ('ij')."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def points_at(index: Tensor, shape: Sequence[int]) -> Tensor:
    """Coordinates (N, d) in (0, 1) of the flat, row-major cells ``index (N,)`` of a lattice of ``shape``."""
    points = torch.empty(len(index), len(shape), dtype=torch.float32, device=index.device)
    rest = index.double()  # which divides faster than integers, and as exactly below 2^53
    for axis in reversed(range(1, len(shape))):
        above = (rest / shape[axis]).floor_()
        points[:, axis] = torch.sub(rest, above, alpha=shape[axis]).add_(0.5).div_(shape[axis])
        rest = above
    points[:, 0] = (rest + 0.5).div_(shape[0])
    return points


def lattice(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """All coordinates (*shape, d) of the lattice."""
    index = torch.arange(math.prod(shape), device=device)
    return points_at(index, shape).view(*shape, len(shape))


def blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Consecutive [start, stop) ranges of at most ``size`` covering ``count``."""
    for start in range(0, count, size):
        yield start, min(start + size, count)
