"""Products of one-dimensional encodings, all of them at once, read out without being formed."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Encoding
from neufield.core.records import Event
from neufield.core.shapes import check_choice, check_points, check_positive
from neufield.core.torch_transforms import in_portions, plain_only
from neufield.functional import ACTIVATE

_NUMBERS = 1 << 24  # of temporaries at a time, at points that share no coordinates


class Kronecker(Encoding):
    """Psi_1(x_1) (x) ... (x) Psi_d(x_d), read out to ``n_features`` by a trainable ``weight (K_1, ..., K_d, F)``.

    The "complex" encoding of Zheng et al., "Trading positional complexity vs deepness" (ECCV 2022): as many products as
    the K_i multiply to, but only the axes' matrices are ever formed, y_f = Psi_1(x) W_f Psi_2(y)^T in 2-D. With one
    feature per channel and a ``IdentityHead`` network it is the paper's depth 0, linear and without a bias; with 256
    features, activation "relu" and an MLP its depth 1 and more. ``axes`` are encodings of one coordinate each.

    Points that share coordinates, as those of pixels do, are evaluated as the lattice that they lie on, where that is
    fewer operations (the same function; only the rounding differs), unless a gradient by the point is wanted.

    The weight starts U(+-1 / sqrt(n_features)), the official code's; :meth:`solve` starts it at the best there is.
    """

    def __init__(
        self,
        axes: Sequence[Encoding],
        n_features: int,
        activation: str = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive(n_features=n_features)
        check_choice("activation", activation, tuple(ACTIVATE))
        if not axes or any(axis.in_dim != 1 for axis in axes):
            raise ValueError(
                f"axes have {[axis.in_dim for axis in axes]} dimensions, but one encoding of 1 dimension per axis is "
                "needed, for instance [ShiftedBasis(1), ShiftedBasis(1)]"
            )
        self.axes = nn.ModuleList(axes)
        self.n_features = self.out_dim = n_features
        self.activation = activation
        self.in_dim = len(axes)
        bound = 1 / math.sqrt(n_features)
        weight = torch.rand(*[axis.out_dim for axis in axes], n_features, generator=generator)
        self.weight = nn.Parameter(weight.mul_(2 * bound).sub_(bound))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        points = x.reshape(-1, self.in_dim)
        if not (x.requires_grad and torch.is_grad_enabled()) and not plain_only():  # which cannot follow ``unique``
            found = [column.unique(return_inverse=True) for column in points.unbind(-1)]
            sizes = [len(values) for values, _ in found]
            if _products(sizes, self.weight.shape) < _products([len(points)], self.weight.shape):
                table = self.on_lattice([values for values, _ in found]).flatten(0, -2)
                at = torch.zeros(len(points), dtype=torch.int64, device=x.device)
                for size, (_, index) in zip(sizes, found, strict=True):
                    at = at * size + index
                return table.index_select(0, at).view(*x.shape[:-1], self.out_dim)
        rows = max(1, _NUMBERS // (self.weight.numel() // self.weight.shape[0]))
        return in_portions(self._at, points, rows).view(*x.shape[:-1], self.out_dim)

    def on_lattice(self, coordinates: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, "..."]:
        """The features (n_1, ..., n_d, F) at all combinations of the axes' ``coordinates (n_i,)``."""
        y: Tensor = self.weight
        for axis, values in zip(self._axes(), coordinates, strict=True):
            y = torch.tensordot(y, axis(values.unsqueeze(-1)), dims=([0], [1]))  # each axis goes to the end in turn
        return ACTIVATE[self.activation](y.movedim(0, -1))

    @torch.no_grad()
    def solve(
        self, coordinates: Sequence[Float[Tensor, " _"]], values: Float[Tensor, "..."], rcond: float = 1e-4
    ) -> None:
        """Set the weight to the closed form for ``values (n_1, ..., n_d, F)`` on a lattice; see :func:`separable`.

        The values are those before the activation. The place where Adam would end up after thousands of steps, in a
        fraction of a second: a solution, or a start.
        """
        sides = [axis(at.double().unsqueeze(-1)) for axis, at in zip(self._axes(), coordinates, strict=True)]
        self.weight.copy_(separable(sides, values, rcond))

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Every feature is a sum of all products: the highest of the axes."""
        return torch.cat([axis.frequencies for axis in self._axes()]).amax().expand(self.out_dim).clone()

    def on_step(self, event: Event) -> None:
        """Each axis hears of its own coordinate."""
        for i, axis in enumerate(self._axes()):
            axis.on_step(event.at(lambda x, i=i: x[..., i : i + 1]))  # type: ignore[misc]  # mypy cannot infer it

    def _at(self, points: Tensor) -> Tensor:
        """The features (N, F) at ``points (N, d)`` that share nothing."""
        first, *rest = [axis(x.unsqueeze(-1)) for axis, x in zip(self._axes(), points.unbind(-1), strict=True)]
        y = first @ self.weight.flatten(1)
        for side in rest:
            y = torch.einsum("nk,nkr->nr", side, y.unflatten(1, (side.shape[1], -1)))
        return ACTIVATE[self.activation](y)

    def _axes(self) -> list[Encoding]:
        return cast(list[Encoding], list(self.axes))


def separable(sides: Sequence[Float[Tensor, "_ _"]], values: Float[Tensor, "..."], rcond: float = 1e-4) -> Tensor:
    """The weight (K_1, ..., K_d, F) of least squares and then of least norm, in float64: values times Psi_i^+ each way.

    ``sides (n_i, K_i)`` are the axes' features at the lattice's coordinates, ``values (n_1, ..., n_d, F)`` what is
    wanted there: W = Psi_1^+ S (Psi_2^+)^T in 2-D (Zheng et al., ECCV 2022). Singular values below ``rcond`` times the
    largest count as 0: an encoding twice as wide as the spacing of its shifts is otherwise inverted digit by digit,
    with weights that float32 cannot add up (measured on a picture: 30 dB at 1e-4, -5 at 1e-6, -117 at 1e-15).
    """
    y = values.double()
    for side in sides:
        y = torch.tensordot(y, torch.linalg.pinv(side.double(), rtol=rcond), dims=([0], [1]))
    return y.movedim(0, -1)


def _products(counts: Sequence[int], sizes: Sequence[int]) -> int:
    """Multiplications to read ``sizes`` (K_1, ..., K_d, F) at ``counts`` coordinates per axis, or at [n] points."""
    total, done = 0, 1
    for i in range(len(sizes) - 1):
        done *= counts[i] if i < len(counts) else 1
        total += done * math.prod(sizes[i:])
    return total
