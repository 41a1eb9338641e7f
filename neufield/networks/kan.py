"""Kolmogorov-Arnold networks."""

import itertools
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Network
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS
from neufield.networks.layers import KANLinear


class KAN(Network):
    """``n_hidden_layers`` + 1 layers of splines; ``width`` values between two of them, and nothing else.

    Inputs are wanted within [-1, 1], where the splines are: an ``Identity(d, 2, -1)`` or an encoding by sines gives
    such. With ``squash`` what goes from layer to layer is brought there by tanh; without, as in the paper, it may leave
    the splines' range, which :meth:`update_grids` then follows. The paper's deeper networks rarely pay here.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 32,
        n_hidden_layers: int = 2,
        grid_size: int = 5,
        degree: int = 3,
        squash: bool = True,
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        check_layers(n_hidden_layers)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.grid_size = grid_size
        self.degree = degree
        self.squash = squash
        self.output_activation = output_activation
        widths = [in_dim, *[width] * n_hidden_layers, out_dim]
        self.layers = nn.ModuleList(
            KANLinear(a, b, grid_size=grid_size, degree=degree, generator=generator)
            for a, b in itertools.pairwise(widths)
        )

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map features ``h`` to values."""
        del x
        for i, layer in enumerate(self.layers):
            h = layer(self._between(h, i))
        return ACTIVATIONS[self.output_activation](h)

    @torch.no_grad()
    def update_grids(self, h: Float[Tensor, "n in_dim"]) -> None:
        """Move each layer's knots to the inputs that it gets where the network gets ``h``; its values there stay."""
        for i, layer in enumerate(cast(list[KANLinear], list(self.layers))):
            h = self._between(h, i)
            y = layer(h)
            layer.update_grid(h)
            h = y

    def _between(self, h: Tensor, i: int) -> Tensor:
        return torch.tanh(h) if self.squash and i > 0 else h
