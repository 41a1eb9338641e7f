"""Real spherical harmonics of directions."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.on_device import device_constant


def harmonics(d: Float[Tensor, "*n 3"], degree: int) -> Float[Tensor, "*n channels"]:
    """All Y_lm of ``d`` with l < ``degree``, channel l^2 + l + m, by Sloan's recurrences (JCGT 2013).

    With the Condon-Shortley sign, orthonormal on the sphere; polynomials of a ``d`` that is not normalized here.
    """
    if not degree:
        return d[..., :0]
    z = d[..., 2:]
    # All orders m of a band at once. P_l^m(z) / (1 - z^2)^(m/2): on the diagonal l = m a number, above it 0.
    diagonal, rise, fall = device_constant(_recurrence(degree), d).unbind()
    below, legendre = torch.zeros_like(z), diagonal[0].expand(*z.shape[:-1], degree)
    bands = [legendre]
    for band in range(1, degree):
        below, legendre = legendre, diagonal[band] + rise[band] * z * legendre - fall[band] * below
        bands.append(legendre)
    # Re and Im of (dx + i dy)^m.
    turn = torch.stack([torch.ones_like(z[..., 0]), torch.zeros_like(z[..., 0])], dim=-1)
    along, across = d[..., :2], torch.stack([-d[..., 1], d[..., 0]], dim=-1)
    turns = [turn]
    for _ in range(1, degree):
        turn = turn[..., :1] * along + turn[..., 1:] * across
        turns.append(turn)
    channels = [(band, m) for band in range(degree) for m in range(-band, band + 1)]
    places = [[band * degree + abs(m) for band, m in channels], [2 * abs(m) + (m < 0) for _, m in channels]]
    order, part = torch.tensor(places).to(d.device, non_blocking=True)
    factors = device_constant([_normalization(band, abs(m)) for band, m in channels], d)
    return torch.cat(bands, dim=-1).index_select(-1, order) * torch.cat(turns, dim=-1).index_select(-1, part) * factors


def _recurrence(degree: int) -> list[list[list[float]]]:
    """What stands on the diagonal, and the coefficients of z P_(l-1) and of P_(l-2), for each band and order."""
    diagonal, rise, fall = ([[0.0] * degree for _ in range(degree)] for _ in range(3))
    for m in range(degree):
        diagonal[m][m] = float((-1) ** m * math.prod(range(1, 2 * m, 2)))
        for band in range(m + 1, degree):
            rise[band][m] = (2 * band - 1) / (band - m)
            fall[band][m] = (band + m - 1) / (band - m)
    return [diagonal, rise, fall]


def _normalization(band: int, m: int) -> float:
    ratio = math.factorial(band - m) / math.factorial(band + m)
    return math.sqrt((2 * band + 1) / (4 * math.pi) * ratio) * (math.sqrt(2) if m else 1.0)
