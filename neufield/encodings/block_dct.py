"""Fixed cosines whose half-periods fit the cells of a grid."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive


class BlockDCT(Encoding):
    """y_f = prod_j cos(pi k_fj (scale x_j + 1/2)), the atoms of a block cosine transform (Ahmed et al. 1974).

    ``orders`` lists the k_f, one whole number per dimension and atom. Multiplied with a ``Grid`` of one dense level of
    ``scale + 1`` vertices and "nearest" interpolation, whose cells are these cosines' cells, each cell holds the
    coefficients of its own little spectrum: what JPEG does, as a field (the preset ``compact``). Not from a paper on
    neural fields; alone it is a plain cosine basis.
    """

    def __init__(self, in_dim: int, scale: float, orders: Sequence[Sequence[int]]) -> None:
        super().__init__()
        check_positive(in_dim=in_dim, scale=scale)
        if not orders or any(len(order) != in_dim for order in orders) or min(min(order) for order in orders) < 0:
            raise ValueError(
                f"orders must be a list of {in_dim} whole numbers >= 0 per atom, got {list(orders)[:3]} ..."
            )
        self.in_dim = in_dim
        self.scale = scale
        self.orders = [list(order) for order in orders]
        self.out_dim = len(self.orders)

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box."""
        check_points(x, self.in_dim)
        phase = (x.double() * self.scale + 0.5) * math.pi  # as exact as the grid's position, or cells would disagree
        atoms = torch.ones((), dtype=x.dtype, device=x.device)
        for j, column in enumerate(torch.tensor(self.orders, device=x.device).unbind(-1)):
            highest = max(order[j] for order in self.orders)
            waves = torch.cos(phase[..., j, None] * torch.arange(highest + 1, device=x.device)).to(x.dtype)
            atoms = atoms * waves.index_select(-1, column)
        return atoms

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """|k_f| scale / 2 cycles per box."""
        return torch.tensor(self.orders, dtype=torch.float32).norm(dim=-1) * self.scale / 2
