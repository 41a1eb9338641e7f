"""The grid encoding in plain PyTorch: the kernel that runs everywhere, and the truth the others are tested against.

All levels at once, in few large operations: find the 2^d corners of each point's cell in each level and their weights,
then gather. (Level by level the temporaries would fit the caches, but a thousand small parallel operations a step
collapse as soon as another process wants a core.) The gather, its adjoint (scatter) and their partner (contract) are
the three derivatives of one trilinear form

    T(table, w, g) = sum_{n,c,f} w[n,c] g[n,f] table[index[n,c], f]

so each one's backward is made of the other two and derivatives of every order exist. ``scatter`` adds serially in a
fixed order: the same bits every run.
"""

import functools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from neufield.kernels.arguments import FLOATING, check, of_grid
from neufield.kernels.dispatch import in_portions, plain_only
from neufield.kernels.grid.spec import PRIMES, GridKernel, GridSpec, Level

_POINTS = 131_072  # encoded at a time, so that temporaries stay below about 300 MB
_WIDE = 16  # longer rows (of planes and voxels) are added as rows: up to twice as fast, in far fewer operations


class TorchGrid(GridKernel):
    """``encode`` in PyTorch operations, on any device and in float32 or float64."""

    name = "torch"
    # float32 rounding of weights and a 2^d-term sum; measured 1e-7 relative against float64 at equal positions.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-6, torch.float64: 1e-14}

    def obstacles(self, spec: GridSpec, device: torch.device, dtype: torch.dtype) -> list[str]:
        """None but float64: this kernel is the one that runs wherever PyTorch has it."""
        del spec, dtype
        if device.type == "mps":
            return ["Apple's mps has no float64, which exact grid positions need; use --device cpu."]
        return []

    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """See :class:`GridKernel`."""
        check("grid", of_grid(spec, FLOATING), x=x, table=table)
        return in_portions(lambda part: _encode(part, table, spec), x, _POINTS)


def gather(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Rows of ``table`` (E, F), at ``index`` (N, C), summed with ``weight`` (N, C) to (N, F).

    Differentiable by table and weight, any number of times.
    """
    if plain_only():
        return (table[index.long()] * weight.unsqueeze(-1)).sum(1)
    return _Gather.apply(table, index, weight)


def _scatter(w: Tensor, index: Tensor, g: Tensor, entries: int) -> Tensor:
    if plain_only():
        rows = (w.unsqueeze(-1) * g.unsqueeze(1)).flatten(0, 1)
        return rows.new_zeros(entries, rows.shape[1]).index_add(0, index.flatten(), rows)
    return _Scatter.apply(w, index, g, entries)


def _contract(table: Tensor, index: Tensor, g: Tensor) -> Tensor:
    if plain_only():
        return (table[index] * g.unsqueeze(1)).sum(-1)
    return _Contract.apply(table, index, g)


def _encode(x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
    scale = torch.tensor([[level.scale] for level in spec.levels], dtype=torch.float64, device=x.device)
    # scale * x + 0.5 must be rounded once (tcnn uses fmaf): exact product in float64, then one step down.
    positions = [(axis.double() * scale + 0.5).to(table.dtype) for axis in x.unbind(-1)]  # each (L, N)
    cells = [position.detach().floor() for position in positions]
    fractions = [position - cell for position, cell in zip(positions, cells, strict=True)]
    index = _rows([cell.to(torch.int32) for cell in cells], spec)
    weight = _weights(fractions, spec.interpolation)
    features = gather(table, index.flatten(0, 1), weight.flatten(0, 1))
    features = features.view(spec.n_levels, x.shape[0], spec.n_features_per_level)
    return features.transpose(0, 1).reshape(x.shape[0], spec.out_dim)


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


def _rows(cells: list[Tensor], spec: GridSpec) -> Tensor:
    """Table rows (L, N, C) int32 of the corners of ``cells``, one (L, N) int32 per axis."""
    dim = len(cells)
    n_corners = 1 if spec.interpolation == "nearest" else 2**dim
    index = cells[0].new_empty(*cells[0].shape, n_corners)
    # Scales grow or shrink from level to level, so dense and hashed levels form two runs.
    n_first = sum(level.hashed == spec.levels[0].hashed for level in spec.levels)
    for start, stop in ((0, n_first), (n_first, spec.n_levels)):
        levels = spec.levels[start:stop]
        if not levels:
            continue
        steps = [_column([_step(level, j) for level in levels], index) for j in range(dim)]
        low = [cell[start:stop] * step for cell, step in zip(cells, steps, strict=True)]
        ends = [(at, at + step) for at, step in zip(low, steps, strict=True)]
        combine = torch.bitwise_xor if levels[0].hashed else torch.add
        offset = _column([level.offset for level in levels], index)
        for corner in range(n_corners):
            row = functools.reduce(combine, [ends[j][up] for j, up in enumerate(_upper(corner, dim))])
            index[start:stop, :, corner] = _wrap(row, levels) + offset
    return index


def _step(level: Level, axis: int) -> int:
    """What one vertex along ``axis`` adds to a row, before wrapping."""
    return _int32(PRIMES[axis] if level.hashed else level.resolution**axis)


def _wrap(row: Tensor, levels: tuple[Level, ...]) -> Tensor:
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


class _Gather(torch.autograd.Function):
    """(table (E, F), index (N, C), w (N, C)) -> (N, F): sum_c w[n,c] table[index[n,c], f]."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, w)
        if index.shape[0] == 0:
            return table.new_zeros(0, table.shape[1])
        return F.embedding_bag(index, table, per_sample_weights=w, mode="sum")

    @staticmethod
    def backward(ctx, g: Tensor):
        table, index, w = ctx.saved_tensors
        grad_table = _scatter(w, index, g, table.shape[0]) if ctx.needs_input_grad[0] else None
        grad_w = _contract(table, index, g) if ctx.needs_input_grad[2] else None
        return grad_table, None, grad_w


class _Scatter(torch.autograd.Function):
    """(w (N, C), index (N, C), g (N, F), E) -> (E, F): adds w[n,c] g[n,f] to row index[n,c]."""

    @staticmethod
    def forward(ctx, w: Tensor, index: Tensor, g: Tensor, entries: int) -> Tensor:
        ctx.save_for_backward(w, index, g)
        if g.shape[1] > _WIDE:
            # ``reshape``, since that is what torch.autograd.grad's is_grads_batched has a rule for.
            rows = (w.unsqueeze(-1) * g.unsqueeze(1)).reshape(-1, g.shape[1])
            return rows.new_zeros(entries, g.shape[1]).index_add_(0, index.flatten(), rows)
        columns = g.t().contiguous()
        total = columns.new_zeros(columns.shape[0], entries)
        for corner, weight in zip(index.unbind(-1), w.unbind(-1), strict=True):
            rows = corner.long()
            for column, out in zip(columns, total, strict=True):
                out.scatter_add_(0, rows, weight * column)
        return total.t().contiguous()

    @staticmethod
    def backward(ctx, h: Tensor):
        w, index, g = ctx.saved_tensors
        grad_w = _contract(h, index, g) if ctx.needs_input_grad[0] else None
        grad_g = gather(h, index, w) if ctx.needs_input_grad[2] else None
        return grad_w, None, grad_g, None


class _Contract(torch.autograd.Function):
    """(table (E, F), index (N, C), g (N, F)) -> (N, C): sum_f g[n,f] table[index[n,c], f]."""

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, g)
        return torch.stack([(table.index_select(0, rows) * g).sum(-1) for rows in index.unbind(-1)], dim=-1)

    @staticmethod
    def backward(ctx, k: Tensor):
        table, index, g = ctx.saved_tensors
        grad_table = _scatter(k, index, g, table.shape[0]) if ctx.needs_input_grad[0] else None
        grad_g = gather(table, index, k) if ctx.needs_input_grad[2] else None
        return grad_table, None, grad_g
