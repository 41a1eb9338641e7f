"""The coordinates themselves."""

import torch
from jaxtyping import Float
from torch import Tensor

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive


class Identity(Encoding):
    """y = scale * x + offset, channel by channel. ``scale=2, offset=-1`` is the [-1, 1] box of the SIREN papers."""

    def __init__(self, in_dim: int, scale: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        check_positive(in_dim=in_dim)
        self.in_dim = self.out_dim = in_dim
        self.scale = scale
        self.offset = offset

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Scale and shift."""
        check_points(x, self.in_dim)
        return x * self.scale + self.offset

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Zero: a ramp has no period in the box."""
        return torch.zeros(self.out_dim)
