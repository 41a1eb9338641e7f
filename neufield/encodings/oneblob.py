"""A soft histogram of each coordinate."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive


class OneBlob(Encoding):
    """A quartic blob of radius 1 / n_bins around x, integrated over each of ``n_bins`` bins (arXiv 1808.03856).

    The kernel replaces the paper's Gaussian and the box wraps around, both as in tiny-cuda-nn. The bins of one
    dimension sum to 1. ``n_bins`` is a power of two, as there.
    """

    def __init__(self, in_dim: int, n_bins: int = 16) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, n_bins=n_bins)
        if n_bins & (n_bins - 1):
            raise ValueError(
                f"n_bins is {n_bins}, but it must be a power of two, for instance {1 << n_bins.bit_length()}"
            )
        self.in_dim = in_dim
        self.n_bins = n_bins
        self.out_dim = in_dim * n_bins

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        edges = torch.arange(self.n_bins + 1, dtype=x.dtype, device=x.device) / self.n_bins
        distance = edges - x.unsqueeze(-1)
        below = torch.stack([_quartic_cdf((distance + turn) * self.n_bins) for turn in (0, -1, 1)]).sum(0)
        return (below[..., 1:] - below[..., :-1]).flatten(-2)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Half the bins: the finest wave that they resolve."""
        return torch.full((self.out_dim,), self.n_bins / 2)


def _quartic_cdf(u: Tensor) -> Tensor:
    """Integral from -1 to u of 15/16 (1 - t^2)^2, 0 before -1 and 1 after 1."""
    u = u.clamp(-1.0, 1.0)
    return 15 / 16 * u * (1 - 2 / 3 * u**2 + 1 / 5 * u**4) + 0.5
