"""Random Fourier features."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive


class GaussianFourier(Encoding):
    """gamma(x) = [sin(2 pi B x), cos(2 pi B x)], B ~ N(0, sigma^2) and fixed (arXiv 2006.10739, section 6).

    ``sigma`` is in cycles per unit box, as in the paper; a sigma quoted for [-1, 1] coordinates doubles. All sines come
    first, then all cosines. B is a buffer, so a saved field keeps its own.
    """

    matrix: Tensor

    def __init__(
        self, in_dim: int, n_frequencies: int = 256, sigma: float = 10.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, n_frequencies=n_frequencies, sigma=sigma)
        self.in_dim = in_dim
        self.n_frequencies = n_frequencies
        self.sigma = sigma
        self.out_dim = 2 * n_frequencies
        self.register_buffer("matrix", torch.randn(n_frequencies, in_dim, generator=generator).mul_(sigma))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        phase = x @ (2 * torch.pi * self.matrix.to(x.dtype)).t()
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """|B_f| cycles per box."""
        return self.matrix.norm(dim=-1).repeat(2)
