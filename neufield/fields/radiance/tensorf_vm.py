"""TensoRF's vector-matrix decomposition: planes times lines."""

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

_PLANES = ((0, 1), (0, 2), (1, 2))
_LINES = (2, 1, 0)


class TensoRFVM(RadianceField, Headed):
    """TensoRF-VM (arXiv 2203.09517, eq. 4 and 6): three planes, each times the line along the axis that it lacks.

    The density's logit is the sum of ``density_rank`` products per plane; ``color_rank`` others per plane go, side by
    side, through the linear ``basis`` to ``n_features`` features, and with the direction through a small network to a
    color. Factors start normal with deviation 0.1. ``resolution`` is per axis and may differ.

    As in the paper's code sigma = 25 softplus(logit - 10), the 25 being its ``distance_scale`` for scenes about 3 world
    units wide. Departures: factors are cell-centered and go on as they end, where the code has ``align_corners=True``
    and zeros outside of the box (:func:`neufield.functional.interpolate`); so ``upsample`` is not quite theirs either.

    With a ``head`` the logit and the ``n_features`` go through that to a color, instead of through a network of the
    field's own: so a student ends as its teacher does (Progressive Volume Distillation, arXiv 2211.15977).
    """

    def __init__(
        self,
        resolution: Sequence[int],
        density_rank: int = 16,
        color_rank: int = 48,
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

        def factors(axes: Sequence[Sequence[int]], rank: int) -> nn.ParameterList:
            shapes = [[resolution[axis] for axis in own] for own in axes]
            return nn.ParameterList([torch.randn(*shape, rank, generator=generator) * 0.1 for shape in shapes])

        lines = [[axis] for axis in _LINES]
        self.density_planes = factors(_PLANES, density_rank)
        self.density_lines = factors(lines, density_rank)
        self.color_planes = factors(_PLANES, color_rank)
        self.color_lines = factors(lines, color_rank)
        self.basis = MLP(3 * color_rank, n_features, n_hidden_layers=0, bias=False, generator=generator)
        if head is None:
            self.color_network = feature_head(n_features, width, generator)

    def geometry(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Geometry:
        """Density, and the ``n_features`` features of the appearance."""
        check_points(x, 3, to=self)
        points = x.reshape(-1, 3)
        at = self._corners(points)
        logit = self._logit(at).view(x.shape[:-1])
        planes, lines = self.color_planes, self.color_lines
        products = [read(planes[mode], plane) * read(lines[mode], line) for mode, (plane, line) in enumerate(at)]
        features = self.basis(torch.cat(products, dim=-1), points).view(*x.shape[:-1], self.n_features)
        if self.head is not None:
            features = torch.cat([logit.unsqueeze(-1), features], dim=-1)
        return Geometry(logit, self.density_activation(logit), features)

    def density(self, x: Float[Tensor, "*points 3"], cond: Conditioning | None = None) -> Float[Tensor, "*points"]:
        """The density alone: a quarter of the factors."""
        check_points(x, 3, to=self)
        return self.density_activation(self._logit(self._corners(x.reshape(-1, 3))).view(x.shape[:-1]))

    def _corners(self, points: Tensor) -> list[tuple[Corners, Corners]]:
        """Where points lie in each mode's plane and line."""
        return [
            (
                corners(points[:, list(plane)], [self.resolution[axis] for axis in plane]),
                corners(points[:, [line]], [self.resolution[line]]),
            )
            for plane, line in zip(_PLANES, _LINES, strict=True)
        ]

    def _logit(self, at: list[tuple[Corners, Corners]]) -> Tensor:
        planes, lines = self.density_planes, self.density_lines
        modes = [(read(planes[i], plane) * read(lines[i], line)).sum(-1) for i, (plane, line) in enumerate(at)]
        return modes[0] + modes[1] + modes[2]

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
        """Interpolate the factors to ``resolution``, in place; their parameters are new ones."""
        check_resolution(resolution)
        self.resolution = list(resolution)
        for factors in (self.density_planes, self.color_planes):
            for mode, plane in enumerate(_PLANES):
                factors[mode] = nn.Parameter(resample(factors[mode], [resolution[axis] for axis in plane]))
        for factors in (self.density_lines, self.color_lines):
            for mode, line in enumerate(_LINES):
                factors[mode] = nn.Parameter(resample(factors[mode], [resolution[line]]))
