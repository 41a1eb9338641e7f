"""Encoding and network for what is there, a second network for how it looks: instant-ngp, and all of its kin."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding, Network, RadianceField
from neufield.core.recipe import Recipe
from neufield.core.records import Chains, Event, Geometry
from neufield.core.shapes import check_points
from neufield.fields.neural import NeuralField
from neufield.fields.radiance.checks import check_three_dimensional
from neufield.fields.radiance.density import Density


class NeuralRadiance(RadianceField):
    """``network(encoding(x))``, its channel 0 the density's logit; ``color_network(its output, direction(d))``.

    Instant-ngp (arXiv 2201.05989, section 5.4) with a hash grid; a hybrid K-Planes with planes. The colour network sees
    all of the first one's channels, the logit among them, as in the paper (nerfacc and torch-ngp leave it out). It
    reads what ``direction`` encodes of the unit d as (d + 1) / 2, and must end within [0, 1]: a sigmoid.

    Encoding and network are one :class:`NeuralField`, so that a fused kernel serves them where there is one.
    """

    def __init__(
        self,
        encoding: Encoding,
        network: Network,
        direction: Encoding,
        color_network: Network,
        density: Density | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        check_three_dimensional(encoding=encoding, direction=direction)
        expected = network.out_dim + direction.out_dim
        if color_network.in_dim != expected or color_network.out_dim != 3:
            raise ValueError(
                f"the colour network takes {color_network.in_dim} features to {color_network.out_dim} values, but "
                f"{network.out_dim} of the network and {direction.out_dim} of the direction go in, and red, green, "
                f"blue come out; build it with in_dim={expected}, out_dim=3"
            )
        self.trunk = NeuralField(encoding, network)
        self.direction = direction
        self.color_network = color_network
        self.density = density or Density("trunc_exp")
        self.recipe = recipe or Recipe()

    @property
    def encoding(self) -> Encoding:
        """Of points."""
        return self.trunk.encoding

    @property
    def network(self) -> Network:
        """Of the density."""
        return self.trunk.network

    def geometry(self, x: Float[Tensor, "*points 3"]) -> Geometry:
        """Density, and the network's output (..., network.out_dim) as features."""
        features = self.trunk(x)
        logit = features[..., 0]
        return Geometry(logit, self.density(logit), features)

    def color(self, features: Float[Tensor, "*points F"], d: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 3"]:
        """The colour of ``features`` along unit directions ``d``."""
        check_points(d, 3, "d")
        seen = (d + 1) / 2
        return self.color_network(torch.cat([features, self.direction(seen)], dim=-1), seen)

    def chains(self) -> Chains | None:
        """Both networks, where nothing acts within them and the encoding is one that kernels know."""
        front, geometry, color = self.encoding.front(), self.network.chain(), self.color_network.chain()
        direction = self.direction.front()
        if front is None or geometry is None or color is None or direction is None:
            return None
        if geometry.output_activation != "none":
            return None
        return Chains(front, geometry, color, self.density, direction)

    def adapt(self, event: Event) -> None:
        """Encoding and network see the field's own coordinates."""
        self.trunk.adapt(event)
