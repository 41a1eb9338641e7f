"""Random Fourier features whose lengths, not components, are normal: SAPE's."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive


class RadialFourier(Encoding):
    """[p, sin(pi B_1 p), cos(pi B_1 p), sin(pi B_2 p), ...], p = 2x - 1: the encoding of SAPE (arXiv 2104.09125).

    B_f = m_f u_f, u_f uniform on the sphere and m_f ~ N(0, sigma^2), sorted by |m_f|. So |B_f| is half-normal in any
    dimension and there are more low frequencies than in :class:`GaussianFourier`, whose |B_f| is Rayleigh in 2-D.
    ``sigma`` is in cycles per unit box: twice the paper's, whose box is [-1, 1]. Without ``coordinates`` p is left out,
    as in the paper's Fourier baseline. B is a buffer, so a saved field keeps its own.
    """

    matrix: Tensor

    def __init__(
        self,
        in_dim: int,
        n_frequencies: int = 256,
        sigma: float = 40.0,
        coordinates: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, n_frequencies=n_frequencies, sigma=sigma)
        self.in_dim = in_dim
        self.n_frequencies = n_frequencies
        self.sigma = sigma
        self.coordinates = coordinates
        self.out_dim = in_dim * coordinates + 2 * n_frequencies
        directions = torch.randn(n_frequencies, in_dim, generator=generator)
        lengths = torch.randn(n_frequencies, generator=generator).abs().sort().values * sigma
        self.register_buffer("matrix", directions / directions.norm(dim=-1, keepdim=True) * lengths[:, None])

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        p = x * 2 - 1
        phase = p @ (torch.pi * self.matrix.to(x.dtype)).t()
        waves = torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(-2)
        return torch.cat([p, waves], dim=-1) if self.coordinates else waves

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """0 for the coordinates, |B_f| cycles per box for the waves."""
        waves = self.matrix.norm(dim=-1).repeat_interleave(2)
        return torch.cat([waves.new_zeros(self.in_dim * self.coordinates), waves])
