"""The three operators of :mod:`.operators` by their definition: derivatives of the reference's trilinear form.

Slow, and differentiable in every way that torch has, any number of times: for what the operators themselves lack.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from neufield.kernels.grid.reference import TorchGrid
from neufield.kernels.grid.spec import GridSpec


def gather(x: Tensor, table: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """The features (N, out_dim), or their derivative along ``v (N, dim)``."""
    return _along(lambda x: TorchGrid().encode(x, table, spec), x, v)


def scatter(x: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """The gradient by the table of ``gather`` times ``g (N, out_dim)``."""
    table = g.new_zeros(spec.n_entries, spec.n_features_per_level)  # it is linear in the table, so that any will do
    return torch.func.vjp(lambda table: gather(x, table, v, spec), table)[1](g)[0]


def contract(x: Tensor, table: Tensor, g: Tensor, v: Tensor | None, spec: GridSpec) -> Tensor:
    """The gradient (N, dim) by the points of the features times ``g``, or its derivative along ``v``."""

    def slope(x: Tensor) -> Tensor:
        return torch.func.vjp(lambda x: gather(x, table, None, spec), x)[1](g)[0]

    return _along(slope, x, v)


def _along(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor | None) -> Tensor:
    """``function(x)``, or its derivative along ``v``: by two vjp, since a jvp cannot stand within a dual level."""
    if v is None:
        return function(x)
    y, back, *_ = torch.func.vjp(function, x)
    return torch.func.vjp(lambda g: back(g)[0], torch.zeros_like(y))[1](v)[0]
