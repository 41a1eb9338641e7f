"""Lines, planes and volumes of numbers, interpolated linearly along every axis, in PyTorch.

Number i of N along an axis lies at (i + 0.5) / N, the house's lattice; beyond the outermost numbers, in the half cells
at the faces of the box and outside of it, a lattice goes on as it ended (and its derivative is zero). TensoRF and
K-Planes instead put number i at i / (N - 1) (``align_corners=True``), so that theirs reach the faces: the same family
of functions on a box that is smaller by half a cell on each side. Ours nests: three times the resolution keeps every
old number in its place (``resample``), and a lattice means the same points as ``core.lattice`` and as a signal's.

All is made of the grid's ``gather``, so derivatives of every order exist (torch's ``grid_sample`` has second ones only
in late versions and not on every device), and what is added up is added in a fixed order: the same bits every run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neufield.functional.gather import gather

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Corners(NamedTuple):
    """The 2^d numbers around each point: their flat place ``rows (N, 2^d)`` in the lattice, and ``weight (N, 2^d)``."""

    rows: Tensor
    weight: Tensor


def corners(x: Tensor, shape: Sequence[int]) -> Corners:
    """Where ``x (N, d)``, in the unit box, lies in a lattice of ``shape`` (d); differentiable by ``x``."""
    rows, weight = [torch.zeros_like(x[:, 0], dtype=torch.int32)], [torch.ones_like(x[:, 0])]
    for at, size in zip(x.unbind(-1), shape, strict=True):
        position = (at * size - 0.5).clamp(0, size - 1)
        cell = position.detach().floor().to(torch.int32).clamp(0, max(size - 2, 0))  # the last clamp is for NaN
        above = position - cell
        neighbors = (cell, (cell + 1).clamp(max=size - 1))
        rows = [row * size + neighbor for row in rows for neighbor in neighbors]
        weight = [w * share for w in weight for share in (1 - above, above)]
    return Corners(torch.stack(rows, dim=-1), torch.stack(weight, dim=-1))


def read(table: Tensor, at: Corners) -> Tensor:
    """The numbers of a lattice ``table (*shape, F)``, of the shape that ``at`` was found for, at its points (N, F)."""
    return gather(table.flatten(0, -2), at.rows, at.weight.to(table.dtype))


def interpolate(table: Tensor, x: Tensor) -> Tensor:
    """Read a lattice ``table (*shape, F)`` at points ``x (..., d)`` of the unit box: (..., F).

    y(x) = sum_i prod_k max(0, 1 - |x_k N_k - 1/2 - i_k|) table[i], where x N - 1/2 is brought within [0, N - 1].
    """
    shape = table.shape[:-1]
    found = read(table, corners(x.reshape(-1, len(shape)), shape))
    return found.view(*x.shape[:-1], table.shape[-1])


def resample(table: Tensor, shape: Sequence[int]) -> Tensor:
    """``table (*old, F)`` read at the points of a lattice of ``shape``, up to three axes: (*shape, F).

    Where a size is an odd multiple of the old one, all old numbers are among the new. Elsewhere reading the new lattice
    at an old point gives a mean of old neighbors: what is linear stays, curvature shrinks (by a doubling: along each
    axis an eighth of the second difference).
    """
    channels_first = table.movedim(-1, 0).unsqueeze(0)
    larger = F.interpolate(channels_first, size=list(shape), mode=_MODES[len(shape)], align_corners=False)
    # Not .contiguous(): with one channel it leaves odd strides, for which torch gathers in another way.
    return larger.squeeze(0).movedim(0, -1).clone(memory_format=torch.contiguous_format)
