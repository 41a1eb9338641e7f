"""The multiresolution grid in plain PyTorch: what a hash grid computes, and the truth its kernels are tested against.

All levels at once, in few large operations: find the 2^d corners of each point's cell in each level and their weights,
then gather. (GridLevel by level the temporaries would fit the caches, but a thousand small parallel operations a step
collapse as soon as another process wants a core.)
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from neufield.core.shapes import check_choice
from neufield.functional.gather import gather
from neufield.functional.grid_levels import PRIMES, GridLevel

INTERPOLATIONS = ("linear", "smoothstep", "nearest")


def grid_lookup(x: Tensor, table: Tensor, levels: Sequence[GridLevel], interpolation: str = "linear") -> Tensor:
    """Read a multiresolution grid at points ``x (N, d)`` of the unit box: (N, levels * features), level-major.

    y_l(x) = sum_c w_c(x) table[row_l(c)] over the 2^d corners c of the cell of s_l x + 1/2, with multilinear weights w
    ("smoothstep": of u^2 (3 - 2 u) in place of the place u in the cell; "nearest": the lower corner's alone). A level's
    row is r^k-strided and taken modulo its size, or where it is hashed the xor of c_k times :data:`PRIMES`
    (arXiv 2201.05989, equation 4). ``table`` is (E, F), of all ``levels`` (see :func:`grid_levels`).
    """
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    scale = torch.tensor([[level.scale] for level in levels], dtype=torch.float64, device=x.device)
    # scale * x + 0.5 must be rounded once (tcnn uses fmaf): exact product in float64, then one step down.
    positions = [(axis.double() * scale + 0.5).to(table.dtype) for axis in x.unbind(-1)]  # each (L, N)
    cells = [position.detach().floor() for position in positions]
    fractions = [position - cell for position, cell in zip(positions, cells, strict=True)]
    index = _rows([cell.to(torch.int32) for cell in cells], levels, interpolation)
    weight = _weights(fractions, interpolation)
    features = gather(table, index.flatten(0, 1), weight.flatten(0, 1))
    features = features.view(len(levels), x.shape[0], table.shape[1])
    return features.transpose(0, 1).reshape(x.shape[0], len(levels) * table.shape[1])


def _upper(corner: int, dim: int) -> list[int]:
    """Bit j of ``corner`` says that on axis j it is the cell's upper vertex."""
    return [corner >> j & 1 for j in range(dim)]


def _weights(fractions: list[Tensor], interpolation: str) -> Tensor:
    """Interpolation weights (L, N, C) from the places (L, N) within the cell, differentiable."""
    if interpolation == "nearest":
        # Constant, yet a function of x: its derivative is 0, not missing, and a NaN comes through.
        return (1 + 0 * functools.reduce(torch.add, fractions)).unsqueeze(-1)
    if interpolation == "smoothstep":
        fractions = [u * u * (3 - 2 * u) for u in fractions]
    shares = [(1 - u, u) for u in fractions]
    dim = len(shares)
    corners = [[shares[j][up] for j, up in enumerate(_upper(corner, dim))] for corner in range(2**dim)]
    return torch.stack([functools.reduce(torch.mul, factors) for factors in corners], dim=-1)


def _rows(cells: list[Tensor], levels: Sequence[GridLevel], interpolation: str) -> Tensor:
    """Table rows (L, N, C) int32 of the corners of ``cells``, one (L, N) int32 per axis."""
    dim = len(cells)
    n_corners = 1 if interpolation == "nearest" else 2**dim
    index = cells[0].new_empty(*cells[0].shape, n_corners)
    # Scales grow or shrink from level to level, so dense and hashed levels form two runs.
    n_first = sum(level.hashed == levels[0].hashed for level in levels)
    for start, stop in ((0, n_first), (n_first, len(levels))):
        run = levels[start:stop]
        if not run:
            continue
        steps = [_column([_step(level, j) for level in run], index) for j in range(dim)]
        low = [cell[start:stop] * step for cell, step in zip(cells, steps, strict=True)]
        ends = [(at, at + step) for at, step in zip(low, steps, strict=True)]
        combine = torch.bitwise_xor if run[0].hashed else torch.add
        offset = _column([level.offset for level in run], index)
        for corner in range(n_corners):
            row = functools.reduce(combine, [ends[j][up] for j, up in enumerate(_upper(corner, dim))])
            index[start:stop, :, corner] = _wrap(row, run) + offset
    return index


def _step(level: GridLevel, axis: int) -> int:
    """What one vertex along ``axis`` adds to a row, before wrapping."""
    return _int32(PRIMES[axis] if level.hashed else level.resolution**axis)


def _wrap(row: Tensor, levels: Sequence[GridLevel]) -> Tensor:
    """``row`` (L, N) as unsigned 32-bit numbers, modulo each level's size."""
    if levels[0].hashed:  # all of one size, a power of two
        return row & (levels[0].size - 1)
    # A negative int32 i stands for i + 2^32; this adds 2^32 mod size where needed, without leaving 32 bits.
    size = _column([level.size for level in levels], row)
    correction = _column([2**32 % level.size for level in levels], row)
    wrapped = torch.remainder(row, size)
    return torch.where(row < 0, torch.remainder(wrapped + correction, size), wrapped)


def _column(values: list[int], like: Tensor) -> Tensor:
    """A number per level, to broadcast over its points: (L, 1) int32."""
    return torch.tensor(values, dtype=torch.int32, device=like.device).unsqueeze(-1)


def _int32(value: int) -> int:
    """The signed 32-bit number with the same bits as ``value`` modulo 2^32."""
    value %= 2**32
    return value - 2**32 if value >= 2**31 else value
