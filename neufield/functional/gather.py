"""Weighted rows of a table, differentiable any number of times.

The gather, its adjoint (scatter) and their partner (contract) are the three derivatives of one trilinear form

    T(table, w, g) = sum_{n,c,f} w[n,c] g[n,f] table[index[n,c], f]

so each one's backward is made of the other two and derivatives of every order exist. ``scatter`` adds serially in a
fixed order: the same bits every run.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from neufield.core.torch_transforms import plain_only

_WIDE = 16  # longer rows (of planes and voxels) are added as rows: up to twice as fast, in far fewer operations


def gather(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weight and sum rows of a table: y[n] = sum_c weight[n, c] table[index[n, c]].

    ``table`` is (E, F), ``index`` (N, C) whole numbers, ``weight`` (N, C); the sums are (N, F).
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
