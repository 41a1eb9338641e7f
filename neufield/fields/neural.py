"""Encoding and network, wired to a field."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding, Field, Network
from neufield.core.recipe import Recipe
from neufield.core.records import Event


class NeuralField(Field):
    """network(encoding(x)), with the ``recipe`` that trains it well unless the caller of ``fit`` knows better."""

    def __init__(self, encoding: Encoding, network: Network, recipe: Recipe | None = None) -> None:
        super().__init__()
        if network.in_dim != encoding.out_dim:
            raise ValueError(
                f"the encoding gives {encoding.out_dim} features, but the network takes {network.in_dim}; "
                f"build the network with in_dim={encoding.out_dim}"
            )
        self.encoding = encoding
        self.network = network
        self.recipe = recipe or Recipe()
        self.in_dim = encoding.in_dim
        self.out_dim = network.out_dim

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Evaluate at points of the unit box."""
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 has too few bits for a phase or a grid position
            features = self.encoding(x)
        return self.network(features, x)

    def adapt(self, event: Event) -> None:
        """Encoding and network both see the field's own coordinates."""
        self.encoding.adapt(event)
        self.network.adapt(event)
