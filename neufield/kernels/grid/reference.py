"""The grid encoding in plain PyTorch: the kernel that runs everywhere, and the truth the others are tested against.

Level by level, so that temporaries stay small enough for the caches and the allocator: find the 2^d corners of the
cell and their weights, then gather. The gather, its adjoint (scatter) and their partner (contract) are the three
derivatives of one trilinear form

    T(table, w, g) = sum_{n,c,f} w[n,c] g[n,f] table[index[n,c], f]

so each one's backward is made of the other two and derivatives of every order exist. ``scatter`` adds serially in a
fixed order: the same bits every run.
"""

import functools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from neufield.kernels.dispatch import Kernel
from neufield.kernels.grid.spec import PRIMES, GridSpec, Level


class TorchGrid(Kernel[GridSpec]):
    """``encode`` in PyTorch operations, on any device and in float32 or float64."""

    name = "torch"
    # float32 rounding of weights and a 2^d-term sum; measured 1e-7 relative against float64 at equal positions.
    tolerance: Mapping[torch.dtype, float] = {torch.float32: 1e-6, torch.float64: 1e-14}

    def obstacles(self, spec: GridSpec, device: torch.device) -> list[str]:
        """None: this kernel is the one that always runs."""
        del spec, device
        return []

    def encode(self, x: Tensor, table: Tensor, spec: GridSpec) -> Tensor:
        """Points ``x (N, dim)`` and ``table (n_entries, features)`` -> ``(N, n_levels * features)``, level-major."""
        axes = [column.double() for column in x.unbind(-1)]
        rows = table.split([level.size for level in spec.levels])
        features = []
        for level, level_rows in zip(spec.levels, rows, strict=True):
            index, weight = _corners(axes, level, spec, table.dtype)
            features.append(_Gather.apply(level_rows, index, weight))
        return torch.cat(features, dim=-1)


def _corners(axes: list[Tensor], level: Level, spec: GridSpec, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows (N, C) int32 of the corners within the level's table, and their interpolation weights (N, C)."""
    # scale * x + 0.5 must be rounded once (tcnn uses fmaf): exact product in float64, then one step down.
    positions = [(axis * level.scale + 0.5).to(dtype) for axis in axes]
    cells = [position.detach().floor() for position in positions]
    strides = PRIMES if level.hashed else [level.resolution**j for j in range(len(axes))]
    steps = [_int32(stride) for stride in strides[: len(axes)]]
    low = [cell.to(torch.int32) * step for cell, step in zip(cells, steps, strict=True)]
    if spec.interpolation == "nearest":
        index = _wrap(_combine(low, level.hashed), level)
        return index.unsqueeze(-1), torch.ones_like(positions[0]).unsqueeze(-1)
    high = [start + step for start, step in zip(low, steps, strict=True)]
    fractions = [position - cell for position, cell in zip(positions, cells, strict=True)]
    if spec.interpolation == "smoothstep":
        fractions = [u * u * (3 - 2 * u) for u in fractions]
    pairs = [(1 - u, u) for u in fractions]
    indices, weights = [], []
    for corner in range(2 ** len(axes)):  # bit j of ``corner`` says: the upper neighbour on axis j
        upper = [corner >> j & 1 for j in range(len(axes))]
        indices.append(_wrap(_combine([(low, high)[up][j] for j, up in enumerate(upper)], level.hashed), level))
        weights.append(functools.reduce(torch.mul, [pairs[j][up] for j, up in enumerate(upper)]))
    return torch.stack(indices, dim=-1), torch.stack(weights, dim=-1)


def _combine(terms: list[Tensor], hashed: bool) -> Tensor:
    index = terms[0]
    for term in terms[1:]:
        index = index ^ term if hashed else index + term
    return index


def _wrap(index: Tensor, level: Level) -> Tensor:
    """``index`` as an unsigned 32-bit number, modulo the level's size."""
    if level.size & (level.size - 1) == 0:
        return index & (level.size - 1)
    # A negative int32 i stands for i + 2^32; this adds 2^32 mod size where needed, without leaving 32 bits.
    correction = 2**32 % level.size
    wrapped = torch.remainder(index, level.size)
    return torch.where(index < 0, torch.remainder(wrapped + correction, level.size), wrapped)


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
        grad_table = _Scatter.apply(w, index, g, table.shape[0]) if ctx.needs_input_grad[0] else None
        grad_w = _Contract.apply(table, index, g) if ctx.needs_input_grad[2] else None
        return grad_table, None, grad_w


class _Scatter(torch.autograd.Function):
    """(w (N, C), index (N, C), g (N, F), E) -> (E, F): adds w[n,c] g[n,f] to row index[n,c]."""

    @staticmethod
    def forward(ctx, w: Tensor, index: Tensor, g: Tensor, entries: int) -> Tensor:
        ctx.save_for_backward(w, index, g)
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
        grad_w = _Contract.apply(h, index, g) if ctx.needs_input_grad[0] else None
        grad_g = _Gather.apply(h, index, w) if ctx.needs_input_grad[2] else None
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
        grad_table = _Scatter.apply(k, index, g, table.shape[0]) if ctx.needs_input_grad[0] else None
        grad_g = _Gather.apply(table, index, k) if ctx.needs_input_grad[2] else None
        return grad_table, None, grad_g
