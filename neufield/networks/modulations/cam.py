"""Coordinate-aware modulation."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.errors import ConfigError
from neufield.core.interfaces import Modulation
from neufield.core.shapes import check_choice, check_positive
from neufield.functional.interpolation import interpolate

_NORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda h: h,
    "point": lambda h: F.layer_norm(h, h.shape[-1:], eps=1e-5),
}


class CAM(Modulation):
    """Coordinate-aware modulation (arXiv 2311.14993): gamma(x) * norm(h) + beta(x), both read from grids at the point.

    Each hidden layer has a grid of ``resolution`` nodes over the coordinates ``axes`` (by default the first ones, one
    for each number of ``resolution``): all of a picture's, the time of a film. Values are linear between nodes; the
    first and last node of an axis lie at 0 and 1, and the grid goes on as it ends. gamma starts at 1 and beta at 0. The
    papers' grids learn ten times as fast as the network: ``Recipe.lr_factors = {"network.modulation": 10}``.

    ``norm`` "point" gives each point's channels a mean of 0 and a variance of 1 before (the images of the paper; its
    code's instance norm over a batch of one is this). "none" is for its one-dimensional and dynamic scenes, and for
    sines, whose initialization it would undo. Norms over the samples of a ray or a frame, which the paper has for
    mip-NeRF and videos, would make a point's value depend on which others are in the batch, and are not offered.

    ``n_channels`` 1 shares a point's gamma and beta between all channels (the paper's images and scenes); the network's
    width gives each channel its own (its videos). ``n_grids`` is the number of hidden layers, or 1 for the same grid in
    all of them: the paper's 266 K parameters are those of one pair of 32 x 32, its code has a pair for each layer.

    gamma and beta are added up where the paper's code for static scenes multiplies three planes: there beta, zero in
    all three, never gets a gradient. Three axes are a dense volume here.
    """

    def __init__(
        self,
        resolution: Sequence[int] = (32, 32),
        n_grids: int = 3,
        axes: Sequence[int] | None = None,
        n_channels: int = 1,
        norm: str = "point",
    ) -> None:
        super().__init__()
        if not resolution:
            raise ValueError("resolution is [], but a grid has at least one axis, for instance [32, 32]")
        check_positive(resolution=min(resolution), n_grids=n_grids, n_channels=n_channels)
        check_choice("norm", norm, tuple(_NORMS))
        if axes is not None and (len(axes) != len(resolution) or len(set(axes)) != len(axes) or min(axes) < 0):
            raise ValueError(
                f"axes is {list(axes)} for resolution {list(resolution)}, but each number of nodes needs a coordinate "
                f"of its own, counted from 0; for instance axes={list(range(len(resolution)))}"
            )
        self.resolution = list(resolution)
        self.n_grids = n_grids
        self.axes = None if axes is None else list(axes)
        self.n_channels = n_channels
        self.norm = norm
        start = torch.stack([torch.ones(*resolution, n_channels), torch.zeros(*resolution, n_channels)], dim=-2)
        # (*resolution, 2, n_channels): gamma, then beta, of every node, so that both are found in one reading.
        self.grids = nn.ParameterList(nn.Parameter(start.clone()) for _ in range(n_grids))

    def check(self, n_layers: int, width: int) -> None:
        """One grid for each hidden layer, or one for all; one number for each channel, or one for all."""
        if self.n_grids not in (1, n_layers):
            raise ValueError(f"n_grids is {self.n_grids}, but the network has {n_layers} hidden layers; give that or 1")
        if self.n_channels not in (1, width):
            raise ValueError(f"n_channels is {self.n_channels}, but the network is {width} wide; give that or 1")

    def forward(
        self, h: Float[Tensor, "*points width"], x: Float[Tensor, "*points d"], layer: int
    ) -> Float[Tensor, "*points width"]:
        """Modulate ``h`` of hidden layer ``layer`` at the points ``x``."""
        table = self.grids[layer % self.n_grids]
        found = interpolate(table.flatten(-2), self._places(x)).unflatten(-1, (2, self.n_channels))
        gamma, beta = found.unbind(-2)
        return gamma * _NORMS[self.norm](h) + beta

    def _places(self, x: Tensor) -> Tensor:
        """Where ``x`` lies in the house's cell-centered lattice if the outermost numbers are to lie on the faces."""
        axes = self.axes or range(len(self.resolution))
        if max(axes) >= x.shape[-1]:
            raise ConfigError(
                f"a CAM of {len(self.resolution)} axes reads coordinate {max(axes)}, counted from 0, but points have "
                f"{x.shape[-1]}; give it axes=[...] of those and as many numbers in resolution"
            )
        # Columns, not numbers: torch's forward mode makes the tangent of a single point's number a float64.
        places = [(x[..., axis : axis + 1] * (n - 1) + 0.5) / n for axis, n in zip(axes, self.resolution, strict=True)]
        return torch.cat(places, dim=-1)
