"""Regularizers: terms of the loss that a rendered view has beside its colors."""

import dataclasses

from torch import Tensor

from neufield.core.rays import RenderOutput, Target
from neufield.functional import distortion
from neufield.renderers.spacing import Spacing


@dataclasses.dataclass(frozen=True)
class Distortion:
    """Penalizes light spread along a ray: mip-NeRF 360's distortion (arXiv 2111.12077, eq. 15), mean over the rays.

    As in the paper in normalized distances s (equation 11), so that far things do not count for their distance; unlike
    there, one ``near`` and ``far`` hold for all rays, whatever part of them lies in the space: a short way through a
    corner is no more distorted for being short. The paper's weight is 0.01, nerfacto's 0.002.

    Args:
        spacing: of s; the sampler's own, or another.
        near: the distance that is s = 0, in world units.
        far: the distance that is s = 1.
    """

    spacing: Spacing
    near: float
    far: float

    def __call__(self, view: RenderOutput, target: Target) -> Tensor:
        """A scalar, whatever the ``target``."""
        seen = view.interval_weights
        at = seen.intervals
        starts, ends = (self.spacing.normalized(t, self.near, self.far) for t in (at.starts, at.ends))
        between = dataclasses.replace(at, starts=starts, ends=ends)
        return distortion(seen.weights, between).sum() / max(1, at.n_rays)
