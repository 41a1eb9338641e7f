"""Copies of one basis function, shifted along the axes: bumps, tents, pulses, waves."""

import itertools
import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_choice, check_points, check_positive

# psi(u) of a displacement u and a width, both in box lengths. "+ 0 * u": constant, yet a function of the point, so that
# its derivative is 0 and not missing.
FAMILIES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "gaussian": lambda u, width: torch.exp(-0.5 * (u / width).square()),
    "triangle": lambda u, width: (1 - u.abs() / width).clamp(min=0),
    "impulse": lambda u, width: (u.abs() <= width).to(u.dtype) + 0 * u,
    "square": lambda u, width: torch.sign(torch.sin(2 * math.pi / width * u)),
    "sine": lambda u, width: torch.sin(2 * math.pi / width * u),
}
_CYCLES: Mapping[str, Callable[[float, int], float]] = {  # by width and number of shifts
    "gaussian": lambda width, n: 1 / (2 * math.sqrt(2) * math.pi * width),
    "triangle": lambda width, n: 1 / (2 * width),
    "impulse": lambda width, n: n / 2,
    "square": lambda width, n: 1 / width,
    "sine": lambda width, n: 1 / width,
}
DIRECTIONS = ("axes", "diagonals")


class ShiftedBasis(Encoding):
    """y_j = psi(t_j - x) / c along each direction, t_j = (j + ``offset``) / ``n_shifts`` (arXiv 2107.02561, section 3).

    ``width``, in box lengths, is the deviation of "gaussian", half the base of "triangle", half the length of
    "impulse", and the period of "square" (the sign of a sine) and "sine". Where ``circulant``, displacements count the
    shorter way round the box, and no point is nearer to an edge than another.

    In several dimensions this is the papers' "simple" encoding: the directions one after the other, ``n_shifts`` of
    each. Those are the "axes", or with "diagonals" also (x_i + x_j) / 2 and (x_i - x_j + 1) / 2 of every pair, the
    official code's choice in 2-D (where ``n_shifts`` is a quarter of its K).

    c is the norm of the row at the middle shift, the longest there is in the local families, so that no point's
    embedding depends on the points beside it: the official code divides by the longest row of whatever batch it is
    given, by which a batch that lies between the shifts is scaled up (triangles: by sqrt 2 a direction). The default
    ``offset`` puts the shifts at the centers of cells, as our lattices have their samples; the papers' have 0.
    """

    def __init__(
        self,
        in_dim: int,
        family: str = "gaussian",
        n_shifts: int = 256,
        width: float = 0.004,
        circulant: bool = False,
        offset: float = 0.5,
        directions: str = "axes",
    ) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, n_shifts=n_shifts, width=width)
        check_choice("family", family, tuple(FAMILIES))
        check_choice("directions", directions, DIRECTIONS)
        self.in_dim = in_dim
        self.family = family
        self.n_shifts = n_shifts
        self.width = width
        self.circulant = circulant
        self.offset = offset
        self.directions = directions
        pairs = in_dim * (in_dim - 1) // 2
        self.out_dim = n_shifts * (in_dim + 2 * pairs * (directions == "diagonals"))
        with torch.device("cpu"):  # a number, also where only shapes are wanted
            middle = (n_shifts // 2 + offset) / n_shifts
            self._longest = float(self._basis(torch.tensor(middle, dtype=torch.float64)).norm()) or 1.0

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box; channels are direction by direction."""
        check_points(x, self.in_dim)
        if self.directions == "diagonals":
            pairs = list(itertools.combinations(x.unbind(-1), 2))
            diagonals = [(sign * b + a + (sign < 0)) / 2 for a, b in pairs for sign in (1, -1)]
            x = torch.stack([*x.unbind(-1), *diagonals], dim=-1)
        return (self._basis(x) / self._longest).flatten(-2)

    @property
    def nodes(self) -> Float[Tensor, " n_shifts"]:
        """The shifts t_j."""
        return (torch.arange(self.n_shifts) + self.offset) / self.n_shifts

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Cycles per box of a wave's period, of twice a tent's half base, of half the impulses.

        A Gaussian has the deviation of those random Fourier features whose kernel is its own:
        1 / (2 sqrt(2) pi width).
        """
        return torch.full((self.out_dim,), float(_CYCLES[self.family](self.width, self.n_shifts)))

    def _basis(self, x: Tensor) -> Tensor:
        """psi(t_j - x) (..., n_shifts) of coordinates (...)."""
        shifts = (torch.arange(self.n_shifts, dtype=x.dtype, device=x.device) + self.offset) / self.n_shifts
        displacement = shifts - x.unsqueeze(-1)
        if self.circulant:
            displacement = displacement - displacement.detach().round()
        return FAMILIES[self.family](displacement, self.width)
