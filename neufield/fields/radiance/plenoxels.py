"""A dense voxel grid of densities and of colors that depend on the direction: no network at all."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Encoding, RadianceField
from neufield.core.rays import Conditioning, Geometry
from neufield.core.recipe import Recipe
from neufield.core.shapes import check_points
from neufield.fields.radiance.checks import check_resolution, check_three_dimensional
from neufield.fields.radiance.density import DensityActivation
from neufield.functional.interpolation import corners, read, resample


class Plenoxels(RadianceField):
    """Plenoxels (arXiv 2112.05131) on a dense grid: per cell a density, and a coefficient per channel of ``direction``.

    Both are interpolated; the density then passes a ReLU, and the coefficients times ``direction((d + 1) / 2)``, plus
    a half, are the color. The paper's "degree 2" is our ``SphericalHarmonics(3)``: nine coefficients for each of red,
    green and blue, in this order. Every density starts as ``initial_density``, every color gray.

    Departures: no cell is pruned; the color is cut off at 1 as well as at 0, where a color above 1 would have no
    place in a picture (so, as with the paper's cut at 0, what is beyond has no gradient); the basis has the
    Condon-Shortley sign, which only changes the sign of coefficients.
    """

    def __init__(
        self,
        resolution: Sequence[int],
        direction: Encoding,
        density_activation: DensityActivation | None = None,
        initial_density: float = 0.1,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__()
        check_resolution(resolution)
        check_three_dimensional(direction=direction)
        self.resolution = list(resolution)
        self.direction = direction
        self.density_activation = density_activation or DensityActivation("relu")
        self.initial_density = initial_density
        self.recipe = recipe or Recipe()
        self.density_table = nn.Parameter(torch.full((*resolution, 1), initial_density))
        self.color_table = nn.Parameter(torch.zeros(*resolution, 3 * direction.out_dim))

    def geometry(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Geometry:
        """Density, and the 3 * direction.out_dim coefficients as features."""
        check_points(x, 3, to=self)
        at = corners(x.reshape(-1, 3), self.resolution)
        logit = read(self.density_table, at).view(x.shape[:-1])
        features = read(self.color_table, at).view(*x.shape[:-1], 3 * self.direction.out_dim)
        return Geometry(logit, self.density_activation(logit), features)

    def density(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Float[Tensor, "*points"]:
        """The density alone, without 3 * direction.out_dim coefficients."""
        check_points(x, 3, to=self)
        return self.density_activation(
            read(self.density_table, corners(x.reshape(-1, 3), self.resolution)).view(x.shape[:-1])
        )

    def color(
        self, features: Float[Tensor, "*points F"], d: Float[Tensor, "*points 3"], cond: Conditioning | None = None
    ) -> Float[Tensor, "*points 3"]:
        """The color of ``features`` along unit directions ``d``."""
        check_points(d, 3, "d", self)
        basis = self.direction((d + 1) / 2).unsqueeze(-2)
        coefficients = features.unflatten(-1, (3, self.direction.out_dim))
        return ((coefficients * basis).sum(-1) + 0.5).clamp(0, 1)

    @torch.no_grad()
    def upsample(self, resolution: Sequence[int]) -> None:
        """Interpolate the cells to ``resolution``, in place; their parameters are new ones."""
        check_resolution(resolution)
        self.resolution = list(resolution)
        self.density_table = nn.Parameter(resample(self.density_table, resolution))
        self.color_table = nn.Parameter(resample(self.color_table, resolution))
