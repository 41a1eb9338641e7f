"""Kolmogorov-Arnold layers: a spline on every edge."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.shapes import check_positive

_UNIFORM = 0.02  # share of even spacing in a grid that follows data (pykan's grid_eps)

_FINEST = 1000  # cells of a spline: fitting it takes a matrix of that many rows and columns


class KANLinear(nn.Module):
    """y_o = sum_i w_oi silu(x_i) + s_oi sum_g c_oig B_g(x_i), in place of ``nn.Linear`` (arXiv 2404.19756, eq. 2.10).

    B_g are the ``grid_size + degree`` B-splines of ``degree`` on ``grid_size`` intervals of [``low``, ``high``] and as
    many beyond either end as the degree. **There is no spline outside**: only silu(x) is left there, so map inputs into
    the range (``tanh``; points of the unit box by Identity(d, 2, -1)), or call ``update_grid``.

    This is the form known as efficient-kan: two matrix products, a scale s per edge, Kaiming-uniform w and s, and
    splines that start as the least-squares fit of noise U(+-``noise`` / 2 / grid_size) at the grid's points (0.1; pykan
    0.3 with another w). Departure: the fit is of least norm in float64. ``bias`` is False in both.
    """

    grid: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        grid_size: int = 5,
        degree: int = 3,
        low: float = -1.0,
        high: float = 1.0,
        noise: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features, grid_size=grid_size, width=high - low)
        if degree < 0:
            raise ValueError(f"degree is {degree}, but it must be 0 or above")
        if grid_size + degree > _FINEST:
            raise ValueError(f"grid_size is {grid_size} and degree {degree}, but together they are at most {_FINEST}")
        self.in_features = in_features
        self.out_features = out_features
        self.grid_size = grid_size
        self.degree = degree
        self.low = low
        self.high = high
        self.noise = noise
        with torch.device("cpu"):
            knots = low + (high - low) / grid_size * torch.arange(-degree, grid_size + degree + 1, dtype=torch.float64)
            inner = knots[degree : degree + grid_size + 1].unsqueeze(-1)
            fit = torch.linalg.pinv(bases(inner, knots.unsqueeze(0), degree).squeeze(1))
        self.register_buffer("grid", knots.float().repeat(in_features, 1))
        bound = 1 / math.sqrt(in_features)  # Kaiming uniform with a = sqrt(5), as nn.Linear
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.spline_scale = nn.Parameter(torch.empty(out_features, in_features))
        for tensor in (self.weight, self.spline_scale):
            nn.init.uniform_(tensor, -bound, bound, generator=generator)
        drawn = (torch.rand(out_features, in_features, grid_size + 1, generator=generator) - 0.5) * noise / grid_size
        self.spline_weight = nn.Parameter(drawn @ fit.t().to(drawn))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Float[Tensor, "*points n_in"]) -> Float[Tensor, "*points n_out"]:
        """Map features ``x``."""
        splines = bases(x, self.grid.to(x.dtype), self.degree).flatten(-2)
        y = F.linear(F.silu(x), self.weight, self.bias)
        return y + F.linear(splines, (self.spline_weight * self.spline_scale.unsqueeze(-1)).flatten(1))

    @torch.no_grad()
    def update_grid(self, x: Float[Tensor, "n n_in"]) -> None:
        """Move the knots to where the inputs ``x`` are, and fit the splines anew so that their values there stay.

        Knots lie at even shares of the sorted inputs, blended with 2 % of an even spacing from least to largest input
        (arXiv 2404.19756 and pykan). With fewer than grid_size + degree samples the fit is of least norm.
        """
        values = torch.einsum("nik,oik->ino", bases(x, self.grid, self.degree), self.spline_weight)
        ordered = x.sort(dim=0).values
        even = torch.linspace(0, 1, self.grid_size + 1, dtype=x.dtype, device=x.device).unsqueeze(-1)
        index = (
            (len(x) - 1) * torch.arange(self.grid_size + 1, device=x.device) + self.grid_size // 2
        ) // self.grid_size
        span = (ordered[-1] - ordered[0]).clamp(min=1e-6)
        knots = (1 - _UNIFORM) * ordered[index] + _UNIFORM * (ordered[0] + even * span)
        step = span / self.grid_size
        beyond = torch.arange(1, self.degree + 1, dtype=x.dtype, device=x.device).unsqueeze(-1) * step
        self.grid.copy_(torch.cat([knots[0] - beyond.flip(0), knots, knots[-1] + beyond]).t())
        matrix = bases(x, self.grid, self.degree).transpose(0, 1).double()  # (in, n, bases)
        self.spline_weight.copy_((torch.linalg.pinv(matrix) @ values.double()).permute(2, 0, 1))


def bases(x: Float[Tensor, "*points n"], knots: Float[Tensor, "n _"], degree: int) -> Float[Tensor, "*points n _"]:
    """All B-splines of ``degree`` on each input's ascending ``knots``, by the recurrence of Cox and de Boor.

    They sum to 1 between the knots ``degree`` and ``-degree - 1``; intervals are half open, [t_i, t_i+1).
    """
    x = x.unsqueeze(-1)
    b = ((x >= knots[:, :-1]) & (x < knots[:, 1:])).to(x.dtype)
    for k in range(1, degree + 1):
        rising = (x - knots[:, : -k - 1]) / (knots[:, k:-1] - knots[:, : -k - 1])
        falling = (knots[:, k + 1 :] - x) / (knots[:, k + 1 :] - knots[:, 1:-k])
        b = rising * b[..., :-1] + falling * b[..., 1:]
    return b
