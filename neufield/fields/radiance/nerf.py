"""NeRF's network."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding, Modulation, RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Recipe
from neufield.core.records import Event
from neufield.core.shapes import check_points, check_positive
from neufield.fields.neural import NeuralField
from neufield.fields.radiance.checks import check_three_dimensional
from neufield.fields.radiance.density import DensityActivation
from neufield.networks.mlp import MLP


class NerfRadiance(RadianceField):
    """The perceptron of NeRF (arXiv 2003.08934, figure 7): ``depth`` ReLU layers of ``width``, then density and color.

    The encoded point comes back after layer ``depth // 2 + 1`` (the fifth of eight). From the last layer one linear map
    leads to the density's logit and ``width`` features; these and the encoded direction, d as (d + 1) / 2, pass one
    ReLU layer of half the width to a sigmoid. With 63 and 27 inputs that is the released code's 595,844 numbers. A
    ``modulation`` acts in the ``depth`` layers, with the coordinates of the point.

    Weights start Xavier uniform and biases at zero (the paper's code: Keras' Glorot, the same). A ReLU density can
    start, and then stay, zero everywhere; ``DensityActivation("softplus", -1)`` cannot (mip-NeRF, arXiv 2103.13415,
    section 3).
    """

    def __init__(
        self,
        encoding: Encoding,
        direction: Encoding,
        width: int = 256,
        depth: int = 8,
        density_activation: DensityActivation | None = None,
        recipe: Recipe | None = None,
        modulation: Modulation | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(width=width, depth=depth)
        check_three_dimensional(encoding=encoding, direction=direction)
        self.direction = direction
        self.width = width
        self.depth = depth
        self.density_activation = density_activation or DensityActivation("relu")
        self.recipe = recipe or Recipe()
        back = depth // 2 + 1  # counted from 0: before this hidden layer, so after that many
        skips = [back] if back < depth else []
        network = MLP(
            encoding.out_dim, 1 + width, width, depth, skips=skips, modulation=modulation, generator=generator
        )
        self.backbone = NeuralField(encoding, network)
        half = max(1, width // 2)
        self.color_network = MLP(
            width + direction.out_dim, 3, half, 1, output_activation="sigmoid", generator=generator
        )

    @property
    def encoding(self) -> Encoding:
        """The encoding of points."""
        return self.backbone.encoding

    @property
    def modulation(self) -> Modulation | None:
        """The modulation of the density's layers."""
        return cast(MLP, self.backbone.network).modulation

    def geometry(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Geometry:
        """Density, and ``width`` features."""
        logit, features = self.backbone(x).split([1, self.width], dim=-1)
        logit = logit.squeeze(-1)
        return Geometry(logit, self.density_activation(logit), features)

    def color(
        self, features: Float[Tensor, "*points F"], d: Float[Tensor, "*points 3"], cond: Conditioning | None = None
    ) -> Float[Tensor, "*points 3"]:
        """The color of ``features`` along unit directions ``d``."""
        check_points(d, 3, "d", self)
        seen = (d + 1) / 2
        return self.color_network(torch.cat([features, self.direction(seen)], dim=-1), seen)

    def on_step(self, event: Event) -> None:
        """The encoding sees the field's own coordinates."""
        self.backbone.on_step(event)
