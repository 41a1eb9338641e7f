"""Networks of rational activations."""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Network
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS
from neufield.networks.layers import GRKANLinear


class GRKAN(Network):
    """``n_hidden_layers`` + 1 layers of ``GRKANLinear`` (arXiv 2409.10594).

    The first activation starts as the identity and the others as ``start``, as the two of a block of the paper do.
    ``groups`` is lowered, in each layer, to a number that divides its inputs.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_hidden_layers: int = 3,
        groups: int = 8,
        start: str = "gelu",
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width, groups=groups)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        check_layers(n_hidden_layers)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.groups = groups
        self.start = start
        self.output_activation = output_activation
        widths = [in_dim, *[width] * n_hidden_layers, out_dim]
        self.layers = nn.ModuleList(
            GRKANLinear(a, b, True, math.gcd(groups, a), start if i else "identity", generator)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map features ``h`` to values."""
        del x
        for layer in self.layers:
            h = layer(h)
        return ACTIVATIONS[self.output_activation](h)
