"""What keeps the numbers of a lattice (*shape, F) from noise: to be added to a loss, times a weight of the paper's."""

from collections.abc import Sequence

import torch
from torch import Tensor

_TINY = 1e-9  # under Plenoxels' square root, so that it has a derivative at 0 (its code)


def total_variation(table: Tensor, resolution: Sequence[int] | None = None) -> Tensor:
    """The mean over cells and channels of |gradient|, per 1/256 of the box (Plenoxels, arXiv 2112.05131, eq. 3).

    ``table (*shape, F)`` may be a slab of a larger lattice, of which ``resolution`` is then the shape: the paper takes
    a random 1 % of its cells at every step (1e-5 for densities, 1e-3 for colours). Differences reach to the next cell
    along each axis, from the last cell to none. 0 where all is constant.
    """
    shape = table.shape[:-1]
    squares = torch.zeros_like(table)
    for axis, size in enumerate(shape if resolution is None else resolution):
        difference = table.diff(dim=axis, append=table.narrow(axis, shape[axis] - 1, 1)) * (size / 256)
        squares = squares + difference.square()
    return ((squares + _TINY).sqrt() - _TINY**0.5).mean()


def roughness(table: Tensor) -> Tensor:
    """The mean squared difference of neighbours, summed over the axes, for planes and lines (K-Planes, TensoRF).

    Weights are not comparable between the papers' codes, each with factors of its own; nor is ours with theirs.
    """
    axes = [axis for axis, size in enumerate(table.shape[:-1]) if size > 1]
    return sum((table.diff(dim=axis).square().mean() for axis in axes), table.new_zeros(()))


def sparsity(factors: Sequence[Tensor]) -> Tensor:
    """The mean |number| of each factor, added up: TensoRF's L1 on its density's planes and lines (8e-5, then 4e-5)."""
    return torch.stack([factor.abs().mean() for factor in factors]).sum()
