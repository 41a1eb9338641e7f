"""Directions as spherical harmonics."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points


class SphericalHarmonics(Encoding):
    """All real spherical harmonics of bands l < ``degree`` (1-8), evaluated as polynomials of the direction.

    The input is a unit direction d mapped to the box, x = (d + 1) / 2, as in tiny-cuda-nn. Channel l^2 + l + m holds
    Y_lm, with the Condon-Shortley sign, orthonormal on the sphere. The polynomials come from the recurrences of
    Sloan, "Efficient Spherical Harmonic Evaluation" (JCGT 2013); a vector that is not unit is not normalised.
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
        dx, dy, dz = (x * 2 - 1).unbind(-1)
        cosine, sine = torch.ones_like(dx), torch.zeros_like(dx)  # Re and Im of (dx + i dy)^m
        channels: dict[int, Tensor] = {}
        for m in range(self.degree):
            for band, legendre in enumerate(_legendre(m, self.degree, dz), start=m):
                norm = _normalisation(band, m)
                channels[band * band + band + m] = norm * legendre * cosine
                if m:
                    channels[band * band + band - m] = norm * legendre * sine
            cosine, sine = dx * cosine - dy * sine, dx * sine + dy * cosine
        return torch.stack([channels[i] for i in range(self.out_dim)], dim=-1)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """The band l: cycles around a great circle."""
        return torch.cat([torch.full((2 * band + 1,), float(band)) for band in range(self.degree)])


def _legendre(m: int, degree: int, z: Tensor) -> list[Tensor]:
    """P_l^m(z) / (1 - z^2)^(m/2) for l = m .. degree - 1, Condon-Shortley sign included."""
    diagonal = float((-1) ** m * math.prod(range(1, 2 * m, 2)))
    values = [torch.full_like(z, diagonal)]
    if degree - m > 1:
        values.append((2 * m + 1) * z * values[0])
    for band in range(m + 2, degree):
        values.append(((2 * band - 1) * z * values[-1] - (band + m - 1) * values[-2]) / (band - m))
    return values


def _normalisation(band: int, m: int) -> float:
    ratio = math.factorial(band - m) / math.factorial(band + m)
    return math.sqrt((2 * band + 1) / (4 * math.pi) * ratio) * (math.sqrt(2) if m else 1.0)
