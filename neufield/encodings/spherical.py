"""Directions as spherical harmonics."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points
from neufield.functional import harmonics
from neufield.kernels.ops import EncodingOp
from neufield.kernels.radiance import HarmonicsSpec


class SphericalHarmonics(Encoding):
    """All real spherical harmonics of bands l < ``degree`` (1-8), evaluated as polynomials of the direction.

    The input is a unit direction d mapped to the box, x = (d + 1) / 2, as in tiny-cuda-nn. Channel l^2 + l + m holds
    Y_lm, with the Condon-Shortley sign, orthonormal on the sphere. The polynomials come from the recurrences of
    Sloan, "Efficient Spherical Harmonic Evaluation" (JCGT 2013); a vector that is not unit is not normalized.
    """

    def __init__(self, degree: int = 4) -> None:
        super().__init__()
        if not 1 <= degree <= 8:
            raise ValueError(f"degree is {degree}, but spherical harmonics are built for degrees 1 to 8")
        self.degree = degree
        self.in_dim = 3
        self.out_dim = degree**2

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode directions, given as (d + 1) / 2."""
        check_points(x, self.in_dim)
        return harmonics(x * 2 - 1, self.degree)

    def op(self) -> EncodingOp:
        """Only the degree: a fused kernel along rays takes the direction itself."""
        return EncodingOp(HarmonicsSpec(self.degree))

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """The band l: cycles around a great circle."""
        return torch.cat([torch.full((2 * band + 1,), float(band)) for band in range(self.degree)])
