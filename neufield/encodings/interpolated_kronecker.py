"""A lattice of values, interpolated as its own encoding would."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.records import Event
from neufield.core.shapes import check_points
from neufield.encodings.kronecker import Kronecker
from neufield.functional.gather import gather


class InterpolatedKronecker(Encoding):
    """Evaluates ``encoding`` at its nodes, and blends 2^d of them elsewhere: for points that lie on no lattice.

    Node j of axis i lies at (j + ``offset``) / ``n_nodes[i]``. A blend's two shares a along an axis are those that come
    nearest to the axis' own features, [[D00, D01], [D01, D11]] a = [D(x0, x), D(x1, x)] with D(s, t) =
    <Psi(s), Psi(t)>, divided by their sum; a point's 2^d weights are their products (Zheng et al., ECCV 2022, section
    on non-separable coordinates). So a step costs what the nodes' lattice does, however many points there are.

    Beyond the outermost nodes the outermost two go on. Departures: D is the features' product itself, for whatever
    encoding; the official code has a formula per family (for triangles another function than that product). Blends are
    of the features behind ``encoding.activation``. With tents as wide as the spacing this is linear interpolation.
    """

    def __init__(self, encoding: Kronecker, n_nodes: Sequence[int], offset: float = 0.5) -> None:
        super().__init__()
        if len(n_nodes) != encoding.in_dim or min(n_nodes) < 2:
            raise ValueError(f"n_nodes is {list(n_nodes)}, but it must be {encoding.in_dim} numbers of 2 or more")
        self.encoding = encoding
        self.n_nodes = list(n_nodes)
        self.offset = offset
        self.in_dim = encoding.in_dim
        self.out_dim = encoding.out_dim

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        points = x.reshape(-1, self.in_dim)
        table = self.encoding.on_lattice(self.nodes(points)).flatten(0, -2)
        rows, weights = torch.zeros_like(points[:, :1], dtype=torch.int64), torch.ones_like(points[:, :1])
        for i, size in enumerate(self.n_nodes):
            cell, share = self._shares(points[:, i], i)
            rows = (rows.unsqueeze(-1) * size + torch.stack([cell, cell + 1], -1).unsqueeze(1)).flatten(1)
            weights = (weights.unsqueeze(-1) * share.unsqueeze(1)).flatten(1)
        return gather(table, rows, weights.to(table.dtype)).view(*x.shape[:-1], self.out_dim)

    def nodes(self, like: Tensor) -> list[Tensor]:
        """The nodes' coordinates along each axis, of the type and on the device of ``like``."""
        return [(torch.arange(n, dtype=like.dtype, device=like.device) + self.offset) / n for n in self.n_nodes]

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Those of what is blended, but no more than the nodes resolve."""
        return self.encoding.frequencies.clamp(max=max(self.n_nodes) / 2)

    def on_step(self, event: Event) -> None:
        """Pass the event on to what is interpolated."""
        self.encoding.on_step(event)

    def _shares(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """The node (N,) below each coordinate of axis ``i``, and the shares (N, 2) of it and of the next."""
        n, axis = self.n_nodes[i], cast(Encoding, self.encoding.axes[i])
        cell = (x.detach() * n - self.offset).floor().clamp(0, n - 2).nan_to_num(0).long()
        sides = axis(((torch.arange(n, dtype=torch.float64, device=x.device) + self.offset) / n).unsqueeze(-1))
        low, high, here = sides[cell], sides[cell + 1], axis(x.double().unsqueeze(-1))
        d00, d01, d11 = (low * low).sum(-1), (low * high).sum(-1), (high * high).sum(-1)
        d0, d1 = (low * here).sum(-1), (high * here).sum(-1)
        shares = torch.stack([d0 * d11 - d1 * d01, d1 * d00 - d0 * d01], dim=-1)
        return cell, shares / shares.sum(-1, keepdim=True)
