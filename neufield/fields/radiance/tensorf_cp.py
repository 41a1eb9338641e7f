"""TensoRF's canonical (CP) decomposition: products of three lines."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Recipe
from neufield.core.shapes import check_points, check_positive
from neufield.fields.radiance.checks import check_head, check_resolution
from neufield.fields.radiance.density import DensityActivation
from neufield.fields.radiance.directional_head import DirectionalHead, Headed
from neufield.fields.radiance.feature_head import feature_head, head_inputs
from neufield.functional.interpolation import Corners, corners, read, resample
from neufield.networks.mlp import MLP


class TensoRFCP(RadianceField, Headed):
    """TensoRF-CP (arXiv 2203.09517, eq. 1): sums of products of a line along x, one along y and one along z.

    The smallest of the radiance fields, and the slowest to train. ``density_rank`` products add up to the density's
    logit; ``color_rank`` others go through the linear ``basis`` to ``n_features`` features. Lines start normal with
    deviation 0.2. Activation, color network, ``head`` and departures are those of
    :class:`TensoRFVM`.
    """

    def __init__(
        self,
        resolution: Sequence[int],
        density_rank: int = 96,
        color_rank: int = 288,
        n_features: int = 27,
        width: int = 128,
        density_activation: DensityActivation | None = None,
        recipe: Recipe | None = None,
        head: DirectionalHead | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_resolution(resolution)
        check_positive(density_rank=density_rank, color_rank=color_rank, n_features=n_features, width=width)
        check_head(head, n_features)
        self.resolution = list(resolution)
        self.density_rank = density_rank
        self.color_rank = color_rank
        self.n_features = n_features
        self.width = width
        self.density_activation = density_activation or DensityActivation("softplus", shift=-10.0, scale=25.0)
        self.recipe = recipe or Recipe()
        self.head = head

        def lines(rank: int) -> nn.ParameterList:
            return nn.ParameterList([torch.randn(size, rank, generator=generator) * 0.2 for size in resolution])

        self.density_lines = lines(density_rank)
        self.color_lines = lines(color_rank)
        self.basis = MLP(color_rank, n_features, n_hidden_layers=0, bias=False, generator=generator)
        if head is None:
            self.color_network = feature_head(n_features, width, generator)

    def geometry(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Geometry:
        """Density, and the ``n_features`` features of the appearance."""
        check_points(x, 3, to=self)
        points = x.reshape(-1, 3)
        at = self._corners(points)
        logit = _products(self.density_lines, at).sum(-1).view(x.shape[:-1])
        features = self.basis(_products(self.color_lines, at), points).view(*x.shape[:-1], self.n_features)
        if self.head is not None:
            features = torch.cat([logit.unsqueeze(-1), features], dim=-1)
        return Geometry(logit, self.density_activation(logit), features)

    def density(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Float[Tensor, "*points"]:
        """The density alone: a quarter of the factors."""
        check_points(x, 3, to=self)
        logit = _products(self.density_lines, self._corners(x.reshape(-1, 3))).sum(-1)
        return self.density_activation(logit.view(x.shape[:-1]))

    def _corners(self, points: Tensor) -> list[Corners]:
        return [corners(points[:, [axis]], [size]) for axis, size in enumerate(self.resolution)]

    def color(
        self, features: Float[Tensor, "*points F"], d: Float[Tensor, "*points 3"], cond: Conditioning | None = None
    ) -> Float[Tensor, "*points 3"]:
        """The color of ``features`` along unit directions ``d``."""
        check_points(d, 3, "d", self)
        if self.head is not None:
            return self.head(features, d)
        return self.color_network(head_inputs(features, d), d)

    def color_block(self) -> DirectionalHead | None:
        """See :class:`Headed`."""
        return self.head

    @torch.no_grad()
    def upsample(self, resolution: Sequence[int]) -> None:
        """Interpolate the lines to ``resolution``, in place; their parameters are new ones."""
        check_resolution(resolution)
        self.resolution = list(resolution)
        for lines in (self.density_lines, self.color_lines):
            for axis, size in enumerate(resolution):
                lines[axis] = nn.Parameter(resample(lines[axis], [size]))


def _products(lines: nn.ParameterList, at: list[Corners]) -> Tensor:
    """The products of the three lines' values at points (N, rank)."""
    along_x, along_y, along_z = [read(line, where) for line, where in zip(lines, at, strict=True)]
    return along_x * along_y * along_z
