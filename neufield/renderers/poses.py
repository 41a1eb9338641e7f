"""Where cameras that never were may stand: poses drawn around a scene, for whoever learns from views of a field."""

import abc
import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.rotations import look_at, to_matrices, to_quaternions
from neufield.core.shapes import check_positive

_RING = 15.0  # degrees of height for which a ring has one camera less
_BAND = 5.0  # degrees below a ring in which its cameras stand
_NEIGHBORS = 4
_TURN = math.pi / 20  # of PVD-AL's disturbed poses, at most


class PoseSampler(abc.ABC):
    """Draws ``count`` poses, camera to world (count, 4, 4) in float64: what one epoch of a distillation looks from."""

    count: int

    @abc.abstractmethod
    def draw(self, generator: torch.Generator) -> Float[Tensor, "count 4 4"]:
        """Draw a fresh set of poses."""


@dataclasses.dataclass(frozen=True)
class Rings(PoseSampler):
    """Stands on rings around ``center`` and looks at it: more cameras near the horizon than above (PVD's code).

    Of each degree a from ``lowest`` to ``highest`` there are floor((90 - |a|) / 15) + 1 cameras, each at a random
    azimuth, at a random elevation up to 5 degrees below a, and not below ``lowest``. 0 to 80 are PVD's 312 poses of the
    synthetic scenes.

    Args:
        center: what is looked at, in world units.
        radius: least and largest distance from it.
        up: the direction that is upwards.
        lowest: whole degrees above the horizon.
        highest: whole degrees above the horizon, below 90.
    """

    center: tuple[float, float, float]
    radius: tuple[float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    lowest: int = 0
    highest: int = 80

    def __post_init__(self) -> None:
        check_positive(radius=min(self.radius))
        if not -90 < self.lowest <= self.highest < 90:
            raise ValueError(
                f"the rings are from {self.lowest} to {self.highest} degrees, but they must rise between -90 and 90"
            )

    @property
    def _ring_of_each(self) -> list[int]:
        return [
            ring for ring in range(self.lowest, self.highest + 1) for _ in range(int((90 - abs(ring)) // _RING) + 1)
        ]

    @property
    def count(self) -> int:  # type: ignore[override]
        """How many poses an epoch has."""
        return len(self._ring_of_each)

    def draw(self, generator: torch.Generator) -> Float[Tensor, "count 4 4"]:
        """See :class:`PoseSampler`."""
        rings = torch.tensor(self._ring_of_each, dtype=torch.float64)
        azimuth, below, out = _uniform((3, len(rings)), generator)
        elevation = torch.deg2rad((rings - _BAND * below).clamp(min=float(self.lowest)))
        radius = self.radius[0] + (self.radius[1] - self.radius[0]) * out
        above = torch.nn.functional.normalize(torch.tensor(self.up, dtype=torch.float64), dim=0)
        ahead = torch.eye(3, dtype=torch.float64)[0 if abs(above[0]) < 0.9 else 1]
        ahead = torch.nn.functional.normalize(ahead - above * (ahead @ above), dim=0)
        aside, angle = torch.linalg.cross(above, ahead), 2 * math.pi * azimuth
        flat = angle.cos()[:, None] * ahead + angle.sin()[:, None] * aside
        places = elevation.cos()[:, None] * flat + elevation.sin()[:, None] * above
        center = torch.tensor(self.center, dtype=torch.float64)
        return _looking(center + radius[:, None] * places, center, above)


@dataclasses.dataclass(frozen=True)
class Nearby(PoseSampler):
    """Stands between given cameras and looks as they do: for real scenes, of which nothing else was ever seen.

    Each pose lies at a random share of the way from one of ``poses`` to one of its four nearest, position and rotation
    alike, and is then turned about its own axes by up to 9 degrees (ours: PVD's code draws rings for these, too, and
    stands where no photographer was).
    """

    poses: Float[Tensor, "n 4 4"]
    count: int = 100

    def draw(self, generator: torch.Generator) -> Float[Tensor, "count 4 4"]:
        """See :class:`PoseSampler`."""
        poses = self.poses.double()
        places = poses[:, :3, 3]
        nearest = (places[:, None] - places[None]).norm(dim=-1).argsort(dim=1)[:, : _NEIGHBORS + 1]
        first = torch.randint(len(poses), (self.count,), generator=generator)
        which = torch.randint(nearest.shape[1], (self.count,), generator=generator)
        other, share = nearest[first, which], _uniform((self.count,), generator)
        turns = to_quaternions(poses[:, :3, :3])
        close = torch.where((turns[first] * turns[other]).sum(1, keepdim=True) < 0, -turns[other], turns[other])
        made = torch.eye(4, dtype=torch.float64).repeat(self.count, 1, 1)
        made[:, :3, :3] = to_matrices(torch.lerp(turns[first], close, share[:, None]))
        made[:, :3, 3] = torch.lerp(places[first], places[other], share[:, None])
        return turned(made, generator)


@dataclasses.dataclass(frozen=True)
class Forward(PoseSampler):
    """Stands anywhere in the box around ``places`` and looks at ``target``: for scenes seen from the front (LLFF)."""

    places: Float[Tensor, "n 3"]
    target: tuple[float, float, float]
    up: tuple[float, float, float]
    count: int = 30

    def draw(self, generator: torch.Generator) -> Float[Tensor, "count 4 4"]:
        """See :class:`PoseSampler`."""
        low, high = self.places.double().amin(dim=0), self.places.double().amax(dim=0)
        places = low + (high - low) * _uniform((self.count, 3), generator)
        return _looking(places, torch.tensor(self.target, dtype=torch.float64), torch.tensor(self.up))


def turned(poses: Float[Tensor, "n 4 4"], generator: torch.Generator) -> Float[Tensor, "n 4 4"]:
    """The poses, each turned in its place about its own three axes by up to 9 degrees each (PVD-AL, 2304.04012)."""
    angles = (2 * _uniform((len(poses), 3), generator) - 1) * _TURN
    made = poses.clone()
    for axis in range(3):
        half = angles[:, axis] / 2
        quaternions = torch.zeros(len(poses), 4, dtype=torch.float64)
        quaternions[:, axis], quaternions[:, 3] = half.sin(), half.cos()
        made[:, :3, :3] = made[:, :3, :3] @ to_matrices(quaternions)
    return made


def _looking(places: Tensor, target: Tensor, up: Tensor) -> Tensor:
    return torch.stack([look_at(place, target, up) for place in places])


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)
