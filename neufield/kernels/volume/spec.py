"""What volume rendering computes with, and what it gives."""

import abc
import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neufield.core.rays import Intervals, Rays, RenderOutput
from neufield.core.shapes import check_positive
from neufield.functional.boxes import from_unit_box, to_unit_box
from neufield.functional.contraction import contract, uncontract
from neufield.kernels.dispatch import Kernel

_MOST_LEVELS = 24  # as float32 has bits
Corner = Sequence[float]  # three of them


@dataclasses.dataclass(frozen=True)
class MarchSpec:
    """Steps through the box from ``lower`` to ``upper``, which is the unit box; or, ``contracted``, through the world.

    An interval that starts at a distance t is max(``render_step_size``, ``cone_angle`` * t) world units long: with a
    cone the intervals grow as pixels' footprints do (instant-ngp, arXiv 2201.05989, appendix E.1).

    Contracted (mip-NeRF 360, arXiv 2111.12077, equation 10), the ball in the box keeps its shape in the middle half of
    the unit box, and what is beyond is drawn into the shell around it.

    Cells are kept in ``cascades``, the last of which is the unit box, each other one half of the next, around the same
    middle, with as many cells. A point's level is the smallest that holds it.
    """

    lower: Corner
    upper: Corner
    render_step_size: float
    cone_angle: float = 0.0
    cascades: int = 1
    contracted: bool = False

    def __post_init__(self) -> None:
        check_positive(render_step_size=self.render_step_size, cascades=self.cascades)
        if not (len(self.lower) == len(self.upper) == 3):
            raise ValueError(f"a march's box has corners of 3 numbers, not {self.lower} and {self.upper}")
        object.__setattr__(self, "lower", tuple(self.lower))  # lists have no hash, by which kernels keep what they made
        object.__setattr__(self, "upper", tuple(self.upper))
        if self.cascades > _MOST_LEVELS:
            raise ValueError(
                f"cascades is {self.cascades}, but each halves the box: at most {_MOST_LEVELS} are told apart"
            )

    def to_unit(self, points: Tensor) -> Tensor:
        """World points (..., 3) in the coordinates of the unit box."""
        x = to_unit_box(points, self.lower, self.upper)
        return contract(2 * x - 1) if self.contracted else x

    def from_unit(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`to_unit`; contracted, what lies on the unit box's border is infinitely far."""
        if self.contracted:
            x = (uncontract(x) + 1) / 2
        return from_unit_box(x, self.lower, self.upper)

    def lengths(self, starts: Tensor) -> Tensor:
        """The lengths of the intervals that start at distances ``starts``, in world units."""
        return (self.cone_angle * starts).clamp(min=self.render_step_size)

    def intervals(self, ray_ids: Tensor, n_rays: int, starts: Tensor) -> Intervals:
        """The intervals that start at ``starts (S,)``."""
        return Intervals(ray_ids, n_rays, starts, starts + self.lengths(starts))

    def cells(self, x: Tensor, resolution: int) -> Tensor:
        """The index among (levels, resolution ** 3) of the cell that holds each unit-box point ``x (..., 3)``."""
        off = (2 * x - 1).abs().amax(dim=-1)
        level = sum((off * 2.0**k > 1).long() for k in range(1, self.cascades)) + torch.zeros_like(
            off, dtype=torch.long
        )
        scale = torch.exp2(self.cascades - 1.0 - level)[..., None]
        place = (((x - 0.5) * scale + 0.5) * resolution).nan_to_num(nan=0.0).clamp(0, resolution - 1).long()
        for axis in range(3):
            level = level * resolution + place[..., axis]
        return level

    @property
    def numbers(self) -> list[float]:
        """Everything in a row, as an operator of torch.library takes it."""
        return [
            *self.lower,
            *self.upper,
            self.render_step_size,
            self.cone_angle,
            float(self.cascades),
            float(self.contracted),
        ]

    @staticmethod
    def from_numbers(numbers: Sequence[float]) -> "MarchSpec":
        """The spec that these ``numbers`` describe."""
        if len(numbers) != 10:
            raise ValueError(f"a march is 10 numbers, not {len(numbers)}")
        render_step_size, cone_angle, cascades, contracted = numbers[6:]
        if cascades != int(cascades):
            raise ValueError(f"cascades is {cascades}, but it is a whole number")
        return MarchSpec(
            tuple(numbers[:3]), tuple(numbers[3:6]), render_step_size, cone_angle, int(cascades), bool(contracted)
        )


class MarchKernel(Kernel[MarchSpec]):
    """Marches rays: finds their intervals in occupied cells."""

    @abc.abstractmethod
    def march(
        self, rays: Rays, jitter: Float[Tensor, " N"], occupied: Bool[Tensor, "cascades R R R"], spec: MarchSpec
    ) -> Intervals:
        """The intervals whose middle lies between the ray's near and far, in an occupied cell.

        The first interval starts at near + jitter times its length, ``jitter`` in [-1, 0], each other one at the end of
        the one before. A point outside the box belongs to the nearest cell. Rays of a million steps or more have none.
        """


class CompositeKernel(Kernel[int]):
    """Composites samples along rays into color, opacity and distance; the spec is the number of color channels."""

    @abc.abstractmethod
    def composite(self, sigma: Float[Tensor, " S"], rgb: Float[Tensor, "S C"], intervals: Intervals) -> RenderOutput:
        """Emission and absorption: colors, ones and distances, each weighted by its interval's share of light.

        Differentiable, any number of times, by everything but ``ray_ids``. There is no background, and no samples.
        """

    @abc.abstractmethod
    def visibility_mask(
        self, sigma: Float[Tensor, " S"], intervals: Intervals, early_stop_eps: float
    ) -> Bool[Tensor, " S"]:
        """Which intervals still get at least the share ``early_stop_eps`` of the light."""
