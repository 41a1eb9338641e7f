"""Spacings, by which distance along a ray is divided evenly."""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from neufield.core.rays import Rays
from neufield.core.shapes import check_choice, check_positive
from neufield.renderers.scene_bounds import SceneBounds


def _piecewise(distance: Tensor) -> Tensor:
    beyond = 1 - 0.5 / distance.clamp(min=1.0)
    return torch.where(distance < 1, 0.5 * distance, beyond)


def _from_piecewise(place: Tensor) -> Tensor:
    beyond = 0.5 / (1 - place).clamp(min=torch.finfo(place.dtype).tiny)
    return torch.where(place < 0.5, 2 * place, beyond)


# A rising function of distance, and its inverse.
SPACINGS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "distance": (lambda distance: distance, lambda place: place),
    "disparity": (lambda distance: -1 / distance, lambda place: -1 / place),
    "piecewise": (_piecewise, _from_piecewise),
}


@dataclasses.dataclass(frozen=True)
class Spacing:
    """s in [0, 1] between two distances: s = (g(t) - g(near)) / (g(far) - g(near)), mip-NeRF 360, equation 11.

    Args:
        name: g is "distance" t, "disparity" -1 / t, for scenes without an end, or "piecewise", nerfacto's: t / 2 up to
            t = 1, 1 - 1 / (2 t) beyond.
        unit: the distance in world units that is t = 1.
    """

    name: str = "distance"
    unit: float = 1.0

    def __post_init__(self) -> None:
        check_choice("spacing", self.name, tuple(SPACINGS))
        check_positive(unit=self.unit)

    def distances(self, s: Tensor, rays: Rays, space: SceneBounds) -> Tensor:
        """The distances (N, K) along ``rays`` at which ``s (N, K)`` lies, rising where s does.

        They count, in g, from where ``space`` says (:meth:`SceneBounds.disparity_origin`).
        """
        place, distance = SPACINGS[self.name]
        zero = space.disparity_origin(rays.origins, rays.directions)[:, None]
        near, far = rays.near[:, None], rays.far[:, None]
        first, last = (place((end - zero) / self.unit) for end in (near, far))
        found = distance(first + s * (last - first)) * self.unit + zero
        return torch.minimum(torch.maximum(found, near), far)

    def normalized(self, distances: Tensor, near: float, far: float) -> Tensor:
        """The s of ``distances`` (...), all of them between the same ``near`` and ``far``."""
        place, _ = SPACINGS[self.name]
        first, last = (place(distances.new_full((), end / self.unit)) for end in (near, far))
        return (place(distances / self.unit) - first) / (last - first)
