"""What a rendered view may be asked for beside its colours."""

import dataclasses

from torch import Tensor

from neufield.core.records import Target, View
from neufield.kernels.volume import distortion
from neufield.renderers.spacing import Spacing


@dataclasses.dataclass(frozen=True)
class Distortion:
    """That each ray's light be in one place: mip-NeRF 360's distortion (arXiv 2111.12077, eq. 15), mean over the rays.

    As in the paper in normalised distances s (equation 11), so that far things do not count for their distance; unlike
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

    def __call__(self, view: View, target: Target) -> Tensor:
        """A scalar, whatever the ``target``."""
        del target
        seen = view.samples
        starts, ends = (self.spacing.normalized(t, self.near, self.far) for t in (seen.starts, seen.ends))
        return distortion(view.weights, starts, ends, seen.ray_ids, seen.n_rays).sum() / max(1, seen.n_rays)
