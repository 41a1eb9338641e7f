"""What volume rendering computes with, and what it gives."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neufield.core.records import Rays
from neufield.core.shapes import check_positive
from neufield.kernels.dispatch import Kernel

Corner = Sequence[float]  # three of them


class Composite(NamedTuple):
    """Of each ray the colour (N, C) without background, the opacity (N,) and the sum of weight times distance (N,).

    ``weights (S,)`` are the intervals' shares of their rays' light. Depth is ``distance / opacity``.
    """

    rgb: Tensor
    opacity: Tensor
    distance: Tensor
    weights: Tensor


@dataclasses.dataclass(frozen=True)
class MarchSpec:
    """Steps of ``step`` world units through the box from ``lower`` to ``upper``, which is the unit box."""

    lower: Corner
    upper: Corner
    step: float

    def __post_init__(self) -> None:
        check_positive(step=self.step)

    def to_unit(self, points: Tensor) -> Tensor:
        """World points (..., 3) in the coordinates of the unit box."""
        lower, upper = (torch.tensor(v, dtype=points.dtype, device=points.device) for v in (self.lower, self.upper))
        return (points - lower) / (upper - lower)


class MarchKernel(Kernel[MarchSpec]):
    """Who finds the intervals of rays in occupied cells."""

    @abc.abstractmethod
    def march(
        self, rays: Rays, shift: Float[Tensor, " N"], occupied: Bool[Tensor, "R R R"], spec: MarchSpec
    ) -> tuple[Int[Tensor, " S"], Float[Tensor, " S"]]:
        """The intervals whose middle lies between the ray's near and far, in an occupied cell: ``ray_ids`` and starts.

        They are ``spec.step`` long and start at near + (k + shift) step, k = 0, 1, ...; ``shift`` is in [-1, 0]. A
        point outside the box belongs to the nearest cell. Rays of a million steps or more have none.
        """
