"""Density alone: what a sampler needs to know of a scene."""

from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding, Field, Network
from neufield.core.recipe import Recipe
from neufield.core.records import Event
from neufield.fields.neural import NeuralField
from neufield.fields.radiance.checks import check_three_dimensional
from neufield.fields.radiance.density import DensityActivation


class DensityField(Field):
    """``density_activation(network(encoding(x)))``: unit-box points (..., 3) -> (..., 1) per world unit, no color."""

    def __init__(
        self,
        encoding: Encoding,
        network: Network,
        density_activation: DensityActivation | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        check_three_dimensional(encoding=encoding)
        if network.out_dim != 1:
            raise ValueError(
                f"the network gives {network.out_dim} values, but a density is one; build it with out_dim=1"
            )
        self.backbone = NeuralField(encoding, network)
        self.density_activation = density_activation or DensityActivation("trunc_exp")
        self.recipe = recipe or Recipe()
        self.in_dim = 3
        self.out_dim = 1

    @property
    def encoding(self) -> Encoding:
        """The encoding of points."""
        return self.backbone.encoding

    @property
    def network(self) -> Network:
        """The network of the density."""
        return self.backbone.network

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Densities, in float32 at least."""
        return self.density_activation(self.backbone(x))

    def on_step(self, event: Event) -> None:
        """Encoding and network see the field's own coordinates."""
        self.backbone.on_step(event)
