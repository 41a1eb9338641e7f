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
        channels = [(band, m) for band in range(degree) for m in range(-band, band + 1)]
        self._recurrence = _recurrence(degree)
        self._places = [[band * degree + abs(m) for band, m in channels], [2 * abs(m) + (m < 0) for _, m in channels]]
        self._factors = [_normalisation(band, abs(m)) for band, m in channels]

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode directions, given as (d + 1) / 2."""
        check_points(x, self.in_dim)
        d = x * 2 - 1
        z = d[..., 2:]
        # All orders m of a band at once. P_l^m(z) / (1 - z^2)^(m/2): on the diagonal l = m a number, above it 0.
        diagonal, rise, fall = x.new_tensor(self._recurrence).unbind()
        below, legendre = torch.zeros_like(z), diagonal[0].expand(*z.shape[:-1], self.degree)
        bands = [legendre]
        for band in range(1, self.degree):
            below, legendre = legendre, diagonal[band] + rise[band] * z * legendre - fall[band] * below
            bands.append(legendre)
        # Re and Im of (dx + i dy)^m.
        turn = torch.stack([torch.ones_like(z[..., 0]), torch.zeros_like(z[..., 0])], dim=-1)
        along, across = d[..., :2], torch.stack([-d[..., 1], d[..., 0]], dim=-1)
        turns = [turn]
        for _ in range(1, self.degree):
            turn = turn[..., :1] * along + turn[..., 1:] * across
            turns.append(turn)
        order, part = torch.tensor(self._places, device=x.device)
        factors = torch.cat(bands, dim=-1).index_select(-1, order), torch.cat(turns, dim=-1).index_select(-1, part)
        return factors[0] * factors[1] * x.new_tensor(self._factors)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """The band l: cycles around a great circle."""
        return torch.cat([torch.full((2 * band + 1,), float(band)) for band in range(self.degree)])


def _recurrence(degree: int) -> list[list[list[float]]]:
    """Of each band and order what stands on the diagonal, and the coefficients of z P_(l-1) and of P_(l-2)."""
    diagonal, rise, fall = ([[0.0] * degree for _ in range(degree)] for _ in range(3))
    for m in range(degree):
        diagonal[m][m] = float((-1) ** m * math.prod(range(1, 2 * m, 2)))
        for band in range(m + 1, degree):
            rise[band][m] = (2 * band - 1) / (band - m)
            fall[band][m] = (band + m - 1) / (band - m)
    return [diagonal, rise, fall]


def _normalisation(band: int, m: int) -> float:
    ratio = math.factorial(band - m) / math.factorial(band + m)
    return math.sqrt((2 * band + 1) / (4 * math.pi) * ratio) * (math.sqrt(2) if m else 1.0)
