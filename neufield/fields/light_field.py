"""A light field: the color of a ray in one evaluation of a network, without samples to add up."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Field, Network
from neufield.core.on_device import device_constant, device_uniform
from neufield.core.recipe import Recipe
from neufield.core.records import Event
from neufield.core.shapes import check_points, check_positive
from neufield.functional import octaves


class LightField(Field):
    """R2L's light field (arXiv 2203.17261): rays (origin, direction) -> the color at their origin.

    A ray is given to the ``network`` as ``n_points`` points o + z_k d, each coordinate encoded by
    :func:`~neufield.functional.octaves`: 3 ``n_points`` (2 ``n_frequencies`` + 1) features, 1008 in the paper. The z_k
    lie evenly in [``near``, ``far``]. They are depths along the camera's axis, because directions are not normalized:
    their part along the axis is 1, as in the official code. In training each is drawn from its own stretch between the
    middles to its neighbors (:meth:`jittered`); a rendering has none of that.

    Args:
        network: of so many features; sees no direction beside the points.
        near: depth of the first point, in world units.
        far: depth of the last one.
        n_points: the paper's K, at least 2.
        n_frequencies: octaves of the encoding, the paper's L.
        center: what is subtracted from the points, in world units.
        scale: by which they are multiplied then; frequencies are those of the product, the paper's of worlds in which
            the cameras are at distance 4.
        recipe: by default R2L's, for few steps.
    """

    def __init__(
        self,
        network: Network,
        near: float,
        far: float,
        n_points: int = 16,
        n_frequencies: int = 10,
        center: Sequence[float] = (0.0, 0.0, 0.0),
        scale: float = 1.0,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        check_positive(n_points=n_points - 1, n_frequencies=n_frequencies, scale=scale, depth=far - near)
        features = features_of_ray(n_points, n_frequencies)
        if network.in_dim != features:
            raise ValueError(
                f"the network takes {network.in_dim} features, but {n_points} points of {n_frequencies} octaves have "
                f"{features}; give it in_dim={features}"
            )
        self.network = network
        self.near = near
        self.far = far
        self.n_points = n_points
        self.n_frequencies = n_frequencies
        self.center = center
        self.scale = scale
        self.recipe = recipe or Recipe(lr=5e-4, beta2=0.999, epsilon=1e-8, batch_size=4096)
        self.in_dim = 6
        self.out_dim = network.out_dim

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """See along rays ``x``, origin and direction, the same every time."""
        check_points(x, 6, to=self)
        return self._seen(x, self._depths(x))

    def jittered(self, x: Float[Tensor, "*n d"], generator: torch.Generator) -> Float[Tensor, "*n c"]:
        """See along rays by points that are drawn anew for each ray, as in training."""
        check_points(x, 6, to=self)
        even = self._depths(x)
        middles = (even[1:] + even[:-1]) / 2
        first, last = torch.cat([even[:1], middles]), torch.cat([middles, even[-1:]])
        drawn = device_uniform((*x.shape[:-1], self.n_points), generator, x)
        return self._seen(x, first + (last - first) * drawn)

    def on_step(self, event: Event) -> None:
        """Pass the event on to the network."""
        self.network.on_step(event)

    def _depths(self, x: Tensor) -> Float[Tensor, " K"]:
        return torch.linspace(self.near, self.far, self.n_points, dtype=x.dtype, device=x.device)

    def _seen(self, x: Float[Tensor, "*n 6"], depths: Float[Tensor, "... K"]) -> Float[Tensor, "*n c"]:
        origins, directions = (x[..., :3] - device_constant(self.center, x))[..., None, :], x[..., None, 3:]
        points = (origins + depths[..., None] * directions) * self.scale
        return self.network(octaves(points.flatten(-2), self.n_frequencies), x)


def features_of_ray(n_points: int, n_frequencies: int) -> int:
    """How many features ``n_points`` points of a ray have."""
    return 3 * n_points * (2 * n_frequencies + 1)
