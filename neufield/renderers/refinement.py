"""Poses that are learned with the field: rigid motions of the cameras, and the exponential map that they come from."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.on_device import device_constant
from neufield.core.param_groups import ParamGroup
from neufield.core.shapes import check_positive

_TERMS = 20  # of the series; the first left out is 1e-17 of the sum at a whole turn


class PoseRefinement(nn.Module):
    """A rigid motion for each of the first ``count`` cameras, as a twist of se(3) about the scene's ``center``.

    ``twists (count, 6)``: rotation vector in radians about world axes through ``center``, then translation in units of
    ``scale``. Turning a camera about itself and shifting it move the image of a scene much alike, and an optimizer that
    looks at one number at a time is slow where two only tell together; turning it about what it looks at is different.

    Twists start at zero. ``prior_weight / 2`` times the mean over the cameras of |twist|^2 is added to the loss (by the
    optimizer, to the gradient), which keeps a camera that nothing holds, and all of them together, from wandering off.

    Args:
        count: of cameras; what comes after them stays where it is.
        center: of the scene, in world units.
        scale: world units; about how far the cameras are from the center, so that a turn and a shift by the same
            number move pixels alike.
        lr: learning rate, about the radians that a camera moves in a step.
        prior_weight: of the Gaussian prior that pulls towards zero.
    """

    def __init__(
        self,
        count: int,
        center: Sequence[float] = (0.0, 0.0, 0.0),
        scale: float = 1.0,
        lr: float = 1e-3,
        prior_weight: float = 1e-3,
    ) -> None:
        super().__init__()
        check_positive(count=count, scale=scale, lr=lr)
        if not prior_weight >= 0:
            raise ValueError(f"prior_weight is {prior_weight}, but it must be 0 or above")
        self.count = count
        self.center = list(center)
        self.scale = scale
        self.lr = lr
        self.prior_weight = prior_weight
        self.twists = nn.Parameter(torch.zeros(count, 6))

    def param_groups(self) -> list[ParamGroup]:
        """The twists, at a rate of their own; the pull is of the mean over the cameras."""
        return [ParamGroup([self.twists], self.lr, self.prior_weight / self.count)]

    def forward(self, to_world: Float[Tensor, "C 3 4"]) -> Float[Tensor, "C 3 4"]:
        """The poses (camera to world) after the motions."""
        turn, shift = self.twists.split(3, dim=1)
        spin, slide = rigid_motions(torch.cat([turn, shift * self.scale], dim=1)).split([3, 1], dim=2)
        rotation, place = to_world[: self.count].split([3, 1], dim=2)
        arm = place - device_constant(self.center, place)[:, None]
        # A difference, so that a twist of zero leaves the pose to the bit.
        moved = torch.cat([spin @ rotation, place + (spin @ arm - arm) + slide], dim=2)
        return torch.cat([moved, to_world[self.count :]])

    @torch.no_grad()
    def moved(self) -> tuple[float, float]:
        """Measure the mean motion: an angle in degrees, a distance in world units."""
        turn, shift = self.twists.split(3, dim=1)
        return math.degrees(turn.norm(dim=1).mean()), self.scale * float(shift.norm(dim=1).mean())


def rigid_motions(twists: Float[Tensor, "N 6"]) -> Float[Tensor, "N 3 4"]:
    """The exponential map of se(3): rotation vector w and velocity v -> [R | V v].

    R = I + a W + b W^2, V = I + b W + c W^2, with W u = w x u, t = |w|, a = sin t / t, b = (1 - cos t) / t^2,
    c = (t - sin t) / t^3. The three are summed as series in t^2: they have no 0 / 0 at t = 0, lose nothing near it, and
    have all derivatives everywhere. Right to rounding for up to a whole turn.
    """
    w, v = twists.split(3, dim=1)
    a, b, c = _series(w.square().sum(dim=1)).unbind(1)
    x, y, z = w.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)
    twice = cross @ cross
    identity = torch.eye(3, dtype=w.dtype, device=w.device)
    rotation = identity + a[:, None, None] * cross + b[:, None, None] * twice
    along = identity + b[:, None, None] * cross + c[:, None, None] * twice
    return torch.cat([rotation, along @ v[:, :, None]], dim=2)


def _series(square: Tensor) -> Tensor:
    """The sums over k of (-``square``)^k / (n + 2 k)! for n = 1, 2, 3: (N, 3)."""
    n = torch.arange(1, 4, dtype=square.dtype, device=square.device)
    total = torch.ones_like(square)[:, None] * torch.ones_like(n)
    for k in range(_TERMS, 0, -1):
        total = 1 - total * square[:, None] / ((n + 2 * k) * (n + 2 * k - 1))
    return total / device_constant([1.0, 2.0, 6.0], n)
