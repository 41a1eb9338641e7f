"""Group-rational Kolmogorov-Arnold layers: a rational activation per group of channels."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.shapes import check_choice, check_positive


class _Start(NamedTuple):
    """What a rational function starts as: P's a_0..a_5, Q's b_1..b_4, and 1 / E[F(x)^2] for normal x."""

    numerator: tuple[float, ...]
    denominator: tuple[float, ...]
    gain: float


# Coefficients of the official code that hold for the Q used here (its "gelu_old" under "gelu").
STARTS: Mapping[str, _Start] = {
    "identity": _Start((0.0, 1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), 1.0),
    "swish": _Start(
        (3.0549e-7, 0.50000079, 0.24999783, 0.05326628, 0.00580303, 0.00027520),
        (-4.11e-6, 0.10652899, -1.27e-6, 0.00055023),
        2.8178,
    ),
    "gelu": _Start(
        (-0.00124236, 0.50804971, 0.41586363, 0.13022719, 0.02435590, 0.00290284),
        (-0.06675016, 0.17927646, 0.03746683, 1.66e-10),
        2.3568,
    ),
}


class GRKANLinear(nn.Module):
    """y = W F(x) + b with F(x) = P(x) / Q(x), in place of ``nn.Linear`` (arXiv 2409.10594, section 4).

    P = a_0 + a_1 x + ... + a_5 x^5 has one set of a for all channels, Q = 1 + |b_1| |x| + ... + |b_4| |x|^4 one of b
    for each of ``groups`` equal groups of the inputs. F stands *before* the linear map and starts as ``start``; W is
    normal with variance gain / ``in_features``, where the gain keeps the outputs' variance at 1.

    The official repository has three different Q. This is its kernels'; 1 + |sum b_j x^j|, for which its "gelu"
    constants are fitted, and 1 + sum |b_j| x^j, which has zeros, are not offered. |b| has slope 1 at b = 0, or an
    identity could never leave its denominator.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        groups: int = 8,
        start: str = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features, groups=groups)
        check_choice("start", start, tuple(STARTS))
        if in_features % groups:
            raise ValueError(
                f"groups is {groups}, but it must divide in_features={in_features}, for instance "
                f"{math.gcd(groups, in_features)}"
            )
        self.in_features = in_features
        self.out_features = out_features
        self.groups = groups
        self.start = start
        constants = STARTS[start]
        self.numerator = nn.Parameter(torch.tensor(constants.numerator))
        self.denominator = nn.Parameter(torch.tensor(constants.denominator).repeat(groups, 1))
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.normal_(self.weight, 0.0, math.sqrt(constants.gain / in_features), generator=generator)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Float[Tensor, "*points n_in"]) -> Float[Tensor, "*points n_out"]:
        """Map features ``x``."""
        grouped = x.unflatten(-1, (self.groups, self.in_features // self.groups))
        values = rational(grouped, self.numerator, self.denominator.unsqueeze(1)).flatten(-2)
        return nn.functional.linear(values, self.weight, self.bias)


def rational(
    x: Float[Tensor, "..."], numerator: Float[Tensor, "... p"], denominator: Float[Tensor, "... q"]
) -> Float[Tensor, "..."]:
    """P(x) / Q(x), coefficients along the last axis: P from x^0 on, Q = 1 + sum |b_j| |x|^j from j = 1 on."""
    p = torch.zeros_like(x)
    for a in numerator.unbind(-1)[::-1]:
        p = p * x + a
    size, q = x.abs(), torch.zeros_like(x)
    for b in denominator.unbind(-1)[::-1]:
        q = (q + torch.where(b < 0, -b, b)) * size
    return p / (1 + q)
