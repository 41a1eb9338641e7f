"""Which cells of a lattice are taken: by a training step, by a quick evaluation, around a point between them."""

import functools
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neufield.core.domain import Axis


def one_of_each_run(count: int, n: int, step: int, seed: int) -> Int64[Tensor, " m"]:
    """Which of ``count`` cells ``step`` takes: one of each of ``n`` runs, no cell twice in a round of all.

    The cells are cut, in their order, into ``n`` runs, and each run gives its cells in turn from a start drawn anew
    each round: every cell equally often, and neighbors in the batch are neighbors in memory. All of them, in order,
    where there are no more than ``n``.
    """
    if n >= count:
        return torch.arange(count)
    turn, step = divmod(step, -(-count // n))
    first, length, start = _round(count, n, turn, seed)
    place = start + step
    return first + torch.where(place < length, place, place - length)  # the remainder: neither is above length


@functools.lru_cache(maxsize=2)
def _round(count: int, n: int, turn: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each run begins, how long it is, and from which of its cells on it gives them; all steps of a round ask."""
    edges = torch.arange(n + 1) * count // n
    # The start depends on seed and round alone, so that a resumed run needs no memory of the round it is in.
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + turn) % 2**63)
    length = edges.diff()
    return edges[:-1], length, torch.randint(2**31, (n,), generator=generator) % length


def evenly_spaced(shape: Sequence[int], limit: int) -> Int64[Tensor, " m"]:
    """At most ``limit`` flat cells of a lattice of ``shape``, on a coarser lattice about as fine along each axis."""
    counts: list[int] = []
    for axis, size in enumerate(shape):
        left, others = limit // math.prod(counts), shape[axis + 1 :]
        fair = (left * size ** len(others) / math.prod(others)) ** (1 / (len(others) + 1))
        counts.append(max(1, min(size, left, round(fair))))
    for axis, size in enumerate(shape):  # what rounding left over
        others_taken = math.prod(counts) // counts[axis]
        counts[axis] = min(size, limit // others_taken)
    index = torch.zeros(1, dtype=torch.int64)
    for size, count in zip(shape, counts, strict=True):
        along = ((torch.arange(count) + 0.5) * (size / count)).long()
        index = (index[:, None] * size + along).flatten()
    return index


def interpolated(
    at: Callable[[Tensor], Tensor], x: Float[Tensor, "n d"], axes: Sequence[Axis], shape: Sequence[int]
) -> Float[Tensor, "n c"]:
    """Values (N, C) at points ``x (N, d)`` in the unit box, linear between the 2^d nearest cell centers.

    ``at`` gives the values (N, C) of flat cells (N,). Beyond the outermost centers values are theirs, or, along an axis
    that is periodic, those between the last and the first.
    """

    def along(axis: int, cell: Tensor | int) -> Tensor:
        if axis == len(shape):
            assert isinstance(cell, Tensor)
            return at(cell)
        size = shape[axis]
        place = x[:, axis] * size - 0.5
        before = place.floor()
        share = (place - before)[:, None]
        low, high = before.long(), before.long() + 1
        low, high = (low % size, high % size) if axes[axis].periodic else (low.clamp(min=0), high.clamp(max=size - 1))
        first, last = along(axis + 1, cell * size + low), along(axis + 1, cell * size + high)
        return first + (last - first) * share

    return along(0, 0)


def resized(values: Float[Tensor, "*shape"], axis: int, size: int) -> Float[Tensor, "*other"]:
    """``values`` with ``axis`` resampled to ``size`` cells: antialiased linear interpolation between cell centers."""
    old = values.shape[axis]
    if old == size:
        return values
    flat = values.movedim(axis, -1)
    lines = flat.reshape(1, 1, -1, old)
    out = torch.nn.functional.interpolate(lines, (lines.shape[2], size), mode="bilinear", antialias=True)
    return out.reshape(*flat.shape[:-1], size).movedim(-1, axis)
