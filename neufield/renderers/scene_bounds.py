"""Scene bounds: the part of the world that a field covers, and its map to the unit box."""

import abc
import dataclasses
import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.on_device import device_constant
from neufield.functional import contract, to_unit_box
from neufield.kernels.volume import Corner, MarchSpec


class SceneBounds(abc.ABC):
    """Takes world points to the unit box, and rays to the part of them that matters."""

    @abc.abstractmethod
    def to_unit(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """World points in the coordinates of the unit box."""

    @abc.abstractmethod
    def near_far(self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
        """Distances (n,) at which rays enter and leave; far <= near for those that miss."""

    @abc.abstractmethod
    def march(self, render_step_size: float, cone_angle: float = 0.0, cascades: int = 1) -> MarchSpec:
        """Steps through this space for an occupancy grid; see :class:`MarchSpec`."""

    center: Corner
    """The middle of the scene, in world units."""

    def disparity_origin(self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The distance along each ray from which disparities count: 0, the ray's own beginning, in most spaces."""
        del directions
        return torch.zeros_like(origins[:, 0])


@dataclasses.dataclass(frozen=True)
class Box(SceneBounds):
    """Maps a box of the world to the unit box; outside is nothing. ``near`` world units before a camera are empty."""

    lower: Corner
    upper: Corner
    near: float = 0.05

    def __post_init__(self) -> None:
        if len(self.lower) != 3 or len(self.upper) != 3:
            raise ValueError(f"lower is {self.lower} and upper {self.upper}, but each must be three numbers")
        if not all(-math.inf < low < high < math.inf for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(
                f"the box from {self.lower} to {self.upper} is empty or endless; every lower must be below its upper"
            )

    def to_unit(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """See :class:`SceneBounds`."""
        return to_unit_box(points, self.lower, self.upper)

    def near_far(self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
        """Clip rays to the slabs between opposite faces."""
        lower, upper = device_constant(self.lower, origins), device_constant(self.upper, origins)
        # A direction of exactly 0 gives infinities of the right sign; from a point on the face NaN, which is no limit.
        a, b = (lower - origins) / directions, (upper - origins) / directions
        first, last = torch.minimum(a, b).nan_to_num(nan=-torch.inf), torch.maximum(a, b).nan_to_num(nan=torch.inf)
        return first.amax(dim=1).clamp(min=self.near), last.amin(dim=1)

    def march(self, render_step_size: float, cone_angle: float = 0.0, cascades: int = 1) -> MarchSpec:
        """See :class:`SceneBounds`."""
        return MarchSpec(tuple(self.lower), tuple(self.upper), render_step_size, cone_angle, cascades)

    @functools.cached_property
    def center(self) -> Corner:  # type: ignore[override]  # computed, and as constant as a field
        """The middle between both corners."""
        return [(low + high) / 2 for low, high in zip(self.lower, self.upper, strict=True)]


@dataclasses.dataclass(frozen=True)
class Contraction(SceneBounds):
    """Maps all of the world to the unit box: a ball around ``center`` keeps its shape, the rest fills a shell.

    x -> (2 - 1 / |x|) x / |x| beyond |x| = 1 (mip-NeRF 360, arXiv 2111.12077, equation 10), then x / 4 + 1/2.
    ``radius`` is the ball's, in world units; rays count from ``near`` to ``far`` world units.
    """

    center: Corner
    radius: float
    near: float
    far: float

    def to_unit(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """See :class:`SceneBounds`."""
        return contract((points - device_constant(self.center, points)) / self.radius)

    def near_far(self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
        """Begin and end every ray at the same distances."""
        del directions
        return torch.full_like(origins[:, 0], self.near), torch.full_like(origins[:, 0], self.far)

    def march(self, render_step_size: float, cone_angle: float = 0.0, cascades: int = 1) -> MarchSpec:
        """See :class:`SceneBounds`; one level, for the contraction does what levels are for."""
        if cascades != 1:
            raise ValueError(f"cascades is {cascades}, but a contracted space has one cascade of cells; use cascades=1")
        lower, upper = [c - self.radius for c in self.center], [c + self.radius for c in self.center]
        return MarchSpec(tuple(lower), tuple(upper), render_step_size, cone_angle, contracted=True)
