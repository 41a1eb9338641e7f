"""Normalized device coordinates: the space of scenes that are photographed from the front."""

import dataclasses
import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.on_device import device_constant
from neufield.kernels.volume import Corner, MarchSpec
from neufield.renderers.scene_bounds import SceneBounds

_TINY = 1e-6
_ALONG = 1e-3  # the sine of an angle to the plane: less, and float32 could not tell distances apart


@dataclasses.dataclass(frozen=True)
class NDC(SceneBounds):
    """Maps what one camera sees between two depths to the unit box, by a projection (NeRF, arXiv 2003.08934, app. C).

    With the eye at the origin, looking along -z: x -> x / (-z w), y -> y / (-z h), z -> a + b / z, with
    a = (far + near) / (far - near) and b = 2 far near / (far - near) each moved from [-1, 1] to [0, 1]. (The paper then
    lets far go to infinity.)

    The paper turns rays into rays of that box. A projection keeps lines straight, so the same points are met without
    it: the last coordinate of o + t d is (1 / near - 1 / depth) / (1 / near - 1 / far), and a sampler with the spacing
    "disparity" divides just that evenly, because :meth:`disparity_origin` has disparities count from the plane of the
    eye. So distances stay the world's along the ray as it is, and the density is per world unit, where the paper's is
    per unit of the projected ray: the same pictures, by another function.

    Args:
        to_world: the eye's pose (3, 4), camera to world, with OpenGL's axes: x right, y up, looking along -z.
        tangents: w and h, half the width and half the height of what is seen at depth 1.
        near: depth at which the space begins, in world units.
        far: depth at which it ends.
    """

    to_world: Sequence[Sequence[float]]
    tangents: Sequence[float]
    near: float
    far: float

    def __post_init__(self) -> None:
        if [len(row) for row in self.to_world] != [4, 4, 4]:
            raise ValueError(f"to_world is {self.to_world}, but three rows of four numbers were expected")
        if len(self.tangents) != 2 or not min(self.tangents) > 0:
            raise ValueError(f"tangents are {self.tangents}, but they are two numbers above 0")
        if not 0 < self.near < self.far:
            raise ValueError(f"near is {self.near} and far {self.far}, but 0 < near < far was expected")

    def to_unit(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """See :class:`SceneBounds`. Points behind the eye have no place in it, and get one far outside."""
        turn, eye = self._pose(points)
        local = _product(points - eye, turn)
        depth = (-local[..., 2:]).clamp(min=_TINY * self.near)
        across = local[..., :2] / depth / device_constant(self.tangents, points)
        along = (1 / self.near - 1 / depth) / (1 / self.near - 1 / self.far)
        return torch.cat([(across + 1) / 2, along], dim=-1)

    def near_far(self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> tuple[Tensor, Tensor]:
        """Clip rays to the six planes around what the camera sees."""
        turn, eye = self._pose(origins)
        w, h = self.tangents
        inward = device_constant([[0, 0, -1], [0, 0, 1], [1, 0, -w], [-1, 0, -w], [0, 1, -h], [0, -1, -h]], origins)
        ahead = _product(_product(origins - eye, turn), inward.t()) + device_constant(
            [-self.near, self.far, 0, 0, 0, 0], origins
        )
        speed = _product(_product(directions, turn), inward.t())
        at = -ahead / speed  # never used where the ray runs along the plane
        outside = (speed == 0) & (ahead < 0)
        first = torch.where(speed > 0, at, torch.where(outside, torch.inf, -torch.inf))
        last = torch.where(speed < 0, at, torch.inf)
        return first.amax(dim=1).clamp(min=0.0), last.amin(dim=1)

    def disparity_origin(self, origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Find where the line of each ray passes through the plane of the camera."""
        turn, eye = self._pose(origins)
        axis = -turn[:, 2]
        speed = _product(directions, axis)
        # A ray along the plane keeps its depth: from so far away, disparities are as even as distances.
        safe = torch.where(speed.abs() < _ALONG, _ALONG, speed)
        return -_product(origins - eye, axis) / safe

    def march(self, render_step_size: float, cone_angle: float = 0.0, cascades: int = 1) -> MarchSpec:
        """None: a march goes through a box or a contracted world."""
        raise ValueError(
            "normalized device coordinates cannot be marched through; use StratifiedSampler or ProposalSampler"
        )

    @functools.cached_property
    def center(self) -> Corner:  # type: ignore[override]  # computed, and as constant as a field
        """The point on the axis halfway in disparity."""
        depth = 2 / (1 / self.near + 1 / self.far)
        return [row[3] - depth * row[2] for row in self.to_world]

    def _pose(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Turn (3, 3), camera to world, and position (3,) of the eye."""
        pose = device_constant([list(row) for row in self.to_world], like)
        return pose[:, :3], pose[:, 3]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` in their own precision, under autocast too: a place in bfloat16 is another."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b
