"""Feature planes: a plane of trainable features over every pair of axes."""

import abc
import functools
import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neufield.core.interfaces import Encoding
from neufield.core.shapes import check_points, check_positive
from neufield.functional.interpolation import interpolate


class FeaturePlanes(Encoding):
    """Features interpolated from one plane per pair of axes (three in 3-D), and merged.

    ``resolution`` is per axis; each of ``scales`` multiplies it for a further set of planes, whose features are
    appended. The planes are cell-centered and go on as they end (:func:`neufield.functional.interpolate`); the papers'
    reach the faces.
    """

    def __init__(
        self,
        resolution: Sequence[int],
        n_features: int = 32,
        scales: Sequence[int] = (1,),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(resolution) < 2 or not scales:
            raise ValueError(
                f"resolution is {list(resolution)} and scales {list(scales)}; "
                "give two axes or more, for instance [128, 128, 128], and one scale or more"
            )
        check_positive(resolution=min(resolution), n_features=n_features, scales=min(scales))
        self.resolution = list(resolution)
        self.n_features = n_features
        self.scales = list(scales)
        self.in_dim = len(resolution)
        self.out_dim = n_features * len(scales)
        self.pairs = list(itertools.combinations(range(self.in_dim), 2))
        self.planes = nn.ParameterList()
        for scale, (i, j) in itertools.product(self.scales, self.pairs):
            plane = torch.empty(resolution[i] * scale, resolution[j] * scale, n_features)
            self._start(plane, generator)
            self.planes.append(nn.Parameter(plane))

    @staticmethod
    @abc.abstractmethod
    def _start(plane: Tensor, generator: torch.Generator | None) -> None:
        """Fill a plane with the numbers that training starts from."""

    @staticmethod
    @abc.abstractmethod
    def _merged(features: Sequence[Tensor]) -> Tensor:
        """The features of all pairs of axes at one scale as one."""

    def forward(self, x: Float[Tensor, "*points in_dim"]) -> Float[Tensor, "*points out_dim"]:
        """Encode points of the unit box; channels are scale by scale."""
        check_points(x, self.in_dim)
        pairs = self.pairs * len(self.scales)
        features = [interpolate(plane, x[..., list(pair)]) for plane, pair in zip(self.planes, pairs, strict=True)]
        by_scale = [features[i : i + len(self.pairs)] for i in range(0, len(features), len(self.pairs))]
        return torch.cat([self._merged(group) for group in by_scale], dim=-1)

    @property
    def frequencies(self) -> Float[Tensor, " out_dim"]:
        """Half of each scale's resolution along its finest axis, in cycles per box."""
        finest = torch.tensor([max(self.resolution) * scale / 2 for scale in self.scales])
        return finest.repeat_interleave(self.n_features)


class KPlanes(FeaturePlanes):
    """K-Planes (arXiv 2301.10241, eq. 1): the planes' features multiplied; they start uniform in [0.1, 0.5].

    The paper's ``scales`` are 1, 2 and 4; see :class:`FeaturePlanes`.
    """

    @staticmethod
    def _start(plane: Tensor, generator: torch.Generator | None) -> None:
        nn.init.uniform_(plane, 0.1, 0.5, generator=generator)

    @staticmethod
    def _merged(features: Sequence[Tensor]) -> Tensor:
        return math.prod(features[1:], start=features[0])


class TriPlane(FeaturePlanes):
    """The tri-plane of EG3D (arXiv 2112.07945): the planes' features added up; they start normal with deviation 0.1.

    The deviation is that of TensoRF's factors; see :class:`FeaturePlanes`.
    """

    @staticmethod
    def _start(plane: Tensor, generator: torch.Generator | None) -> None:
        nn.init.normal_(plane, 0.0, 0.1, generator=generator)

    @staticmethod
    def _merged(features: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.add, features)
