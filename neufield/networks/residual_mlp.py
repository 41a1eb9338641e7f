"""The residual network of R2L, deep enough to know a scene's light field by heart."""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Network
from neufield.core.shapes import check_choice, check_positive
from neufield.functional.activations import ACTIVATIONS


class ResidualMLP(Network):
    """R2L's body (arXiv 2203.17261): a first layer, ``n_blocks`` residual blocks of two layers, and a linear read-out.

    h_0 = relu(W_0 h), h_i = h_{i-1} + B_i relu(A_i h_{i-1}), and the read-out sees h_n + h_0: the skip around all
    blocks, without which depths of 80 and more train poorly. Nothing is normalized. With 43 blocks of width 256 it is
    the paper's network of 88 layers. ``residual=False`` leaves out all skips, the plain network that it is compared to.
    Weights and biases start as those of ``nn.Linear`` do, U(+-1/sqrt(n)).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int = 256,
        n_blocks: int = 43,
        residual: bool = True,
        output_activation: str = "sigmoid",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, out_dim=out_dim, width=width, n_blocks=n_blocks)
        check_choice("output_activation", output_activation, tuple(ACTIVATIONS))
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.width = width
        self.n_blocks = n_blocks
        self.residual = residual
        self.output_activation = output_activation
        self.first = nn.Linear(in_dim, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(2 * n_blocks))
        self.last = nn.Linear(width, out_dim)
        for layer in (self.first, *self.blocks, self.last):
            bound = 1 / math.sqrt(cast(nn.Linear, layer).in_features)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(
        self, h: Float[Tensor, "*points in_dim"], x: Float[Tensor, "*points d"]
    ) -> Float[Tensor, "*points out"]:
        """Map features ``h`` to values."""
        del x
        start = h = torch.relu(self.first(h))
        for inner, outer in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            step = outer(torch.relu(inner(h)))
            h = h + step if self.residual else torch.relu(step)
        return ACTIVATIONS[self.output_activation](self.last(h + start if self.residual else h))
