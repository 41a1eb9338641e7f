"""Fourier analysis networks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Network
from neufield.core.shapes import check_choice, check_layers, check_positive
from neufield.functional.activations import ACTIVATIONS
from neufield.networks.layers import FANLinear


class FAN(Network):
    """A linear map to ``width``, ``n_hidden_layers`` of ``FANLinear``, and a linear read-out (arXiv 2410.02675)."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_hidden_layers: int = 3,
        p_ratio: float = 0.25,
        periodic_bias: bool = False,
        gated: bool = False,
        output_activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width, n_hidden_layers=n_hidden_layers)
        check_layers(n_hidden_layers)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_hidden_layers = n_hidden_layers
        self.p_ratio = p_ratio
        self.periodic_bias = periodic_bias
        self.gated = gated
        self.output_activation = output_activation
        first, last = nn.Linear(in_dim, width), nn.Linear(width, out_dim)
        for layer in (first, last):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
        hidden = [
            FANLinear(width, width, True, p_ratio, periodic_bias, gated, generator) for _ in range(n_hidden_layers)
        ]
        self.layers = nn.ModuleList([first, *hidden, last])

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map features ``h`` to values."""
        del x
        for layer in self.layers:
            h = layer(h)
        return ACTIVATIONS[self.output_activation](h)
