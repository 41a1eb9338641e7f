"""Regularizers of parameters: the papers' sums over them, and the terms of a plan that name them."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neufield.core.plan import Regularizer, named
from neufield.core.records import StepContext
from neufield.core.shapes import check_positive

_TINY = 1e-9  # under Plenoxels' square root, so that it has a derivative at 0 (its code)


def total_variation(table: Tensor, resolution: Sequence[int] | None = None) -> Tensor:
    """The mean over cells and channels of |gradient|, per 1/256 of the box (Plenoxels, arXiv 2112.05131, eq. 3).

    ``table (*shape, F)`` may be a slab of a larger lattice, of which ``resolution`` is then the shape: the paper takes
    a random 1 % of its cells at every step (1e-5 for densities, 1e-3 for colors). Differences reach to the next cell
    along each axis, from the last cell to none. 0 where all is constant.
    """
    shape = table.shape[:-1]
    squares = torch.zeros_like(table)
    for axis, size in enumerate(shape if resolution is None else resolution):
        difference = table.diff(dim=axis, append=table.narrow(axis, shape[axis] - 1, 1)) * (size / 256)
        squares = squares + difference.square()
    return ((squares + _TINY).sqrt() - _TINY**0.5).mean()


def roughness(table: Tensor) -> Tensor:
    """The mean squared difference of neighbors, summed over the axes, for planes and lines (K-Planes, TensoRF).

    Weights are not comparable between the papers' codes, each with factors of its own; nor is ours with theirs.
    """
    axes = [axis for axis, size in enumerate(table.shape[:-1]) if size > 1]
    return sum((table.diff(dim=axis).square().mean() for axis in axes), table.new_zeros(()))


def sparsity(factors: Sequence[Tensor]) -> Tensor:
    """The mean |number| of each factor, added up: TensoRF's L1 on its density's planes and lines (8e-5, then 4e-5)."""
    return torch.stack([factor.abs().mean() for factor in factors]).sum()


@dataclasses.dataclass(frozen=True)
class Sparsity(Regularizer):
    """:func:`sparsity` of the ``parameters`` whose names start so."""

    weight: float
    parameters: Sequence[str]

    def __post_init__(self) -> None:
        check_positive(weight=self.weight)

    def __call__(self, model: nn.Module, step: StepContext) -> Tensor:
        """See :class:`Regularizer`."""
        del step
        return sparsity(named(model, self.parameters, "regularizes"))


@dataclasses.dataclass(frozen=True)
class Roughness(Regularizer):
    """The sum of :func:`roughness` of each of the ``parameters`` whose names start so: lattices (*shape, F)."""

    weight: float
    parameters: Sequence[str]

    def __post_init__(self) -> None:
        check_positive(weight=self.weight)

    def __call__(self, model: nn.Module, step: StepContext) -> Tensor:
        """See :class:`Regularizer`."""
        del step
        return torch.stack([roughness(table) for table in named(model, self.parameters, "regularizes")]).sum()


@dataclasses.dataclass(frozen=True)
class TotalVariation(Regularizer):
    """The sum of :func:`total_variation` of each of the ``parameters`` whose names start so: lattices (*shape, F).

    Of each, a step takes a slab of about the ``share`` of the lattice, at least two layers, at a random place along its
    first axis (Plenoxels takes 1 % of its cells in their order).
    """

    weight: float
    parameters: Sequence[str]
    share: float = 0.01

    def __post_init__(self) -> None:
        check_positive(weight=self.weight)
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, but it must be above 0 and no more than 1, for instance 0.01")

    def __call__(self, model: nn.Module, step: StepContext) -> Tensor:
        """See :class:`Regularizer`."""
        tables = named(model, self.parameters, "regularizes")
        return torch.stack([total_variation(self._slab(table, step), table.shape[:-1]) for table in tables]).sum()

    def _slab(self, table: Tensor, step: StepContext) -> Tensor:
        layers = table.shape[0]
        taken = min(layers, max(2, round(self.share * layers)))
        generator = step.generator
        first = torch.randint(layers - taken + 1, (), generator=generator, device=generator.device)
        return table.narrow(0, int(first), taken)
