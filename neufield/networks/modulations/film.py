"""Feature-wise linear modulation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Modulation
from neufield.core.shapes import check_positive


class FiLM(Modulation):
    """FiLM (arXiv 1709.07871, eq. 2): gamma h + beta, a number of each for every channel of every hidden layer.

    (gamma, beta) = (1, 0) + ``shift`` + ``matrix`` ``code``, at every point alike: a linear map of a ``code`` of
    ``code_dim`` learned numbers, as Functa has for beta (arXiv 2201.12204, section 3.2); pi-GAN's (arXiv 2012.00926) is
    a network. One network then stands for many signals: fit it with its code to the first one, and only ``code`` to
    each other (``Recipe.lr_factors = {"network": 0, "network.modulation.code": 1}``).

    With a ``code_dim`` of 0, gamma and beta themselves are all there is to learn: a network's style, with everything
    else kept (``{"network": 0, "network.modulation": 1}``). ``code`` and ``shift`` start at zero, so that the network
    is at first what it would be without; ``matrix`` starts U(+-1/sqrt(code_dim)), PyTorch's default.
    """

    def __init__(
        self, width: int = 256, n_layers: int = 3, code_dim: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_positive(width=width, n_layers=n_layers)
        if code_dim < 0:
            raise ValueError(f"code_dim is {code_dim}, but it must be 0 (no code) or above")
        self.width = width
        self.n_layers = n_layers
        self.code_dim = code_dim
        self.code = nn.Parameter(torch.zeros(code_dim))
        self.shift = nn.Parameter(torch.zeros(n_layers, 2, width))
        self.matrix = nn.Parameter(torch.empty(n_layers, 2, width, code_dim))
        bound = 1 / math.sqrt(max(1, code_dim))
        nn.init.uniform_(self.matrix, -bound, bound, generator=generator)

    def check(self, n_layers: int, width: int) -> None:
        """Refuse a network with another number of hidden layers, or of another width."""
        if (self.n_layers, self.width) != (n_layers, width):
            raise ValueError(
                f"FiLM is for {self.n_layers} layers of width {self.width}, but the network has {n_layers} hidden "
                f"layers of width {width}; give it n_layers={n_layers} and width={width}"
            )

    def forward(
        self, h: Float[Tensor, "*points width"], x: Float[Tensor, "*points d"], layer: int
    ) -> Float[Tensor, "*points width"]:
        """Modulate ``h`` of hidden layer ``layer``, at every point alike."""
        del x
        scale, beta = self.shift[layer] + self.matrix[layer] @ self.code
        return (1 + scale) * h + beta
