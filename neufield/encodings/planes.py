"""Feature planes: a plane of trainable features over every pair of axes."""

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_choice, check_points, check_positive
from neufield.kernels.lattice import lookup

REDUCTIONS = ("product", "sum")


class Planes(Encoding):
    """Features interpolated from one plane per pair of axes (three in 3-D), multiplied or added up.

    "product" is K-Planes (arXiv 2301.10241, eq. 1), whose planes start uniform in [0.1, 0.5]; "sum" is the tri-plane of
    EG3D (arXiv 2112.07945), whose planes start normal with deviation 0.1, as TensoRF's do. ``resolution`` is per axis;
    each of ``scales`` multiplies it for a further set of planes, whose features are appended (K-Planes: 1, 2, 4).

    The planes are cell-centred and go on as they end (:mod:`neufield.kernels.lattice`); the papers' reach the faces.
    """

    def __init__(
        self,
        resolution: Sequence[int],
        n_features: int = 32,
        scales: Sequence[int] = (1,),
        reduction: str = "product",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        if len(resolution) < 2 or not scales:
            raise ValueError(
                f"resolution is {list(resolution)} and scales {list(scales)}; "
                "give two axes or more, for instance [128, 128, 128], and one scale or more"
            )
        check_positive(resolution=min(resolution), n_features=n_features, scales=min(scales))
        self.resolution = list(resolution)
        self.n_features = n_features
        self.scales = list(scales)
        self.reduction = reduction
        self.in_dim = len(resolution)
        self.out_dim = n_features * len(scales)
        self.pairs = list(itertools.combinations(range(self.in_dim), 2))
        self.planes = nn.ParameterList()
        for scale, (i, j) in itertools.product(self.scales, self.pairs):
            plane = torch.empty(resolution[i] * scale, resolution[j] * scale, n_features)
            if reduction == "product":
                nn.init.uniform_(plane, 0.1, 0.5, generator=generator)
            else:
                nn.init.normal_(plane, 0.0, 0.1, generator=generator)
            self.planes.append(nn.Parameter(plane))

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box; channels are scale by scale."""
        check_points(x, self.in_dim)
        pairs = self.pairs * len(self.scales)
        features = [lookup(plane, x[..., list(pair)]) for plane, pair in zip(self.planes, pairs, strict=True)]
        by_scale = [features[i : i + len(self.pairs)] for i in range(0, len(features), len(self.pairs))]
        if self.reduction == "product":
            return torch.cat([math.prod(group[1:], start=group[0]) for group in by_scale], dim=-1)
        return torch.cat([functools.reduce(torch.add, group) for group in by_scale], dim=-1)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Half of each scale's resolution along its finest axis, in cycles per box."""
        finest = torch.tensor([max(self.resolution) * scale / 2 for scale in self.scales])
        return finest.repeat_interleave(self.n_features)
